# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""From the names in ``backends`` to what is run; everything checked."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set
import difflib
from typing import Any

import stevedore
from stevedore import extension

from healthcheck import config
from healthcheck import exceptions
from healthcheck import monitor
from healthcheck.plugins import base
from healthcheck.plugins import foreign
from healthcheck import redact
from healthcheck import switches

NAMESPACE = 'oslo.middleware.healthcheck'
RESERVED = ('live', 'ready', 'detail', 'refresh', 'metrics')
_EXCLUSIVE = {'disable_by_file', 'enable_by_files'}


class Backends:
    """The checks that a section configures.

    What is wrong is added to ``view.problems``, so that all of it comes in
    one error; nothing is opened.

    :ivar names: the checks in their order, repeated ones included
    :ivar foreign: whether any of them comes from others
    """

    def __init__(self, view: config.View) -> None:
        self._view = view
        self.names = [name.strip() for name in view.healthcheck.backends
                      if name.strip()]
        self._check_names()
        self.switches = switches.Switches(
            [name for name in dict.fromkeys(self.names)
             if name in switches.KINDS], view.healthcheck, view.problems)
        self._plugins = self._load(
            [name for name in dict.fromkeys(self.names)
             if name not in switches.KINDS and name not in RESERVED])
        self.foreign = any(isinstance(probe, foreign.ForeignProbe)
                           for probe in self.make_probes(0))
        view.problems.extend(base.policy_problems(
            base.policy_of(view.healthcheck)))

    def make_probes(self, server_port: int) -> list[monitor.Probe]:
        """Fresh probes, for one process.

        :param server_port: what plugins of others are told
        """
        probes: list[monitor.Probe] = []
        for name, plugin in self._plugins.items():
            made = self._make(name, plugin)
            if isinstance(made, base.ProbePlugin):
                probes.append(made)
            else:
                # None is one that could be made at load and cannot now: it
                # answers for itself, and fails.
                probes.append(foreign.ForeignProbe(name, made, server_port))
        return probes

    def _make(self, name: str, plugin: Any) -> Any:
        problems = self._view.problems
        try:
            return plugin(self._view, self._view.section)
        except exceptions.ConfigError as exc:
            problems.extend(p for p in exc.problems if p not in problems)
        except Exception as exc:
            problems.append(_cannot_load(name, exc))
        return None

    def _load(self, names: Sequence[str]) -> dict[str, Any]:
        failed: dict[str, BaseException] = {}

        def note(manager: object, entry: Any, exc: BaseException) -> None:
            failed[entry.name] = exc
        manager: Any = stevedore.NamedExtensionManager(
            NAMESPACE, list(names), name_order=True,
            on_load_failure_callback=note,
            # stevedore counts those that failed to load among the missing.
            on_missing_entrypoints_callback=lambda missing: (
                self._report_missing(missing - failed.keys())))
        self._view.problems.extend(
            _cannot_load(name, exc) for name, exc in failed.items())
        return {ext.name: ext.plugin for ext in manager}

    def _report_missing(self, names: Set[str]) -> None:
        known = sorted({entry.name for entry in extension.ExtensionManager(
            NAMESPACE, invoke_on_load=False).list_entry_points()})
        for name in sorted(names):
            near = difflib.get_close_matches(name, known, 1)
            self._view.problems.append(
                f'backends = {name!r}: there is no such plugin'
                + (f'; did you mean {near[0]}?' if near else '')
                + f' (installed: {", ".join(known)})')

    def _check_names(self) -> None:
        problems = self._view.problems
        for name in RESERVED:
            if name in self.names:
                problems.append(
                    f'backends = {name!r}: a check cannot have the name of '
                    f'a page below the path (reserved: '
                    f'{", ".join(RESERVED)})')
        if _EXCLUSIVE.issubset(self.names):
            problems.append('backends: disable_by_file and enable_by_files '
                            'exclude each other; keep one of them')
        for name in self._view.healthcheck.noncritical:
            if name not in self.names:
                problems.append(
                    f'noncritical = {name!r}: there is no such check '
                    f'(backends: {", ".join(self.names) or "none"})')


def _cannot_load(name: str, exc: BaseException) -> str:
    text = redact.Redactor()(exc)
    return f'backends = {name!r}: cannot be loaded: {type(exc).__name__}: ' \
           f'{text}'
