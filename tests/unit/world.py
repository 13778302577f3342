# SPDX-License-Identifier: Apache-2.0

"""A world in which a test owns the time: no threads, no waiting."""

from __future__ import annotations

from collections.abc import Callable
import heapq
import itertools

from healthcheck.probing import check
from healthcheck.probing import guard
from healthcheck.probing import monitor
from healthcheck.reports import changes
from healthcheck.reports import report

Behaviour = Callable[[float], 'tuple[report.Result, float | None]']
"""From the time a probe starts to what it finds, and how long it takes;
None for one that never comes back."""

OK = report.Result.ok()
REFUSED = report.Result.failed('CONNECTION REFUSED')


class Clock:
    """A clock that a test sets, in seconds."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Backend:
    """A probe, and the runner that runs it, in simulated time."""

    label = ''
    per_worker = False
    news: Callable[[], None]

    def __init__(self, name: str, behaviour: Behaviour) -> None:
        self.name = name
        self.behaviour = behaviour
        self.started: list[float] = []
        self.running = 0
        self.hurried: list[float] = []
        self.restored: list[report.CheckReport] = []

    def probe(self) -> report.Result:
        raise AssertionError('simulated backends are run by the world')

    def overdue(self) -> tuple[str, str]:
        return check.NO_ANSWER, ''

    def hurry(self) -> None:
        self.hurried.append(len(self.started))

    def restore(self, last: report.CheckReport) -> None:
        self.restored.append(last)

    def close(self) -> None:
        pass


class Timeline:
    """Simulated time, in seconds, and what happens in it."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def step(self) -> float:
        """Do what is due now, and say when to look again."""
        raise NotImplementedError

    def at(self, time: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._order), act))

    def run(self, until: float) -> None:
        while True:
            wake = self.step()
            if self._events:
                wake = min(wake, self._events[0][0])
            if wake > until:
                self.now = until
                return
            self.now = max(self.now, wake)
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()


class World(Timeline):
    """Runs a monitor over simulated backends.

    :ivar reports: (time, report) of all that was published
    """

    def __init__(self, backends: list[Backend], policy: check.Policy, *,
                 uniform: Callable[[float, float], float] = (
                     lambda low, high: high),
                 noncritical: tuple[str, ...] = (),
                 changed: Callable[[changes.StateChange], None] = (
                     lambda change: None)) -> None:
        super().__init__()
        self.reports: list[tuple[float, report.Report]] = []
        named = {backend.name: backend for backend in backends}
        self.monitor = monitor.Monitor(
            [guard.Guarded(name, backend) for name, backend in named.items()],
            policy,
            lambda published: self.reports.append((self.now, published)),
            clock=lambda: self.now, wall_clock=lambda: 1e9 + self.now,
            uniform=uniform, noncritical=noncritical, changed=changed,
            runner=lambda probe, hand_in, clock: _Runner(
                self, named[probe.name]))

    def step(self) -> float:
        return self.monitor.step()

    def statuses(self, name: str) -> list[tuple[float, report.Status]]:
        """When a check's published status changed, and to what."""
        changes: list[tuple[float, report.Status]] = []
        for time, published in self.reports:
            for one in published.checks:
                if one.name == name and (
                        not changes or changes[-1][1] != one.status):
                    changes.append((time, one.status))
        return changes


class _Runner:
    def __init__(self, world: World, backend: Backend) -> None:
        self._world = world
        self._backend = backend

    def launch(self, one: check.Check) -> None:
        world, backend = self._world, self._backend
        backend.started.append(world.now)
        backend.running += 1
        assert backend.running == 1, 'two probes of one check at a time'
        result, duration = backend.behaviour(world.now)
        taken = guard.probe_once(backend.name, lambda: result)
        if duration is not None:
            world.at(world.now + duration,
                     lambda: self._finish(one, taken))

    def _finish(self, one: check.Check, result: report.Result) -> None:
        self._backend.running -= 1
        self._world.monitor.take(one, result, self._world.now)

    def stop(self) -> list[object]:
        return []
