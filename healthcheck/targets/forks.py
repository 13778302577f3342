# SPDX-License-Identifier: Apache-2.0

"""Prevents forks while a thread is inside a C library that has locks.

A child has one thread and a copy of every lock. If another thread of the
parent held a lock, it stays locked in the child for ever. SQLite has such
locks, and takes one in each allocation of memory (``sqlite3_malloc``).

This works for ``os.fork`` and all that uses it. A server that forks in C,
such as uWSGI, calls no hook. So this module has no lock of its own, which a
child of such a server could inherit locked.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import os
import threading
import time

PATIENCE = 0.1
"""Maximum number of seconds that a fork waits. A visit may hang, for example
in a network file system."""

_LOOK = 0.001


@dataclasses.dataclass(frozen=True, slots=True)
class _Threads:
    """Threads of one process, by their identifiers.

    To add to a set, to remove from it and to test it are atomic.
    """

    inside: set[int] = dataclasses.field(default_factory=set)
    forking: set[int] = dataclasses.field(default_factory=set)


class Forks:
    """The forks of this process.

    :param register: like ``os.register_at_fork``; called once
    :param clock: monotonic, in seconds
    :param sleep: lets other threads run for a number of seconds
    """

    def __init__(self, register: Callable[..., None] = os.register_at_fork,
                 clock: Callable[[], float] = time.monotonic,
                 sleep: Callable[[float], None] = time.sleep) -> None:
        self._register = register
        self._registered = False
        self._clock = clock
        self._sleep = sleep
        # By process: the threads of a parent do not exist in its child.
        self._threads: dict[int, _Threads] = {}

    @contextlib.contextmanager
    def kept_out(self) -> Iterator[None]:
        """Prevent forks in this block, for at most ``PATIENCE``.

        The block does not begin during a fork. It waits for the fork, but no
        longer than twice ``PATIENCE``.
        """
        if not self._registered:
            # Two threads may register twice. The second hook then has nothing
            # to wait for.
            self._register(before=self._before, after_in_parent=self._after,
                           after_in_child=self._threads.clear)
            self._registered = True
        threads, me = self._here(), threading.get_ident()
        until = self._clock() + 2 * PATIENCE
        # Each side first announces itself, then checks for the other one.
        threads.inside.add(me)
        while threads.forking:
            threads.inside.discard(me)
            if self._clock() >= until:
                # A signal handler may have raised in our hook and left a
                # thread in the set.
                threads.forking.clear()
            self._sleep(_LOOK)
            threads.inside.add(me)
        try:
            yield
        finally:
            threads.inside.discard(me)

    def _before(self) -> None:
        threads = self._here()
        threads.forking.add(threading.get_ident())
        until = self._clock() + PATIENCE
        while threads.inside and self._clock() < until:
            self._sleep(_LOOK)

    def _after(self) -> None:
        self._here().forking.discard(threading.get_ident())

    def _here(self) -> _Threads:
        return self._threads.setdefault(os.getpid(), _Threads())


FORKS = Forks()
