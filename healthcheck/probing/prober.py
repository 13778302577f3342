# SPDX-License-Identifier: Apache-2.0

"""Probes for one process alone."""

from __future__ import annotations

from collections.abc import Callable
import threading
import time as time_module

from healthcheck.probing import scheduler
from healthcheck.reports import report

_TICK = 1.0
"""The longest time, in seconds, between two signs of life."""

MakeScheduler = Callable[[Callable[[report.Report], None]],
                         scheduler.Scheduler]


class Prober:
    """Runs a scheduler and keeps its last report.

    :param make_scheduler: makes the scheduler, given the function that takes
        its reports
    :param show: called with each report
    :param clock: monotonic seconds
    :ivar alive_at: when its thread last ran, in monotonic seconds
    """

    def __init__(self, make_scheduler: MakeScheduler,
                 show: Callable[[report.Report], None],
                 clock: Callable[[], float] = time_module.monotonic) -> None:
        self._scheduler = make_scheduler(self._publish)
        self._show = show
        self._clock = clock
        self._stopping = threading.Event()
        self._found: report.Report | None = None
        self.alive_at = clock()

    def run(self) -> None:
        """Probe until :meth:`stop` is called."""
        self._scheduler.run(self._goes_on, _TICK)
        self._scheduler.close()

    def stop(self) -> None:
        """End :meth:`run`."""
        self._stopping.set()
        self._scheduler.stop()

    @property
    def shared(self) -> bool:
        """Whether all workers of the host share one report."""
        return False

    def known(self) -> report.Report | None:
        """The last report, with all details for admins."""
        return self._found

    def refresh(self) -> None:
        """Probe everything now."""
        self._scheduler.refresh()

    def _goes_on(self) -> bool:
        self.alive_at = self._clock()
        return not self._stopping.is_set()

    def _publish(self, found: report.Report) -> None:
        """Take a report from this process's scheduler."""
        self._found = found
        self._show(found)
