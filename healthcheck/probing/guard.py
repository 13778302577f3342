# SPDX-License-Identifier: Apache-2.0

"""Where code of others is called: it costs its own check only.

BaseException is caught: a plugin may call sys.exit, or let a GreenletExit
out, and would end a thread that others need. The text of an exception that
no plugin vouches for may hold a secret, so only its type is passed on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from oslo_log import log as logging

from healthcheck.probing import check
from healthcheck.probing import intake
from healthcheck.reports import lines
from healthcheck.reports import report

LOG = logging.getLogger(__name__)

PROBE_ERROR = 'PROBE ERROR'

# Characters of what is put in front of a reason.
_MAX_LABEL = 60


def probe_once(name: str, probe: Callable[[], object]) -> report.Result:
    """What a probe finds, or that it is at fault itself; raises nothing."""
    try:
        found = probe()
        try:
            return intake.result(found)
        except intake.Refused as exc:
            fault = f'returned {exc}'
    except BaseException as exc:
        fault = f'raised {lines.kind_of(exc)}'
    return report.Result.failed(PROBE_ERROR, f'{name} {fault}')


def why_overdue(name: str, overdue: Callable[[], object]) -> tuple[str, str]:
    """(reason, detail) as a probe has it, if it can say; raises nothing."""
    try:
        return intake.why(overdue())
    except BaseException as exc:
        LOG.debug('%s could not say why it is overdue: %s', name,
                  lines.kind_of(exc))
        return check.NO_ANSWER, ''


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


class Guarded:
    """A plugin, with everything that it may do to its callers taken out.

    What a monitor and an engine run is one of these. What the plugin says of
    itself is read once, here; of what its methods raise, the log has one line
    for each method.

    :param name: of the check, as it is configured
    :param plugin: has what ``runner.Probe`` has
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
        self._news: Callable[[], None] = lambda: None
        self._complaints = _Complaints(name)

    def probe(self) -> report.Result:
        return probe_once(self.name, lambda: self._plugin.probe())

    def overdue(self) -> tuple[str, str]:
        return why_overdue(self.name, lambda: self._plugin.overdue())

    def hurry(self) -> None:
        self._call('hurry', lambda: self._plugin.hurry())

    def restore(self, last: report.CheckReport) -> None:
        self._call('restore', lambda: self._plugin.restore(last))

    def close(self) -> None:
        self._call('close', lambda: self._plugin.close())

    @property
    def news(self) -> Callable[[], None]:
        return self._news

    @news.setter
    def news(self, news: Callable[[], None]) -> None:
        self._news = news
        self._call('news', lambda: setattr(self._plugin, 'news', news))

    def _call(self, what: str, act: Callable[[], object]) -> None:
        try:
            act()
        except BaseException as exc:
            self._complaints.add(what, exc)


class Plain:
    """A probe that finds something, and has no more to say and to hear."""

    label = ''
    per_worker = False
    news: Callable[[], None]

    def __init__(self, probe: Callable[[], report.Result]) -> None:
        self.probe = probe

    def overdue(self) -> tuple[str, str]:
        return check.NO_ANSWER, ''

    def hurry(self) -> None:
        """Do nothing."""

    def restore(self, last: report.CheckReport) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def unusable(name: str, exc: BaseException) -> Guarded:
    """What answers for a plugin that could not be made, and fails.

    It could be made when the service was loaded; this is another process.
    """
    found = report.Result.failed(
        PROBE_ERROR, f'{name} could not be made: {lines.kind_of(exc)}')
    return Guarded(name, Plain(lambda: found))
