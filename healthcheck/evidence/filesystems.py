# SPDX-License-Identifier: Apache-2.0

"""Whether a directory is in memory, where a mapped file can be written to."""

from __future__ import annotations

import os
import pathlib

MEMORY = frozenset({'tmpfs', 'ramfs'})
"""The only ones on which a request can store to a mapped file.

On ext4 and XFS, the first store after each write-back waits for the journal.
On one that copies on write, such as btrfs, it needs space: when the disk is
full, the kernel ends the process (SIGBUS).
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
