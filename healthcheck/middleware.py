# SPDX-License-Identifier: Apache-2.0

"""The door: match the path, pick the bytes, or pass the request on."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any, TYPE_CHECKING

from oslo_config import cfg
from oslo_log import log as logging

from healthcheck.admin.auth import gate
from healthcheck.admin import paths
from healthcheck.answers import access
from healthcheck.answers import balancers
from healthcheck.answers import holding
from healthcheck.answers import page
from healthcheck.answers import render
from healthcheck.answers import switches as switches_module
from healthcheck.config import settings as settings_module
from healthcheck.config import views
from healthcheck import engine
from healthcheck.evidence import responses
from healthcheck.fleet import joining
from healthcheck.host import processes
from healthcheck.listeners import audience
from healthcheck.plugins import backends
from healthcheck.plugins import base
from healthcheck.reports import report

if TYPE_CHECKING:
    from _typeshed import wsgi
    import typing_extensions

LOG = logging.getLogger(__name__)

READY = ''
LIVE = '/live'
READY_EXCLUDING = '/ready'

_READY_METHODS = ('GET', 'HEAD', 'OPTIONS')
_METHODS = ('GET', 'HEAD')


class Healthcheck:
    """Answers ``/healthcheck`` from the published report.

    It takes the arguments of ``oslo_middleware.Healthcheck``, and has the
    same options as a paste filter or app.

    :param application: what is below a filter; None for an app, which then
        answers relative to its mount point
    :param conf: the options of a section as a dict, or the service's
        ``ConfigOpts``
    :param switches: further checks that are read on each request, by name
    :param own_names: the keys of the dict that are meant for us; a paste
        file's ``[DEFAULT]`` may have others. Default: all of them.
    :ivar policy: how checks are probed and judged; ``policy.detection`` is
        the longest time from a fault to 503, in seconds
    :raises healthcheck.exceptions.ConfigError: with all mistakes in the
        section
    """

    def __init__(self, application: wsgi.WSGIApplication | None,
                 conf: Mapping[str, Any] | cfg.ConfigOpts | None = None, *,
                 switches: Mapping[str, switches_module.Switch] | None = None,
                 own_names: Iterable[str] | None = None) -> None:
        service = conf if isinstance(conf, cfg.ConfigOpts) else None
        section = dict(conf or {}) if service is None else {}
        # An empty urlmap is falsy, but still an application.
        is_filter = application is not None
        # What an app declines, it answers itself: nothing is below it.
        self._application = (page.not_found() if application is None
                             else application)
        view = views.View(views.service_conf(section) if service is None
                          else service, section)
        settings = view.settings
        self._access = access.Access(
            access.parse_ranges(settings.allowed_source_ranges,
                                view.problems),
            settings.ignore_proxied_requests)
        self._open = self._access.open
        self._balancers = _balancers(settings, view.problems)
        self._checks = backends.Backends(view, switches)
        self._path = _path(settings.path, view.problems) if is_filter else ''
        self._listeners = audience.Listeners(view)
        view.reject_unknown(section if own_names is None else own_names,
                            foreign=self._checks.foreign)
        doorkeeper = gate.Gate(view)
        self.policy = base.policy_of(settings)
        self._joining = joining.of(view, self.policy)
        view.check()
        self._view = view
        if is_filter and settings.evidence and self._checks.probed:
            # A call of a method costs less than one of an object.
            self._application = responses.Responses(
                self._application, self._passed, self._note_error).__call__
        self._group = (base.group_of(view, settings.backends)
                       if self._checks.probed else None)
        self._engine = processes.PerProcess(self._make_engine)
        self._prefix = self._path + '/'
        self._views = self._name_views()
        self._admin = paths.Admin(self._started, doorkeeper, view,
                                  self.policy, self._checks.switches,
                                  self._checks.drains, self._balancers,
                                  self._joining.membership
                                  if self._joining is not None else None)
        self._live = render.Rendering(
            [report.Verdict.of('live', report.Status.PASS, report.OK)],
            report.Status.PASS)
        self._log_set_up()

    @classmethod
    def factory(cls, global_conf: Mapping[str, Any] | None,
                **local_conf: Any,
                ) -> Callable[[wsgi.WSGIApplication], Healthcheck]:
        """Make a paste filter."""
        conf = {**(global_conf or {}), **local_conf}
        return lambda application: cls(application, conf,
                                       own_names=local_conf)

    @classmethod
    def app_factory(cls, global_conf: Mapping[str, Any] | None,
                    **local_conf: Any) -> typing_extensions.Self:
        """Make a paste app."""
        conf = {**(global_conf or {}), **local_conf}
        return cls(None, conf, own_names=local_conf)

    def __call__(self, environ: wsgi.WSGIEnvironment,
                 start_response: wsgi.StartResponse) -> Iterable[bytes]:
        path = environ.get('PATH_INFO', '')
        name = self._views.get(path)
        if name is None and not path.startswith(self._prefix):
            # "path" may include the mount point of the pipeline, as in
            # oslo.middleware 6.3.
            script = environ.get('SCRIPT_NAME')
            if not script:
                return self._application(environ, start_response)
            path = script + path
            name = self._views.get(path)
            if name is None and not path.startswith(self._prefix):
                return self._application(environ, start_response)
        if not (self._open or self._access.allows(environ)):
            return self._application(environ, start_response)
        found = (self._admin.page(path[len(self._path):], environ)
                 if name is None else self._page(name, environ))
        return found.answer(environ, start_response)

    def probed(self, environ: wsgi.WSGIEnvironment) -> report.Status | None:
        """The status of all that is probed; None before the first report.

        What is read per request, such as a file switch, is left out, and not
        read. The first call in a process starts the probing.
        """
        pages = self._started(environ).pages(self._checks.switches.unthrown)
        if not pages.verdicts:
            return None
        read = self._checks.switches.names
        return report.judge([verdict for verdict in pages.verdicts
                             if verdict.name not in read])[0]

    def stop(self, timeout: float = 0.0) -> None:
        """Stop probing in this process.

        :param timeout: how long to wait for the threads, in seconds
        """
        running = self._engine.peek()
        if running is not None:
            running.stop(timeout)

    def _started(self, environ: wsgi.WSGIEnvironment) -> engine.Engine:
        """The engine of this process, which its first request starts."""
        running = self._engine.get(environ)
        if not running.started:
            running.start()
        return running

    def _passed(self, environ: wsgi.WSGIEnvironment) -> None:
        """The first request of a process that is passed on.

        Where an agent answers all polls, no other request tells a worker that
        what it sees is of use.
        """
        if self._group is not None:
            self._engine.get(environ).begin()

    def _note_error(self) -> None:
        running = self._engine.peek()
        if running is not None:
            running.note_error()

    def _page(self, name: str, environ: wsgi.WSGIEnvironment) -> page.Page:
        method = environ['REQUEST_METHOD']
        if method != 'GET' and (method not in _READY_METHODS or (
                method == 'OPTIONS' and name not in (READY,
                                                     READY_EXCLUDING))):
            return page.method_not_allowed(
                _READY_METHODS if name in (READY, READY_EXCLUDING)
                else _METHODS)
        if name == LIVE:
            view = self._live
        else:
            pages = self._started(environ).pages(
                self._checks.switches.state(environ))
            last = (self._balancers is not None
                    and balancers.HEADER in environ
                    and self._balancers.take(environ, pages.held))
            if name == READY_EXCLUDING and environ.get('QUERY_STRING'):
                view = pages.excluding(environ['QUERY_STRING'], last)
            elif name in (READY, READY_EXCLUDING):
                view = pages.last if last else pages.ready
            else:
                view = pages.checks[name]
        if method == 'HEAD':
            return view.head
        accept = environ.get('HTTP_ACCEPT')
        return view.pages[render.negotiate(accept) if accept else render.TEXT]

    def _name_views(self) -> dict[str, str]:
        """The view that each path asks for."""
        views = {self._path: READY, self._prefix: READY,
                 self._path + READY_EXCLUDING: READY_EXCLUDING,
                 self._path + LIVE: LIVE}
        views.update((self._prefix + name, name)
                     for name in self._checks.names)
        return views

    def _make_engine(self, environ: wsgi.WSGIEnvironment) -> engine.Engine:
        port = str(environ.get('SERVER_PORT', ''))
        scans = fleet = None
        if self._joining is not None and self._group is not None:
            scans = self._joining.make_scans()
            fleet = self._joining.make(self._group, scans,
                                       self._checks.switches.out_on_purpose)
        return engine.Engine(
            self._checks.names,
            self._checks.make_checks(int(port) if port.isdecimal() else 0,
                                     scans),
            self.policy, self._view.settings, self._checks.switches,
            self._group, self._listeners.make(), fleet)

    def _log_set_up(self) -> None:
        if not self._checks.names:
            LOG.warning('Healthcheck has no backends configured: it only '
                        'shows that a worker answers, and nothing about the '
                        'service. Set [healthcheck]backends.')
        else:
            LOG.info('Healthcheck %(names)s: a fault is reported within '
                     '%(bound).1f s',
                     {'names': ', '.join(self._checks.names),
                      'bound': self.policy.detection})
        if self._view.settings.detailed:
            LOG.warning('Healthcheck option detailed gives JSON its detailed '
                        'shape, and no more: host, versions and stacks are '
                        'not shown to anonymous callers.')


def _path(path: str, problems: list[str]) -> str:
    if not path.startswith('/') or not path.strip('/'):
        problems.append(f'path = {path!r}: not the path of a page (allowed: '
                        f'one that begins with a slash, such as '
                        f'/healthcheck)')
    return path.rstrip('/')


def _balancers(settings: settings_module.Settings,
               problems: list[str]) -> balancers.Balancers | None:
    """What is heard from balancers; None if they are not listened to."""
    option = 'balancer_source_ranges'
    ranges = access.Ranges(access.parse_ranges(
        settings.balancer_source_ranges, problems, option))
    if ranges:
        return balancers.Balancers(ranges)
    if settings.shared_failure == holding.LAST_STAYS and (
            not settings.balancer_source_ranges):
        problems.append(
            f'shared_failure = {holding.LAST_STAYS}: HAProxy says which node '
            f'is the last one, and {option} is not set, so it is not believed '
            f'(allowed: set {option} to the addresses of the balancers)')
    return None
