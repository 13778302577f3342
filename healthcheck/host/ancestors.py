# SPDX-License-Identifier: Apache-2.0

"""Whether other users could replace a directory with something else."""

from __future__ import annotations

from collections.abc import Iterator
import os
import stat


def weakness(directory: str, option: str = '[healthcheck]state_path',
             user: int | None = None) -> str:
    """Why others could replace a directory; empty if they could not.

    Anybody who can rename part of the path can make it lead elsewhere. That
    is the owner of each directory, the owner of each symbolic link, and
    everybody who can write to a directory that is not sticky. In a sticky
    one, only the owner of an entry can rename it (unlink(2), EPERM).

    :param option: names the directory, for the text
    :param user: who uses it; default: the user of this process
    :raises OSError: if there is no such directory
    """
    os.stat(directory)  # a link to itself raises here
    trusted = {0, os.geteuid() if user is None else user}
    # Not normalised: after a symbolic link, .. is not the directory before.
    for path in _steps(os.path.join(os.getcwd(), directory)):
        found = os.lstat(path)
        mode = stat.S_IMODE(found.st_mode)
        if found.st_uid not in trusted:
            return (f'user {found.st_uid} can replace it, as the owner of '
                    f'{path}; choose another place for {option}')
        if stat.S_ISLNK(found.st_mode):
            continue
        if mode & (stat.S_IWGRP | stat.S_IWOTH) and not mode & stat.S_ISVTX:
            return (f'others can replace it, as they can write to {path} '
                    f'(mode {mode:o}); take that right from them, make it '
                    f'sticky (chmod +t), or choose another place for '
                    f'{option}')
    return ''


def _steps(path: str) -> Iterator[str]:
    """All that the kernel reads to resolve a path, from the root on.

    A directory is yielded before its entries are read.
    """
    above = os.path.dirname(path)
    if above != path:
        yield from _steps(above)
    yield path
    if os.path.islink(path):
        yield from _steps(os.path.join(above, os.readlink(path)))
