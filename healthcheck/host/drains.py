# SPDX-License-Identifier: Apache-2.0

"""Whether a node is out on purpose: drained, or about to end."""

from __future__ import annotations

from collections.abc import Callable
import math
import os
import time

from healthcheck.config import opts
from healthcheck.config import views
from healthcheck.host import drainfile
from healthcheck.host import group
from healthcheck.host import lameduck
from healthcheck.reports import drain

FILE = 'healthcheck.drain'
"""The name of a service's drain file, in the directory of its workers."""

_AGAIN = 0.01
"""Seconds in which all requests share one look, so a flood costs no more."""


def of_service(place: str) -> drainfile.DrainFile:
    """The drain of one service.

    :param place: the directory in which its workers share a report
    """
    return drainfile.DrainFile(os.path.join(place, FILE), drain.SERVICE)


def of_host(path: str) -> drainfile.DrainFile:
    """The drain of all services of this host."""
    return drainfile.DrainFile(path, drain.HOST)


def of(view: views.View) -> Drains:
    """The drains that apply to the service of a section.

    A mistake goes to the view's ``problems``.
    """
    lameduck.OURS.wish(view.settings.drain_delay)
    place, path = group.find_place(view), view.settings.drain_path
    if path and not os.path.isabs(path):
        view.problems.append(f'drain_path = {path!r}: not an absolute path '
                             f'(allowed: one such as {opts.DRAIN_PATH})')
    return Drains(of_service(place) if place else None,
                  of_host(path) if path else None)


class Drains:
    """The drains that apply to one service.

    :param service: its own; None if it has no directory for one
    :param host: the host's; None if it does not apply to this service
    :param clock: in monotonic seconds
    :param duck: whether this server is about to end
    """

    def __init__(self, service: drainfile.DrainFile | None,
                 host: drainfile.DrainFile | None,
                 clock: Callable[[], float] = time.monotonic,
                 duck: lameduck.LameDuck | None = None) -> None:
        self.service = service
        self._files = [file for file in (service, host) if file is not None]
        self._clock = clock
        self._duck = duck or lameduck.OURS
        self._looked_at = -math.inf
        self._found: tuple[drain.Drain, ...] = ()

    def look(self) -> tuple[drain.Drain, ...]:
        """The current drains. This costs at most a system call for each."""
        now = self._clock()
        if now - self._looked_at >= _AGAIN:
            self._looked_at = now
            self.look_now()
        return self._found

    def look_now(self) -> tuple[drain.Drain, ...]:
        """The same without the pause, after a change."""
        found = [file.look() for file in self._files]
        self._found = tuple(each for each in found if each is not None)
        return self._found

    def reason(self) -> str:
        """Why the node is out, for anonymous callers; empty if it is not."""
        if self.look():
            return drain.DRAINED
        return drain.STOPPING if self._duck.begun else ''
