# SPDX-License-Identifier: Apache-2.0

"""Plugin ``cells``: can the API node reach Nova's cells?

An API node stays in the balancer while one cell of many is down, and leaves
when it can do no work at all. ``healthcheck/cells`` finds and probes the
cells; this module judges what that means for the node.
"""

from __future__ import annotations

from collections.abc import Iterable
import dataclasses
import math
from typing import Any

from healthcheck.cells import cell as cell_module
from healthcheck.cells import inventory as inventory_module
from healthcheck.plugins import base
from healthcheck.probing import check as check_module
from healthcheck.probing import state as state_module
from healthcheck.reports import report

NO_LIST = 'NO LIST OF CELLS'
CRITICAL_DOWN = 'CRITICAL CELL DOWN'
API_DATABASE_DOWN = 'API DATABASE DOWN'
API_DATABASE_FAILING = 'API DATABASE FAILING'
API_DATABASE_SLOW = 'API DATABASE SLOW'
NONE_UP = 'NO CELL UP'
TOO_FEW_UP = 'TOO FEW CELLS UP'
NONE_MAPPED = 'NO CELL MAPPED'
SOME_DOWN = 'SOME CELLS DOWN'
SOME_FAILING = 'SOME CELLS FAILING'
SOME_UNKNOWN = 'SOME CELLS UNKNOWN'
SOME_SLOW = 'SOME CELLS SLOW'

CellState = cell_module.CellState
Inventory = inventory_module.Inventory
Result = report.Result
State = inventory_module.InventoryState
Status = report.Status

# Maximum number of cells that a line for admins names.
_NAMED = 5


class Cells(base.ProbePlugin):
    """Sums up what is known of the cells."""

    name = 'cells'

    def set_up(self) -> None:
        self._critical = frozenset(self.view.settings.cells_critical)
        self._min_up: str = self.view.settings.cells_min_up
        self._sources = inventory_module.Sources.of(self.view, self.policy)

    def check(self, name: str,
              common: dict[str, Any]) -> check_module.Check:
        inventory = inventory_of(self._sources, common)
        inventory.queues = True
        return check_module.Summary(
            name, inventory, lambda now: self.judge(inventory.state(now)),
            self.policy, label=self.label, inherit=inventory.inherit)

    def judge(self, state: State) -> tuple[Result, bool]:
        """(result, whether it is final) from what is known of the cells."""
        found = [one.component for one in state.cells]
        result, final = self._fault(state) or (self._warning(state), True)
        return dataclasses.replace(
            result, components=tuple(found),
            # Cells that do not answer are left out.
            latency=max((one.latency for one in found
                         if one.latency is not None and one.status in (
                             Status.PASS, Status.WARN)), default=0.0)), final

    def _fault(self, state: State) -> tuple[Result, bool] | None:
        """(the fault that takes the node out, whether it is final), or None.

        An unconfirmed state counts as a fault that is not final. So a node
        that has never passed is not reported as passing meanwhile.
        """
        api = state.api
        if not state.listed:
            return (Result.failed(NO_LIST, f'API database: {_why(api)}'),
                    api.status is Status.FAIL)
        if api.status is Status.FAIL and 'api_database' in self._critical:
            return Result.failed(API_DATABASE_DOWN, _why(api)), True
        for one in state.cells:
            if one.is_cell0 and 'cell0' in self._critical and (
                    one.up is False or not one.settled):
                return (Result.failed(CRITICAL_DOWN,
                                      f'cell0: {_why(one.component)}'),
                        one.up is False)
        cells = [one for one in state.cells
                 if one.enabled and not one.is_cell0]
        down = sum(one.up is False for one in cells)
        unsettled = sum(one.up is None and not one.settled for one in cells)
        needed = self._needed(len(cells))
        if len(cells) - down - unsettled >= needed:
            return None
        up = sum(one.up is True for one in cells)
        return (Result.failed(
            TOO_FEW_UP if up else NONE_UP,
            f'{up} of {len(cells)} cells are up, and '
            f'cells_min_up = {self._min_up}; {_named(cells)}'),
            len(cells) - down < needed)

    def _warning(self, state: State) -> Result:
        """What admins should know, the worst first."""
        api = state.api
        if api.status is Status.FAIL:
            return _warning(API_DATABASE_DOWN, 'the cells are those of its '
                            f'last list; {_why(api)}')
        if api.status is Status.WARN:
            slow = api.reason == state_module.SLOW
            return _warning(API_DATABASE_SLOW if slow
                            else API_DATABASE_FAILING, _why(api))
        cells = [one for one in state.cells if one.enabled]
        if all(one.is_cell0 for one in cells):
            return _warning(NONE_MAPPED, f'of {len(state.cells)} in the list')
        for reason, found in (
                (SOME_DOWN, [c for c in cells if c.up is False]),
                (SOME_FAILING, [c for c in cells if _warns(c, True)]),
                (SOME_UNKNOWN, [c for c in cells if c.up is None]),
                (SOME_SLOW, [c for c in cells if _warns(c, False)])):
            if found:
                return _warning(reason, f'{len(found)} of {len(cells)}: '
                                f'{_named(found)}')
        return Result(Status.PASS, detail=f'{len(cells)} up')

    def _needed(self, cells: int) -> int:
        """The number of cells that have to be up.

        It is 0 without any cell, so a new cloud stays reachable.
        """
        number = self._min_up.rstrip('%')
        if number != self._min_up:
            return math.ceil(int(number) * cells / 100)
        return min(int(number), cells)


def inventory_of(sources: inventory_module.Sources,
                 common: dict[str, Any]) -> Inventory:
    """The cells that all checks of a process share."""
    if 'cells' not in common:
        common['cells'] = Inventory(sources)
    found: Inventory = common['cells']
    return found


def _warns(one: CellState, failing: bool) -> bool:
    return one.component.status is Status.WARN and failing is not (
        one.component.reason.endswith(state_module.SLOW))


def _warning(reason: str, detail: str) -> Result:
    return Result(Status.WARN, reason, detail)


def _why(component: report.Component) -> str:
    return ': '.join(filter(None, (component.reason, component.detail)))


def _named(cells: Iterable[CellState]) -> str:
    """The first few cells that do not pass."""
    found = [f'{one.component.name} ({one.component.reason})'
             for one in cells if one.component.status is not Status.PASS]
    more = len(found) - _NAMED
    return ', '.join(found[:_NAMED]) + (f' and {more} more' if more > 0
                                        else '')
