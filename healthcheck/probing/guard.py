# SPDX-License-Identifier: Apache-2.0

"""Calls code so that its faults affect nothing else.

Most of it is third-party code, which can affect its own check only.
BaseException is caught: a plugin may call sys.exit or raise GreenletExit,
which would end a thread that other checks need. An exception's text may hold
a secret, so only its type is passed on.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any, TypeVar

from oslo_log import log as logging

from healthcheck.probing import intake
from healthcheck.probing import state
from healthcheck.probing import target as target_module
from healthcheck.reports import lines
from healthcheck.reports import report

LOG = logging.getLogger(__name__)

PROBE_ERROR = 'PROBE ERROR'

# Characters of a label.
_MAX_LABEL = 60

T = TypeVar('T')


def visit(target: target_module.Target,
          questions: Sequence[target_module.Question] = (),
          ) -> target_module.Findings:
    """Visit a target; its own fault is a failure. Raises nothing."""
    try:
        found = target.probe(questions)
        try:
            return intake.findings(found)
        except intake.Refused as exc:
            fault = f'returned {exc}'
    except BaseException as exc:
        fault = f'raised {lines.kind_of(exc)}'
    return target_module.Findings(report.Result.failed(
        PROBE_ERROR, f'{target.name} {fault}'))


def judge(name: str, act: Callable[[float], tuple[report.Result, bool]],
          now: float) -> tuple[report.Result, bool]:
    """The verdict of a check on its probes. Raises nothing."""
    try:
        return act(now)
    except BaseException as exc:
        return report.Result.failed(
            PROBE_ERROR, f'{name} raised {lines.kind_of(exc)}'), False


def why_overdue(target: target_module.Target) -> tuple[str, str]:
    """(reason, detail) from the target, if it knows. Raises nothing."""
    try:
        return intake.why(target.overdue())
    except BaseException as exc:
        LOG.debug('%s did not tell why it is overdue: %s', target.name,
                  lines.kind_of(exc))
        return state.NO_ANSWER, ''


def switch(name: str, ask: Callable[[Any], object]) -> Callable[[Any], str]:
    """Wrap a third-party switch; if it raises, the node is out.

    It is asked in requests, so what it raises is logged once.
    """
    complaints = _Complaints(name)

    def asked(environ: Any) -> str:
        try:
            reason = ask(environ)
            if not isinstance(reason, str):
                raise TypeError
            return lines.one(reason, intake.MAX_REASON) or intake.NO_REASON
        except BaseException as exc:
            complaints.add('the switch', exc)
            return PROBE_ERROR
    return asked


def quietly(act: Callable[[], object]) -> None:
    """Close something, and ignore what that raises."""
    try:
        act()
    except BaseException as exc:
        LOG.debug('Closing raised %s', lines.kind_of(exc))


def each(act: Callable[[T], object], items: Iterable[T]) -> None:
    """Call ``act`` with each item, even if one of the calls raises.

    :raises BaseException: what the first call that failed has raised
    """
    first: BaseException | None = None
    for item in items:
        try:
            act(item)
        except BaseException as exc:
            first = first or exc
    if first is not None:
        raise first


class _Complaints:
    """Logs each source of exceptions once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._said: set[str] = set()

    def add(self, what: str, exc: BaseException) -> None:
        if what not in self._said:
            self._said.add(what)
            LOG.warning('Healthcheck %(name)s: %(what)s raised %(kind)s; '
                        'that is logged once',
                        {'name': self._name, 'what': what,
                         'kind': lines.kind_of(exc)})


class Guarded(target_module.Target):
    """A plugin, wrapped so that it cannot harm its callers.

    The plugin's attributes are read once, here.

    :param name: of the check, as configured
    :param plugin: has ``probe``, ``overdue``, ``close``, ``label`` and
        ``per_worker``, see :class:`healthcheck.plugins.base.ProbePlugin`
    :raises BaseException: what reading the plugin's attributes raises
    """

    def __init__(self, name: str, plugin: Any) -> None:
        label = plugin.label
        if not isinstance(label, str):
            raise TypeError(f'its label is {lines.kind_of(label)}, not a text')
        self.name = name
        self.label = lines.one(label, _MAX_LABEL)
        self.per_worker = bool(plugin.per_worker)
        self._plugin = plugin
        self._complaints = _Complaints(name)

    def probe(self, questions: Sequence[target_module.Question] = (),
              ) -> target_module.Findings:
        return target_module.Findings(self._plugin.probe())

    def overdue(self) -> tuple[str, str]:
        found: tuple[str, str] = self._plugin.overdue()
        return found

    def close(self) -> None:
        try:
            self._plugin.close()
        except BaseException as exc:
            self._complaints.add('close', exc)


class NotMade(target_module.Target):
    """Fails in place of a plugin that could not be made in this process.

    The plugin could be made when the service was loaded.
    """

    def __init__(self, name: str, exc: BaseException) -> None:
        self.name = name
        self._found = report.Result.failed(
            PROBE_ERROR, f'{name} could not be made: {lines.kind_of(exc)}')

    def probe(self, questions: Sequence[target_module.Question] = (),
              ) -> target_module.Findings:
        return target_module.Findings(self._found)
