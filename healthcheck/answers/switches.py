# SPDX-License-Identifier: Apache-2.0

"""Checks that are read on each request, because they must act at once.

These are the file switches that drain a node, what a wrapper of the door
adds, and whether an operator has drained the node. The file switches have the
names, options and reasons of oslo.middleware's file plugins. Those plugins
themselves cannot be called on each request: each call logs, and reads the
configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import os
from typing import TYPE_CHECKING

from oslo_log import log as logging

from healthcheck.config import settings as settings_module
from healthcheck.probing import guard
from healthcheck.reports import drain
from healthcheck.reports import report

if TYPE_CHECKING:
    from _typeshed import wsgi

Settings = settings_module.Settings

LOG = logging.getLogger(__name__)

DISABLED = 'DISABLED BY FILE'
MISSING = 'FILE PATH MISSING'

_BY_PORT = 'disable_by_files_ports'
# Stands for every port that has no switch of its own.
_OTHERS = ''

Switch = Callable[['wsgi.WSGIEnvironment'], str]
"""Returns the reason to be out, or ``OK``."""


def _exists(path: str) -> bool:
    # os.path.exists raises and catches if the file is missing. That is the
    # common case here, and costs more than the rest of a request.
    return os.access(path, os.F_OK)


def _disable_by_file(settings: Settings, problems: list[str]) -> Switch:
    path = settings.disable_by_file_path
    if not path:
        LOG.warning('Healthcheck disable_by_file has no effect: '
                    'disable_by_file_path is not set')
        return lambda environ: report.OK
    return lambda environ: DISABLED if _exists(path) else report.OK


def _disable_by_files_ports(settings: Settings, problems: list[str]) -> Switch:
    paths = {}
    for entry in settings.disable_by_file_paths:
        port, colon, path = entry.strip().partition(':')
        if port.isdecimal() and path:
            paths[port] = path
        elif entry.strip():
            problems.append(f'disable_by_file_paths = {entry!r}: not of the '
                            f'form port:path (allowed: 8774:/run/drain)')
    if not paths:
        LOG.warning('Healthcheck disable_by_files_ports has no effect: '
                    'disable_by_file_paths is not set')

    def switch(environ: wsgi.WSGIEnvironment) -> str:
        path = paths.get(environ.get('SERVER_PORT', ''))
        return DISABLED if path and _exists(path) else report.OK
    return switch


def _ports(settings: Settings) -> list[str]:
    """The ports that ``disable_by_file_paths`` names."""
    return [entry.strip().partition(':')[0]
            for entry in settings.disable_by_file_paths]


def _enable_by_files(settings: Settings, problems: list[str]) -> Switch:
    paths = [path.strip() for path in settings.enable_by_file_paths]
    if not paths:
        LOG.warning('Healthcheck enable_by_files has no effect: '
                    'enable_by_file_paths is not set')

    def switch(environ: wsgi.WSGIEnvironment) -> str:
        for path in paths:
            if not _exists(path):
                return MISSING
        return report.OK
    return switch


KINDS: dict[str, Callable[[Settings, list[str]], Switch]] = {
    'disable_by_file': _disable_by_file,
    _BY_PORT: _disable_by_files_ports,
    'enable_by_files': _enable_by_files,
}

State = tuple[str, ...]
"""The reason of each switch, in the order of ``Switches.names``. One more
reason stands behind these while the node is out on purpose."""


def _not_out() -> str:
    return ''


class Switches:
    """The checks of a section that are read on each request.

    :param names: the file switches; each is a key of KINDS
    :param settings: the values of group ``[healthcheck]``
    :param problems: gets a line for each mistake
    :param more: further ones, by name, which is also the label of their
        reasons
    :param out: returns why the node is out on purpose, whatever its checks
        say; empty if it is not. Called with each request.
    :ivar unthrown: the state in which all of them say ``OK``
    """

    def __init__(self, names: Sequence[str], settings: Settings,
                 problems: list[str],
                 more: Mapping[str, Switch] | None = None,
                 out: Callable[[], str] = _not_out) -> None:
        more = more or {}
        self._out = out
        self.names = (*names, *more)
        self._labels = {name: name.upper() for name in more}
        self._noncritical = frozenset(settings.noncritical)
        self._switches = [*(KINDS[name](settings, problems)
                            for name in names),
                          *(guard.switch(name, switch)
                            for name, switch in more.items())]
        self.unthrown: State = (report.OK,) * len(self.names)
        # What was logged last, for each port that has a switch of its own, and
        # for all others. Not for each that is asked for: some servers take
        # SERVER_PORT from a header, so a client could make up any number.
        self._last: dict[str, State] = dict.fromkeys(
            [_OTHERS, *(_ports(settings) if _BY_PORT in names else ())],
            self.unthrown)

    def state(self, environ: wsgi.WSGIEnvironment) -> State:
        """What they say now, on the port of a request.

        A change is logged once for each port that has a switch of its own.
        """
        out = self._out()
        if not self._switches:
            return (out,) if out else ()
        state = tuple([switch(environ) for switch in self._switches])
        port = environ.get('SERVER_PORT', _OTHERS)
        if port not in self._last:
            port = _OTHERS
        if state != self._last[port]:
            self._log_change(port, state)
        return (*state, out) if out else state

    def verdicts(self, state: State) -> dict[str, report.Verdict]:
        return {name: report.Verdict.of(
            name, report.Status.PASS if reason == report.OK
            else report.Status.FAIL, reason,
            label=self._labels.get(name, ''),
            critical=name not in self._noncritical)
            for name, reason in zip(self.names, state)}

    def out(self, state: State) -> list[report.Verdict]:
        """What takes the node out on purpose; no check can undo it."""
        return [report.Verdict.of(drain.NAME, report.Status.FAIL, reason)
                for reason in state[len(self.names):]]

    def out_on_purpose(self) -> str:
        """Why the node is out, whatever its checks say; empty if it is not.

        What counts for one port alone does not count here.
        """
        reasons = [self._out(), *(
            switch({}) for name, switch in zip(self.names, self._switches)
            if name in KINDS and name not in self._noncritical)]
        return next((reason for reason in reasons
                     if reason and reason != report.OK), '')

    def _log_change(self, port: str, state: State) -> None:
        before, self._last[port] = self._last[port], state
        where = '' if port == _OTHERS else f', port {port}'
        for name, was, reason in zip(self.names, before, state):
            if reason != was:
                LOG.warning('Healthcheck %(check)s%(where)s: %(was)s -> '
                            '%(reason)s',
                            {'check': name, 'where': where, 'was': was,
                             'reason': reason})
