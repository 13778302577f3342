# SPDX-License-Identifier: Apache-2.0

"""Plugin ``services``: are the service's own processes up?

Who is up is read where the services beat, by their own rule. For Nova that is
the database of each cell, on the visits of the watch that ``cells`` uses too;
for Cinder and Neutron it is the service's one database.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import functools
import time

import sqlalchemy

from healthcheck.cells import cell as cell_module
from healthcheck.cells import fleet
from healthcheck.cells import look
from healthcheck.cells import member
from healthcheck.config import views
from healthcheck import exceptions
from healthcheck.plugins import base
from healthcheck.plugins import database
from healthcheck.plugins import heartbeats
from healthcheck.plugins import service_tables
from healthcheck.plugins import services_rules
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
    """Counts who is up, by the rule of the service."""

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
        count: Count = functools.partial(
            heartbeats.count, table=table, down_time=down_time)
        self._looks: _Cells | _Database = (
            _Cells(self, count) if service == 'nova'
            else _Database(self, count))

    def probe(self) -> Result:
        return self._looks.probe()

    def overdue(self) -> tuple[str, str]:
        return self._looks.overdue() or super().overdue()

    def hurry(self) -> None:
        self._looks.hurry()

    def close(self) -> None:
        self._looks.close()

    def _service(self) -> str:
        """Whose services it looks for."""
        known: str | None = self.view.settings.services_of
        if known:
            return known
        project = self.view.project
        if project not in _TABLES:
            raise exceptions.ConfigError([
                f'services: it is not known whose services to look for; set '
                f'services_of (allowed: {", ".join(_TABLES)})'])
        return str(project)


class _Database:
    """Those of a service that has one database."""

    def __init__(self, plugin: Services, count: Count) -> None:
        self._count = count
        self._target = database.target_of(plugin)
        self._target.also = self._take
        self._found: Found | None = None
        self.overdue = self._target.overdue
        self.close = self._target.close

    def probe(self) -> Result:
        result = self._target.probe()
        if result.status is Status.FAIL:
            return result
        assert self._found is not None
        found = self._found
        problems = services_rules.judge_others(found)
        return dataclasses.replace(
            _summed_up(problems, services_rules.describe(found)),
            components=tuple(_kind(kind) for kind in found.kinds))

    def hurry(self) -> None:
        """Do nothing: each probe looks anew."""

    def _take(self, connection: sqlalchemy.Connection) -> None:
        self._found = self._count(connection)


class _Cells:
    """Those of Nova, in all of its cells."""

    def __init__(self, plugin: Services, count: Count) -> None:
        self._count = count
        self._ttl: float = plugin.view.settings.ttl
        self._member = member.Member(
            plugin.view, base.policy_of(plugin.view.settings),
            fleet.Wants(count=self._counted), lambda: plugin.news())
        self.hurry = self._member.hurry
        self.close = self._member.leave

    def probe(self) -> Result:
        try:
            state = self._member.look()
        except look.Stuck:
            return look.STUCK
        components, problems, counted = [], [], []
        for one in state.cells:
            found = self._known(one)
            if found is None:
                components.append(Component(
                    one.component.name, None, one.component.reason,
                    disabled=one.component.disabled))
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
            problems.append(Problem(UNKNOWN, 'no cell could be looked at'))
        return dataclasses.replace(
            _summed_up(problems, services_rules.describe(
                services_rules.total(counted))),
            components=tuple(components), confirmed=True, latency=0.0)

    def overdue(self) -> None:
        """The watch sees to its own connections."""

    def _known(self, one: cell_module.CellState) -> Found | None:
        counted = one.counted
        if not isinstance(counted, _Counted) or not one.up or (
                time.monotonic() - counted.at > self._ttl):
            return None
        return counted.found

    def _counted(self, connection: sqlalchemy.Connection) -> _Counted:
        return _Counted.of(self._count(connection))


@dataclasses.dataclass(frozen=True, slots=True)
class _Counted:
    """What a visit has counted; two are equal if they may mean the same.

    :param dead: of which binaries none is up
    :param at: when, in monotonic seconds
    """

    dead: frozenset[str]
    skewed: bool
    found: Found = dataclasses.field(compare=False)
    at: float = dataclasses.field(compare=False)

    @classmethod
    def of(cls, found: Found) -> _Counted:
        return cls(frozenset(kind.binary for kind in found.kinds
                             if not kind.up), found.skewed, found,
                   time.monotonic())


def _summed_up(problems: Sequence[Problem], well: str) -> Result:
    """The worst problem first, with all that there are of it."""
    for problem in sorted(problems, key=_is_warning):
        same = [one.detail for one in problems
                if one.reason == problem.reason]
        return Result(_status(problem), problem.reason, '; '.join(same))
    return Result(Status.PASS, detail=well)


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
