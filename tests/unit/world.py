# SPDX-License-Identifier: Apache-2.0

"""A world in which a test owns the time: no threads, no waiting."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
import math
from typing import Any, cast

from healthcheck.probing import check
from healthcheck.probing import evidence
from healthcheck.probing import policy as policy_module
from healthcheck.probing import pool
from healthcheck.probing import scheduler
from healthcheck.probing import simulated
from healthcheck.probing import target
from healthcheck.reports import changes
from healthcheck.reports import report

Behaviour = Callable[[float], 'tuple[report.Result, float | None]']
"""From the time a probe starts to what it finds, and how long it takes;
None for one that never comes back."""

OK = report.Result.ok()
REFUSED = report.Result.failed('CONNECTION REFUSED')


class Backend(target.Target):
    """A target in simulated time."""

    def __init__(self, name: str, behaviour: Behaviour) -> None:
        self.name = name
        self.behaviour = behaviour
        self.world: Timeline | None = None
        self.started: list[float] = []
        self.closed: list[float] = []

    def probe(self, questions: Sequence[target.Question] = (),
              ) -> target.Findings:
        world = self.world
        assert world is not None
        self.started.append(world.now)
        result, takes = self.behaviour(world.now)
        world.spend(takes)
        return target.Findings(result)

    def close(self) -> None:
        assert self.world is not None
        self.closed.append(self.world.now)


class Timeline:
    """Simulated time, in seconds, and what happens in it.

    It is the pool of a scheduler, too: a visit is over when it says.
    """

    size = 0

    def __init__(self, now: float = 0.0) -> None:
        self._timeline = simulated.Timeline(simulated.Clock(now))
        self.at = self._timeline.at
        self.visits = 0

    @property
    def now(self) -> float:
        return self._timeline.clock.now

    @now.setter
    def now(self, now: float) -> None:
        self._timeline.clock.now = now

    def spend(self, seconds: float | None) -> None:
        """Called in a visit: so long does it take; None for ever."""
        self.now += math.inf if seconds is None else seconds

    def step(self) -> float:
        """Do what is due now, and say when to look again."""
        raise NotImplementedError

    def run(self, until: float) -> None:
        self._timeline.run(self.step, until)

    def submit(self, act: Callable[[], Any],
               done: Callable[[Any], None]) -> None:
        """As a pool does, which has a thread for everything."""
        self.visits += 1
        self._timeline.submit(act, done)

    def end(self) -> None:
        """There are no threads."""


class World(Timeline):
    """Runs a scheduler over simulated backends.

    :param checks: of them; default: one for each
    :ivar reports: (time, report) of all that was published
    """

    def __init__(self, backends: list[Backend],
                 policy: policy_module.Policy, *,
                 uniform: Callable[[float, float], float] = (
                     lambda low, high: high),
                 noncritical: tuple[str, ...] = (),
                 changed: Callable[[changes.StateChange], None] = (
                     lambda change: None),
                 traffic: evidence.Traffic | None = None,
                 checks: Sequence[check.Check] | None = None) -> None:
        super().__init__()
        self.reports: list[tuple[float, report.Report]] = []
        for backend in backends:
            backend.world = self
        self.scheduler = scheduler.Scheduler(
            [check.Single(backend.name, backend, policy)
             for backend in backends] if checks is None else checks, policy,
            lambda published: self.reports.append((self.now, published)),
            clock=lambda: self.now, wall_clock=lambda: 1e9 + self.now,
            uniform=uniform, noncritical=noncritical, changed=changed,
            pool=cast(pool.Pool, self), traffic=traffic)

    def step(self) -> float:
        self.scheduler.take()
        return self.scheduler.step()

    def statuses(self, name: str) -> list[tuple[float, report.Status]]:
        """When a check's published status changed, and to what."""
        changes: list[tuple[float, report.Status]] = []
        for time, published in self.reports:
            for one in published.checks:
                if one.name == name and (
                        not changes or changes[-1][1] != one.status):
                    changes.append((time, one.status))
        return changes
