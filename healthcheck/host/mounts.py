# SPDX-License-Identifier: Apache-2.0

"""On what kind of file system a directory is."""

from __future__ import annotations

import os
import pathlib

_LOCAL = frozenset((
    'bcachefs', 'btrfs', 'ext2', 'ext3', 'ext4', 'f2fs', 'overlay', 'ramfs',
    'tmpfs', 'xfs', 'zfs'))
"""Types of file systems that are on this host, as the kernel names them."""

MEMORY = frozenset(('ramfs', 'tmpfs'))
"""The only ones on which a request can store to a mapped file.

On ext4 and XFS, the first store after each write-back waits for the journal.
On one that copies on write, such as btrfs, it needs space: when the disk is
full, the kernel ends the process (SIGBUS).
"""


def is_in_memory(path: str) -> bool:
    """Whether a directory is in memory; False if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY
                             | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return kind(descriptor) in MEMORY
    finally:
        os.close(descriptor)


def doubtful(descriptor: int) -> str:
    """The type of an open file's file system, if it may not be local."""
    found = kind(descriptor)
    return '' if found in _LOCAL else found or 'unknown'


def kind(descriptor: int) -> str:
    """The type of the file system of an open file; empty if unknown.

    See proc(5) on fdinfo and mountinfo.
    """
    proc = pathlib.Path('/proc/self')
    try:
        info = (proc / 'fdinfo' / str(descriptor)).read_text().split()
        mount = info[info.index('mnt_id:') + 1]
        for line in (proc / 'mountinfo').read_text(
                errors='replace').splitlines():
            fields = line.split()
            if fields[0] == mount:
                return fields[fields.index('-') + 1]
    except (OSError, ValueError):
        pass
    return ''
