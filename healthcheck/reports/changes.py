# SPDX-License-Identifier: Apache-2.0

"""One change of a check's status, for the log and for listeners."""

from __future__ import annotations

import dataclasses

from healthcheck.reports import history as history_module
from healthcheck.reports import report

Status = report.Status


@dataclasses.dataclass(frozen=True, slots=True)
class StateChange:
    """A check has changed its status.

    :param before: None if there was no result yet
    :param reason: short and fixed, fit for everybody
    :param detail: for admins; contains no secret
    :param time: of the change, in seconds since the epoch
    :param lasted: duration of the status before, in seconds; None if unknown
    :param critical: whether the check can take the node out
    :param prober: the process that probed
    :param cause: what set off the probe: ``probe`` (it was due), ``traffic``
        (a call of the service failed), ``refresh`` (an admin asked) or
        ``fleet`` (other nodes found something else)
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
    cause: str = history_module.PROBE

    @classmethod
    def of(cls, check: report.CheckReport, before: Status | None,
           prober: report.ProberProcess | None) -> StateChange:
        """The change that has just led to the status of ``check``."""
        lasted, cause = None, history_module.PROBE
        history = check.history
        if history is not None and history.transitions and (
                before is not check.status):
            cause = history.transitions[-1].cause
        if (history is not None and before not in (None, check.status)
                and len(history.transitions) > 1):
            was, became = history.transitions[-2:]
            # Not negative, even if the clock was set back.
            lasted = max(0.0, became.time - was.time)
        return cls(check.name, before, check.status, check.reason,
                   check.detail, check.time, lasted, check.critical, prober,
                   cause)

    def fields(self) -> dict[str, str | float | bool | None]:
        """The same as plain values, without the prober."""
        return {'check': self.check,
                'before': None if self.before is None else self.before.word,
                'after': self.after.word, 'reason': self.reason,
                'detail': self.detail, 'time': self.time,
                'lasted': self.lasted, 'critical': self.critical,
                'cause': self.cause}

    def __str__(self) -> str:
        was = 'never run' if self.before is None else self.before.word
        detail = f' ({self.detail})' if self.detail else ''
        lasted = '' if self.lasted is None else (
            f'; it was {was} for {self.lasted:.1f} s')
        cause = '' if self.cause == history_module.PROBE else (
            f'; set off by {self.cause}')
        return (f'{self.check}: {was} -> {self.after.word}: {self.reason}'
                f'{detail}{lasted}{cause}')
