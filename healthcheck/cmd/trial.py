# SPDX-License-Identifier: Apache-2.0

"""Runs a service's checks in this process, with the service's scheduler.

It reads and writes no state directory.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import time

from healthcheck.config import opts
from healthcheck.config import views
from healthcheck.plugins import backends
from healthcheck.plugins import base
from healthcheck.probing import rounds
from healthcheck.probing import scheduler
from healthcheck.reports import report

Progress = Callable[[int, int], None]
"""Called with (number of probes with a result, number of all probes)."""

_TICK = 0.1
"""Seconds between two looks at the results."""

_PATIENCE = 1.0
"""Seconds after ``timeout`` without any new result, when a trial ends."""

# Each probe runs once, and its result counts at once.
_ONCE = {'interval': '3600', 'retry_interval': '3600', 'ttl': '86400',
         'fall': '1', 'rise': '1'}


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a trial.

    :param checks: the worst result of each check
    :param failed: number of rounds in which each check failed, by its name
    :param missing: the names of checks without a result
    """

    checks: tuple[report.CheckReport, ...]
    failed: Mapping[str, int]
    missing: tuple[str, ...]


class Trial:
    """A set of checks that runs one or more times.

    :param view: the service's configuration, as the section sees it
    :param names: the checks to run, configured or not; empty: all that are
        configured
    :param timeout: seconds that a probe may take, instead of the option
    :ivar left_out: the checks that only run in a worker
    :ivar switches: the checks that are read per request
    :raises healthcheck.exceptions.ConfigError: if anything is wrong
    """

    def __init__(self, view: views.View, names: Sequence[str] = (),
                 timeout: float | None = None) -> None:
        names = names or view.settings.backends
        own = {**_ONCE, 'backends': ','.join(names), 'noncritical': ','.join(
            name for name in view.settings.noncritical
            if name in (*names, *opts.NONCRITICAL))}
        if timeout is not None:
            own['timeout'] = f'{timeout}'
        view = views.View(view.service, {**view.section, **own})
        made = backends.Backends(view)
        view.check()
        self.policy = base.policy_of(view.settings)
        self.switches = made.switches
        checks = made.make_checks(0)
        self.left_out = [one.name for one in checks if one.per_worker]
        self._checks = [one for one in checks if not one.per_worker]
        self._scheduler = scheduler.Scheduler(
            self._checks, self.policy, self._publish,
            noncritical=view.settings.noncritical,
            workers=view.settings.cells_workers)
        self._found: report.Report | None = None
        self._reports: list[report.Report] = []

    @property
    def names(self) -> list[str]:
        """The checks that run."""
        return [one.name for one in self._checks]

    def run(self, times: int, progress: Progress) -> Outcome:
        """Run them ``times`` times; return the worst results."""
        self._first(progress)
        for _ in range(1, times):
            self._once_more()
        return self._outcome()

    def wait(self, seconds: float, progress: Progress) -> Outcome:
        """Run them until no critical check fails; return the last results.

        :param seconds: no round begins later than this
        """
        until = time.monotonic() + seconds
        self._first(progress)
        while time.monotonic() < until and any(
                one.critical and one.status is report.Status.FAIL
                for one in self._outcome().checks):
            self._reports.clear()
            self._once_more()
        return self._outcome()

    def close(self) -> None:
        """Close the checks; probes that hang are left behind."""
        self._scheduler.close()

    def _first(self, progress: Progress) -> None:
        """Run each probe once, including those of cells found meanwhile."""
        done, at = -1, time.monotonic()

        def goes_on() -> bool:
            nonlocal done, at
            probes = {probe for check in self._checks
                      for probe in check.watchlist.probes}
            known = sum(one.state.result is not None for one in probes)
            progress(known, len(probes))
            if known != done:
                done, at = known, time.monotonic()
            return known < len(probes) and (
                time.monotonic() - at < self.policy.timeout + _PATIENCE)
        self._scheduler.run(goes_on, _TICK)
        self._scheduler.sum_up()
        self._keep()

    def _once_more(self) -> None:
        time.sleep(rounds.SHARED_FOR)
        began = time.monotonic()
        until = began + self.policy.timeout + _PATIENCE
        self._scheduler.refresh()
        self._scheduler.run(
            lambda: time.monotonic() < until and not (
                self._found and (self._found.refreshed_at or 0) >= began),
            _TICK)
        self._keep()

    def _publish(self, found: report.Report) -> None:
        self._found = found

    def _keep(self) -> None:
        if self._found is not None:
            self._reports.append(self._found)

    def _outcome(self) -> Outcome:
        found = [{one.name: one for one in each.checks}
                 for each in self._reports] or [
            # Some have no result, so no report was published.
            {one.name: one.snapshot() for one in self._checks
             if one.state.status is not None}]
        # Of equal statuses, the last one.
        worst = [max((each[name] for each in reversed(found)),
                     key=lambda one: one.status)
                 for name in self.names if name in found[0]]
        return Outcome(
            tuple(worst),
            {name: sum(each[name].status is report.Status.FAIL
                       for each in found if name in each)
             for name in self.names},
            tuple(name for name in self.names if name not in found[0]))
