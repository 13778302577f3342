# SPDX-License-Identifier: Apache-2.0

"""Decides when to visit which target, and publishes the results.

Only the scheduler touches the state of targets. Visits run in threads of a
pool. Their findings reach the scheduler through a queue, and its verdicts
leave as a frozen report. So there is no lock here that a visit could hold,
and a visit that hangs blocks nothing but its own thread.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
import contextlib
import functools
import math
import queue
import time as time_module

from oslo_log import log as logging

from healthcheck.probing import check as check_module
from healthcheck.probing import doubt
from healthcheck.probing import evidence
from healthcheck.probing import guard
from healthcheck.probing import policy as policy_module
from healthcheck.probing import pool as pool_module
from healthcheck.probing import probe as probe_module
from healthcheck.probing import publisher
from healthcheck.probing import rota as rota_module
from healthcheck.probing import rounds
from healthcheck.probing import suspects
from healthcheck.probing import visits as visits_module
from healthcheck.reports import changes
from healthcheck.reports import history
from healthcheck.reports import report

LOG = logging.getLogger(__name__)

Probe = probe_module.Probe
Watchlist = probe_module.Watchlist

LATE = 0.1
"""Seconds of lateness that are normal for a scheduler that can run."""

WORKERS = 80
"""Maximum number of visits at a time to targets that can wait."""

_GRACE = 1.0
"""Seconds that targets have to close when the process ends."""


class Scheduler:
    """Visits targets on their schedule and publishes the results.

    :param checks: what is published
    :param policy: how targets are probed
    :param publish: called in the scheduler's thread with each new report;
        the first one comes when every check is settled
    :param noncritical: names of the checks that cannot fail the node
    :param workers: maximum number of visits at a time to targets that can
        wait
    :param prober: the process that publishes
    :param changed: called in the scheduler's thread with each change of a
        check's status; it must return at once
    :param traffic: evidence from traffic; None for none
    :param clock: monotonic seconds
    :param wall_clock: seconds since the epoch
    :param uniform: the source of jitter
    :param pool: runs visits
    :ivar suspects: targets to visit early; for its thread alone
    """

    def __init__(self, checks: Sequence[check_module.Check],
                 policy: policy_module.Policy,
                 publish: Callable[[report.Report], None], *,
                 noncritical: Sequence[str] = (), workers: int = WORKERS,
                 prober: report.ProberProcess | None = None,
                 changed: Callable[[changes.StateChange], None] = (
                     lambda change: None),
                 traffic: evidence.Traffic | None = None,
                 clock: Callable[[], float] = time_module.monotonic,
                 wall_clock: Callable[[], float] = time_module.time,
                 uniform: Callable[[float, float], float] = (
                     policy_module.UNIFORM),
                 pool: pool_module.Pool | None = None) -> None:
        self._workers = workers
        self._clock = clock
        self._wall_clock = wall_clock
        self._jitter = functools.partial(uniform, -policy.jitter,
                                         policy.jitter)
        self._pool = pool or pool_module.Pool(workers, 'healthcheck')
        self._doubt = doubt.Doubt()
        self._publisher = publisher.Publisher(checks, publish, prober,
                                              changed, self._doubt)
        self._round = rounds.Round(policy.timeout)
        self._visits = visits_module.Visits(
            self._pool, lambda: self._events.put(self._take_visits), clock)
        self._rota = rota_module.Rota(workers, policy, self._visits.begin,
                                      self._close, clock, wall_clock, uniform,
                                      *([traffic.seen] if traffic else ()))
        self.suspects = suspects.Suspects(traffic, self._rota, checks)
        # Not SimpleQueue, see pool.Pool.
        self._events: queue.Queue[Callable[[], None]] = queue.Queue()
        self._stopped = False
        self._closing = 0
        self._summaries = [check for check in checks
                           if isinstance(check, check_module.Summary)]
        self._readers: dict[Watchlist, list[check_module.Check]] = {}
        self._owners: dict[Probe, Watchlist] = {}
        self._followed: dict[Watchlist, Sequence[Probe]] = {}
        for check in checks:
            check.state.critical = check.name not in noncritical
            self._readers.setdefault(check.watchlist, []).append(check)
        for watchlist in self._readers:
            self._follow(watchlist)

    def run(self, go_on: Callable[[], bool] = lambda: True,
            every: float = math.inf) -> None:
        """Probe until :meth:`stop` is called or ``go_on`` returns False.

        :param go_on: called at least every ``every`` seconds
        """
        if self._publisher.silent:
            # The probes that they waited for are out of date.
            for check in self._summaries:
                check.begin(self._clock())
        self._publisher.silent = self._stopped = failing = False
        while go_on() and not self._stopped:
            try:
                self._wait(min(self.step(), self._clock() + every))
                failing = False
            except Exception:
                # A fault of our own must not end probing. While it lasts,
                # the report goes stale, as it should.
                if not failing:
                    LOG.exception('The healthcheck scheduler failed; it goes '
                                  'on trying')
                failing = True
                time_module.sleep(1.0)

    def restore(self, last: report.Report) -> None:
        """Continue where another prober left off; not while running."""
        self._publisher.silent = True
        self.take()
        self._publisher.restore(last, self._clock())
        self._rota.hurry()

    def rest(self) -> None:
        """Close targets, because another process takes over.

        A later call closes targets that are being visited now. Nothing is
        published until :meth:`run` is called.
        """
        if not self._publisher.silent:
            self._publisher.silent = True
            for watchlist in self._readers:
                watchlist.forget()
                self._follow(watchlist)
        self.take()
        self._rota.rest()

    def refresh(self) -> None:
        """Visit everything now, unless that was just done.

        May be called in any thread. The caller waits for the report that
        has a new ``refreshed_at``.
        """
        self._events.put(self._begin_round)

    def stop(self) -> None:
        """End :meth:`run`. May be called in any thread."""
        self._events.put(self._stop)

    def close(self) -> None:
        """Close targets after :meth:`run` has ended.

        It waits a moment, so servers see connections being closed rather
        than lost. A visit that hangs is left behind in a daemon thread, so
        the process can end.
        """
        until = self._clock() + _GRACE
        self.rest()
        while self._rota.visits or self._closing:
            try:
                self._events.get(
                    timeout=max(0.0, until - self._clock()))()
            except queue.Empty:
                break
            self._rota.rest()
        self._pool.end()

    def step(self) -> float:
        """Do what is due; return when to call this again."""
        now = self._clock()
        if now >= self._visits.wakes_at:
            self._take_visits()
            self._rota.held_up(self._visits.held_up(now))
        look_at = self.suspects.look(now)
        judged = self._rota.step()
        for probe in judged:
            self._doubt.took(probe.target, probe.state.result)
        self._judged(judged)
        for check in self._summaries:
            if check.is_ready(now):
                self._sum_up(check, now)
                self._publisher.judged(check)
        if self._round.is_over(now):
            self._publisher.refreshed_at = self._round.refreshed_at
            self.sum_up()
        return min(look_at, self._rota.wakes_at, self._visits.wakes_at,
                   self._round.ends_at, *(check.wakes_at
                                          for check in self._summaries))

    def sum_up(self) -> None:
        """Publish what is known now, without waiting for any probe."""
        for check in self._summaries:
            self._sum_up(check, self._clock())
        self._publisher.judged(*self._summaries)

    def take(self) -> None:
        """Handle all events in the queue."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._events.get_nowait()()

    def _wait(self, wake_at: float) -> None:
        """Handle events until then.

        All are handled before any visit is judged to be overdue.
        """
        came: list[Callable[[], None]] = []
        with contextlib.suppress(queue.Empty):
            came.append(self._events.get(
                timeout=max(0.0, wake_at - self._clock())))
            while True:
                came.append(self._events.get_nowait())
        self._excuse(self._clock() - wake_at)
        guard.each(lambda event: event(), came)

    def _excuse(self, late: float) -> None:
        """Do not blame backends for time in which this process did not run.

        It may have been stopped, moved to another host, or starved.
        """
        if late > LATE:
            self._rota.excuse(late)
            for check in self._summaries:
                check.excuse(late)

    def _stop(self) -> None:
        self._stopped = True

    def _begin_round(self) -> None:
        if self._round.begin(self._clock(), self._rota.running()):
            self._rota.hurry(history.REFRESH)

    def _take_visits(self) -> None:
        guard.each(self._visited, self._visits.take())

    def _visited(self, visit: visits_module.Visit) -> None:
        watched, found, began_at, ended_at = visit
        watched.waited(began_at)
        again = self._round.finished(watched.key)
        self._doubt.took(watched.target, found.result)
        self._judged(self._rota.finished(watched, found, ended_at, again))

    def _close(self, watched: rota_module.Watched) -> None:
        def closed(_: None) -> None:
            self._events.put(self._closed)
        # If no thread can be started, the garbage collector closes it.
        with contextlib.suppress(RuntimeError):
            self._pool.submit(watched.close, closed)
            self._closing += 1

    def _closed(self) -> None:
        self._closing -= 1

    def _follow(self, watchlist: Watchlist) -> None:
        """Visit the probes that the list has now, and only these."""
        before, now = self._followed.get(watchlist, ()), watchlist.probes
        if before is now:
            return
        self._followed[watchlist] = now
        readers = [one for one in self._readers[watchlist]
                   if isinstance(one, check_module.Summary)]
        # Added before removed, so a target that both share is kept.
        for probe in now:
            if probe not in self._owners:
                self._owners[probe] = watchlist
                watched = self._rota.add(probe)
                self._round.came(watched.key, watched.visit is not None)
                for check in readers:
                    check.came(probe)
        kept = set(now)
        for probe in before:
            if probe not in kept:
                del self._owners[probe]
                self._round.gone(self._rota.remove(probe))
                for check in readers:
                    check.gone(probe)
        self._pool.size = self._workers + self._rota.needed

    def _judged(self, probes: Iterable[Probe]) -> None:
        """Pass judged probes to their checks."""
        now, time = self._clock(), self._wall_clock()
        for probe in probes:
            watchlist = self._owners.get(probe)
            if watchlist is None:
                continue  # an earlier one has taken it off the list
            watchlist.quiet = self._doubt.holds
            news = watchlist.took(probe, now, time)
            self._follow(watchlist)
            for check in self._readers[watchlist]:
                if not isinstance(check, check_module.Summary):
                    self._publisher.judged(check)
                    continue
                check.took(probe)
                if news:
                    check.tell(now)

    def _sum_up(self, check: check_module.Summary, now: float) -> None:
        check.judge(now, self._wall_clock(), self._jitter())
