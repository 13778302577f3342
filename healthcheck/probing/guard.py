# SPDX-License-Identifier: Apache-2.0

"""Where code of others is called: it costs its own check only.

BaseException is caught: a plugin may call sys.exit, or let a GreenletExit
out, and would end a thread that others need. The text of an exception that
no plugin vouches for may hold a secret, so only its type is passed on.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

from oslo_log import log as logging

from healthcheck.probing import intake
from healthcheck.probing import state
from healthcheck.probing import target as target_module
from healthcheck.reports import lines
from healthcheck.reports import report

LOG = logging.getLogger(__name__)

PROBE_ERROR = 'PROBE ERROR'

# Characters of what is put in front of a reason.
_MAX_LABEL = 60


def visit(target: target_module.Target,
          questions: Sequence[target_module.Question] = (),
          ) -> target_module.Findings:
    """What a target finds, or that it is at fault itself; raises nothing."""
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
    """What a check makes of its probes; raises nothing."""
    try:
        return act(now)
    except BaseException as exc:
        return report.Result.failed(
            PROBE_ERROR, f'{name} raised {lines.kind_of(exc)}'), False


def why_overdue(target: target_module.Target) -> tuple[str, str]:
    """(reason, detail) as a target has it, if it can say; raises nothing."""
    try:
        return intake.why(target.overdue())
    except BaseException as exc:
        LOG.debug('%s could not say why it is overdue: %s', target.name,
                  lines.kind_of(exc))
        return state.NO_ANSWER, ''


def switch(name: str, ask: Callable[[Any], object]) -> Callable[[Any], str]:
    """A switch of others that raises nothing: then it is out.

    It is asked in a request, so what is raised is said once.
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
    """Give something back; what it raises helps nobody."""
    try:
        act()
    except BaseException as exc:
        LOG.debug('What was to be closed raised %s', lines.kind_of(exc))


class _Complaints:
    """One line in the log for each thing that raises."""

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
    """A plugin, with everything that it may do to its callers taken out.

    What the plugin says of itself is read once, here.

    :param name: of the check, as it is configured
    :param plugin: has ``probe``, ``overdue``, ``close``, ``label`` and
        ``per_worker``, see :class:`healthcheck.plugins.base.ProbePlugin`
    :raises BaseException: what the plugin raises when it is read
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
    """Stands for a plugin that could not be made, and fails.

    It could be made when the service was loaded; this is another process.
    """

    def __init__(self, name: str, exc: BaseException) -> None:
        self.name = name
        self._found = report.Result.failed(
            PROBE_ERROR, f'{name} could not be made: {lines.kind_of(exc)}')

    def probe(self, questions: Sequence[target_module.Question] = (),
              ) -> target_module.Findings:
        return target_module.Findings(self._found)
