# SPDX-License-Identifier: Apache-2.0

"""A cell: its backends, and what is known of it.

Owned by one thread; what leaves it is frozen.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from oslo_log import log as logging

from healthcheck.cells import mappings
from healthcheck.probing import check as check_module
from healthcheck.probing import monitor
from healthcheck.reports import report
from healthcheck.targets import connected

LOG = logging.getLogger(__name__)

BAD_MAPPING = 'BAD MAPPING'
DISABLED = 'DISABLED'
NOT_PROBED = 'NOT PROBED'

DATABASE, MESSAGE_QUEUE = 'DATABASE', 'MESSAGE QUEUE'

Component = report.Component
Status = report.Status

# The worst first. What is not known is worse than what is slow.
_RANK = {Status.FAIL: 0, None: 1, Status.WARN: 2, Status.PASS: 3}


@dataclasses.dataclass(frozen=True, slots=True)
class CellState:
    """What is known of a cell at one moment.

    :param enabled: whether it is looked at
    :param up: None while that is not known
    :param settled: whether it is known for good: a first failure is not
    :param counted: what ``Wants.count`` gave
    """

    component: Component
    is_cell0: bool
    enabled: bool
    up: bool | None
    settled: bool
    counted: Any = None


class Backend:
    """A backend, and what is known of it.

    :param cell: whose it is; None for the database that lists the cells
    :ivar found: what the last visit has brought besides
    """

    def __init__(self, label: str, target: connected.Connected,
                 policy: check_module.Policy, cell: Cell | None) -> None:
        self.label = label
        self.target = target
        self.cell = cell
        self.check = check_module.Check(label, policy,
                                        uniform=monitor.UNIFORM)
        self.found: Any = None

    @property
    def place(self) -> Cell | Backend:
        """Where it is: at a place there is one visit at a time."""
        return self.cell or self

    @property
    def needed(self) -> bool:
        """Whether it is one of the two that Nova's API cannot do without."""
        return self.cell is None or self.cell.mapping.is_cell0

    @property
    def failed(self) -> bool:
        """Whether its last visit did not end well."""
        result = self.check.result
        return result is not None and result.status is Status.FAIL

    @property
    def suspect(self) -> bool:
        """Whether that is so of it, or of another one of its cell."""
        return self.failed or self.cell is not None and any(
            one.failed for one in self.cell.backends)

    def stale(self, now: float) -> bool:
        """Whether there is a verdict, and it is too old to hold."""
        return self.check.result is not None and now >= self.check.stale_at

    def component(self, now: float) -> Component:
        """Only status, reason, detail and latency of it count."""
        check, result = self.check, self.check.result
        if result is None:
            return Component('', None, NOT_PROBED)
        status, reason = check.status, result.reason
        if status is not Status.FAIL and self.stale(now):
            # A failure stays one, as it does for a check: nothing has been
            # seen that would speak for the backend.
            status, reason = None, report.STALE
        elif not check.settled:
            status = None
        return Component('', status, reason, result.detail, check.latency)


class Cell:
    """A cell, its backends, and what was last said of it.

    :param title: what admins know it as
    :param queue_wanted: whether its message queue was to be looked at
    :param inherited: what was known of it before; it holds until more is
    :ivar fault: why it has no backends, if it cannot have any
    """

    def __init__(self, mapping: mappings.Mapping, title: str,
                 queue_wanted: bool,
                 inherited: Component | None) -> None:
        self.mapping = mapping
        self.title = title
        self.queue_wanted = queue_wanted
        self.fault = ''
        self.backends: list[Backend] = []
        self._inherited: Component | None = None
        self._status: Status | None = None
        self._since: float | None = None
        self._counted: Any = None
        self._said: set[str] = set()
        if inherited is not None and inherited.status is not None:
            self._inherited = dataclasses.replace(inherited, name=title)
            self._status, self._since = inherited.status, inherited.since
            if inherited.status is not Status.PASS:
                self._said.add(inherited.reason)

    def state(self, now: float) -> CellState:
        component = self._component(now)
        # Nor is one that was to be confirmed, and nobody had time for.
        settled = all(one.check.settled and not (
            one.failed and one.stale(now)) for one in self.backends)
        up: bool | None = None
        if component.status is not None:
            up = component.status is not Status.FAIL
        return CellState(
            dataclasses.replace(component, since=self._since),
            self.mapping.is_cell0, not component.disabled, up,
            settled or component.status is not None, self._counted)

    def noted(self, now: float, time: float) -> bool:
        """Take note of what a visit has changed; False if nothing."""
        component = self._component(now)
        counted = next((one.found for one in self.backends
                        if one.label == DATABASE), None)
        changed = component.status is not self._status
        news = changed or counted != self._counted
        self._counted = counted
        if changed:
            self._status, self._since = component.status, time
        self._tell(component, changed)
        return news

    def _component(self, now: float) -> Component:
        if self.fault:
            return Component(self.title, Status.FAIL, BAD_MAPPING,
                             self.fault)
        if self.mapping.disabled:
            return Component(self.title, None, DISABLED, disabled=True)
        found = [(one.label, one.component(now)) for one in self.backends]
        label, worst = min(found, key=lambda one: _RANK[one[1].status])
        if self._inherited is not None:
            if worst.status is None and not all(
                    one.check.settled for one in self.backends):
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
                 if one.latency is not None), default=None))

    def _tell(self, component: Component, changed: bool) -> None:
        """Log each change of status, and each reason for it once.

        Between two times that it is well the same reason is said once, as
        the monitor does with checks. That it is well is said to those who
        were told that it was not.
        """
        log = LOG.warning
        if component.status is None:
            return
        if component.status is Status.PASS:
            if not self._said:
                return
            self._said.clear()
            log = LOG.info
        elif changed or component.reason not in self._said:
            self._said.add(component.reason)
        else:
            return
        log('Healthcheck cell %(cell)s is %(status)s: %(reason)s%(detail)s',
            {'cell': self.title, 'reason': component.reason,
             'status': {Status.PASS: 'up', Status.FAIL: 'down'}.get(
                 component.status, 'up, with a warning'),
             'detail': component.detail and f': {component.detail}'})
