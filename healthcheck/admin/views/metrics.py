# SPDX-License-Identifier: Apache-2.0

"""The page ``metrics``, for Prometheus.

Prometheus discards a scrape that is not 200, and would miss the fault in it.
So the answer is always 200, even before there is a report.
"""

from __future__ import annotations

from collections.abc import Callable
import re
import time
from typing import TYPE_CHECKING

from oslo_log import log as logging

from healthcheck.admin.views import fleet
from healthcheck.admin.views import timeline
from healthcheck.answers import balancers as balancers_module
from healthcheck.answers import page as page_module
from healthcheck.answers import render
from healthcheck.answers import switches as switches_module
from healthcheck import engine
from healthcheck.host import drains as drains_module

if TYPE_CHECKING:
    from _typeshed import wsgi

    from healthcheck.fleet import member

LOG = logging.getLogger(__name__)

OPENMETRICS = 'application/openmetrics-text'

# A parameter of a media range that we ignore: Prometheus names versions, and
# there is only one here.
_PARAMETER = re.compile(r';(?!\s*q=)[^;,]*', re.IGNORECASE)


class Metrics:
    """Makes the page.

    prometheus-client is imported at the first request. Its global registry is
    not used: it belongs to the service.

    :param started: returns the engine of this process
    :param switches: what is read per request
    :param drains: what an operator has drained
    :param balancers: what is heard from them; None if they are not listened
        to
    :param membership: this node's part in a fleet; None if it is in none
    """

    def __init__(self, started: Callable[[wsgi.WSGIEnvironment],
                                         engine.Engine],
                 switches: switches_module.Switches,
                 drains: drains_module.Drains,
                 balancers: balancers_module.Balancers | None = None,
                 membership: member.Membership | None = None) -> None:
        self._started = started
        self._switches = switches
        self._drains = drains
        self._balancers = balancers
        self._membership = membership
        self._complained = False

    def page(self, environ: wsgi.WSGIEnvironment) -> page_module.Page:
        try:
            from healthcheck.admin.views import collector
        except ImportError as exc:
            self._complain(exc)
            return page_module.not_found()
        running = self._started(environ)
        state = self._switches.state(environ)
        # A worker that has not checked itself yet still knows the rest.
        pages = running.pages(state)
        found = running.known() or pages.reports.shared
        known = collector.Scrape(
            found, self._switches.verdicts(state), running.shared,
            self._switches.out(state), self._drains.look(),
            held=bool(self._balancers and pages.held
                      and self._balancers.holds()),
            fleet=fleet.KnownFleet.of(self._membership, running))
        moment = timeline.Moment(time.monotonic(), time.time())
        accept = _PARAMETER.sub('', environ.get('HTTP_ACCEPT', ''))
        content_type, body = collector.written(
            collector.Collector(known, moment),
            render.prefer(accept, (render.TEXT, OPENMETRICS)) == OPENMETRICS)
        return page_module.make(200, body, content_type,
                                (('X-Content-Type-Options', 'nosniff'),))

    def _complain(self, exc: ImportError) -> None:
        if not self._complained:
            self._complained = True
            LOG.warning('Healthcheck answers metrics with 404: they are made '
                        'with the extra [metrics], which is not installed '
                        '(%s): pip install openstack-healthcheck[metrics]',
                        exc)
