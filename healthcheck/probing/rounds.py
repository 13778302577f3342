# SPDX-License-Identifier: Apache-2.0

"""A round: every target visited once more, because somebody asked for it."""

from __future__ import annotations

from collections.abc import Hashable
from collections.abc import Mapping
import math

SHARED_FOR = 1.0
"""Seconds for which a round answers everybody who asks: there is at most one
in that time, however many ask."""


class Round:
    """Which visits a round still waits for. Owned by the scheduler.

    :param timeout: seconds after which it waits no more
    :ivar refreshed_at: when the last round that is over began
    :ivar ends_at: until when the present one may last
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._began_at = -math.inf
        self._awaited: dict[Hashable, int] = {}
        self.refreshed_at: float | None = None
        self.ends_at = math.inf

    def begin(self, now: float, running: Mapping[Hashable, bool]) -> bool:
        """Begin a round; False if the last one is still good enough.

        :param running: all that there is to visit, and whether there is a
            visit now
        """
        if now - self._began_at < SHARED_FOR:
            return False
        self._began_at = now
        self.ends_at = now + self._timeout
        # A visit that goes on may have passed the place of which the caller
        # wants to know: another one follows it.
        self._awaited = {one: 1 + visited
                         for one, visited in running.items()}
        return True

    def came(self, one: Hashable, visited: bool = False) -> None:
        """There is one more to visit, or more to find out on a visit.

        :param visited: whether there is a visit now, which is not for it
        """
        if self.ends_at < math.inf:
            self._awaited[one] = max(self._awaited.get(one, 0), 1 + visited)

    def gone(self, one: Hashable | None) -> None:
        """There is one less; None for none."""
        self._awaited.pop(one, None)

    def finished(self, one: Hashable) -> bool:
        """A visit is over; True if another one has to follow."""
        if one not in self._awaited:
            return False
        self._awaited[one] -= 1
        if self._awaited[one]:
            return True
        del self._awaited[one]
        return False

    def is_over(self, now: float) -> bool:
        """True once: when the round has ended."""
        if self.ends_at == math.inf or (self._awaited and now < self.ends_at):
            return False
        self.refreshed_at = self._began_at
        self.ends_at = math.inf
        self._awaited = {}
        return True
