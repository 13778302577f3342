# SPDX-License-Identifier: Apache-2.0

"""Decides which target is visited next, among those that are due and can wait.

There are three goals. Targets that answer are visited in time, however many
others hang: so targets that failed last time get at most three quarters of
the workers. All cells of a cloud may freeze together, and each is still
visited: so there are many workers. A thousand targets that answer, as at the
start, must not keep the interpreter from requests: so few visits begin at
once. A longer visit only waits for its backend, which slows nothing down.

Those that answer quickly go on a tour together, see ``visits.py``. One tour
at a time is enough, as long as none of them is late.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
import math

from healthcheck.probing import watched as watched_module

Watched = watched_module.Watched

AT_ONCE = 8
"""Maximum number of visits that have just begun; a tour counts as one."""

LASTS = 0.05
"""Seconds after which a visit counts as waiting for its backend. To connect
takes a few milliseconds; :data:`AT_ONCE` times that if all connect at once."""

TOO_LONG = 0.1
"""Seconds after which a target waits no more for others on its tour."""

ON_TOUR = 20
"""Maximum number of targets on a tour."""

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
        self._on_tour: set[Watched] = set()
        self._resumes_at = math.inf

    def put(self, watched: Watched) -> None:
        """Add a target that waits."""
        self._lines[_line(watched)].append(watched)

    def take(self, now: float) -> Sequence[Watched]:
        """The next targets, for one thread; removes them.

        :return: more than one only if all are quick; none if none can be
            visited now
        """
        self._lasts(now)
        self._resumes_at = math.inf
        free = self._workers - len(self._visited)
        if free <= 0 or len(self._begun) >= AT_ONCE:
            return []
        for number, line in enumerate(self._lines):
            if not line or (number >= _CONFIRMING
                            and self._suspects() >= self._for_suspects):
                continue
            if self._on_tour and _is_early(line[0], now):
                self._resumes_at = line[0].due_at
                continue
            taken = [line.popleft()]
            while taken[0].quick and line and line[0].quick and (
                    len(taken) < min(free, ON_TOUR)):
                taken.append(line.popleft())
            return taken
        return []

    def began(self, taken: Sequence[Watched], now: float) -> None:
        """Note that a thread visits these, one after the other."""
        for watched in taken:
            self._visited[watched] = _line(watched)
            if watched.quick:
                self._on_tour.add(watched)
        # As long as one of them goes on, so does the thread.
        self._begun[taken[-1]] = now

    def ended(self, watched: Watched) -> None:
        """Note that its visit has ended."""
        self._visited.pop(watched, None)
        self._begun.pop(watched, None)
        self._on_tour.discard(watched)

    @property
    def wakes_at(self) -> float:
        """When the mere passing of time allows another visit."""
        if any(self._lines) and len(self._begun) >= AT_ONCE:
            return next(iter(self._begun.values())) + LASTS
        return self._resumes_at

    def _suspects(self) -> int:
        return sum(line >= _CONFIRMING for line in self._visited.values())

    def _lasts(self, now: float) -> None:
        """Drop visits that now wait for their backend from ``_begun``."""
        for watched, began in list(self._begun.items()):
            if now < began + LASTS:
                break
            del self._begun[watched]


def _is_early(watched: Watched, now: float) -> bool:
    """Whether it is quick and not due yet.

    While it waited, it may have been removed, or visited for another reason.
    """
    return bool(watched.quick and watched.probes and watched.visit is None
                and watched.due_at > now)


def _line(watched: Watched) -> int:
    if not watched.suspect:
        return _WELL
    return _CONFIRMING if watched.confirming else _DOWN
