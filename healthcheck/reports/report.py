# SPDX-License-Identifier: Apache-2.0

"""Results: frozen data, no I/O, no clock of its own.

A probe returns a :class:`Result`. A check turns results into a
:class:`CheckReport`, and the checks of a process make a :class:`Report`. The
reader judges a report when it reads it, because the age of a result is only
known then. So a dead prober can never keep a node green.

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
    """One part of a check, such as a cell; for admins.

    :param status: None while it is unknown
    :param latency: of its last answer, in seconds
    :param since: when this status began, in seconds since the epoch
    :param disabled: whether it is not probed on purpose
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
    """The result of one probe.

    :param reason: short and fixed, fit for an anonymous caller
    :param detail: for admins and logs only; its maker redacts it
    :param components: the parts of the check
    :param latency: seconds that the backend took to answer; None: the
        duration of the probe
    """

    status: Status
    reason: str = OK
    detail: str = ''
    components: tuple[Component, ...] = ()
    latency: float | None = None

    @staticmethod
    def ok() -> Result:
        return PASSED

    @classmethod
    def failed(cls, reason: str, detail: str = '') -> Result:
        return cls(Status.FAIL, reason, detail)


PASSED = Result(Status.PASS)
"""What nearly every probe returns."""


@dataclasses.dataclass(frozen=True, slots=True)
class Evidence:
    """What traffic showed, in place of a probe.

    :param at: when the last call began that shows it, in monotonic seconds
    :param calls: calls that got an answer since the verdict before
    """

    at: float
    calls: int


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on one check at one moment."""

    name: str
    status: Status
    line: str
    """The public line: ``OK``, a reason, or both for a warning."""
    reason: str = OK
    critical: bool = True
    stale: bool = False
    time: float | None = None
    per_worker: bool = False

    @property
    def weight(self) -> Status:
        """The status that this verdict contributes to the node."""
        return self.status if self.critical else min(self.status,
                                                     Status.WARN)

    def failed(self) -> Verdict:
        """The same as a failure that counts, even if not critical."""
        return dataclasses.replace(self, status=Status.FAIL, critical=True,
                                   line=self.reason)

    def held(self, note: str) -> Verdict:
        """The same as a warning, with a note after the reason."""
        reason = self.reason + note
        return dataclasses.replace(self, status=Status.WARN, reason=reason,
                                   line=f'{OK} ({reason})')

    @classmethod
    def of(cls, name: str, status: Status, reason: str, *, label: str = '',
           critical: bool = True, stale: bool = False,
           time: float | None = None, per_worker: bool = False) -> Verdict:
        """Build a verdict and its public line.

        The line begins with ``OK`` unless the check takes the node out: a
        balancer that matches that word must keep a node that only warns.

        :param label: put in front of the reason
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
    """One check as published.

    :param judged_at: when the last result came, not when it was published
    :param ttl: for how many seconds that holds
    :param per_worker: whether each worker judges it for itself
    :param shared: whether other nodes look at the same targets
    :param target: a digest that other nodes have for the same targets; empty
        if not shared, or if it is not known where these are
    :param passes: number of successes in a row
    :param fails: number of failures in a row
    :param settled: whether it has passed once, or failed ``fall`` times
    :param started_at: when the probe that is still running began
    :param due_at: when the next probe is due
    :param latency: duration of the last answer, in seconds
    :param evidence: what the verdict rests on, if that is no probe
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
    shared: bool = False
    target: str = ''
    passes: int = 0
    fails: int = 0
    settled: bool = True
    started_at: float | None = None
    due_at: float | None = None
    latency: float | None = None
    components: tuple[Component, ...] = ()
    evidence: Evidence | None = None
    history: History | None = None

    @property
    def stale_at(self) -> float:
        return self.judged_at + self.ttl

    def verdict(self, now: float) -> Verdict:
        """Judge the check, including its age.

        A stale pass is a warning. A stale failure stays a failure, because
        nothing newer speaks for the backend.
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
class HeldCheck:
    """A check that may fail without taking the node out.

    :param name: of the check
    :param note: follows the reason in its line
    :param until: when this ends, in monotonic seconds
    """

    name: str
    note: str
    until: float


@dataclasses.dataclass(frozen=True, slots=True)
class ProberProcess:
    """The process that probes. ``since`` is seconds since the epoch."""

    pid: int
    host: str
    program: str
    since: float


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """All checks of one prober, published by swapping one reference.

    :param prober: the process that probed
    :param refreshed_at: when the last requested round began
    :param holds: checks that fail on other nodes, too
    """

    checks: tuple[CheckReport, ...]
    prober: ProberProcess | None = None
    refreshed_at: float | None = None
    holds: tuple[HeldCheck, ...] = ()

    def brief(self) -> Report:
        """Only what the answers to anonymous callers need."""
        return dataclasses.replace(self, checks=tuple(
            dataclasses.replace(c, components=(), history=None)
            for c in self.checks))

    def stale(self, now: float) -> bool:
        """Whether there are checks, and every one of them is stale."""
        return bool(self.checks) and all(c.stale_at <= now
                                         for c in self.checks)


def judge(verdicts: Sequence[Verdict]) -> tuple[Status, list[Verdict]]:
    """The status of a node, and the verdicts on its checks.

    The worst verdict counts; a noncritical check counts as a warning at most.
    If every check that has an age is stale, the prober is dead and nothing is
    known any more: each of them is then a failure, and its line says so. A
    worker's check of itself says nothing about a backend, so it does not keep
    the others from failing like that.
    """
    judged = list(verdicts)
    aged = [verdict for verdict in judged if verdict.time is not None]
    aged = [verdict for verdict in aged if not verdict.per_worker] or aged
    if aged and all(verdict.stale for verdict in aged):
        judged = [verdict.failed() if verdict.stale else verdict
                  for verdict in judged]
    worst = max((verdict.weight for verdict in judged), default=Status.PASS)
    return worst, judged
