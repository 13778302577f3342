# SPDX-License-Identifier: Apache-2.0

"""Plugin ``services``: are the service's own processes up?

It reads their heartbeats and applies the service's own rule. Nova keeps them
in the database of each cell, Cinder and Neutron in their one database. The
plugin shares visits with ``cells`` and ``database``.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import functools
import time
from typing import Any

import sqlalchemy

from healthcheck.cells import cell as cell_module
from healthcheck.cells import inventory
from healthcheck.config import views
from healthcheck import exceptions
from healthcheck.plugins import base
from healthcheck.plugins import cells
from healthcheck.plugins import database
from healthcheck.plugins import heartbeats
from healthcheck.plugins import service_tables
from healthcheck.plugins import services_rules
from healthcheck.probing import check as check_module
from healthcheck.probing import target as target_module
from healthcheck.reports import report

UNKNOWN = 'SERVICES UNKNOWN'

Component = report.Component
Found = heartbeats.Found
Problem = services_rules.Problem
Result = report.Result
Status = report.Status

_TABLES = {'nova': service_tables.NOVA, 'cinder': service_tables.CINDER,
           'neutron': service_tables.NEUTRON}

Count = Callable[[sqlalchemy.Connection], Found]


class Services(base.ProbePlugin):
    """Counts the services that are up, by the rule of the service."""

    name = 'services'

    def set_up(self) -> None:
        service = self._service()
        table = _TABLES[service]
        option = functools.partial(views.service_option, self.view, None)
        if service == 'nova' and option('servicegroup_driver') == 'mc':
            raise exceptions.ConfigError([
                'services: with servicegroup_driver = mc Nova\'s services do '
                'not beat in the database; take services out of backends'])
        try:
            down_time = table.down_time(option)
        except ValueError as exc:
            raise exceptions.ConfigError([
                f'services: {table.option} or report_interval of the service '
                f'is not valid: {exc} (allowed: a number of seconds)',
            ]) from None
        self.view.note('services of', (service, down_time))
        self._count: Count = functools.partial(
            heartbeats.count, table=table, down_time=down_time)
        self._cells = (inventory.Sources.of(self.view, self.policy)
                       if service == 'nova' else None)
        self._database = (database.target_of(self)
                          if service != 'nova' else None)

    def check(self, name: str,
              common: dict[str, Any]) -> check_module.Check:
        if self._cells is None:
            assert self._database is not None
            return check_module.Single(
                name, self._database, self.policy,
                target_module.Question(self._ask_database), label=self.label)
        found = cells.inventory_of(self._cells, common)
        found.count = target_module.Question(self._ask_cell)
        return check_module.Summary(
            name, found, lambda now: (self.judge(found.state(now), now),
                                      True), self.policy, label=self.label)

    def _ask_database(self, connection: sqlalchemy.Connection,
                      ) -> target_module.Answer:
        """Count the services in the one database of Cinder or Neutron."""
        found = self._count(connection)
        problems = services_rules.judge_others(found)
        return target_module.Answer(dataclasses.replace(
            _summed_up(problems, services_rules.describe(found)),
            components=tuple(_kind(kind) for kind in found.kinds)))

    def _ask_cell(self, connection: sqlalchemy.Connection,
                  ) -> target_module.Answer:
        return target_module.Answer(
            Result.ok(), Counted.of(self._count(connection)))

    def judge(self, state: inventory.InventoryState, now: float) -> Result:
        """Judge the services in all cells of Nova."""
        components, problems, counted = [], [], []
        for one in state.cells:
            found = self._known(one, now)
            if found is None:
                components.append(_uncounted(one))
                continue
            counted.append(found)
            wrong = services_rules.judge_nova(found, cell0=one.is_cell0)
            problems += [dataclasses.replace(
                each, detail=f'{one.component.name}: {each.detail}')
                for each in wrong]
            components.append(_component(one.component.name, wrong,
                                         services_rules.describe(found)))
        if not counted and any(one.enabled for one in state.cells) or (
                not state.listed):
            problems.append(Problem(UNKNOWN, 'no services could be counted'))
        return dataclasses.replace(
            _summed_up(problems, services_rules.describe(
                services_rules.total(counted))),
            components=tuple(components), latency=0.0)

    def _known(self, one: cell_module.CellState, now: float) -> Found | None:
        counted = one.counted
        if not isinstance(counted, Counted) or not one.up or (
                one.counting is None
                or one.counting.status is Status.FAIL
                or now - counted.at > self.view.settings.ttl):
            return None
        return counted.found

    def _service(self) -> str:
        """The project whose services it counts."""
        known: str | None = self.view.settings.services_of
        if known:
            return known
        project = self.view.project
        if project not in _TABLES:
            raise exceptions.ConfigError([
                f'services: it is not known which services to count; set '
                f'services_of (allowed: {", ".join(_TABLES)})'])
        return str(project)


@dataclasses.dataclass(frozen=True, slots=True)
class Counted:
    """What a visit has counted; two are equal if their verdict is the same.

    :param dead: the binaries of which none is up
    :param at: when, in monotonic seconds
    """

    dead: frozenset[str]
    skewed: bool
    found: Found = dataclasses.field(compare=False)
    at: float = dataclasses.field(compare=False)

    @classmethod
    def of(cls, found: Found) -> Counted:
        return cls(frozenset(kind.binary for kind in found.kinds
                             if not kind.up), found.skewed, found,
                   time.monotonic())


def _summed_up(problems: Sequence[Problem], well: str) -> Result:
    """The worst problem, with the details of all problems of that kind."""
    for problem in sorted(problems, key=_is_warning):
        same = [one.detail for one in problems
                if one.reason == problem.reason]
        return Result(_status(problem), problem.reason, '; '.join(same))
    return Result(Status.PASS, detail=well)


def _uncounted(one: cell_module.CellState) -> Component:
    """A cell whose services could not be counted, and why."""
    if one.up and one.counting is not None:
        return dataclasses.replace(one.counting, name=one.component.name,
                                   status=None)
    return Component(one.component.name, None, one.component.reason,
                     disabled=one.component.disabled)


def _component(name: str, problems: Sequence[Problem],
               detail: str) -> Component:
    for problem in sorted(problems, key=_is_warning):
        if problem.detail not in detail:
            detail = f'{detail}; {problem.detail}'
        return Component(name, _status(problem), problem.reason, detail)
    return Component(name, Status.PASS, detail=detail)


def _kind(kind: heartbeats.Kind) -> Component:
    down = kind.enabled and not kind.up
    return Component(
        kind.binary, Status.FAIL if down else Status.PASS,
        services_rules.ALL_OF_A_KIND_DOWN if down else report.OK,
        services_rules.describe_kind(kind))


def _is_warning(problem: Problem) -> bool:
    return problem.reason in (services_rules.CLOCK_SKEW, UNKNOWN)


def _status(problem: Problem) -> Status:
    return Status.WARN if _is_warning(problem) else Status.FAIL
