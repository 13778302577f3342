# SPDX-License-Identifier: Apache-2.0

"""What runs in one process: probers, and the board that they write to."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import functools
import math
import os
import socket
import sys
import threading
import time
from typing import Any

from oslo_log import log as logging

from healthcheck.answers import board
from healthcheck.answers import holding
from healthcheck.answers import switches
from healthcheck.config import settings as settings_module
from healthcheck.evidence import witness as witness_module
from healthcheck.fleet import thread as thread_module
from healthcheck.host import group as group_module
from healthcheck.host import hostprober
from healthcheck.host import processes
from healthcheck.listeners import audience as audience_module
from healthcheck.probing import check as check_module
from healthcheck.probing import daemons
from healthcheck.probing import policy as policy_module
from healthcheck.probing import prober as prober_module
from healthcheck.probing import rounds
from healthcheck.probing import scheduler
from healthcheck.probing import threads as threads_module
from healthcheck.reports import fleet as fleet_reports
from healthcheck.reports import report

LOG = logging.getLogger(__name__)

NOT_RUNNING = 'PROBES NOT RUNNING'

# Seconds between two looks of somebody who waits for a round.
_LOOK = 0.02

# Seconds that the end of a process waits for probes to close.
_EXIT_WAIT = 0.5


class Engine:
    """The probing of one process.

    :param names: the checks, in the order of their lines
    :param checks: those of them whose targets are probed
    :param policy: how these are probed
    :param settings: the values of group ``[healthcheck]``
    :param file_switches: those that are read per request
    :param group: who shares a prober; None if this process is to have one
        of its own
    :param audience: hears of each change of a shared check, in the process
        that probes
    :param fleet: the host's part in its fleet; None if it is in none
    """

    def __init__(self, names: Sequence[str],
                 checks: Sequence[check_module.Check],
                 policy: policy_module.Policy,
                 settings: settings_module.Settings,
                 file_switches: switches.Switches,
                 group: group_module.Group | None = None,
                 audience: audience_module.Audience | None = None,
                 fleet: thread_module.FleetThread | None = None) -> None:
        shared = [check for check in checks if not check.per_worker]
        own = [check for check in checks if check.per_worker]
        nothing = report.Report(())
        self._board = board.Board(names, file_switches, board.Reports(
            None if shared else nothing, None if own else nothing),
            detailed=settings.detailed,
            last_stays=settings.shared_failure == holding.LAST_STAYS)
        self._names = names
        self._policy = policy
        self._startup_wait: float = settings.startup_wait
        self._starting = threading.Lock()
        self._began_at: float | None = None
        self._complained = False
        self._running: dict[prober_module.Prober, threading.Thread] = {}
        self._own = own
        self._witness = (
            witness_module.Witness(group, [check.name for check in shared])
            if shared and settings.evidence else None)
        self._audience = audience or audience_module.Audience([])
        self.process = report.ProberProcess(
            os.getpid(), socket.gethostname(), os.path.basename(sys.argv[0]),
            time.time())
        """The process that this is, which may be the one that probes."""

        def make_scheduler(checks: Sequence[check_module.Check],
                           publish: Callable[[report.Report], None],
                           **more: Any) -> scheduler.Scheduler:
            return scheduler.Scheduler(
                checks, policy, publish, noncritical=settings.noncritical,
                workers=settings.cells_workers, prober=self.process, **more)
        traffic = None if self._witness is None else self._witness.traffic
        make_shared = functools.partial(
            make_scheduler, shared, changed=self._audience.changed,
            traffic=traffic)
        self._probers: list[prober_module.Prober] = []
        self._look: Callable[[], None] | None = None
        self._common: prober_module.Prober | None = None
        self.fleet: Callable[[], fleet_reports.FleetView | None] = (
            lambda: None)
        """Returns what is known of other hosts; None if nothing."""
        if shared and group is not None:
            self._common = for_host = hostprober.HostProber(
                group, policy, make_shared, self._board.publish,
                evidence=traffic, fleet=fleet)
            self.fleet = for_host.fleet
            self._look = for_host.look
        elif shared:
            self._common = prober_module.Prober(make_shared,
                                                self._board.publish)
        if self._common is not None:
            self._probers.append(self._common)
        if own:
            self._probers.append(prober_module.Prober(
                functools.partial(make_scheduler, own),
                self._board.publish_own))
        self._threads = threads_module.Threads(self._probers)
        self.started = not self._probers

    def start(self) -> None:
        """Start probing and wait ``startup_wait`` for the first report.

        Requests that come meanwhile wait for the rest of that time.
        """
        self.begin()
        if self._began_at is not None:
            self._board.reported.wait(max(
                0.0, self._began_at + self._startup_wait - time.monotonic()))
            self.started = True

    def begin(self) -> None:
        """Start probing, if it has not begun, and wait for nothing."""
        with self._starting:  # for as long as it takes to start a thread
            try:
                if self._began_at is None:
                    self._begin()
            except RuntimeError as exc:
                if not self._complained:
                    LOG.error('Healthcheck cannot start probing and answers '
                              '503 until it can: %s', exc)
                self._complained = True

    def _begin(self) -> None:
        """:raises RuntimeError: if the process can start no thread"""
        if self._look is not None:
            self._look()  # where another process probes already
        if self._witness is not None:
            self._witness.listen()
        if self._threads.run_always:
            for prober in self._probers:
                if prober not in self._running:
                    self._running[prober] = daemons.start(
                        prober.run, 'healthcheck-scheduler')
            atexit.register(self._stop_at_exit, processes.this())
            self._began_at = time.monotonic()
        else:
            # What this worker cannot find of itself is no reason to take it
            # out, as long as somebody else tells of the backends.
            self._board.publish_own(report.Report(tuple(
                report.CheckReport(
                    check.name, report.Status.WARN, NOT_RUNNING, '',
                    time.monotonic(), math.inf, time.time(), check.label,
                    per_worker=True) for check in self._own)))
            self._began_at = -math.inf

    def pages(self, state: switches.State) -> board.Pages:
        """The pages that hold now, for what the file switches say now."""
        if self._look is not None:
            self._look()
        shown = self._board.pages(state)
        if shown.unknown and self.started and self._threads.stalled():
            return self._board.without(NOT_RUNNING, state)
        return shown

    @property
    def shared(self) -> bool:
        """Whether every worker of the host answers from one report.

        What each of them finds of itself does not count.
        """
        return self._common is None or self._common.shared

    def known(self) -> report.Report | None:
        """All that is known, for admins; None before there is a report."""
        reports = [prober.known() for prober in self._probers]
        if not self._threads.run_always:
            # There is one of the checks that are shared, if any.
            reports = [each for each in reports if each is not None]
            reports.append(self._board.reports.own)
        if None in reports:
            return None
        found = {one.name: one for each in reports if each is not None
                 for one in each.checks}
        return dataclasses.replace(
            reports[0] if reports and reports[0] else report.Report(()),
            checks=tuple(found[name] for name in self._names
                         if name in found))

    @property
    def alive_at(self) -> float:
        """When the thread that is quiet for longest was seen to run."""
        return min((prober.alive_at for prober in self._probers),
                   default=math.inf)

    def note_error(self) -> None:
        """A request that was vouched for ended in a fault of the service."""
        if self._witness is not None:
            self._witness.ledger.error()

    def refresh(self) -> None:
        """Have everything probed, and wait until it was.

        However many ask, in however many processes, there is one round a
        second. A check that hangs is waited for no longer than its timeout.
        """
        asked_at = time.monotonic()
        for prober in self._probers:
            prober.refresh()
        enough = asked_at - rounds.SHARED_FOR
        deadline = asked_at + self._policy.timeout + rounds.SHARED_FOR
        while time.monotonic() < deadline:
            if self._look is not None:
                self._look()
            reports = [self._board.reports.shared]
            if self._threads.run_always:
                reports.append(self._board.reports.own)
            if all(found is not None and (
                    not found.checks or (found.refreshed_at or 0) >= enough)
                    for found in reports):
                return
            time.sleep(_LOOK)

    def stop(self, timeout: float = 0.0) -> None:
        """Stop probing; what probes hold is given back in their threads.

        :param timeout: how long to wait for the threads, in seconds. One
            that hangs in a backend is left behind: it is a daemon.
        """
        deadline = time.monotonic() + timeout
        if self._witness is not None:
            self._witness.ignore()
        threads = list(self._running.values())
        for prober in self._probers:
            prober.stop()
        threads += self._audience.stop()
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _stop_at_exit(self, process: str) -> None:
        # So that servers see a connection that was closed, and log none
        # that was lost. A child that was forked inherits the hook.
        if processes.this() == process:
            self.stop(_EXIT_WAIT)
