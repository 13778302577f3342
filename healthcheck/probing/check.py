# SPDX-License-Identifier: Apache-2.0

"""A check: a name, the probes that it wants, and what they mean together."""

from __future__ import annotations

import abc
from collections.abc import Callable
from collections.abc import Sequence
import math

from healthcheck.probing import evidence
from healthcheck.probing import guard
from healthcheck.probing import policy as policy_module
from healthcheck.probing import probe as probe_module
from healthcheck.probing import state as state_module
from healthcheck.probing import target as target_module
from healthcheck.reports import history
from healthcheck.reports import report

Judge = Callable[[float], tuple[report.Result, bool]]
"""From the present monotonic time to (result, whether it is final). It is a
function of what is known of the probes, and does nothing else."""

PATIENCE = 0.9
"""The part of ``timeout`` that a summary waits for probes not settled yet. It
is longer than a driver may wait, so a first visit that fails tells why."""


class Check(abc.ABC):
    """What one line of a report is about.

    :ivar name: as it is configured
    :ivar label: what stands before a reason where many are listed
    :ivar per_worker: whether each worker has to look for itself
    :ivar state: what is published
    :ivar watchlist: the probes that it wants
    """

    state: state_module.ProbeState
    watchlist: probe_module.Watchlist

    def __init__(self, name: str, label: str = '', *,
                 per_worker: bool = False) -> None:
        self.name = name
        self.label = label
        self.per_worker = per_worker
        self._probes: Sequence[probe_module.Probe] = ()
        self._shared = False

    def snapshot(self) -> report.CheckReport:
        """The check as it is to be published; it has a verdict."""
        probes = self.watchlist.probes
        if probes is not self._probes:  # there may be thousands
            self._probes = probes
            self._shared = bool(probes) and all(
                one.target.shared for one in probes)
        return self.state.snapshot(self.name, self.label,
                                   per_worker=self.per_worker,
                                   shared=self._shared)

    def restore(self, last: report.CheckReport, now: float) -> None:
        """Go on where another process left off."""
        self.state.restore(last, now)


class Single(Check):
    """What is known of one probe."""

    def __init__(self, name: str, target: target_module.Target,
                 policy: policy_module.Policy,
                 question: target_module.Question | None = None, *,
                 label: str = '', per_worker: bool = False) -> None:
        super().__init__(name, label, per_worker=per_worker)
        self.probe = probe_module.Probe(
            target, policy, question, observed=evidence.check_mark(name))
        self.state = self.probe.state
        self.watchlist = probe_module.Fixed(self.probe)


class Summary(Check):
    """What many probes mean together.

    It is judged once an interval, and soon after one of them has changed.
    While some are not settled it waits for them, but not for long.

    :param judge: see :data:`Judge`
    :param inherit: called with what another process has found last
    """

    def __init__(self, name: str, watchlist: probe_module.Watchlist,
                 judge: Judge, policy: policy_module.Policy, *,
                 label: str = '',
                 inherit: Callable[[Sequence[report.Component]], None] = (
                     lambda components: None)) -> None:
        super().__init__(name, label)
        self.watchlist = watchlist
        self.state = state_module.ProbeState(policy)
        self._judge = judge
        self._inherit = inherit
        self._awaited: set[probe_module.Probe] = set()
        self._until = math.inf
        self._told_at = -math.inf
        self._cause = history.PROBE

    def restore(self, last: report.CheckReport, now: float) -> None:
        super().restore(last, now)
        self._inherit(last.components)

    @property
    def wakes_at(self) -> float:
        """When it has to be looked at again."""
        return self._until if self.state.running else self.state.due_at

    def is_ready(self, now: float) -> bool:
        """Whether it is due, and what it waits for is known."""
        state = self.state
        if not state.running:
            if state.due_at > now:
                return False
            self.begin(now)
        return not self._awaited or now >= self._until

    def begin(self, now: float) -> None:
        """Begin to wait for all probes that are not settled."""
        self.state.started(now)
        self._until = now + self.state.policy.timeout * PATIENCE
        self._awaited = {one for one in self.watchlist.probes
                         if not one.state.settled}

    def judge(self, now: float, time: float, spread: float) -> None:
        """Make of the probes what is published."""
        # However long it waited, and for whatever: it is not late itself.
        self.state.started(now, cause=self._cause)
        self._cause = history.PROBE
        result, final = guard.judge(self.name, self._judge, now)
        self.state.finished(result, now, time, spread=spread, final=final)
        self._awaited = set()

    def came(self, probe: probe_module.Probe) -> None:
        """There is a probe more."""
        if self.state.running:
            self._awaited.add(probe)

    def gone(self, probe: probe_module.Probe) -> None:
        """There is a probe less."""
        self._awaited.discard(probe)

    def took(self, probe: probe_module.Probe) -> None:
        """A probe was judged."""
        if probe.state.cause != history.PROBE:
            self._cause = probe.state.cause
        if probe.state.settled:
            self._awaited.discard(probe)

    def tell(self, now: float) -> None:
        """Something has changed: judge soon, but once a second at most.

        A thousand probes may change in a moment.
        """
        soon = max(now, self._told_at + 1.0)
        if not self.state.running and soon < self.state.due_at:
            self.state.due_at = self._told_at = soon

    def excuse(self, seconds: float) -> None:
        """Leave out of account time in which nothing could run."""
        if self.state.running:
            self.state.excuse(seconds)
            self._until += seconds
