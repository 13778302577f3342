# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""What was found: frozen data, no I/O, no clock of its own.

A probe returns a :class:`Result`. A check turns results into a
:class:`CheckReport`, the checks of a process make a :class:`Report`, and
whoever reads a report judges it at the time of reading: the age of a result
is only known then, so a dead prober can never keep a node green.

All times called ``*_at`` and ``now`` are seconds of a monotonic clock; all
times called ``time`` are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import enum
import math

OK = 'OK'
STALE = 'STALE'
STARTING = 'STARTING'


class Status(enum.IntEnum):
    """How well something is, in the order of severity.

    The words are those of draft-inadarei-api-health-check-06, section 3.
    """

    PASS = 0
    WARN = 1
    FAIL = 2

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What one run of a probe found.

    :param reason: short and fixed, fit for an anonymous caller
    :param detail: for admins and logs only; redacted by whoever made it
    """

    status: Status
    reason: str = OK
    detail: str = ''

    @classmethod
    def ok(cls) -> Result:
        return cls(Status.PASS)

    @classmethod
    def failed(cls, reason: str, detail: str = '') -> Result:
        return cls(Status.FAIL, reason, detail)


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of one check at one moment."""

    name: str
    status: Status
    line: str
    """The public line: ``OK``, a reason, or for a warning both."""
    reason: str = OK
    critical: bool = True
    stale: bool = False
    time: float | None = None

    @property
    def weight(self) -> Status:
        """What the verdict counts for the node."""
        return self.status if self.critical else min(self.status,
                                                     Status.WARN)

    def failed(self) -> Verdict:
        """The same, and out, whether the check is critical or not."""
        return dataclasses.replace(self, status=Status.FAIL, critical=True,
                                   line=self.reason)

    @classmethod
    def of(cls, name: str, status: Status, reason: str, *, label: str = '',
           critical: bool = True, stale: bool = False,
           time: float | None = None) -> Verdict:
        """Word the public line.

        A line begins with ``OK`` as long as its check does not take the
        node out: balancers that look for that word must not be fooled by a
        warning.

        :param label: what the reason is of, put in front of it
        """
        if label and reason != OK:
            reason = f'{label}: {reason}'
        line = reason
        if status is Status.PASS:
            line = OK
        elif status is Status.WARN or not critical:
            line = f'{OK} ({reason})'
        return cls(name, status, line, reason, critical, stale, time)


@dataclasses.dataclass(frozen=True, slots=True)
class CheckReport:
    """One check as it was published."""

    name: str
    status: Status
    reason: str
    detail: str
    judged_at: float
    """When the last verdict was reached, not when it was published."""
    ttl: float
    time: float
    label: str = ''
    critical: bool = True

    @property
    def stale_at(self) -> float:
        return self.judged_at + self.ttl

    def verdict(self, now: float) -> Verdict:
        """Judge the check, its age included.

        A stale pass is a warning. A stale failure stays a failure: nothing
        has been seen that would speak for the backend.
        """
        status, reason, stale = self.status, self.reason, False
        if now >= self.stale_at:
            status, stale = max(status, Status.WARN), True
            if self.status is Status.PASS:
                reason = STALE
        return Verdict.of(self.name, status, reason, label=self.label,
                          critical=self.critical, stale=stale, time=self.time)


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """All checks of one prober, as published by one reference swap."""

    checks: tuple[CheckReport, ...]

    def changes_at(self, now: float) -> float:
        """The next time after ``now`` at which age alone changes a verdict."""
        return min((c.stale_at for c in self.checks if c.stale_at > now),
                   default=math.inf)


def judge(verdicts: Sequence[Verdict]) -> tuple[Status, list[Verdict]]:
    """The status of a node, and the verdicts on its checks that lead to it.

    The worst one counts, that on a check that is not critical as a warning
    at most. When every check that has an age is stale, the prober is dead
    and nothing is known any more: then each of them is a failure, and says
    so in its line.
    """
    judged = list(verdicts)
    aged = [verdict for verdict in judged if verdict.time is not None]
    if aged and all(verdict.stale for verdict in aged):
        judged = [verdict.failed() if verdict.stale else verdict
                  for verdict in judged]
    worst = max((verdict.weight for verdict in judged), default=Status.PASS)
    return worst, judged
