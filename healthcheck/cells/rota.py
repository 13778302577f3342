# SPDX-License-Identifier: Apache-2.0

"""When to visit which backend.

A pure scheduler: it is told what happened, and says whom to visit. It starts
nothing, knows no thread, and has one owner.

Visits are spread over the interval. A place, that is a cell, has one visit at
a time, so one that is frozen holds one worker, whatever it consists of.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
import heapq
import itertools
import math

from healthcheck.cells import cell
from healthcheck.cells import turns
from healthcheck.probing import monitor
from healthcheck.reports import report

Backend = cell.Backend


class Rota:
    """Whose turn it is.

    :param workers: how many visits there may be at a time
    :param visit: starts one; it must return at once
    :param clock: monotonic seconds
    :param wall_clock: seconds since the epoch
    :param uniform: where jitter comes from
    """

    def __init__(self, workers: int, visit: Callable[[Backend], None],
                 clock: Callable[[], float], wall_clock: Callable[[], float],
                 uniform: Callable[[float, float], float] = monitor.UNIFORM,
                 ) -> None:
        self._turns = turns.Turns(workers)
        self._visit = visit
        self._clock = clock
        self._wall_clock = wall_clock
        self._uniform = uniform
        self._order = itertools.count()
        self._due: list[tuple[float, int, Backend]] = []
        self._known: set[Backend] = set()
        self._new: set[Backend] = set()
        self._again: set[Backend] = set()
        self._queued: set[Backend] = set()
        self._parked: dict[object, list[Backend]] = {}
        self.visited: dict[object, Backend] = {}
        """By place, whom there is a visit at."""

    def add(self, backends: Iterable[Backend]) -> None:
        """Visit them from now on; the first time as soon as can be."""
        now = self._clock()
        for backend in backends:
            self._known.add(backend)
            self._new.add(backend)
            backend.check.due_at = now
            self._plan(backend)

    def remove(self, backends: Iterable[Backend]) -> list[Backend]:
        """Visit them no more; return those where nobody is now."""
        gone = list(backends)
        for backend in gone:
            for names in (self._known, self._new, self._again):
                names.discard(backend)
        return [one for one in gone if not self._is_visited(one)]

    def hurry(self) -> None:
        """Visit everybody, as soon as can be."""
        now = self._clock()
        for backend in self._known:
            # Its next regular visit is spread again.
            self._new.add(backend)
            if self._is_visited(backend):
                self._again.add(backend)
            else:
                backend.check.hurry(now)
                self._plan(backend)

    def excuse(self, seconds: float) -> None:
        """Leave out of account time in which no visit could go on."""
        for backend in self.visited.values():
            backend.check.excuse(seconds)
            self._plan(backend)

    def step(self, why_overdue: Callable[[Backend], tuple[str, str]],
             ) -> list[Backend]:
        """Start what is due.

        :param why_overdue: (reason, detail) for a visit that is not over in
            time
        :return: the backends whose visit was judged
        """
        now, judged = self._clock(), []
        while self._due and self._due[0][0] <= now:
            due_at, _, backend = heapq.heappop(self._due)
            if backend not in self._known or (
                    due_at != backend.check.due_at):
                continue  # it has been put off, or brought forward
            if self._is_visited(backend):
                backend.check.overdue(now, self._wall_clock(),
                                      *why_overdue(backend))
                self._plan(backend)
                judged.append(backend)
            elif backend not in self._queued:
                self._queue(backend)
        self._start(now)
        return judged

    @property
    def wakes_at(self) -> float:
        """When there is something to do again."""
        return min(self._due[0][0] if self._due else math.inf,
                   self._turns.wakes_at)

    def finished(self, backend: Backend, result: report.Result,
                 at: float) -> bool:
        """A visit is over; False if the backend has been removed."""
        del self.visited[backend.place]
        self._turns.ended(backend)
        for waiting in self._parked.pop(backend.place, ()):
            self._queue(waiting)
        if backend not in self._known:
            return False
        one = backend.check
        one.finished(result, at, self._wall_clock())
        if backend in self._again:
            self._again.discard(backend)
            one.hurry(at)
        elif backend in self._new and not one.confirming:
            # Who began together must not go on together.
            self._new.discard(backend)
            one.due_at = at + self._uniform(0.0, one.policy.interval)
        self._plan(backend)
        return True

    def _is_visited(self, backend: Backend) -> bool:
        return self.visited.get(backend.place) is backend

    def _plan(self, backend: Backend) -> None:
        heapq.heappush(self._due, (backend.check.due_at, next(self._order),
                                   backend))

    def _queue(self, backend: Backend) -> None:
        self._queued.add(backend)
        self._turns.put(backend)

    def _start(self, now: float) -> None:
        """Start visits, as many as there are workers for."""
        while (backend := self._turns.take(now)) is not None:
            if backend in self._known and backend.place in self.visited:
                self._parked.setdefault(backend.place, []).append(backend)
                continue
            self._queued.discard(backend)
            if backend in self._known:
                self._begin(backend, now)

    def _begin(self, backend: Backend, now: float) -> None:
        self.visited[backend.place] = backend
        self._turns.began(backend, now)
        one = backend.check
        waited = now - one.due_at
        one.started(now)
        # A second try after a late answer is judged at a time that was set
        # before: that it has waited for its turn is not held against it.
        one.due_at = min(one.due_at + waited, now + one.policy.timeout)
        self._plan(backend)
        self._visit(backend)
