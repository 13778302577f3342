# SPDX-License-Identifier: Apache-2.0

"""A target as the scheduler sees it: its probes, and when it is due."""

from __future__ import annotations

from collections.abc import Hashable
from collections.abc import Iterable
import math
import threading

from healthcheck.probing import evidence
from healthcheck.probing import guard
from healthcheck.probing import probe as probe_module
from healthcheck.probing import target as target_module
from healthcheck.reports import history
from healthcheck.reports import report

QUICK = 0.01
"""Seconds below which a visit is quick."""


class Watched:
    """A target and its probes. Owned by the scheduler.

    :ivar probes: all probes of it; none if it is to be closed
    :ivar visit: the probes that the current visit serves; None if there is
        no visit
    :ivar fresh: whether its next regular visit has to be spread, because its
        first one began together with those of other targets
    :ivar planned_at: the last ``due_at`` that was planned
    :ivar queued: whether it waits for its turn
    :ivar opened: whether there may be something to close
    :ivar began_at: when the last visit began
    :ivar suspicion: limits visits that traffic sets off
    :ivar calls: of traffic, until the last time that a visit was due
    """

    def __init__(self, key: Hashable, target: target_module.Target) -> None:
        self.key = key
        self.target = target
        self.probes: list[probe_module.Probe] = []
        self.visit: tuple[probe_module.Probe, ...] | None = None
        self.fresh = True
        self.planned_at = math.inf
        self.queued = False
        self.opened = False
        self.began_at = -math.inf
        self.suspicion = evidence.Suspicion()
        self.calls = 0
        self._took = math.inf
        # Only threads of the pool hold it. A process that leads again may
        # visit a target that is still being closed.
        self._in_use = threading.Lock()

    @property
    def due_at(self) -> float:
        """When to visit it; during a visit, when that is overdue."""
        return min(one.state.due_at for one in self.visit or self.probes)

    @property
    def needed(self) -> bool:
        """Whether requests need it.

        The probes of the current visit count too: it holds a thread.
        """
        return any(one.needed for one in (*self.probes, *(self.visit or ())))

    @property
    def can_be_early(self) -> bool:
        """Whether its next visit may begin before it is due."""
        return self.visit is None and not self.needed

    @property
    def suspect(self) -> bool:
        """Whether the last visit failed."""
        return any(one.failed for one in self.probes)

    @property
    def quick(self) -> bool:
        """Whether others can wait for a visit: the last one was short."""
        return self._took < QUICK

    @property
    def confirming(self) -> bool:
        """Whether the last result has to be confirmed."""
        return any(one.state.confirming for one in self.probes)

    @property
    def marks(self) -> set[int]:
        """Where evidence from traffic is found."""
        return set().union(*(one.marks for one in self.probes))

    def hurry(self, now: float, cause: str = history.PROBE) -> None:
        """Make it due at once, unless it is being visited."""
        for one in self.probes:
            one.state.hurry(now, cause)

    def stand_in(self, seen: evidence.Seen, soon: float, now: float,
                 time: float, spread: float) -> list[probe_module.Probe]:
        """Skip the visit that is due, if traffic can stand in for it.

        Probes with a question always need a visit.

        :param soon: probes that are due by then count as due
        :return: the probes that traffic stood in for; none if a visit is
            needed
        """
        proved_at = self.target.proved_at(seen)
        due = [one for one in self.probes if one.state.due_at <= soon]
        if not all(one.question is None
                   and one.state.can_rest(proved_at, now) for one in due):
            return []
        shown = report.Evidence(proved_at, max(0, seen.calls - self.calls))
        for one in due:
            one.state.stood_in(shown, now, time, spread)
        return due

    def put_off(self, until: float) -> None:
        """Make it due at that time, not earlier."""
        for one in self.probes:
            one.state.due_at = until

    def excuse(self, seconds: float) -> None:
        """Do not count time in which the visit could not run."""
        for one in self.visit or ():
            one.state.excuse(seconds)

    def waited(self, until: float) -> None:
        """Do not count the time until then: the visit had not begun."""
        self.began_at = max(self.began_at, until)
        for one in self.visit or ():
            one.state.waited(until)

    def begin(self, now: float) -> None:
        """Begin a visit for all current probes."""
        self.began_at = now
        self.visit = tuple(self.probes)
        self.opened = True
        for one in self.visit:
            one.state.started(now, max(0.0, now - one.state.due_at))

    def look(self) -> target_module.Findings:
        """Probe the target; raises nothing. Runs in a thread."""
        with self._in_use:
            return guard.visit(self.target, list(dict.fromkeys(
                one.question for one in self.visit or ()
                if one.question is not None)))

    def close(self) -> None:
        """Close the target; raises nothing. Runs in a thread."""
        with self._in_use:
            guard.quietly(self.target.close)

    def overdue(self, now: float, time: float,
                ) -> Iterable[probe_module.Probe]:
        """Judge a visit that is overdue; return the judged probes."""
        reason, detail = guard.why_overdue(self.target)
        judged = [one for one in self.visit or ()
                  if one.state.due_at <= now]
        for one in judged:
            one.state.overdue(now, time, reason, detail)
        if judged:
            self.suspicion.confirmed()
        return judged

    def finished(self, found: target_module.Findings, now: float,
                 time: float, spread: float) -> list[probe_module.Probe]:
        """Take what a visit found; return the judged probes."""
        visit, self.visit = self.visit or (), None
        failed = found.result.status is report.Status.FAIL
        self._took = math.inf if failed else now - self.began_at
        for one in visit:
            one.finished(found, now, time, spread)
        if failed:
            self.suspicion.confirmed()
        return [one for one in visit if one in self.probes]
