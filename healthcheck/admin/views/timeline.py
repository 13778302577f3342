# SPDX-License-Identifier: Apache-2.0

"""What a check, and with it the node, has been, and since when.

A report tells of each change of a check's own status. That a result went
stale, and what that made of the node, is worked out here.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

from healthcheck.reports import report

Status = report.Status
Change = tuple[float, Status]
"""(seconds since the epoch, what it came to)"""


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


def changes(check: report.CheckReport, moment: Moment) -> list[Change]:
    """What a check came to, the oldest first; its age included."""
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

    None where that cannot be told: nobody notes when a file switch is
    thrown, and of each check the latest changes alone are kept.
    """
    events = [
        (time, check.name, came_to if check.critical
         else min(came_to, Status.WARN))
        for check in checks for time, came_to in changes(check, moment)]
    # When all of these were stale, the node failed, as report.judge has it.
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
