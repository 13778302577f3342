# SPDX-License-Identifier: Apache-2.0

"""Replaces files whole, and tells their versions."""

from __future__ import annotations

import contextlib
import os
import time


def replace(directory: int, name: str, data: bytes, stamp: int, through: str,
            *, mode: int = 0o600, durable: bool = False) -> os.stat_result:
    """Replace a file whole, so no reader ever sees half of it.

    :param directory: a descriptor of its directory
    :param stamp: its modification time, in nanoseconds
    :param through: its name until it is complete
    :param durable: whether the new content has to survive a loss of power
    :returns: its status
    :raises OSError: if that is not possible; the file is then unchanged
    """
    try:
        descriptor = os.open(
            through, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            | os.O_CLOEXEC, 0o600, dir_fd=directory)
        try:
            with open(descriptor, 'wb', closefd=False) as file:
                file.write(data)
            if mode != 0o600:
                os.fchmod(descriptor, mode)
            set_stamp(descriptor, stamp)
            if durable:
                os.fsync(descriptor)
            found = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        os.rename(through, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(through, dir_fd=directory)
        raise
    return found


def set_stamp(descriptor: int, stamp: int) -> None:
    """Set a file's modification time, in nanoseconds.

    Its access time stays a time of day: programs that clean up temporary
    directories go by that.

    :raises OSError: if that is not possible
    """
    os.utime(descriptor, ns=(time.time_ns(), stamp))


def version(found: os.stat_result) -> tuple[int, int]:
    """(modification time in nanoseconds, inode); differs for each file."""
    return found.st_mtime_ns, found.st_ino
