# SPDX-License-Identifier: Apache-2.0

"""One change of a check's status, for the log and for listeners."""

from __future__ import annotations

import dataclasses

from healthcheck.reports import report

Status = report.Status


@dataclasses.dataclass(frozen=True, slots=True)
class StateChange:
    """A check came to another status.

    :param before: None if nothing was known of it
    :param reason: short and fixed, fit for anybody
    :param detail: for admins; no secret is in it
    :param time: of the change, in seconds since the epoch
    :param lasted: for how many seconds it had been what it was before; None
        if that is not known
    :param critical: whether the check can take the node out
    :param prober: the process that has probed
    """

    check: str
    before: Status | None
    after: Status
    reason: str
    detail: str
    time: float
    lasted: float | None
    critical: bool
    prober: report.ProberProcess | None

    @classmethod
    def of(cls, check: report.CheckReport, before: Status | None,
           prober: report.ProberProcess | None) -> StateChange:
        """The change that has just made ``check`` what it is."""
        lasted = None
        history = check.history
        if (history is not None and before not in (None, check.status)
                and len(history.transitions) > 1):
            was, became = history.transitions[-2:]
            # A clock that was put back must not make it less than nothing.
            lasted = max(0.0, became.time - was.time)
        return cls(check.name, before, check.status, check.reason,
                   check.detail, check.time, lasted, check.critical, prober)

    def fields(self) -> dict[str, str | float | bool | None]:
        """The same as plain values, all but who has probed."""
        return {'check': self.check,
                'before': None if self.before is None else self.before.word,
                'after': self.after.word, 'reason': self.reason,
                'detail': self.detail, 'time': self.time,
                'lasted': self.lasted, 'critical': self.critical}

    def __str__(self) -> str:
        was = 'never run' if self.before is None else self.before.word
        detail = f' ({self.detail})' if self.detail else ''
        lasted = '' if self.lasted is None else (
            f'; it was {was} for {self.lasted:.1f} s')
        return (f'{self.check}: {was} -> {self.after.word}: {self.reason}'
                f'{detail}{lasted}')
