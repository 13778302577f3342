# SPDX-License-Identifier: Apache-2.0

"""The admin's pages: detail, refresh, metrics, drain and fleet.

Nothing here runs for an anonymous caller's page: the middleware only calls
this for paths that it does not know.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import http
import threading
import time as time_module
from typing import TYPE_CHECKING

from healthcheck.admin.auth import gate as gate_module
from healthcheck.admin import draining
from healthcheck.admin.views import detail
from healthcheck.admin.views import fleet
from healthcheck.admin.views import fleetformats
from healthcheck.admin.views import fleetpage
from healthcheck.admin.views import formats
from healthcheck.admin.views import metrics
from healthcheck.admin.views import statuspage
from healthcheck.admin.views import timeline
from healthcheck.admin.views import webpage
from healthcheck.answers import balancers as balancers_module
from healthcheck.answers import page as page_module
from healthcheck.answers import render
from healthcheck.answers import switches as switches_module
from healthcheck.config import views
from healthcheck import engine
from healthcheck.host import drains as drains_module
from healthcheck.host import processes
from healthcheck.probing import policy as policy_module
from healthcheck.probing import rounds
from healthcheck.reports import report

if TYPE_CHECKING:
    from _typeshed import wsgi

    from healthcheck.fleet import member

DETAIL = '/detail'
REFRESH = '/refresh'
METRICS = '/metrics'
DRAIN = '/drain'
FLEET = '/fleet'

FORMATS = (render.JSON, render.HTML, render.HEALTH_JSON, render.TEXT)
"""In the order of preference; the first one is the default."""

_FLEET_FORMATS = (render.JSON, render.HTML, render.TEXT)

_HEADERS: page_module.Headers = (
    ('X-Content-Type-Options', 'nosniff'),
    ('Cross-Origin-Resource-Policy', 'same-origin'))


@dataclasses.dataclass(frozen=True, slots=True)
class Resource:
    """One page.

    :param rule: the policy rule for it
    :param answer: makes the answer to a caller with access
    """

    rule: gate_module.Rule
    methods: tuple[str, ...]
    answer: Callable[[wsgi.WSGIEnvironment], page_module.Page]


class Admin:
    """Answers the admin's paths below ``path``.

    :param running: returns the engine of this process, started
    :param switches: what is read per request
    :param drains: what an operator has drained
    :param balancers: what is heard from them; None if they are not listened
        to
    :param membership: this node's part in a fleet; None if it is in none
    """

    def __init__(self, running: Callable[[wsgi.WSGIEnvironment],
                                         engine.Engine],
                 gate: gate_module.Gate, view: views.View,
                 policy: policy_module.Policy,
                 switches: switches_module.Switches,
                 drains: drains_module.Drains,
                 balancers: balancers_module.Balancers | None = None,
                 membership: member.Membership | None = None) -> None:
        self._running = running
        self._gate = gate
        self._policy = policy
        self._switches = switches
        self._drains = drains
        self._balancers = balancers
        self._membership = membership
        self._options = detail.effective(view)
        self._waiting = processes.PerProcess(Waiting)
        self._not_found = page_module.not_found()
        self.resources = {
            DETAIL: Resource('detail', ('GET', 'HEAD'), self._detail),
            REFRESH: Resource('refresh', ('POST',), self._refresh),
            METRICS: Resource('metrics', ('GET', 'HEAD'),
                              metrics.Metrics(
                                  running, switches, drains, balancers,
                                  membership).page),
            DRAIN: Resource('drain', ('POST', 'DELETE'),
                            draining.Draining(drains, gate).page)}
        """The pages, by the rest of the path."""
        if membership is not None:
            self.resources[FLEET] = Resource('fleet', ('GET', 'HEAD'),
                                             self._fleet)

    def page(self, path: str,
             environ: wsgi.WSGIEnvironment) -> page_module.Page:
        """The answer to a path that no anonymous caller has a use for."""
        resource = self.resources.get(path)
        if resource is None:
            return self._not_found
        refusal = self._gate.check(environ, resource.rule)
        if refusal is not None:
            # A closed page must look like one that does not exist.
            return (self._not_found if refusal.status.startswith('404')
                    else refusal)
        if environ['REQUEST_METHOD'] not in resource.methods:
            return page_module.method_not_allowed(resource.methods)
        return resource.answer(environ)

    def _detail(self, environ: wsgi.WSGIEnvironment) -> page_module.Page:
        return self._answer(environ, self._running(environ))

    def _refresh(self, environ: wsgi.WSGIEnvironment) -> page_module.Page:
        running = self._running(environ)
        if self._waiting.get().wait(running.refresh):
            return self._answer(environ, running)
        return self._answer(environ, running, http.HTTPStatus.ACCEPTED,
                            (('Retry-After', '1'),))

    def _answer(self, environ: wsgi.WSGIEnvironment, running: engine.Engine,
                status: http.HTTPStatus = http.HTTPStatus.OK,
                headers: page_module.Headers = ()) -> page_module.Page:
        kind = render.prefer(environ.get('HTTP_ACCEPT', ''), FORMATS)
        document = self._document(environ, running)
        if kind == render.HTML:
            body = statuspage.render(
                document, self._policy.interval,
                can_refresh='HTTP_X_AUTH_TOKEN' in environ)
            headers += webpage.headers()
        elif kind == render.HEALTH_JSON:
            body = formats.to_health_json(document)
            # Its draft ties the status code to the node's status, section
            # 3.1. The other formats are for callers who read the body.
            if document['status'] == 'fail':
                status = http.HTTPStatus.SERVICE_UNAVAILABLE
        elif kind == render.JSON:
            body = formats.to_json(document)
        else:
            body = formats.to_text(document)
        return page_module.make(status, body, kind, (*_HEADERS, *headers))

    def _fleet(self, environ: wsgi.WSGIEnvironment) -> page_module.Page:
        kind = render.prefer(environ.get('HTTP_ACCEPT', ''), _FLEET_FORMATS)
        running = self._running(environ)
        known = fleet.KnownFleet.of(self._membership, running)
        assert known is not None  # or there is no such page
        document = fleet.document(known, detail.name(running.process),
                                  _now())
        if kind == render.HTML:
            return page_module.make(
                http.HTTPStatus.OK,
                fleetpage.render(document, self._policy.interval), kind,
                (*_HEADERS, *webpage.headers()))
        return page_module.make(
            http.HTTPStatus.OK,
            formats.to_json(document) if kind == render.JSON
            else fleetformats.to_text(document), kind, _HEADERS)

    def _document(self, environ: wsgi.WSGIEnvironment,
                  running: engine.Engine) -> detail.Document:
        state = self._switches.state(environ)
        shown = running.pages(state)
        silence = '' if shown.verdicts or not shown.checks else '; '.join(
            b''.join(shown.ready.pages[render.TEXT].body).decode().split('\n'))
        # Another process's full report may be gone when we look for it.
        known = running.known()
        if known is None and shown.reports.checks is not None:
            known = report.Report(tuple(shown.reports.checks))
        balancers = self._balancers
        return detail.document(
            detail.Known(known, self._switches.verdicts(state), silence,
                         detail.name(running.process),
                         self._switches.out(state), self._drains.look(),
                         balancers.seen() if balancers else (),
                         held=bool(balancers and shown.held
                                   and balancers.holds()),
                         fleet=fleet.KnownFleet.of(self._membership,
                                                   running)),
            self._policy, self._options, _now())


def _now() -> timeline.Moment:
    return timeline.Moment(time_module.monotonic(), time_module.time())


class Waiting:
    """Lets one caller of a process wait for the whole round.

    A round takes as long as a probe that hangs. If every thread of a worker
    waited so long, none could answer a balancer. So the other callers give up
    a round that has not ended in its first second.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # only ever held for a moment
        self._over: threading.Event | None = None
        self._began_at = 0.0

    def wait(self, refresh: Callable[[], None]) -> bool:
        """Whether everything was just probed, when this returns.

        :param refresh: requests a round, and waits for it
        """
        now = time_module.monotonic()
        with self._lock:
            other = self._over
            if other is None:
                mine = self._over = threading.Event()
                self._began_at = now
            patience = self._began_at + rounds.SHARED_FOR - now
        if other is not None:
            return patience > 0 and other.wait(patience)
        try:
            refresh()
        finally:
            with self._lock:
                self._over = None
            mine.set()
        return True
