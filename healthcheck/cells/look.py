# SPDX-License-Identifier: Apache-2.0

"""Somebody who wants to know of the cells waits until enough is known."""

from __future__ import annotations

import dataclasses
import threading

from healthcheck.cells import cell as cell_module
from healthcheck.probing import check
from healthcheck.reports import report

Backend = cell_module.Backend
Component = report.Component


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    """What is known at one moment.

    :param listed: whether there has been a list of the cells
    :param api: the status, reason and detail of the database that lists
        them; status None while it is not known for good
    """

    listed: bool
    api: Component
    cells: tuple[cell_module.CellState, ...]


class Stuck(Exception):
    """The thread that looks at the cells does not answer."""


STUCK = report.Result.failed(
    check.NO_ANSWER, 'the thread that looks at the cells does not answer')


class Look:
    """Somebody waits for the state.

    :ivar awaited: how many visits of each backend are waited for
    """

    def __init__(self, anew: bool, until: float) -> None:
        self.anew = anew
        self.until = until
        self.awaited: dict[Backend, int] = {}
        self.state: State | None = None
        self.answered = threading.Event()

    def come(self, backend: Backend, visits: int = 1) -> None:
        if self.anew or not backend.check.settled:
            self.awaited[backend] = visits

    def gone(self, backend: Backend) -> None:
        self.awaited.pop(backend, None)

    def visited(self, backend: Backend) -> None:
        if backend in self.awaited:
            self.awaited[backend] -= 1
            if backend.check.settled and self.awaited[backend] <= 0:
                self.gone(backend)
