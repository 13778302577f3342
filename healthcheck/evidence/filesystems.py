# SPDX-License-Identifier: Apache-2.0

"""On which file systems a file can be mapped and written to safely."""

from __future__ import annotations

import os
import pathlib

MAPPABLE = frozenset({'tmpfs', 'ramfs', 'ext2', 'ext3', 'ext4', 'xfs'})
"""Those that keep a page where it is once it has been written.

One that copies on write, such as btrfs, needs space each time. When the disk
is full then, the kernel ends the process that touches the page (SIGBUS).
"""


def kind(path: str) -> str:
    """The type of the file system that a path is on; empty if unknown.

    :raises OSError: if there is no such path
    """
    device = os.stat(path).st_dev
    number = f'{os.major(device)}:{os.minor(device)}'
    try:
        # proc(5); the optional fields end with a hyphen.
        mounts = pathlib.Path('/proc/self/mountinfo').read_text(
            errors='replace')
    except OSError:  # not Linux, or hidden
        return ''
    for line in mounts.splitlines():
        fields = line.split()
        if fields[2:3] == [number]:
            return fields[fields.index('-') + 1]
    return ''
