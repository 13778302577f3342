# SPDX-License-Identifier: Apache-2.0


"""What each process must make for itself after a fork."""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import mmap
import os
import pathlib
from typing import Any, Generic, TypeVar

T = TypeVar('T')

# Linux 4.14, madvise(2); Python's mmap lacks the name.
_MADV_WIPEONFORK = 18


class _Itself:
    """Tells this process from all its ancestors.

    A process may get the pid of an ancestor that has ended, so a pid alone is
    not enough. The start time is, but reading it takes 50 µs. So it is read
    once: a page that the kernel wipes in each child shows whether this process
    has read it, without a system call.
    """

    def __init__(self) -> None:
        self._read = wiped_in_children()
        self._pid = -1
        self._name = ''

    def name(self) -> str:
        """The pid and the start time of this process."""
        pid = os.getpid()
        if pid != self._pid or not self._read[0]:
            # In this order, two threads at once find the same.
            self._name = f'{pid} {_started_at()}'
            self._pid = pid
            self._read[0] = 1
        return self._name


def wiped_in_children() -> mmap.mmap | list[int]:
    """One number: the last one written, or 0 after a fork.

    If the kernel cannot wipe it, a child finds its parent's number.
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
        # After the program's name, which may contain a parenthesis.
        stat = pathlib.Path('/proc/self/stat').read_text(errors='replace')
        return stat.rpartition(')')[2].split()[19]
    return ''


_ITSELF = _Itself()


def this() -> str:
    """A name for this process that no ancestor of it had."""
    return _ITSELF.name()


class PerProcess(Generic[T]):
    """One ``T`` for each process, made at the first access.

    A server may fork at any moment, and uWSGI calls no ``register_at_fork``
    hook, so each access checks the process. An object from before a fork is
    kept, but not used: releasing it would close connections that the parent
    still uses. There is no lock that a fork could inherit locked.

    :param make: makes a ``T`` that has started nothing yet: if two threads
        come at once, two are made and one is dropped
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
