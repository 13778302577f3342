# SPDX-License-Identifier: Apache-2.0

"""Runs a plugin in a test, like the engine does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oslo_config import cfg

from healthcheck.config import views
from healthcheck.plugins import base
from healthcheck.probing import scheduler
from healthcheck.probing import simulated
from healthcheck.reports import changes
from healthcheck.reports import report as report_module

Clock = simulated.Clock


class Rehearsal:
    """Runs a plugin on the engine's schedule and by its rules.

    Time is simulated: there are no threads and no waits, and jitter is 0. A
    probe takes no time unless the plugin calls ``clock.sleep``.

    :param plugin: the class
    :param options: of group ``[healthcheck]``, as in a paste section: those
        of the plugin, and others such as ``interval``, ``timeout`` and
        ``fall``
    :param clock: the plugin's clock, if it uses one
    :param service: the configuration of the service
    :ivar changes: all changes of the check's status so far, oldest first
    :raises healthcheck.exceptions.ConfigError: with what is wrong
    """

    def __init__(self, plugin: type[base.ProbePlugin],
                 options: Mapping[str, Any] | None = None, *,
                 clock: Clock | None = None,
                 service: cfg.ConfigOpts | None = None) -> None:
        if service is None:
            service = cfg.ConfigOpts()
            service([], project='rehearsal', default_config_files=[],
                    default_config_dirs=[])
        view = views.View(service, options or {})
        made = plugin(view, view.section)
        view.problems.extend(base.policy_problems(made.policy))
        view.reject_unknown(options or {})
        view.check()
        self.changes: list[changes.StateChange] = []
        self._clock = clock or Clock()
        self._pool = simulated.SimulatedPool(self._clock)
        self._check = made.check(made.name, {})
        self._scheduler = scheduler.Scheduler(
            [self._check], made.policy, lambda published: None,
            changed=self.changes.append, clock=self._clock,
            wall_clock=self._clock, uniform=lambda low, high: 0.0,
            pool=self._pool)

    def run(self, seconds: float) -> None:
        """Let time pass; 0 seconds are enough for a first probe."""
        self._pool.run(self._scheduler, seconds)

    def refresh(self) -> None:
        """Ask for a probe at once, as an admin can."""
        self._scheduler.refresh()

    def close(self) -> None:
        """Close the plugin."""
        self._scheduler.rest()

    @property
    def report(self) -> report_module.CheckReport:
        """Everything that admins see of the check.

        :raises AssertionError: before its first verdict
        """
        return self._check.snapshot()

    @property
    def status(self) -> report_module.Status:
        """The current status, stale if the last verdict is too old."""
        return self.report.verdict(self._clock.now).status

    @property
    def line(self) -> str:
        """The line that anonymous callers get now."""
        return self.report.verdict(self._clock.now).line
