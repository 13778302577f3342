# SPDX-License-Identifier: Apache-2.0

"""Who is visited next, of those that are due.

Three things are to be had at once. A backend that answers is visited in time,
however many others do not: so those that were last seen not well hold three
quarters of the workers at most. All cells of a cloud may freeze together, and
have to be seen to: so there are many workers. And a thousand that answer, as
at the start, must not keep the interpreter from requests: so few visits are
begun at once. One that lasts waits for its backend and keeps nobody.
"""

from __future__ import annotations

import collections
import math

from healthcheck.cells import cell

Backend = cell.Backend

AT_ONCE = 8
"""How many visits there may be that have just begun."""

LASTS = 0.05
"""Seconds after which a visit waits for its backend. A connection is made in
some milliseconds, and :data:`AT_ONCE` times that if all do so at once."""

# The lines they wait in, the first one first. Without those that every
# request needs nothing else counts; and that a backend has failed has to be
# confirmed before others are asked whether they are back.
_NEEDED, _WELL, _CONFIRMING, _DOWN = range(4)


class Turns:
    """Gives turns.

    :param workers: how many visits there may be at a time
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._for_suspects = workers - max(1, workers // 4)
        self._lines: tuple[collections.deque[Backend], ...] = tuple(
            collections.deque() for _ in range(4))
        self._visited: dict[Backend, int] = {}
        self._begun: dict[Backend, float] = {}

    def put(self, backend: Backend) -> None:
        """Have it wait for its turn."""
        self._lines[_line(backend)].append(backend)

    def take(self, now: float) -> Backend | None:
        """Whose turn it is, if there is a worker for it."""
        self._lasts(now)
        if len(self._visited) >= self._workers or (
                len(self._begun) >= AT_ONCE):
            return None
        suspects = sum(line >= _CONFIRMING for line in self._visited.values())
        for number, line in enumerate(self._lines):
            while line and (number < _CONFIRMING
                            or suspects < self._for_suspects):
                backend = line.popleft()
                if _line(backend) <= number:
                    return backend
                # Another one of its cell has failed while it waited.
                self.put(backend)
        return None

    def began(self, backend: Backend, now: float) -> None:
        """Its visit has begun."""
        self._visited[backend] = _line(backend)
        self._begun[backend] = now

    def ended(self, backend: Backend) -> None:
        """Its visit has ended."""
        del self._visited[backend]
        self._begun.pop(backend, None)

    @property
    def wakes_at(self) -> float:
        """When somebody gets a turn for time that has passed alone."""
        if any(self._lines) and len(self._begun) >= AT_ONCE:
            return next(iter(self._begun.values())) + LASTS
        return math.inf

    def _lasts(self, now: float) -> None:
        """Forget the beginning of visits that wait for their backend."""
        for backend, began in list(self._begun.items()):
            if now < began + LASTS:
                break
            del self._begun[backend]


def _line(backend: Backend) -> int:
    if backend.needed:
        return _NEEDED
    if not backend.suspect:
        return _WELL
    return _CONFIRMING if backend.check.confirming else _DOWN
