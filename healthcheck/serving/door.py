# SPDX-License-Identifier: Apache-2.0

"""The door of an agent, which also shows what stands behind it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from healthcheck.answers import board
from healthcheck.answers import switches as switches_module
from healthcheck.config import views
from healthcheck.host import group as group_module
from healthcheck import middleware
from healthcheck.reports import report

if TYPE_CHECKING:
    from _typeshed import wsgi


class Door(middleware.Healthcheck):
    """The door of an agent, which also shows the state of its probing."""

    @property
    def group(self) -> group_module.Group | None:
        """The processes that it shares with."""
        return self._group

    @property
    def view(self) -> views.View:
        """The configuration that it was made from."""
        return self._view

    @property
    def drain_delay(self) -> float:
        """Seconds for which balancers may still send requests."""
        return self.view.settings.drain_delay

    @property
    def status(self) -> report.Status | None:
        """The node's status from the probes; None before the first report.

        Unlike :meth:`probed` it starts nothing, which could take a while.
        """
        running = self._engine.peek()
        started = running is not None and running.started
        return self.probed({}) if started else None

    @property
    def alive_at(self) -> float:
        """When the slowest probing thread was last seen to run."""
        running = self._engine.peek()
        if running is None:
            return -math.inf
        return running.alive_at

    @property
    def switches(self) -> switches_module.Switches:
        """What is read on each request."""
        return self._checks.switches

    def allows(self, environ: wsgi.WSGIEnvironment) -> bool:
        """Whether a caller is answered at all."""
        return self._open or self._access.allows(environ)

    def shown(self, environ: wsgi.WSGIEnvironment) -> board.Pages | None:
        """The pages that hold now; None while probing has not begun."""
        running = self._engine.peek()
        if running is None or not running.started:
            return None
        return running.pages(self.switches.state(environ))

    def is_checked_by(self, address: str) -> bool:
        """Whether a balancer there lately asked over HTTP and sent state."""
        return self._balancers is not None and self._balancers.checks(address)

    def inherit(self, other: Door) -> None:
        """Go on with what another one has heard from balancers."""
        if self._balancers is not None and other._balancers is not None:
            self._balancers.inherit(other._balancers)

    def known(self) -> report.Report | None:
        """The full report; None before there is one."""
        running = self._engine.peek()
        return running.known() if running is not None else None
