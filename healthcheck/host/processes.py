# SPDX-License-Identifier: Apache-2.0


"""What a process has to make for itself, whenever it was forked."""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import mmap
import os
import pathlib
from typing import Any, Generic, TypeVar

T = TypeVar('T')

# Linux 4.14, madvise(2); Python's mmap does not have the name.
_MADV_WIPEONFORK = 18


class _Itself:
    """Tells this process from all that it was forked from.

    A process may get the pid of an ancestor that has ended, so a pid alone
    does not tell. The time at which it started does, but to read that takes
    50 µs. It is read once: a page that the kernel wipes in each child says
    whether this process has read it, without a system call.
    """

    def __init__(self) -> None:
        self._read = _wiped_in_children()
        self._pid = -1
        self._name = ''

    def name(self) -> str:
        """The pid and the start of this process."""
        pid = os.getpid()
        if pid != self._pid or not self._read[0]:
            # In this order: two threads that come at once find the same.
            self._name = f'{pid} {_started_at()}'
            self._pid = pid
            self._read[0] = 1
        return self._name


def _wiped_in_children() -> mmap.mmap | list[int]:
    """One number: what is written, or 0 in a process that was forked since.

    Where the kernel cannot wipe it, pids alone tell.
    """
    with contextlib.suppress(OSError, ValueError):
        page = mmap.mmap(-1, mmap.PAGESIZE,
                         flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        page.madvise(_MADV_WIPEONFORK)
        return page
    return [0]


def _started_at() -> str:
    """When this process started, in ticks since the host did; see proc(5)."""
    with contextlib.suppress(OSError, IndexError):
        # Behind the name of the program, which may hold a parenthesis.
        stat = pathlib.Path('/proc/self/stat').read_text(errors='replace')
        return stat.rpartition(')')[2].split()[19]
    return ''


_ITSELF = _Itself()


def this() -> str:
    """A name for this process that no ancestor of it has had."""
    return _ITSELF.name()


class PerProcess(Generic[T]):
    """One ``T`` for each process, made by whoever asks first in it.

    A server may fork at any moment, and uWSGI calls no ``register_at_fork``
    hook, so the process is asked for at each access. What was made before a
    fork is kept and not used: to let it go would close connections that the
    parent goes on using. There is no lock that a fork could inherit locked.

    :param make: makes a ``T`` that has started nothing yet: when two
        threads ask at once, two are made and one is dropped
    """

    def __init__(self, make: Callable[..., T]) -> None:
        self._make = make
        self._made: dict[str, T] = {}

    def get(self, *args: Any) -> T:
        """The ``T`` of this process; ``args`` go to ``make``."""
        name = _ITSELF.name()
        made = self._made.get(name)
        if made is None:
            made = self._made.setdefault(name, self._make(*args))
        return made

    def peek(self) -> T | None:
        """The ``T`` of this process, if it has one."""
        return self._made.get(_ITSELF.name())
