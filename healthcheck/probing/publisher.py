# SPDX-License-Identifier: Apache-2.0

"""Turns judged checks into reports and log lines."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses

from healthcheck.probing import changelog
from healthcheck.probing import check as check_module
from healthcheck.probing import doubt as doubt_module
from healthcheck.reports import changes
from healthcheck.reports import report


class Publisher:
    """Publishes all checks each time one of them is judged.

    :param checks: what is published
    :param publish: called with each new report; the first one comes when
        every check is settled
    :param prober: the process that publishes
    :param changed: called with each change of a check's status
    :param doubt: whether this host is at fault
    :ivar silent: whether nothing is published or logged for now
    :ivar refreshed_at: when the last requested round began
    """

    def __init__(self, checks: Sequence[check_module.Check],
                 publish: Callable[[report.Report], None],
                 prober: report.ProberProcess | None,
                 changed: Callable[[changes.StateChange], None],
                 doubt: doubt_module.Doubt) -> None:
        self._checks = checks
        self._publish = publish
        self._prober = prober
        self._doubt = doubt
        self._changelog = changelog.Changelog(prober, changed)
        self._begun = False
        self.silent = False
        self.refreshed_at: float | None = None

    def restore(self, last: report.Report, now: float) -> None:
        """Continue where another prober left off."""
        found = {one.name: one for one in last.checks}
        for check in self._checks:
            if check.name in found:
                check.restore(found[check.name], now)
                self._changelog.restore(check.name, (
                    None if check.state.status is None
                    else check.snapshot()))
        self._begun = self._settled

    def judged(self, *checks: check_module.Check) -> None:
        """Publish the new verdicts of these checks."""
        if self.silent:
            return
        for check in checks:
            self._changelog.judged(self._snapshot(check),
                                   quiet=self._doubt.holds)
        self._begun = self._begun or self._settled
        if self._begun:
            self._publish(report.Report(
                tuple(map(self._snapshot, self._checks)), self._prober,
                self.refreshed_at))

    @property
    def _settled(self) -> bool:
        return all(check.state.settled for check in self._checks)

    def _snapshot(self, check: check_module.Check) -> report.CheckReport:
        found = check.snapshot()
        if found.status is report.Status.PASS:
            return found
        return dataclasses.replace(found,
                                   detail=self._doubt.hint(found.detail))
