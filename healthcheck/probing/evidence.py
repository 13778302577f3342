# SPDX-License-Identifier: Apache-2.0

"""What real traffic saw of targets, and what that means for visits.

Two rules hold everywhere. Traffic never makes a target red: a failure that it
saw sets off a visit, and the visit decides. Traffic never keeps a target green
for longer than a visit would have done: what it saw is as old as the call that
saw it.
"""

from __future__ import annotations

from collections.abc import Collection
import dataclasses
import hashlib
import math
from typing import Protocol

TICK = 0.15
"""Seconds between two looks at what traffic saw. A failure that it saw sets
off a visit within that time."""

PAUSE = 1.0
"""Seconds between two visits of a target that traffic sets off, at least."""


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """What traffic saw of one target. Times are monotonic seconds.

    :param answered_at: when the last call began that got an answer
    :param wrote_at: when the last one began that changed data
    :param failed_at: when the last one failed for a reason that can be the
        target's
    :param calls: number of calls with an answer, of all processes that run
    """

    answered_at: float = -math.inf
    wrote_at: float = -math.inf
    failed_at: float = -math.inf
    calls: int = 0

    def __or__(self, other: Seen) -> Seen:
        return Seen(max(self.answered_at, other.answered_at),
                    max(self.wrote_at, other.wrote_at),
                    max(self.failed_at, other.failed_at),
                    self.calls + other.calls)


NOTHING = Seen()


class Traffic(Protocol):
    """What the processes of a host saw. It is asked in one thread."""

    def look(self, now: float) -> Collection[int]:
        """Take note of what is new, and return where something failed.

        :return: the marks of what failed since the last look
        """

    def seen(self, marks: Collection[int]) -> Seen:
        """What was seen under these marks together."""

    def errors(self) -> int:
        """Number of requests so far that ended in a fault of the service.

        Only of those that auth_token vouched for.
        """


def mark(name: str) -> int:
    """The number under which evidence on something is kept.

    A digest of eight bytes, so what is kept tells nothing of a host.

    :param name: where a backend is, or what a check is called
    """
    return int.from_bytes(hashlib.blake2b(name.encode(
        errors='surrogateescape'), digest_size=8).digest(), 'little')


def check_mark(name: str) -> int:
    """The mark of what is observed for a check."""
    return mark(f'check {name}')


class Suspicion:
    """How often traffic may set off a visit of one target.

    Once in ``PAUSE`` seconds; and while the visits find nothing, in twice as
    many each time, up to the interval at which the target is visited anyway.
    """

    def __init__(self) -> None:
        self._pause = PAUSE
        self._raised_at = -math.inf

    def raised(self, now: float, interval: float) -> bool:
        """There is a reason for a visit; False if one was just made.

        :param interval: between two regular visits, in seconds
        """
        quiet = now - self._raised_at
        if quiet < self._pause:
            return False
        self._pause = (PAUSE if quiet > 2 * interval
                       else max(PAUSE, min(2 * self._pause, interval)))
        self._raised_at = now
        return True

    def confirmed(self) -> None:
        """A visit has found a fault: what traffic says is worth a look."""
        self._pause = PAUSE
