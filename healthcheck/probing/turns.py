# SPDX-License-Identifier: Apache-2.0

"""Decides which target is visited next, among those that are due and can wait.

There are three goals. Targets that answer are visited in time, however many
others hang: so targets that failed last time get at most three quarters of
the workers. All cells of a cloud may freeze together, and each is still
visited: so there are many workers. A thousand targets that answer, as at the
start, must not keep the interpreter from requests: so few visits begin at
once. A longer visit only waits for its backend, which slows nothing down.
"""

from __future__ import annotations

import collections
import math

from healthcheck.probing import watched as watched_module

Watched = watched_module.Watched

AT_ONCE = 8
"""Maximum number of visits that have just begun."""

LASTS = 0.05
"""Seconds after which a visit counts as waiting for its backend. To connect
takes a few milliseconds; :data:`AT_ONCE` times that if all connect at once."""

# The queues, in order of priority: to confirm a failure is more urgent than
# to see whether a failed target has recovered.
_WELL, _CONFIRMING, _DOWN = range(3)


class Turns:
    """The targets that wait for a visit.

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
        """Add a target that waits."""
        self._lines[_line(watched)].append(watched)

    def take(self, now: float) -> Watched | None:
        """The next target, if there is a worker for it; removes it."""
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
        """Note that its visit has begun."""
        self._visited[watched] = _line(watched)
        self._begun[watched] = now

    def ended(self, watched: Watched) -> None:
        """Note that its visit has ended."""
        self._visited.pop(watched, None)
        self._begun.pop(watched, None)

    @property
    def wakes_at(self) -> float:
        """When the mere passing of time allows another visit."""
        if any(self._lines) and len(self._begun) >= AT_ONCE:
            return next(iter(self._begun.values())) + LASTS
        return math.inf

    def _suspects(self) -> int:
        return sum(line >= _CONFIRMING for line in self._visited.values())

    def _lasts(self, now: float) -> None:
        """Drop visits that now wait for their backend from ``_begun``."""
        for watched, began in list(self._begun.items()):
            if now < began + LASTS:
                break
            del self._begun[watched]


def _line(watched: Watched) -> int:
    if not watched.suspect:
        return _WELL
    return _CONFIRMING if watched.confirming else _DOWN
