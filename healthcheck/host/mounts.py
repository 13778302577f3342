# SPDX-License-Identifier: Apache-2.0

"""Finds the type of a directory's file system."""

from __future__ import annotations

import os
import pathlib

_LOCAL = frozenset((
    'bcachefs', 'btrfs', 'ext2', 'ext3', 'ext4', 'f2fs', 'overlay', 'ramfs',
    'tmpfs', 'xfs', 'zfs'))
"""File systems that are local to this host, by the kernel's names."""

MEMORY = frozenset(('ramfs', 'tmpfs'))
"""File systems on which a request may write to a mapped file.

On ext4 and XFS, the first write after each write-back waits for the journal.
On a file system that copies on write, such as btrfs, it needs space: if the
disk is full, the kernel kills the process (SIGBUS).
"""


def is_in_memory(path: str) -> bool:
    """Whether a directory is in memory; False if it does not exist."""
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
