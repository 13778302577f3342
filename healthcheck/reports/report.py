# SPDX-License-Identifier: Apache-2.0

"""What was found: frozen data, no I/O, no clock of its own.

A probe returns a :class:`Result`. A check turns results into a
:class:`CheckReport`, the checks of a process make a :class:`Report`, and
whoever reads a report judges it at the time of reading: the age of a result
is only known then, so a dead prober can never keep a node green.

All times called ``*_at`` and ``now`` are seconds of a monotonic clock; all
times called ``time`` are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

from healthcheck.reports import history as history_module
from healthcheck.reports import status as status_module

OK = 'OK'
STALE = 'STALE'
STARTING = 'STARTING'

Status = status_module.Status
History = history_module.History


@dataclasses.dataclass(frozen=True, slots=True)
class Component:
    """One of the many things that a check looks at, as a cell; for admins.

    :param status: None while it is unknown
    :param latency: of its last answer, in seconds
    :param since: when it came to this status, in seconds since the epoch
    :param disabled: whether it is not looked at, on purpose
    """

    name: str
    status: Status | None
    reason: str = OK
    detail: str = ''
    latency: float | None = None
    since: float | None = None
    disabled: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What one run of a probe found.

    :param reason: short and fixed, fit for an anonymous caller
    :param detail: for admins and logs only; redacted by whoever made it
    :param components: what the check looked at, one by one
    :param confirmed: whether the probe has itself repeated, as often as
        ``fall`` and ``rise`` ask, what it found
    :param latency: seconds that the backend took to answer; None: as many
        as the run took
    """

    status: Status
    reason: str = OK
    detail: str = ''
    components: tuple[Component, ...] = ()
    confirmed: bool = False
    latency: float | None = None

    @classmethod
    def ok(cls) -> Result:
        return cls(Status.PASS)

    @classmethod
    def failed(cls, reason: str, detail: str = '', *,
               confirmed: bool = False) -> Result:
        return cls(Status.FAIL, reason, detail, confirmed=confirmed)


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of one check at one moment."""

    name: str
    status: Status
    line: str
    """The public line: ``OK``, a reason, or for a warning both."""
    reason: str = OK
    critical: bool = True
    stale: bool = False
    time: float | None = None
    per_worker: bool = False

    @property
    def weight(self) -> Status:
        """What the verdict counts for the node."""
        return self.status if self.critical else min(self.status,
                                                     Status.WARN)

    def failed(self) -> Verdict:
        """The same, and out, whether the check is critical or not."""
        return dataclasses.replace(self, status=Status.FAIL, critical=True,
                                   line=self.reason)

    @classmethod
    def of(cls, name: str, status: Status, reason: str, *, label: str = '',
           critical: bool = True, stale: bool = False,
           time: float | None = None, per_worker: bool = False) -> Verdict:
        """Word the public line.

        A line begins with ``OK`` as long as its check does not take the
        node out: balancers that look for that word must not be fooled by a
        warning.

        :param label: what the reason is of, put in front of it
        """
        if label and reason != OK:
            reason = f'{label}: {reason}'
        line = reason
        if status is Status.PASS:
            line = OK
        elif status is Status.WARN or not critical:
            line = f'{OK} ({reason})'
        return cls(name, status, line, reason, critical, stale, time,
                   per_worker)


@dataclasses.dataclass(frozen=True, slots=True)
class CheckReport:
    """One check as it was published.

    :param judged_at: when the last verdict was reached, not when it was
        published
    :param ttl: for how many seconds that holds
    :param per_worker: whether each worker judges it for itself
    :param passes: how many probes in a row have found it well
    :param fails: how many in a row have not
    :param settled: whether it has passed once, or has failed for good
    :param started_at: when the probe began that is still running
    :param due_at: when the next one is due
    :param latency: how many seconds the last answer took
    :param history: None in what is published for anonymous callers
    """

    name: str
    status: Status
    reason: str
    detail: str
    judged_at: float
    ttl: float
    time: float
    label: str = ''
    critical: bool = True
    per_worker: bool = False
    passes: int = 0
    fails: int = 0
    settled: bool = True
    started_at: float | None = None
    due_at: float | None = None
    latency: float | None = None
    components: tuple[Component, ...] = ()
    history: History | None = None

    @property
    def stale_at(self) -> float:
        return self.judged_at + self.ttl

    def verdict(self, now: float) -> Verdict:
        """Judge the check, its age included.

        A stale pass is a warning. A stale failure stays a failure: nothing
        has been seen that would speak for the backend.
        """
        status, reason, stale = self.status, self.reason, False
        if now >= self.stale_at:
            status, stale = max(status, Status.WARN), True
            if self.status is Status.PASS:
                reason = STALE
        return Verdict.of(self.name, status, reason, label=self.label,
                          critical=self.critical, stale=stale, time=self.time,
                          per_worker=self.per_worker)


@dataclasses.dataclass(frozen=True, slots=True)
class ProberProcess:
    """The process that probes. ``since`` is seconds since the epoch."""

    pid: int
    host: str
    program: str
    since: float


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """All checks of one prober, as published by one reference swap.

    :param prober: who probed
    :param refreshed_at: when the last round that somebody asked for began
    """

    checks: tuple[CheckReport, ...]
    prober: ProberProcess | None = None
    refreshed_at: float | None = None

    def brief(self) -> Report:
        """What anonymous callers are answered from, and no more."""
        return dataclasses.replace(self, checks=tuple(
            dataclasses.replace(c, components=(), history=None)
            for c in self.checks))

    def stale(self, now: float) -> bool:
        """Whether there are checks, and every one of them is stale."""
        return bool(self.checks) and all(c.stale_at <= now
                                         for c in self.checks)


def judge(verdicts: Sequence[Verdict]) -> tuple[Status, list[Verdict]]:
    """The status of a node, and the verdicts on its checks that lead to it.

    The worst one counts, that on a check that is not critical as a warning
    at most. When every check that has an age is stale, the prober is dead
    and nothing is known any more: then each of them is a failure, and says
    so in its line. What a worker knows of itself does not speak for a
    backend, so it cannot keep the others from being that.
    """
    judged = list(verdicts)
    aged = [verdict for verdict in judged if verdict.time is not None]
    aged = [verdict for verdict in aged if not verdict.per_worker] or aged
    if aged and all(verdict.stale for verdict in aged):
        judged = [verdict.failed() if verdict.stale else verdict
                  for verdict in judged]
    worst = max((verdict.weight for verdict in judged), default=Status.PASS)
    return worst, judged
