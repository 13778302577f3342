# SPDX-License-Identifier: Apache-2.0

"""Simulated time for tests, and visits that take some of it."""

from __future__ import annotations

from collections.abc import Callable
import heapq
import itertools
import math
from typing import TypeVar

from healthcheck.probing import pool
from healthcheck.probing import scheduler

T = TypeVar('T')


class Clock:
    """Monotonic seconds that a test owns.

    :ivar now: the time
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass; ``math.inf`` in a probe means that it hangs."""
        self.now += seconds


class Timeline:
    """Events in the order of their time, by a clock that a test owns.

    :ivar clock: that clock
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, time: float, act: Callable[[], None]) -> None:
        """Call ``act`` at that time."""
        heapq.heappush(self._events, (time, next(self._order), act))

    def submit(self, act: Callable[[], T],
               done: Callable[[T], None]) -> None:
        """Run a job now, and deliver its result when its time has passed.

        :param act: advances the clock by the time that it takes
        """
        began_at = self.clock.now
        found = act()
        over_at, self.clock.now = self.clock.now, began_at
        if over_at < math.inf:
            self.at(over_at, lambda: done(found))

    def run(self, step: Callable[[], float], until: float) -> None:
        """Let time pass.

        :param step: does what is due now, and returns when to call it again
        """
        while True:
            wake_at = step()
            if self._events:
                wake_at = min(wake_at, self._events[0][0])
            if wake_at > until:
                self.clock.now = until
                return
            self.clock.now = max(self.clock.now, wake_at)
            while self._events and self._events[0][0] <= self.clock.now:
                heapq.heappop(self._events)[2]()


class SimulatedPool(pool.Pool):
    """Runs a job at once, and delivers its result when its time has passed.

    :param clock: a job advances it by the time that the job takes
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(0, 'simulated')
        self._timeline = Timeline(clock)

    def submit(self, act: Callable[[], T],
               done: Callable[[T], None]) -> None:
        self._timeline.submit(act, done)

    def run(self, probing: scheduler.Scheduler, seconds: float) -> None:
        """Run a scheduler that has this pool and its clock."""
        def step() -> float:
            probing.take()
            return probing.step()
        self._timeline.run(step, self._timeline.clock.now + seconds)
