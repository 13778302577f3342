# SPDX-License-Identifier: Apache-2.0

"""What real traffic saw of targets, and how that changes visits.

Two rules hold everywhere. Traffic never fails a target: a failed call sets off
a visit, and the visit decides. Traffic never keeps a target passing for longer
than a visit would have: evidence is as old as the call that it comes from.
"""

from __future__ import annotations

from collections.abc import Collection
import dataclasses
import hashlib
import math
from typing import Protocol

TICK = 0.15
"""Seconds between two readings of the evidence. A failed call sets off a visit
within that time."""

PAUSE = 1.0
"""Minimum number of seconds between two visits to a target that traffic sets
off."""


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """What traffic saw of one target. Times are monotonic seconds.

    :param answered_at: when the last answered call began
    :param wrote_at: when the last call that changed data began
    :param failed_at: when a call last failed in a way that can be the
        target's fault
    :param calls: number of answered calls, of all running processes
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
    """What the processes of a host saw. Used by one thread."""

    def look(self, now: float) -> Collection[int]:
        """Read what is new.

        :return: the marks under which calls failed since the last look
        """

    def seen(self, marks: Collection[int]) -> Seen:
        """What was seen under these marks together."""

    def errors(self) -> int:
        """Number of requests so far that ended in a fault of the service.

        Only requests that auth_token vouched for count.
        """


def mark(name: str) -> int:
    """The number under which evidence is kept.

    It is a digest of eight bytes, so evidence reveals no host name.

    :param name: a backend's address or a check's name
    """
    return int.from_bytes(hashlib.blake2b(name.encode(
        errors='surrogateescape'), digest_size=8).digest(), 'little')


def check_mark(name: str) -> int:
    """The mark of what functions observe for a check."""
    return mark(f'check {name}')


class Suspicion:
    """Limits how often traffic may set off a visit to one target.

    The pause is ``PAUSE`` seconds. It doubles after each visit that finds no
    fault, up to the interval of regular visits.
    """

    def __init__(self) -> None:
        self._pause = PAUSE
        self._raised_at = -math.inf

    def raised(self, now: float, interval: float) -> bool:
        """Ask for a visit; False if the last one was too recent.

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
        """Note that a visit has found a fault, so traffic was right."""
        self._pause = PAUSE
