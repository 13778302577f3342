# SPDX-License-Identifier: Apache-2.0

"""Who is visited next, of those that are due and can wait.

Three things have to go together. A target that answers is visited in time,
however many others do not: so targets that failed last time hold three
quarters of the workers at most. All cells of a cloud may freeze together, and
each has to be visited: so there are many workers. And a thousand that answer,
as at the start, must not keep the interpreter from requests: so few visits
begin at once. A visit that lasts waits for its backend and keeps nobody.
"""

from __future__ import annotations

import collections
import math

from healthcheck.probing import watched as watched_module

Watched = watched_module.Watched

AT_ONCE = 8
"""Maximum number of visits that have just begun."""

LASTS = 0.05
"""Seconds after which a visit waits for its backend. A connection is made in
some milliseconds, and :data:`AT_ONCE` times that if all do so at once."""

# The lines they wait in, the first one first: a failure has to be confirmed
# before others are asked whether they are back.
_WELL, _CONFIRMING, _DOWN = range(3)


class Turns:
    """Gives turns.

    :param workers: maximum number of visits at a time
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._for_suspects = workers - max(1, workers // 4)
        self._lines: tuple[collections.deque[Watched], ...] = tuple(
            collections.deque() for _ in range(3))
        self._visited: dict[Watched, int] = {}
        self._begun: dict[Watched, float] = {}

    def put(self, watched: Watched) -> None:
        """Have it wait for its turn."""
        self._lines[_line(watched)].append(watched)

    def take(self, now: float) -> Watched | None:
        """Whose turn it is, if there is a worker for it."""
        self._lasts(now)
        if len(self._visited) >= self._workers or (
                len(self._begun) >= AT_ONCE):
            return None
        for number, line in enumerate(self._lines):
            if line and (number < _CONFIRMING
                         or self._suspects() < self._for_suspects):
                return line.popleft()
        return None

    def began(self, watched: Watched, now: float) -> None:
        """Its visit has begun."""
        self._visited[watched] = _line(watched)
        self._begun[watched] = now

    def ended(self, watched: Watched) -> None:
        """Its visit has ended."""
        self._visited.pop(watched, None)
        self._begun.pop(watched, None)

    @property
    def wakes_at(self) -> float:
        """When somebody gets a turn for time that has passed alone."""
        if any(self._lines) and len(self._begun) >= AT_ONCE:
            return next(iter(self._begun.values())) + LASTS
        return math.inf

    def _suspects(self) -> int:
        return sum(line >= _CONFIRMING for line in self._visited.values())

    def _lasts(self, now: float) -> None:
        """Forget the beginning of visits that wait for their backend."""
        for watched, began in list(self._begun.items()):
            if now < began + LASTS:
                break
            del self._begun[watched]


def _line(watched: Watched) -> int:
    if not watched.suspect:
        return _WELL
    return _CONFIRMING if watched.confirming else _DOWN
