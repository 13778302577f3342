# SPDX-License-Identifier: Apache-2.0

"""Plugin ``services``: are the service's own processes up?

It reads their heartbeats and applies the service's own rule. Nova keeps them
in the database of each cell, Cinder and Neutron in their one database. The
plugin shares visits with ``cells`` and ``database``. In a fleet, two nodes
count the services of a database, and the others take their counts.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import functools
from typing import Any

import sqlalchemy

from healthcheck.cells import cell as cell_module
from healthcheck.cells import inventory
from healthcheck.config import views
from healthcheck import exceptions
from healthcheck.plugins import base
from healthcheck.plugins import cells
from healthcheck.plugins import counts
from healthcheck.plugins import database
from healthcheck.plugins import heartbeats
from healthcheck.plugins import service_tables
from healthcheck.plugins import services_rules
from healthcheck.probing import check as check_module
from healthcheck.probing import target as target_module
from healthcheck.reports import report

UNKNOWN = 'SERVICES UNKNOWN'

Component = report.Component
Counter = counts.Counter
Problem = services_rules.Problem
Result = report.Result
Status = report.Status

_TABLES = {'nova': service_tables.NOVA, 'cinder': service_tables.CINDER,
           'neutron': service_tables.NEUTRON}


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
        self._count: counts.Count = functools.partial(
            heartbeats.count, table=table, down_time=down_time)
        self._rule = f'{service} {down_time:g}'
        self._cells = (inventory.Sources.of(self.view, self.policy)
                       if service == 'nova' else None)
        self._database = (database.target_of(self)
                          if service != 'nova' else None)

    def check(self, name: str,
              common: dict[str, Any]) -> check_module.Check:
        counter = Counter(self._count, self._rule, common.get('scans'), name,
                          lambda: check.target)
        check: check_module.Check
        if self._cells is None:
            assert self._database is not None
            check = check_module.Single(
                name, self._database, self.policy, target_module.Question(
                    functools.partial(_ask_database, counter,
                                      self._database.place)),
                label=self.label)
        else:
            found = cells.inventory_of(self._cells, common)
            found.count = functools.partial(_question, counter)
            check = check_module.Summary(
                name, found, lambda now: (self.judge(found.state(now), now),
                                          True), self.policy,
                label=self.label)
        return check

    def judge(self, state: inventory.InventoryState, now: float) -> Result:
        """Judge the services in all cells of Nova."""
        components, problems, counted = [], [], []
        for one in state.cells:
            found = self._known(one, now)
            if found is None:
                components.append(_uncounted(one))
                continue
            counted.append(found.found)
            wrong = services_rules.judge_nova(found.found,
                                              cell0=one.is_cell0)
            problems += [dataclasses.replace(
                each, detail=f'{one.component.name}: {each.detail}')
                for each in wrong]
            components.append(_component(one.component.name, wrong,
                                         found.described))
        if not counted and any(one.enabled for one in state.cells) or (
                not state.listed):
            problems.append(Problem(UNKNOWN, 'no services could be counted'))
        return dataclasses.replace(
            _summed_up(problems, services_rules.describe(
                services_rules.total(counted))),
            components=tuple(components), latency=0.0)

    def _known(self, one: cell_module.CellState,
               now: float) -> counts.Counted | None:
        counted = one.counted
        if not isinstance(counted, counts.Counted) or not one.up or (
                one.counting is None
                or one.counting.status is Status.FAIL
                or now - counted.at > self.view.settings.ttl):
            return None
        return counted

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


def _question(counter: Counter,
              cell: cell_module.Cell) -> target_module.Question:
    """Count the services in the database of a cell of Nova."""
    place = cell.backends[cell_module.DATABASE].target.place
    judge = functools.partial(services_rules.judge_nova,
                              cell0=cell.mapping.is_cell0)
    return target_module.Question(lambda connection: target_module.Answer(
        Result.ok(), counter.count(connection, place, judge)))


def _ask_database(counter: Counter, place: str,
                  connection: sqlalchemy.Connection) -> target_module.Answer:
    """Count the services in the one database of Cinder or Neutron."""
    counted = counter.count(connection, place, services_rules.judge_others)
    found = counted.found
    return target_module.Answer(dataclasses.replace(
        _summed_up(services_rules.judge_others(found), counted.described),
        components=tuple(_kind(kind) for kind in found.kinds)))


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
