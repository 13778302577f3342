# SPDX-License-Identifier: Apache-2.0

"""The base class of plugins that probe in the background."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

from oslo_log import log as logging
from oslo_middleware.healthcheck import pluginbase

from healthcheck.answers import board
from healthcheck.answers import switches
from healthcheck.config import entrypoints
from healthcheck.config import settings as settings_module
from healthcheck.config import views
from healthcheck import engine
from healthcheck import exceptions
from healthcheck.host import group as group_module
from healthcheck.host import hostprober
from healthcheck.host import processes
from healthcheck.probing import check as check_module
from healthcheck.probing import guard
from healthcheck.probing import intake
from healthcheck.probing import policy as policy_module
from healthcheck.reports import lines
from healthcheck.reports import report
from healthcheck.targets import failures

Result = report.Result
Status = report.Status
NO_ANSWER = failures.NO_ANSWER
MISCONFIGURED = failures.MISCONFIGURED

LOG = logging.getLogger(__name__)


def policy_of(settings: settings_module.Settings) -> policy_module.Policy:
    """The policy that group ``[healthcheck]`` configures."""
    return policy_module.Policy(
        interval=settings.interval, retry_interval=settings.retry_interval,
        timeout=settings.timeout, ttl=settings.ttl, fall=settings.fall,
        rise=settings.rise, slow_threshold=settings.slow_threshold,
        jitter=settings.jitter,
        probe_at_least_every=settings.probe_at_least_every)


def policy_problems(policy: policy_module.Policy) -> list[str]:
    """Find values that are valid alone but not together."""
    problems = []
    if policy.ttl < policy.freshness:
        problems.append(
            f'ttl = {policy.ttl:g}: a live prober can take '
            f'{policy.freshness:g} s between two verdicts, interval * '
            f'(1 + jitter) + timeout, and a healthy check would turn '
            f'stale (allowed: {policy.freshness:g} or more)')
    if policy.retry_interval > policy.interval:
        problems.append(
            f'retry_interval = {policy.retry_interval:g}: longer than '
            f'interval (allowed: {policy.interval:g} or less)')
    return problems


def group_of(view: views.View,
             names: Sequence[str]) -> group_module.Group | None:
    """The group that shares a prober, for a section with those checks."""
    return group_module.group_of(
        view, names, hostprober.lease(policy_of(view.settings)))


class ProbePlugin(pluginbase.HealthcheckBaseExtension):
    """A plugin that probes a backend in the background.

    A subclass sets ``name`` and defines :meth:`probe`. If it has options, it
    also defines :meth:`set_up`. It is made while the service loads, perhaps
    in a process that forks later. So it must open nothing before the first
    :meth:`probe`.

    :ivar view: the service's configuration, as the section sees it
    :ivar settings: the values of group ``[healthcheck]``, including options
        that the plugin registers. ``view.settings`` has types for ours.
    :raises healthcheck.exceptions.ConfigError: if it is not configured
        correctly
    """

    name: str

    per_worker = False
    """Whether it checks the worker process that it runs in. If so, each
    worker runs it, while one process runs the other checks for all."""

    def __init__(self, oslo_conf: Any, conf: Mapping[str, Any]) -> None:
        super().__init__(oslo_conf, dict(conf))
        self.view = (oslo_conf if isinstance(oslo_conf, views.View)
                     else views.View(oslo_conf, conf))
        self.settings = self.view.healthcheck
        self._misconfigured = False
        self._title = type(self).__name__
        if self.view is oslo_conf:
            self.view.note_plugin(self.name, type(self))
            self.set_up()
            self._title = self.name
        else:
            self._set_up_alone()
        # Not this plugin itself: a fork could inherit what it has opened. A
        # new one probes in each process.
        self._engine = processes.PerProcess(
            lambda: _alone(self.view, lambda: type(self)(self.view, conf),
                           self._title))

    def _set_up_alone(self) -> None:
        """Set up inside oslo.middleware's own ``Healthcheck``.

        That drops a plugin that raises, and answers 200 without it. So this
        logs mistakes and raises nothing.
        """
        try:
            self._title = lines.one(str(self.name), intake.MAX_NAME)
            self.view.note_plugin(self.name, type(self))
            self.set_up()
            self.view.problems.extend(
                policy_problems(policy_of(self.view.settings)))
            self.view.check()
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # SystemExit is no Exception
            LOG.error('%s', exc if isinstance(exc, exceptions.ConfigError)
                      else entrypoints.cannot_load('backends', self._title,
                                                   exc))
            self._misconfigured = True

    @property
    def policy(self) -> policy_module.Policy:
        """How to probe its target."""
        return policy_of(self.view.settings)

    @property
    def label(self) -> str:
        """Put before the reason where many checks are listed."""
        return _label_of(self.name)

    def set_up(self) -> None:
        """Read the options and check them.

        :raises healthcheck.exceptions.ConfigError: with what is wrong
        """

    def check(self, name: str,
              common: dict[str, Any]) -> check_module.Check:
        """The check that the engine runs; by default it runs this plugin.

        :param name: of the check, as configured
        :param common: objects that the checks of one process share, by name
        """
        target = guard.Guarded(name, self)
        return check_module.Single(name, target, self.policy,
                                   label=target.label,
                                   per_worker=target.per_worker)

    def probe(self) -> Result:
        """Probe the backend once.

        It runs in a thread, one run at a time, and should return within
        ``timeout`` seconds. An exception is reported as a fault of the probe,
        without its text.
        """
        raise NotImplementedError

    def overdue(self) -> tuple[str, str]:
        """(reason, detail) of a probe that has not returned in time.

        Called in another thread while :meth:`probe` runs, once for each
        timeout that passes. It must not block.
        """
        return NO_ANSWER, ''

    def close(self) -> None:
        """Close what :meth:`probe` has opened."""

    def healthcheck(self, server_port: int) -> pluginbase.HealthcheckResult:
        """Answer oslo.middleware's own ``Healthcheck``, from the cache.

        The first call in a process starts a scheduler for this plugin. It
        waits at most ``startup_wait`` seconds for the first report.
        """
        if self._misconfigured:
            return pluginbase.HealthcheckResult(
                available=False,
                reason=f'{_label_of(self._title)}: {MISCONFIGURED}',
                details=f'{self._title}: see the log')
        running = self._engine.get()
        if not running.started:
            running.start()
        return _result_of(running.pages(()), self._title)


def _label_of(name: str) -> str:
    return name.replace('_', ' ').upper()


def unusable(name: str, exc: BaseException,
             policy: policy_module.Policy) -> check_module.Check:
    """A check that fails in place of a plugin that could not be made."""
    return check_module.Single(name, guard.NotMade(name, exc), policy)


def _alone(view: views.View, make: Callable[[], ProbePlugin],
           name: str) -> engine.Engine:
    """An engine for one plugin, where none runs a whole section."""
    # A process may have many such engines, and each would record every
    # statement of the service.
    settings = dataclasses.replace(view.settings, evidence=False)
    try:
        check = make().check(name, {})
    except BaseException as exc:
        check = unusable(name, exc, policy_of(settings))
    return engine.Engine(
        [name], [check], policy_of(settings), settings,
        switches.Switches([], settings, []), group_of(view, [name]))


def _result_of(shown: board.Pages,
               name: str) -> pluginbase.HealthcheckResult:
    status, judged = report.judge(shown.verdicts)
    for verdict in judged:
        return pluginbase.HealthcheckResult(
            available=status is not Status.FAIL, reason=verdict.line,
            details=f'{name}: {verdict.status.word}')
    return pluginbase.HealthcheckResult(
        available=False, reason=report.STARTING,
        details=f'{name}: no report yet')
