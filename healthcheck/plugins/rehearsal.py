# SPDX-License-Identifier: Apache-2.0

"""Runs a plugin in a test, as the engine would run it."""

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
    """A plugin, run on the schedule and by the rules of the engine.

    Time is simulated: there is no thread and no wait, and jitter is 0. A
    probe takes no time, unless the plugin lets some pass with ``clock.sleep``.

    :param plugin: the class
    :param options: of group ``[healthcheck]``, as a paste section has them:
        those of the plugin, and ``interval``, ``timeout``, ``fall`` and so on
    :param clock: the one that the plugin uses, if it uses any
    :param service: the configuration of the service
    :ivar changes: each change of the check's status so far, the last one
        last
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
        """Let so many seconds pass; 0 is enough for a first probe."""
        self._pool.run(self._scheduler, seconds)

    def refresh(self) -> None:
        """Ask for a probe at once, as an admin can."""
        self._scheduler.refresh()

    def close(self) -> None:
        """Have the plugin give back what it holds."""
        self._scheduler.rest()

    @property
    def report(self) -> report_module.CheckReport:
        """All that admins see of the check.

        :raises AssertionError: before its first verdict
        """
        return self._check.snapshot()

    @property
    def status(self) -> report_module.Status:
        """What the check counts now, its age included."""
        return self.report.verdict(self._clock.now).status

    @property
    def line(self) -> str:
        """What anonymous callers read of it now."""
        return self.report.verdict(self._clock.now).line
