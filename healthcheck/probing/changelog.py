# SPDX-License-Identifier: Apache-2.0

"""Decides what to log: each change once, each reason once."""

from __future__ import annotations

from collections.abc import Callable

from oslo_log import log as logging

from healthcheck.reports import changes
from healthcheck.reports import report

LOG = logging.getLogger(__name__)

Status = report.Status


class Said:
    """What was logged about one thing since it last passed.

    Between two passes, a reason for a status is logged once, even if the
    backend alternates between two faults.

    :ivar any: whether anything was logged
    """

    def __init__(self) -> None:
        self._said: set[tuple[Status, str]] = set()

    @property
    def any(self) -> bool:
        return bool(self._said)

    def is_news(self, before: Status | None, now: Status,
                reason: str) -> bool:
        """Note a status; return whether to log it."""
        if now is Status.PASS:
            self._said.clear()
            return before is not now
        if now is before and (now, reason) in self._said:
            return False
        self._said.add((now, reason))
        return True


class Changelog:
    """Logs changes of checks and passes them to listeners.

    :param prober: the process that probes
    :param changed: called with each change of a check's status; it must
        return at once
    """

    def __init__(self, prober: report.ProberProcess | None,
                 changed: Callable[[changes.StateChange], None]) -> None:
        self._prober = prober
        self._changed = changed
        self._before: dict[str, Status] = {}
        self._said: dict[str, Said] = {}

    def restore(self, name: str, check: report.CheckReport | None) -> None:
        """Note what another process has already logged about a check.

        :param check: None if that is out of date
        """
        self._before.pop(name, None)
        said = self._said[name] = Said()
        if check is not None:
            self._before[name] = check.status
            said.is_news(None, check.status, check.reason)

    def judged(self, check: report.CheckReport, *,
               quiet: bool = False) -> None:
        """Note that a check was judged.

        :param quiet: whether another line already reports the failure
        """
        before, status = self._before.get(check.name), check.status
        self._before[check.name] = status
        said = self._said.setdefault(check.name, Said())
        loud = (status is Status.PASS or not quiet) and said.is_news(
            before, status, check.reason)
        if status is before and not loud:
            return  # so it is after nearly every visit
        change = changes.StateChange.of(check, before, self._prober)
        if status is not before:
            self._changed(change)
        if loud:
            log = LOG.info if status is Status.PASS else LOG.warning
            log('Healthcheck %s', change, extra=change.fields())
