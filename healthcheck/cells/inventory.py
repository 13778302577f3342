# SPDX-License-Identifier: Apache-2.0

"""The cells that the API database lists now.

The scheduler's thread owns them; only frozen data leaves it.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
from typing import Any

import sqlalchemy

from healthcheck.cells import cell as cell_module
from healthcheck.cells import mappings
from healthcheck.config import databases
from healthcheck.config import messaging
from healthcheck.config import views
from healthcheck import exceptions
from healthcheck.probing import intake
from healthcheck.probing import policy as policy_module
from healthcheck.probing import probe as probe_module
from healthcheck.probing import target as target_module
from healthcheck.reports import lines
from healthcheck.reports import report
from healthcheck.targets import connected
from healthcheck.targets import database_target
from healthcheck.targets import dialects
from healthcheck.targets import queue_target

Cell = cell_module.Cell
Component = report.Component
Probe = probe_module.Probe


@dataclasses.dataclass(frozen=True, slots=True)
class Sources:
    """Where the list of cells is, and how to reach their backends.

    :param service: the service's configuration, for oslo.messaging
    :param api_url: of the API database
    :param api_option: the option that holds this URL
    :param templates: fills the URLs of the mappings
    :param tolerance: which states of a database are accepted
    :param policy: how each backend is probed
    :param bound: seconds that a driver may wait
    """

    service: Any
    api_url: str = dataclasses.field(repr=False)
    api_option: str
    templates: mappings.Templates
    tolerance: dialects.Tolerance
    policy: policy_module.Policy
    bound: float

    @classmethod
    def of(cls, view: views.View, policy: policy_module.Policy) -> Sources:
        """The sources that a section configures.

        :raises healthcheck.exceptions.ConfigError: if the API database is
            not configured correctly
        """
        option, api_url = databases.find_url(
            view, 'cells_api_connection',
            'cells, services: there is no database that lists the cells',
            [('api_database', 'connection')])
        messaging.note(view)
        made = cls(
            view.private, api_url, option, mappings.Templates(
                views.service_option(view, 'database', 'connection'),
                views.service_option(view, None, 'transport_url')),
            dialects.Tolerance.of(view.settings), policy,
            policy.timeout * connected.BOUND)
        made.database(api_url, option)  # reports a mistake in the URL now
        return made

    def database(self, url: str, option: str) -> target_module.Target:
        """:raises healthcheck.exceptions.ConfigError: without the URL"""
        return database_target.DatabaseTarget(
            url, option=option, bound=self.bound, tolerance=self.tolerance)

    def queue(self, url: str, option: str) -> target_module.Target:
        """:raises healthcheck.exceptions.ConfigError: without the URL"""
        return queue_target.QueueTarget(self.service, url, option=option,
                                        bound=self.bound)


@dataclasses.dataclass(frozen=True, slots=True)
class InventoryState:
    """What is known of all cells at one moment.

    :param listed: whether the list of cells was read at least once
    :param api: the status, reason and detail of the database that lists
        them; status None until it is confirmed
    """

    listed: bool
    api: Component
    cells: tuple[cell_module.CellState, ...]


class Inventory(probe_module.Watchlist):
    """All cells, and the database that lists them.

    :ivar queues: whether message queues are probed; set before the first
        visit
    :ivar count: makes a further question to the database of a cell; set
        before the first visit
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self.queues = False
        self.count: Callable[[Cell], target_module.Question] | None = None
        self._begin()

    def _begin(self) -> None:
        sources = self._sources
        self._cells: dict[str, Cell] = {}
        self._of: dict[Probe, Cell] = {}
        self._before: dict[str, Component] = {}
        self._rows: list[mappings.Mapping] | None = None
        self._api_status: report.Status | None = None
        self._api = Probe(
            sources.database(sources.api_url, sources.api_option),
            sources.policy, target_module.Question(_read))
        self.probes: Sequence[Probe] = [self._api]

    @property
    def subjects(self) -> Sequence[target_module.Target]:
        # Who reads the same list looks at the same cells, except for an
        # interval after a change of the list.
        return [self._api.target]

    def state(self, now: float) -> InventoryState:
        return InventoryState(
            self._rows is not None, cell_module.known(self._api, now),
            tuple(cell.state(now) for cell in self._cells.values()))

    def took(self, probe: Probe, now: float, time: float) -> bool:
        cell = self._of.get(probe)
        if cell is not None:
            return cell.noted(now, time, probe, quiet=self.quiet)
        before = self._api_status
        self._api_status = cell_module.known(probe, now).status
        news = before is not self._api_status
        if not probe.failed and probe.value != self._rows:
            self._follow(probe.value, now, time)
            news = True
        return news

    def inherit(self, components: Sequence[Component]) -> None:
        """Take what another process found of cells not known here yet."""
        self._before = {one.name: one for one in components
                        if not one.disabled}

    def forget(self) -> None:
        self._begin()

    def _follow(self, rows: list[mappings.Mapping], now: float,
                time: float) -> None:
        """Take a new list of mappings."""
        self._rows = rows
        before, self._cells = self._cells, {}
        named = collections.Counter(row.title for row in rows)
        for row in rows:
            title = row.title
            if named[title] > 1 and row.name:
                title = f'{title} ({row.uuid})'
            cell = before.get(row.uuid)
            if cell is None or (cell.mapping, cell.title) != (row, title):
                cell = self._make(row, title, cell, now)
                if cell.fault:
                    cell.noted(now, time)
            self._cells[row.uuid] = cell
        self._before = {}
        self._of = {probe: cell for cell in self._cells.values()
                    for probe in cell.probes}
        self.probes = [self._api, *self._of]

    def _make(self, row: mappings.Mapping, title: str,
              before: Cell | None, now: float) -> Cell:
        inherited = self._before.get(title)
        if before is not None and not before.mapping.disabled:
            inherited = before.state(now).component
        cell = Cell(row, title, inherited)
        if not row.disabled:
            try:
                cell.backends = dict(self._make_backends(row))
            except mappings.BadMapping as exc:
                cell.fault = str(exc)
            except exceptions.ConfigError as exc:
                cell.fault = '; '.join(exc.problems)
            except BaseException as exc:
                # A driver may raise anything, and its text may quote the URL.
                cell.fault = lines.kind_of(exc)
            cell.fault = lines.one(cell.fault, intake.MAX_DETAIL)
            if self.count is not None and not cell.fault:
                cell.counting = self._probe(
                    cell.backends[cell_module.DATABASE].target, row,
                    self.count(cell))
        return cell

    def _make_backends(self, row: mappings.Mapping,
                       ) -> Iterator[tuple[str, Probe]]:
        """:raises mappings.BadMapping: or ConfigError; without a secret"""
        sources = self._sources
        yield cell_module.DATABASE, self._probe(sources.database(
            sources.templates.database(row), 'database_connection'), row)
        if self.queues and mappings.has_queue(row):
            yield cell_module.MESSAGE_QUEUE, self._probe(sources.queue(
                sources.templates.transport(row), 'transport_url'), row)

    def _probe(self, target: target_module.Target, row: mappings.Mapping,
               question: target_module.Question | None = None) -> Probe:
        # Nova's API needs cell0.
        return Probe(target, self._sources.policy, question,
                     needed=row.is_cell0)


def _read(connection: sqlalchemy.Connection) -> target_module.Answer:
    return target_module.Answer(report.Result.ok(),
                                mappings.read(connection))
