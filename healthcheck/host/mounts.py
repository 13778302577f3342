# SPDX-License-Identifier: Apache-2.0

"""Whether a directory is on a local file system."""

from __future__ import annotations

import pathlib

LOCAL = frozenset((
    'bcachefs', 'btrfs', 'ext2', 'ext3', 'ext4', 'f2fs', 'overlay', 'ramfs',
    'tmpfs', 'xfs', 'zfs'))
"""Types of file systems that are on this host, as the kernel names them."""


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
