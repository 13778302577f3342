# SPDX-License-Identifier: Apache-2.0

"""The past statuses of a check and of the node, and since when.

A report has each change of a check's own status. When a result went stale, and
what that meant for the node, is worked out here. So is how a document for
admins shows a time: as an object with RFC 3339, and with seconds from the
moment of reading.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
from typing import Any

from healthcheck.answers import render
from healthcheck.reports import report

Status = report.Status
Change = tuple[float, Status]
"""(seconds since the epoch, the status that began then)"""


@dataclasses.dataclass(frozen=True, slots=True)
class Moment:
    """One moment, on both clocks.

    :param now: in monotonic seconds
    :param time: in seconds since the epoch
    """

    now: float
    time: float

    def wall(self, at: float) -> float:
        """The time of a monotonic ``at``, in seconds since the epoch."""
        return self.time + (at - self.now)

    def past(self, time: float | None) -> dict[str, Any] | None:
        """A time in the past, as the wall clock read it then."""
        return None if time is None else {
            'time': render.timestamp(time), 'age_seconds': self.age(time)}

    def age(self, time: float) -> float:
        """Seconds since a time of the wall clock."""
        # Not in the future, even if the clock was set back.
        return round(max(0.0, self.time - time), 3)

    def since(self, at: float | None) -> dict[str, Any] | None:
        """A time in the past that is known on the monotonic clock."""
        return None if at is None else {
            'time': render.timestamp(self.wall(at)),
            'age_seconds': round(max(0.0, self.now - at), 3)}

    def until(self, at: float | None) -> dict[str, Any] | None:
        """A time in the future that is known on the monotonic clock."""
        return None if at is None else {
            'time': render.timestamp(self.wall(at)),
            'in_seconds': round(max(0.0, at - self.now), 3)}


def changes(check: report.CheckReport, moment: Moment) -> list[Change]:
    """The statuses of a check, the oldest first, including staleness."""
    history = check.history
    found = [(t.time, t.status) for t in history.transitions
             ] if history else []
    status = check.verdict(moment.now).status
    if found and found[-1][1] is not status:
        found.append((moment.wall(check.stale_at), status))
    return found


def node_since(status: Status, checks: Sequence[report.CheckReport],
               moment: Moment) -> float | None:
    """When the node came to ``status``, in seconds since the epoch.

    None if that is unknown: nothing records when a file switch appeared, and
    only the last changes of each check are kept.
    """
    events = [
        (time, check.name, came_to if check.critical
         else min(came_to, Status.WARN))
        for check in checks for time, came_to in changes(check, moment)]
    # When all of these were stale, the node failed; see report.judge.
    shared = [check for check in checks if not check.per_worker] or checks
    if shared and all(check.stale_at <= moment.now for check in shared):
        stale_at = max(check.stale_at for check in shared)
        events.append((moment.wall(stale_at), '', Status.FAIL))
    weights: dict[str, Status] = {}
    worst, since = None, None
    for time, name, weight in sorted(events):
        weights[name] = weight
        if max(weights.values()) is not worst:
            worst, since = max(weights.values()), time
    return since if worst is status else None
