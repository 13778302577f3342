# SPDX-License-Identifier: Apache-2.0

"""Makes the checks that ``backends`` names, and validates them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from healthcheck.answers import switches
from healthcheck.config import entrypoints
from healthcheck.config import opts
from healthcheck.config import views
from healthcheck import exceptions
from healthcheck.fleet import scans as scans_module
from healthcheck.host import drains as drains_module
from healthcheck.plugins import base
from healthcheck.plugins import foreign
from healthcheck.probing import check as check_module
from healthcheck.reports import drain

NAMESPACE = 'oslo.middleware.healthcheck'
RESERVED = ('live', 'ready', 'detail', 'refresh', 'metrics', drain.NAME,
            'fleet')
_EXCLUSIVE = {'disable_by_file', 'enable_by_files'}


class Backends:
    """The checks that a section configures.

    All mistakes are added to ``view.problems``, so one error reports them
    all. Nothing is opened.

    :param more: further checks that are read per request, by name; their
        lines come last
    :ivar names: the checks in their order, including repeated ones
    :ivar foreign: whether any of them is a third-party plugin
    :ivar probed: whether there are checks that workers can share
    :ivar drains: the drains of this service
    """

    def __init__(self, view: views.View,
                 more: Mapping[str, switches.Switch] | None = None) -> None:
        self._view = view
        self.names = [name.strip() for name in view.settings.backends
                      if name.strip()]
        self._check_names(more or {})
        self.drains = drains_module.of(view)
        self.switches = switches.Switches(
            [name for name in dict.fromkeys(self.names)
             if name in switches.KINDS], view.settings, view.problems,
            more, self.drains.reason)
        self._plugins = entrypoints.load(
            NAMESPACE, 'backends', 'plugin',
            [name for name in dict.fromkeys(self.names)
             if name not in switches.KINDS and name not in RESERVED
             and name not in (more or {})], view.problems)
        self.names += more or {}
        self.foreign = False
        checks = self.make_checks(0)
        self.probed = any(not check.per_worker for check in checks)
        view.problems.extend(base.policy_problems(
            base.policy_of(view.settings)))

    def make_checks(self, server_port: int,
                    scans: scans_module.Scans | None = None,
                    ) -> list[check_module.Check]:
        """New checks, for one process.

        :param server_port: passed to third-party plugins
        :param scans: what other nodes have found, so it need not be asked
        """
        common: dict[str, Any] = {'scans': scans}
        return [self._make(name, plugin, server_port, common)
                for name, plugin in self._plugins.items()]

    def _make(self, name: str, plugin: Any, server_port: int,
              common: dict[str, Any]) -> check_module.Check:
        problems = self._view.problems
        policy = base.policy_of(self._view.settings)
        try:
            made = plugin(self._view, self._view.section)
            if isinstance(made, base.ProbePlugin):
                check = made.check(name, common)
            else:
                # A ProbePlugin notes itself.
                self._view.note_plugin(name, plugin)
                self.foreign = True
                check = check_module.Single(name, foreign.ForeignTarget(
                    name, made, server_port), policy)
            return check
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # SystemExit is no Exception
            self.foreign = True
            found = (exc.problems if isinstance(exc, exceptions.ConfigError)
                     else [entrypoints.cannot_load('backends', name, exc)])
            problems.extend(p for p in found if p not in problems)
            return base.unusable(name, exc, policy)

    def _check_names(self, more: Mapping[str, switches.Switch]) -> None:
        problems = self._view.problems
        for name in more:
            if name in self.names:
                problems.append(
                    f'backends = {name!r}: a check of that name exists '
                    f'already, and needs no backend')
        for name in RESERVED:
            if name in self.names:
                problems.append(
                    f'backends = {name!r}: a check cannot have the name of '
                    f'a page below the path (reserved: '
                    f'{", ".join(RESERVED)})')
        if _EXCLUSIVE.issubset(self.names):
            problems.append('backends: disable_by_file and enable_by_files '
                            'exclude each other; keep one of them')
        for name in self._view.settings.noncritical:
            if name not in (*self.names, *more, *opts.NONCRITICAL):
                problems.append(
                    f'noncritical = {name!r}: there is no such check '
                    f'(backends: {", ".join(self.names) or "none"})')
