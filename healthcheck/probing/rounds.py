# SPDX-License-Identifier: Apache-2.0

"""A round: everything probed once more, because somebody asked for it."""

from __future__ import annotations

from collections.abc import Sequence
import math

from healthcheck.probing import check

SHARED_FOR = 1.0
"""Seconds for which a round answers whoever asks: there is at most one in
that time, however many ask."""


class Round:
    """Which probes a round still waits for. Owned by the scheduler.

    :param timeout: seconds after which it waits no more
    :ivar refreshed_at: when the last round that is over began
    :ivar ends_at: until when the present one may last
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._began_at = -math.inf
        self._awaited: dict[check.Check, int] = {}
        self.refreshed_at: float | None = None
        self.ends_at = math.inf

    def begin(self, now: float, checks: Sequence[check.Check]) -> bool:
        """Begin a round; False if the last one is still good enough."""
        if now - self._began_at < SHARED_FOR:
            return False
        self._began_at = now
        self.ends_at = now + self._timeout
        # A probe that runs already may have passed the place of which the
        # caller wants to know: it is followed by another one.
        self._awaited = {one: 1 + one.running for one in checks}
        return True

    def finished(self, one: check.Check) -> None:
        """A probe of the check has come back."""
        if one in self._awaited:
            self._awaited[one] -= 1
            if not self._awaited[one]:
                del self._awaited[one]

    def awaits(self, one: check.Check) -> bool:
        """Whether the check has to be probed again."""
        return one in self._awaited

    def is_over(self, now: float) -> bool:
        """True once: when the round has ended."""
        if self.ends_at == math.inf or (self._awaited and now < self.ends_at):
            return False
        self.refreshed_at = self._began_at
        self.ends_at = math.inf
        self._awaited = {}
        return True
