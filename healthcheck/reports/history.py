# SPDX-License-Identifier: Apache-2.0

"""A check's past, for admins and metrics. It never affects a verdict."""

from __future__ import annotations

import bisect
import dataclasses

from healthcheck.reports import status as status_module

Status = status_module.Status

PROBE, TRAFFIC, REFRESH, FLEET = 'probe', 'traffic', 'refresh', 'fleet'
"""What set off the probe that found something: its time, a call of the
service that failed, an admin, or what other nodes found."""

_KEPT_TRANSITIONS = 20
_KEPT_LATENCIES = 60


@dataclasses.dataclass(frozen=True, slots=True)
class Transition:
    """A change to a status.

    :param time: in seconds since the epoch
    :param cause: what set off the probe that found it
    """

    time: float
    status: Status
    reason: str
    detail: str = ''
    cause: str = PROBE


BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
           30.0)
"""Upper bounds of the histogram of durations, in seconds. One more bucket
has no bound."""


@dataclasses.dataclass(frozen=True, slots=True)
class History:
    """A check's past, for admins and metrics.

    :param transitions: the last changes, the latest last
    :param last_failure: the last failure, kept after the check recovers
    :param last_passed: when a probe last succeeded, in seconds since the
        epoch
    :param latencies: of the last probes that ended, in seconds
    :param counts: probes that ended, by :data:`BUCKETS` of their duration
    :param seconds: their total duration
    :param passes: probes that succeeded, slow ones included
    :param fails: probes that failed; one that hangs counts repeatedly
    :param stand_ins: how often traffic stood in for a probe
    :param changes: number of all changes
    """

    transitions: tuple[Transition, ...] = ()
    last_failure: Transition | None = None
    last_passed: float | None = None
    latencies: tuple[float, ...] = ()
    counts: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)
    seconds: float = 0.0
    passes: int = 0
    fails: int = 0
    stand_ins: int = 0
    changes: int = 0

    def probed(self, passed: bool, latency: float, time: float) -> History:
        """A probe has ended, ``latency`` seconds after it began."""
        counts = list(self.counts)
        counts[bisect.bisect_left(BUCKETS, latency)] += 1
        return dataclasses.replace(
            self, counts=tuple(counts), seconds=self.seconds + latency,
            latencies=(*self.latencies, latency)[-_KEPT_LATENCIES:],
            last_passed=time if passed else self.last_passed,
            passes=self.passes + passed)

    def stood_in(self, time: float) -> History:
        """Traffic has shown at ``time`` what a probe would have shown."""
        return dataclasses.replace(self, last_passed=time,
                                   stand_ins=self.stand_ins + 1)

    def failed(self, transition: Transition) -> History:
        """A failure was counted."""
        return dataclasses.replace(self, last_failure=transition,
                                   fails=self.fails + 1)

    def changed(self, transition: Transition) -> History:
        """The status has changed to that of ``transition``."""
        return dataclasses.replace(
            self, transitions=(*self.transitions,
                               transition)[-_KEPT_TRANSITIONS:],
            changes=self.changes + 1)

    @property
    def since(self) -> float | None:
        """When the current status began, in seconds since the epoch."""
        return self.transitions[-1].time if self.transitions else None


class NoHistory(History):
    """In place of one that nobody reads: it stays empty."""

    __slots__ = ()

    def probed(self, passed: bool, latency: float, time: float) -> History:
        return self

    def stood_in(self, time: float) -> History:
        return self

    def failed(self, transition: Transition) -> History:
        return self

    def changed(self, transition: Transition) -> History:
        return self


NO_HISTORY = NoHistory()
