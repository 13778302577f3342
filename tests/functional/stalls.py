# SPDX-License-Identifier: Apache-2.0

"""When this process stood still: no fault of what is tested in it.

A machine that is short of processors, or is moved, stands still for seconds.
Then a deadline passes, and a request looks slow, though nobody waited for
anything.
"""

from __future__ import annotations

import functools
import os
import threading
import time

_TICK = 0.02
"""Seconds between two signs of life."""

_LATE = 0.1
"""Seconds by which one may be late before that counts."""


class Stalls:
    """Knows when a thread of this process, which only sleeps, got no turn.

    What waits for a lock, or for an answer, holds up no other thread: so it
    is not excused.
    """

    def __init__(self) -> None:
        self._seen: list[tuple[float, float]] = []
        self._last = time.monotonic()
        threading.Thread(target=self._run, daemon=True, name='stalls').start()

    def seconds(self, since: float) -> float:
        """For how long this process has stood still, in all.

        :param since: monotonic seconds
        """
        until = time.monotonic()
        while self._last < until:  # it may get its turn after who asks
            time.sleep(_TICK)
        return sum(min(end, until) - max(begin, since)
                   for begin, end in list(self._seen)
                   if begin < until and end > since)

    def _run(self) -> None:
        while True:
            time.sleep(_TICK)
            now = time.monotonic()
            if now - self._last > _TICK + _LATE:
                self._seen.append((self._last + _TICK, now))
            self._last = now


def of_this_process() -> Stalls:
    """They are noted from the first call on."""
    return _of(os.getpid())


@functools.cache
def _of(pid: int) -> Stalls:
    return Stalls()  # a child that was forked has none of its parent's threads
