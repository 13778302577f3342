# SPDX-License-Identifier: Apache-2.0

"""A check: a name, its probes, and what they mean together."""

from __future__ import annotations

import abc
from collections.abc import Callable
from collections.abc import Sequence
import hashlib
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
"""Maps the current monotonic time to (result, whether it is final). It reads
the state of the probes and has no side effects."""

PATIENCE = 0.9
"""The part of ``timeout`` that a summary waits for unsettled probes. It is
longer than a driver may wait, so the reason for a first failure is known."""


class Check(abc.ABC):
    """One line of a report.

    :ivar name: as configured
    :ivar label: put before the reason where many checks are listed
    :ivar per_worker: whether each worker has to run it for itself
    :ivar state: what is published
    :ivar watchlist: its probes
    """

    state: state_module.ProbeState
    watchlist: probe_module.Watchlist

    def __init__(self, name: str, label: str = '', *,
                 per_worker: bool = False) -> None:
        self.name = name
        self.label = label
        self.per_worker = per_worker
        self._seen: tuple[Sequence[probe_module.Probe], bool, str] = (
            (), False, '')

    def snapshot(self) -> report.CheckReport:
        """The check as published; it must have a verdict."""
        _, shared, target = self._look()
        return self.state.snapshot(self.name, self.label,
                                   per_worker=self.per_worker,
                                   shared=shared, target=target)

    @property
    def target(self) -> str:
        """A digest, equal on all nodes that look at the same.

        It is empty if only this node does, or if that is unknown. May be read
        in any thread.
        """
        return self._look()[2]

    def _look(self) -> tuple[Sequence[probe_module.Probe], bool, str]:
        """(probes, whether all are shared, see :attr:`target`)."""
        probes = self.watchlist.probes
        if probes is not self._seen[0]:  # there can be thousands
            shared = bool(probes) and all(
                one.target.shared for one in probes)
            self._seen = (probes, shared,
                          _digest(self.watchlist) if shared else '')
        return self._seen

    def restore(self, last: report.CheckReport, now: float) -> None:
        """Continue where another process left off."""
        self.state.restore(last, now)


def _digest(watchlist: probe_module.Watchlist) -> str:
    """Identifies what is looked at, for other nodes; empty if unknown."""
    places = sorted({one.place for one in watchlist.subjects})
    if not all(places):
        return ''
    return hashlib.blake2b('\n'.join(places).encode(
        errors='surrogateescape'), digest_size=8).hexdigest()


class Single(Check):
    """A check with one probe."""

    def __init__(self, name: str, target: target_module.Target,
                 policy: policy_module.Policy,
                 question: target_module.Question | None = None, *,
                 label: str = '', per_worker: bool = False) -> None:
        super().__init__(name, label, per_worker=per_worker)
        self.probe = probe_module.Probe(
            target, policy, question, observed=evidence.check_mark(name),
            past=history.History())
        self.state = self.probe.state
        self.watchlist = probe_module.Fixed(self.probe)


class Summary(Check):
    """A check that sums up many probes.

    It is judged once an interval, and soon after a probe has changed. It
    waits for unsettled probes, but no longer than :data:`PATIENCE` allows.

    :param judge: see :data:`Judge`
    :param inherit: called with the last findings of another process
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
        """When :meth:`is_ready` has to be asked again."""
        return self._until if self.state.running else self.state.due_at

    def is_ready(self, now: float) -> bool:
        """Whether it is due and waits for no probe."""
        state = self.state
        if not state.running:
            if state.due_at > now:
                return False
            self.begin(now)
        return not self._awaited or now >= self._until

    def begin(self, now: float) -> None:
        """Begin to wait for all unsettled probes."""
        self.state.started(now)
        self._until = now + self.state.policy.timeout * PATIENCE
        self._awaited = {one for one in self.watchlist.probes
                         if not one.state.settled}

    def judge(self, now: float, time: float, spread: float) -> None:
        """Sum up the probes."""
        # The summary itself is never late, however long it waited.
        self.state.started(now, cause=self._cause)
        self._cause = history.PROBE
        result, final = guard.judge(self.name, self._judge, now)
        self.state.finished(result, now, time, spread=spread, final=final)
        self._awaited = set()

    def came(self, probe: probe_module.Probe) -> None:
        """A probe was added."""
        if self.state.running:
            self._awaited.add(probe)

    def gone(self, probe: probe_module.Probe) -> None:
        """A probe was removed."""
        self._awaited.discard(probe)

    def took(self, probe: probe_module.Probe) -> None:
        """A probe was judged."""
        if probe.state.cause != history.PROBE:
            self._cause = probe.state.cause
        if probe.state.settled:
            self._awaited.discard(probe)

    def tell(self, now: float) -> None:
        """Judge soon after a change, but at most once a second.

        A thousand probes can change at once.
        """
        soon = max(now, self._told_at + 1.0)
        if not self.state.running and soon < self.state.due_at:
            self.state.due_at = self._told_at = soon

    def excuse(self, seconds: float) -> None:
        """Do not count time in which nothing could run."""
        if self.state.running:
            self.state.excuse(seconds)
            self._until += seconds
