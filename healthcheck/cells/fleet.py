# SPDX-License-Identifier: Apache-2.0

"""The cells as the API database lists them now.

Owned by one thread; what leaves it is frozen.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import time as time_module
from typing import Any

import sqlalchemy

from healthcheck.cells import cell as cell_module
from healthcheck.cells import mappings
from healthcheck import exceptions
from healthcheck.probing import check as check_module
from healthcheck.probing import intake
from healthcheck.reports import lines
from healthcheck.reports import report
from healthcheck.targets import database_target
from healthcheck.targets import dialects
from healthcheck.targets import queue_target

Backend = cell_module.Backend
Cell = cell_module.Cell
Component = report.Component
Count = Callable[[sqlalchemy.Connection], Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Sources:
    """Where cells are found, and how their backends are reached.

    :param service: the service's configuration, for oslo.messaging
    :param api_url: of the API database
    :param api_option: where that URL comes from
    :param templates: what fills the URLs of the mappings
    :param tolerance: what counts as a database that is well
    :param policy: how each backend is probed
    :param bound: seconds that a driver may wait
    """

    service: Any
    api_url: str = dataclasses.field(repr=False)
    api_option: str
    templates: mappings.Templates
    tolerance: dialects.Tolerance
    policy: check_module.Policy
    bound: float


@dataclasses.dataclass(frozen=True, slots=True)
class Wants:
    """What somebody wants to know of the cells.

    :param queues: whether their message queues are looked at
    :param count: run on each of their databases, on a visit that finds it
        well; what it gives is kept
    """

    queues: bool = False
    count: Count | None = None


class Fleet:
    """All cells, and the database that lists them.

    :ivar rows: the last list; None as long as there has been none
    :ivar api: the database that lists them
    """

    def __init__(self, sources: Sources, clock: Callable[[], float],
                 wall_clock: Callable[[], float] = time_module.time) -> None:
        self._sources = sources
        self._clock = clock
        self._wall_clock = wall_clock
        self._cells: dict[str, Cell] = {}
        self._wants = Wants()
        self._before: dict[str, Component] = {}
        self.rows: list[mappings.Mapping] | None = None
        self.api = self._make_api()

    @property
    def listed(self) -> bool:
        return self.rows is not None

    def states(self) -> tuple[cell_module.CellState, ...]:
        now = self._clock()
        return tuple(cell.state(now) for cell in self._cells.values())

    def backends(self) -> Iterator[Backend]:
        """All that there are, the API database first."""
        yield self.api
        for cell in self._cells.values():
            yield from cell.backends

    def inherit(self, components: Sequence[Component]) -> None:
        """Take what another process has found of cells not known here."""
        self._before = {one.name: one for one in components
                        if not one.disabled}

    def want(self, wants: Wants) -> tuple[list[Backend], list[Backend]]:
        """Have other things looked at; see :meth:`follow`."""
        self._wants = wants
        return self.follow(self.rows) if self.rows is not None else ([], [])

    def follow(self, rows: Sequence[mappings.Mapping],
               ) -> tuple[list[Backend], list[Backend]]:
        """Take a list of mappings.

        :return: the backends that have come, and those that have gone
        """
        self.rows = list(rows)
        before, self._cells = self._cells, {}
        named = collections.Counter(row.title for row in rows)
        come: list[Backend] = []
        gone: list[Backend] = []
        for row in rows:
            title = row.title
            if named[title] > 1 and row.name:
                title = f'{title} ({row.uuid})'
            cell = before.pop(row.uuid, None)
            if cell is None or (cell.mapping, cell.title) != (row, title) or (
                    not self._as_wanted(cell)):
                gone += cell.backends if cell else []
                cell = self._make(row, title, cell)
                come += cell.backends
                if cell.fault:
                    cell.noted(self._clock(), self._wall_clock())
            for backend in cell.backends:
                self._have_counted(backend)
            self._cells[row.uuid] = cell
        for cell in before.values():
            gone += cell.backends
        self._before = {}
        return come, gone

    def forget(self) -> list[Backend]:
        """Forget all cells; return what there was, to be closed."""
        gone = list(self.backends())
        self._cells, self.rows, self._before = {}, None, {}
        self.api = self._make_api()
        return gone

    def _make_api(self) -> Backend:
        sources = self._sources
        backend = Backend('API DATABASE', database_target.DatabaseTarget(
            sources.api_url, option=sources.api_option, bound=sources.bound,
            tolerance=sources.tolerance), sources.policy, cell=None)
        _keep(backend, mappings.read)
        return backend

    def _make(self, row: mappings.Mapping, title: str,
              before: Cell | None) -> Cell:
        inherited = self._before.get(title)
        if before is not None and not before.mapping.disabled:
            inherited = before.state(self._clock()).component
        cell = Cell(row, title, self._wants.queues, inherited)
        if not row.disabled:
            try:
                cell.backends = list(self._make_backends(cell))
            except mappings.BadMapping as exc:
                cell.fault = str(exc)
            except exceptions.ConfigError as exc:
                cell.fault = '; '.join(exc.problems)
            except BaseException as exc:
                # Whatever a driver says to its URL; its text may quote it.
                cell.fault = lines.kind_of(exc)
            cell.fault = lines.one(cell.fault, intake.MAX_DETAIL)
        return cell

    def _make_backends(self, cell: Cell) -> Iterator[Backend]:
        """:raises mappings.BadMapping: or ConfigError; without a secret"""
        sources = self._sources
        yield Backend(cell_module.DATABASE, database_target.DatabaseTarget(
            sources.templates.database(cell.mapping),
            option='database_connection', bound=sources.bound,
            tolerance=sources.tolerance), sources.policy, cell)
        if self._wants.queues and mappings.has_queue(cell.mapping):
            yield Backend(cell_module.MESSAGE_QUEUE, queue_target.QueueTarget(
                sources.service, sources.templates.transport(cell.mapping),
                option='transport_url', bound=sources.bound), sources.policy,
                cell)

    def _as_wanted(self, cell: Cell) -> bool:
        return cell.queue_wanted or not self._wants.queues

    def _have_counted(self, backend: Backend) -> None:
        if backend.label == cell_module.DATABASE:
            _keep(backend, self._wants.count)


def _keep(backend: Backend, count: Count | None) -> None:
    """Have a visit to a database bring what ``count`` gives."""
    def also(connection: sqlalchemy.Connection) -> None:
        assert count is not None
        backend.found = count(connection)
    target = backend.target
    assert isinstance(target, database_target.DatabaseTarget)
    target.also = also if count is not None else None
