# SPDX-License-Identifier: Apache-2.0

"""A round: every target is visited once more, on request."""

from __future__ import annotations

from collections.abc import Hashable
from collections.abc import Mapping
import math

SHARED_FOR = 1.0
"""Seconds for which one round answers all requests: at most one round begins
in that time."""


class Round:
    """The visits that a round still waits for. Owned by the scheduler.

    :param timeout: seconds after which it stops waiting
    :ivar refreshed_at: when the last finished round began
    :ivar ends_at: when the current round ends at the latest
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._began_at = -math.inf
        self._awaited: dict[Hashable, int] = {}
        self.refreshed_at: float | None = None
        self.ends_at = math.inf

    def begin(self, now: float, running: Mapping[Hashable, bool]) -> bool:
        """Begin a round; False if the last one is recent enough.

        :param running: all targets, and whether each is being visited now
        """
        if now - self._began_at < SHARED_FOR:
            return False
        self._began_at = now
        self.ends_at = now + self._timeout
        # A running visit may have checked already what the caller asks
        # about, so another one follows it.
        self._awaited = {one: 1 + visited
                         for one, visited in running.items()}
        return True

    def came(self, one: Hashable, visited: bool = False) -> None:
        """Add a target, or a probe of one.

        :param visited: whether a visit is running now, which does not count
        """
        if self.ends_at < math.inf:
            self._awaited[one] = max(self._awaited.get(one, 0), 1 + visited)

    def gone(self, one: Hashable | None) -> None:
        """Remove a target; None for none."""
        self._awaited.pop(one, None)

    def finished(self, one: Hashable) -> bool:
        """Note the end of a visit; True if another one has to follow."""
        if one not in self._awaited:
            return False
        self._awaited[one] -= 1
        if self._awaited[one]:
            return True
        del self._awaited[one]
        return False

    def is_over(self, now: float) -> bool:
        """Whether the round has just ended; True once for each round."""
        if self.ends_at == math.inf or (self._awaited and now < self.ends_at):
            return False
        self.refreshed_at = self._began_at
        self.ends_at = math.inf
        self._awaited = {}
        return True
