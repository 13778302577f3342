# SPDX-License-Identifier: Apache-2.0

"""What is worth a line in the log: each change once, each reason once."""

from __future__ import annotations

from collections.abc import Callable

from oslo_log import log as logging

from healthcheck.reports import changes
from healthcheck.reports import report

LOG = logging.getLogger(__name__)

Status = report.Status


class Said:
    """What was said of one thing since it last passed.

    Between two passes the same reason for the same status is said once,
    however a backend wavers between two ways to fail.

    :ivar any: whether anything was
    """

    def __init__(self) -> None:
        self._said: set[tuple[Status, str]] = set()

    @property
    def any(self) -> bool:
        return bool(self._said)

    def is_news(self, before: Status | None, now: Status,
                reason: str) -> bool:
        """Take note of a status, and tell whether to say it."""
        if now is Status.PASS:
            self._said.clear()
            return before is not now
        if now is before and (now, reason) in self._said:
            return False
        self._said.add((now, reason))
        return True


class Changelog:
    """Logs what becomes of checks, and tells who listens.

    :param prober: who probes
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
        """Another process has said this of a check already.

        :param check: None if what it said is out of date
        """
        self._before.pop(name, None)
        said = self._said[name] = Said()
        if check is not None:
            self._before[name] = check.status
            said.is_news(None, check.status, check.reason)

    def judged(self, check: report.CheckReport, *,
               quiet: bool = False) -> None:
        """A check was judged.

        :param quiet: whether a failure is said by another line already
        """
        before, status = self._before.get(check.name), check.status
        self._before[check.name] = status
        said = self._said.setdefault(check.name, Said())
        loud = (status is Status.PASS or not quiet) and said.is_news(
            before, status, check.reason)
        if status is before and not loud:
            return  # as after nearly every visit
        change = changes.StateChange.of(check, before, self._prober)
        if status is not before:
            self._changed(change)
        if loud:
            log = LOG.info if status is Status.PASS else LOG.warning
            log('Healthcheck %s', change, extra=change.fields())
