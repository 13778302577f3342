# SPDX-License-Identifier: Apache-2.0

"""Visits that go on, each in a thread of the pool.

To wake up a thread, and to be told what it found, costs more processor time
than a quick visit itself. So one thread visits several targets that answer
quickly, one after the other, and reports once: it makes a tour. If one of
them takes long this time, those behind it get threads of their own.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import math
import time
from typing import NamedTuple

from healthcheck.probing import guard
from healthcheck.probing import pool as pool_module
from healthcheck.probing import target as target_module
from healthcheck.probing import turns
from healthcheck.probing import watched as watched_module
from healthcheck.reports import report

Watched = watched_module.Watched


class Visit(NamedTuple):
    """A visit that is over.

    :param began_at: when it began; those before it on its tour came first
    :param ended_at: in monotonic seconds, too
    """

    watched: Watched
    found: target_module.Findings
    began_at: float
    ended_at: float


class _Tour:
    """Targets that one thread visits one after the other.

    :ivar waiting: those that are still to be visited
    :ivar made: visits of which the scheduler does not know yet
    :ivar over: whether there is nothing to come
    :ivar late_at: when a visit holds up those that are still waiting; never,
        if it is the only one
    """

    def __init__(self, targets: Iterable[Watched], began_at: float,
                 clock: Callable[[], float]) -> None:
        # Both are used by two threads. What deques do is atomic.
        self.waiting = collections.deque(targets)
        self.made: collections.deque[Visit] = collections.deque()
        self.over = False
        self.late_at = (began_at + turns.TOO_LONG if len(self.waiting) > 1
                        else math.inf)
        self._clock = clock

    def run(self) -> None:
        """Visit all targets; raises nothing. Runs in a thread."""
        while (watched := self.next()) is not None:
            began_at = self._clock()
            found = watched.look()
            self.made.append(Visit(watched, found, began_at, self._clock()))
            if self.waiting:
                # Lets others run. A driver in C gives a green thread of
                # eventlet no chance to do so by itself.
                time.sleep(0)

    def take(self) -> Iterator[Visit]:
        """Take what was made so far."""
        while self.made:
            yield self.made.popleft()

    def next(self) -> Watched | None:
        """Take the next target off the tour; None if there is none."""
        try:
            return self.waiting.popleft()
        except IndexError:
            return None


class Visits:
    """Those that go on. Owned by the scheduler.

    :param pool: runs them
    :param over: called in a thread when there is something to take
    :param clock: monotonic seconds
    """

    def __init__(self, pool: pool_module.Pool, over: Callable[[], None],
                 clock: Callable[[], float]) -> None:
        self._pool = pool
        self._over = over
        self._clock = clock
        self._tours: list[_Tour] = []

    def begin(self, targets: Sequence[Watched]) -> None:
        """Visit targets, all in one thread."""
        now = self._clock()
        tour = _Tour(targets, now, self._clock)
        self._tours.append(tour)
        try:
            self._pool.submit(tour.run, lambda _: self._ended(tour))
        except RuntimeError as exc:  # no thread can be started
            found = target_module.Findings(
                report.Result.failed(guard.PROBE_ERROR, str(exc)))
            tour.waiting.clear()
            tour.made.extend(Visit(one, found, now, now) for one in targets)
            self._ended(tour)

    def take(self) -> list[Visit]:
        """What was made on tours that are over, or late."""
        now = self._clock()
        taken: list[Visit] = []
        going_on: list[_Tour] = []
        for tour in self._tours:
            if not tour.over:
                going_on.append(tour)
            if tour.over or now >= tour.late_at:
                taken += tour.take()
        self._tours = going_on
        return taken

    def held_up(self, now: float) -> list[Watched]:
        """Targets that wait for another one, which takes long.

        They are off their tour, and have to be begun by themselves.
        """
        return [watched for tour in self._tours if now >= tour.late_at
                for watched in iter(tour.next, None)]

    @property
    def wakes_at(self) -> float:
        """When to take visits, although none of the tours is over."""
        return min((tour.late_at for tour in self._tours
                    if tour.waiting or tour.made), default=math.inf)

    def _ended(self, tour: _Tour) -> None:
        tour.over = True
        self._over()
