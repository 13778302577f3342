# SPDX-License-Identifier: Apache-2.0

"""Runs a node's part in its fleet, in a thread of its own.

The store may take seconds to answer. Only this thread waits for it. The
prober's thread leaves its reports here, and takes what there is.
"""

from __future__ import annotations

from collections.abc import Callable
import math
import threading
import time

from oslo_log import log as logging

from healthcheck.fleet import member as member_module
from healthcheck.fleet import pace
from healthcheck.probing import daemons
from healthcheck.reports import fleet
from healthcheck.reports import report

LOG = logging.getLogger(__name__)

_AGAIN = 5.0
"""Seconds to the next try after a fault of our own."""


class FleetThread:
    """A node's part in its fleet, for the process that probes.

    :param make_member: called once, in the thread
    :ivar holds: the checks that may fail now
    """

    def __init__(self, make_member: Callable[[], member_module.Member],
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._make_member = make_member
        self._clock = clock
        self._wake = threading.Event()
        self._active = self._begun = self._stopped = False
        self._thread: threading.Thread | None = None
        self._own: report.Report | None = None
        self._member: member_module.Member | None = None
        self._view: fleet.FleetView | None = None
        self._show_at = -math.inf
        self._differing: set[str] = set()
        self._lock = threading.Lock()  # for _differing, held for a moment
        self.holds: tuple[report.HeldCheck, ...] = ()
        self._inherited: tuple[report.HeldCheck, ...] = ()
        self._failing = False

    def lead(self, holds: tuple[report.HeldCheck, ...] = ()) -> None:
        """This process probes from now on.

        :param holds: of the process that probed before
        """
        self.holds = self._inherited = holds
        self._begun = self._active = True
        if self._thread is None:
            try:
                self._thread = daemons.start(self._run, 'healthcheck-fleet')
            except RuntimeError as exc:
                LOG.warning('Healthcheck cannot take part in its fleet: %s',
                            exc)
                return
        self._wake.set()

    def rest(self) -> None:
        """Another process probes, or none."""
        self._active = False
        self.holds = ()

    def stop(self) -> None:
        """End the thread, once the store has answered it."""
        self.rest()
        self._stopped = True
        self._wake.set()

    def took(self, found: report.Report) -> None:
        """Take a report of this node."""
        self._own = found
        self._wake.set()

    def others_differ(self) -> set[str]:
        """Checks of which other nodes have found something new."""
        if not self._differing:
            return set()
        with self._lock:
            found, self._differing = self._differing, set()
        return found

    def view(self) -> fleet.FleetView | None:
        """What is known of all nodes; None if that is not new."""
        view, self._view = self._view, None
        return view

    def _run(self) -> None:
        while not self._stopped:
            wait: float | None = None
            if self._active and self._own is not None:
                try:
                    wait = self._step(self._own) - self._clock()
                    self._failing = False
                except Exception:
                    if not self._failing:
                        LOG.exception('Healthcheck failed to take part in '
                                      'its fleet; it goes on trying')
                    self._failing, wait = True, _AGAIN
                    self.holds = ()
            self._wake.wait(None if wait is None else max(0.0, wait))
            self._wake.clear()

    def _step(self, own: report.Report) -> float:
        if self._member is None:
            self._member = self._make_member()
        member = self._member
        if self._begun:
            self._begun = False
            member.begin(self._inherited)
        wake_at = member.step(own)
        if self._active:
            self.holds = member.holds
            now = self._clock()
            if now >= self._show_at:
                self._view = view = member.view
                self._show_at = now + pace.show(len(view.nodes))
            news = member.others_differ()
            if news:
                with self._lock:
                    self._differing |= news
        return wake_at
