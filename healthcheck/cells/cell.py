# SPDX-License-Identifier: Apache-2.0

"""A cell: the probes of its backends, and what is known of it.

The scheduler's thread owns it; only frozen data leaves it.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from oslo_log import log as logging

from healthcheck.cells import mappings
from healthcheck.probing import changelog
from healthcheck.probing import probe as probe_module
from healthcheck.reports import report

LOG = logging.getLogger(__name__)

BAD_MAPPING = 'BAD MAPPING'
DISABLED = 'DISABLED'
NOT_PROBED = 'NOT PROBED'

DATABASE, MESSAGE_QUEUE = 'DATABASE', 'MESSAGE QUEUE'

Component = report.Component
Probe = probe_module.Probe
Status = report.Status

# The worst first. Unknown is worse than slow.
_RANK = {Status.FAIL: 0, None: 1, Status.WARN: 2, Status.PASS: 3}


@dataclasses.dataclass(frozen=True, slots=True)
class CellState:
    """What is known of a cell at one moment.

    :param enabled: whether it is probed
    :param up: None while unknown
    :param settled: whether this is confirmed; a first failure is not
    :param counting: whether its services could be counted; None if they are
        not counted
    :param counted: the last count
    """

    component: Component
    is_cell0: bool
    enabled: bool
    up: bool | None
    settled: bool
    counting: Component | None = None
    counted: Any = None


def known(probe: Probe, now: float) -> Component:
    """What is known of a probe, without a name."""
    state, result = probe.state, probe.state.result
    if result is None:
        return Component('', None, NOT_PROBED)
    status, reason = state.status, result.reason
    if status is not Status.FAIL and now >= state.stale_at:
        # A failure stays one, as for a check: there is no sign that the
        # backend is well.
        status, reason = None, report.STALE
    elif not state.settled:
        status = None
    detail = result.detail
    if state.evidence is not None:
        detail = f'{state.evidence.calls:,} calls in place of a probe'
    return Component('', status, reason, detail, state.latency)


class Cell:
    """A cell, the probes of its backends, and what was last logged of it.

    :param title: its name for admins
    :param inherited: what was known of it before; valid until it is settled
    :ivar fault: why it can have no backends; empty if it has some
    :ivar backends: the probes of its backends, by label
    :ivar counting: the probe that counts its services, if they are counted
    """

    def __init__(self, mapping: mappings.Mapping, title: str,
                 inherited: Component | None) -> None:
        self.mapping = mapping
        self.title = title
        self.fault = ''
        self.backends: dict[str, Probe] = {}
        self.counting: Probe | None = None
        self._inherited: Component | None = None
        self._status: Status | None = None
        self._since: float | None = None
        self._counted: Any = None
        self._last = Component(title, None)
        self._until = -math.inf
        self._said = changelog.Said()
        if inherited is not None and inherited.status is not None:
            self._inherited = dataclasses.replace(inherited, name=title)
            self._status, self._since = inherited.status, inherited.since
            self._said.is_news(None, inherited.status, inherited.reason)

    @property
    def probes(self) -> list[Probe]:
        counting = [] if self.counting is None else [self.counting]
        return [*self.backends.values(), *counting]

    def state(self, now: float) -> CellState:
        component = self._known(now)
        # An unconfirmed failure that has gone stale is not settled either.
        settled = all(one.state.settled and not (
            one.failed and now >= one.state.stale_at)
            for one in self.backends.values())
        up: bool | None = None
        if component.status is not None:
            up = component.status is not Status.FAIL
        counting, counted = None, None
        if self.counting is not None:
            counting = known(self.counting, now)
            counted = self.counting.value
        return CellState(
            component, self.mapping.is_cell0, not component.disabled, up,
            settled or component.status is not None, counting, counted)

    def noted(self, now: float, time: float, judged: Probe | None = None, *,
              quiet: bool = False) -> bool:
        """Note what a visit has changed; False if nothing.

        :param judged: the probe that was judged; None for any of them
        :param quiet: whether another line already reports the failure
        """
        if judged is None or judged is not self.counting:
            self._until = -math.inf
        component = self._known(now)
        counted = None if self.counting is None else (
            self.counting.value, self.counting.state.status)
        before = self._status
        news = component.status is not before or counted != self._counted
        self._counted = counted
        if component.status is not before:
            self._status, self._since = component.status, time
            self._last = dataclasses.replace(component, since=time)
        if not quiet or component.status is Status.PASS:
            self._tell(component, before)
        return news

    def _known(self, now: float) -> Component:
        """The component, which changes with a visit or when one is stale."""
        if now >= self._until:
            self._last = self._component(now)
            self._until = min((one.state.stale_at
                               for one in self.backends.values()
                               if one.state.stale_at > now),
                              default=math.inf)
        return self._last

    def _component(self, now: float) -> Component:
        if self.fault:
            return Component(self.title, Status.FAIL, BAD_MAPPING,
                             self.fault, since=self._since)
        if self.mapping.disabled:
            return Component(self.title, None, DISABLED, since=self._since,
                             disabled=True)
        found = [(label, known(one, now))
                 for label, one in self.backends.items()]
        label, worst = min(found, key=lambda one: _RANK[one[1].status])
        if self._inherited is not None:
            if worst.status is None and not all(
                    one.state.settled for one in self.backends.values()):
                return self._inherited
            self._inherited = None
        reason = worst.reason
        if worst.status is not Status.PASS:
            reason = f'{label}: {reason}'
        return Component(
            self.title, worst.status, reason,
            '; '.join(f'{label.lower()}: {one.detail}'
                      for label, one in found if one.detail),
            max((one.latency for _, one in found
                 if one.latency is not None), default=None), self._since)

    def _tell(self, component: Component, before: Status | None) -> None:
        """Log each change of status, and each reason for it once.

        A pass is logged only after a line about a failure or a warning.
        """
        status = component.status
        if status is None:
            return
        complained = self._said.any
        news = self._said.is_news(before, status, component.reason)
        if complained if status is Status.PASS else news:
            log = LOG.info if status is Status.PASS else LOG.warning
            log('Healthcheck cell %(cell)s is %(status)s: %(reason)s'
                '%(detail)s',
                {'cell': self.title, 'reason': component.reason,
                 'status': {Status.PASS: 'up', Status.FAIL: 'down'}.get(
                     status, 'up, with a warning'),
                 'detail': component.detail and f': {component.detail}'})
