# SPDX-License-Identifier: Apache-2.0

"""When to probe: one scheduler, one thread a check, nobody waits for anybody.

The scheduler owns every check's state and is the only one to touch it; what
the probe threads find comes to it through a queue, and what it makes of that
leaves as a frozen report. So there is no lock in here, and a probe that
hangs holds its own thread and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
import contextlib
import functools
import math
import queue
import random
import threading
import time as time_module

from oslo_log import log as logging

from healthcheck.probing import check as check_module
from healthcheck.probing import guard
from healthcheck.probing import rounds
from healthcheck.probing import runner as runner_module
from healthcheck.reports import changes
from healthcheck.reports import report

LOG = logging.getLogger(__name__)

Check = check_module.Check
Status = report.Status


UNIFORM = random.SystemRandom().uniform
"""Not the generator of the process: uWSGI forks workers without a word to
Python, and they would all go on with the same numbers."""

LATE = 0.1
"""Seconds by which a scheduler that gets its share of time is not late."""


class _Refresh:
    """An event: somebody wants everything probed now."""


_Event = tuple[Check, report.Result, float] | Check | type[_Refresh] | None


class Monitor:
    """Runs probes on their schedule and publishes what they find.

    :param probes: one check is made of each
    :param policy: how they are run and judged
    :param publish: called in the scheduler's thread with each new report;
        the first one comes when every check is settled
    :param noncritical: names of the checks that cannot fail the node
    :param prober: who publishes
    :param changed: called in the scheduler's thread with each change of a
        check's status; it must return at once
    :param clock: monotonic seconds
    :param wall_clock: seconds since the epoch
    :param uniform: where jitter comes from
    :param runner: makes what runs one probe at a time, away from here
    """

    def __init__(self, probes: Sequence[guard.Guarded],
                 policy: check_module.Policy,
                 publish: Callable[[report.Report], None], *,
                 noncritical: Sequence[str] = (),
                 prober: report.ProberProcess | None = None,
                 changed: Callable[[changes.StateChange], None] = (
                     lambda change: None),
                 clock: Callable[[], float] = time_module.monotonic,
                 wall_clock: Callable[[], float] = time_module.time,
                 uniform: Callable[[float, float], float] = UNIFORM,
                 runner: Callable[..., runner_module.Runner] = (
                     runner_module.Runner)) -> None:
        self._publish = publish
        self._prober = prober
        self._changed = changed
        self._clock = clock
        self._wall_clock = wall_clock
        # Not SimpleQueue, see runner.Runner.
        self._events: queue.Queue[_Event] = queue.Queue()
        self._published = False
        self._said: dict[str, set[tuple[Status, str]]] = {}
        self._round = rounds.Round(policy.timeout)
        self._lanes = [
            (Check(p.name, policy, label=p.label, uniform=uniform,
                   critical=p.name not in noncritical,
                   per_worker=p.per_worker),
             p, runner(p, self._hand_in, clock)) for p in probes]
        self._again: set[Check] = set()
        for check, probe, _ in self._lanes:
            probe.news = functools.partial(self._events.put, check)

    def run(self, go_on: Callable[[], bool] = lambda: True,
            every: float = math.inf) -> None:
        """Probe until :meth:`stop` is called, or ``go_on`` says no.

        :param go_on: asked at least ``every`` so many seconds
        """
        failing = False
        while go_on():
            try:
                if not self._wait(min(self.step(), self._clock() + every)):
                    return
                failing = False
            except Exception:
                # A fault of our own must not end probing: the report goes
                # stale while it lasts, which is the truth.
                if not failing:
                    LOG.exception('The healthcheck monitor failed; it goes '
                                  'on trying')
                failing = True
                time_module.sleep(1.0)

    def restore(self, last: report.Report) -> None:
        """Go on where another prober left off; not while this one runs."""
        while not self._events.empty():
            event = self._events.get_nowait()
            if isinstance(event, tuple):
                check, result, finished_at = event
                check.finished(result, finished_at, self._wall_clock())
        now = self._clock()
        found = {one.name: one for one in last.checks}
        for check, probe, _ in self._lanes:
            if check.name in found:
                check.restore(found[check.name], now)
                probe.restore(found[check.name])
                self._said[check.name] = {
                    (check.status, found[check.name].reason)
                } if check.status else set()
        self._published = all(check.settled for check, _, _ in self._lanes)

    def rest(self) -> None:
        """Give back what the probes hold, as another process goes on."""
        for _, _, runner in self._lanes:
            runner.rest()

    def refresh(self) -> None:
        """Have everything probed now, unless that was just done.

        May be called in any thread. The report whose ``refreshed_at`` is
        new is the one that the caller waits for.
        """
        self._events.put(_Refresh)

    def stop(self) -> list[threading.Thread]:
        """Stop probing; what probes hold is given back in their threads.

        :return: the threads that end now. One that hangs in a backend does
            not: it is a daemon.
        """
        self._events.put(None)
        return [thread for _, _, runner in self._lanes
                for thread in runner.stop()]

    def step(self) -> float:
        """Do what is due, and say when to look again."""
        now = self._clock()
        for check, probe, runner in self._lanes:
            if check.due_at > now:
                continue
            if check.running:
                reason, detail = probe.overdue()
                self._judge(check, lambda: check.overdue(
                    now, self._wall_clock(), reason, detail))
            else:
                check.started(now)
                try:
                    runner.launch(check)
                except RuntimeError as exc:  # no more threads to be had
                    self.take(check, report.Result.failed(
                        guard.PROBE_ERROR, str(exc)), now)
        if self._round.is_over(now):
            self._publish_all()
        return min(self._round.ends_at,
                   *(check.due_at for check, _, _ in self._lanes))

    def take(self, check: Check, result: report.Result,
             finished_at: float) -> None:
        """Take what a probe found at ``finished_at``."""
        self._round.finished(check)
        self._judge(check, lambda: check.finished(
            result, finished_at, self._wall_clock()))
        if self._round.awaits(check) or check in self._again:
            self._again.discard(check)
            check.hurry(finished_at)

    def _wait(self, wake_at: float) -> bool:
        """Take what comes in until then; False if told to stop.

        All of it is taken before anything is judged to be overdue.
        """
        came: list[_Event] = []
        with contextlib.suppress(queue.Empty):
            came.append(self._events.get(
                timeout=max(0.0, wake_at - self._clock())))
            while True:
                came.append(self._events.get_nowait())
        self._excuse(self._clock() - wake_at)
        for event in came:
            if event is None:
                return False
            self._handle(event)
        return True

    def _excuse(self, late: float) -> None:
        """Do not blame backends for time that this process has not had.

        It may have been stopped, moved to another host, or starved; then
        every probe that runs looks late.
        """
        if late > LATE:
            for check, _, _ in self._lanes:
                check.excuse(late)

    def _handle(self, event: tuple[Check, report.Result, float] | Check
                | type[_Refresh]) -> None:
        if isinstance(event, tuple):
            self.take(*event)
        elif isinstance(event, Check):
            if event.running:  # it may have passed the place of the news
                self._again.add(event)
            event.hurry(self._clock())
        else:
            now = self._clock()
            if self._round.begin(now, [c for c, _, _ in self._lanes]):
                for check, probe, _ in self._lanes:
                    probe.hurry()
                    check.hurry(now)

    def _hand_in(self, check: Check, result: report.Result,
                 finished_at: float) -> None:
        self._events.put((check, result, finished_at))

    def _judge(self, check: Check, change: Callable[[], None]) -> None:
        before = check.status
        change()
        self._log_change(check, before)
        self._publish_all()

    def _publish_all(self) -> None:
        if not self._published:
            self._published = all(c.settled for c, _, _ in self._lanes)
        if self._published:
            self._publish(report.Report(
                tuple(c.snapshot() for c, _, _ in self._lanes),
                self._prober, self._round.refreshed_at))

    def _log_change(self, check: Check, before: Status | None) -> None:
        """Log each change of status, and each reason for it once.

        Between two passes the same reason for the same status is said once,
        however a backend wavers between two ways to fail.
        """
        status, result = check.status, check.result
        assert status is not None and result is not None
        said = self._said.setdefault(check.name, set())
        if status is Status.PASS:
            said.clear()
        if status is before and (status is Status.PASS
                                 or (status, result.reason) in said):
            return
        said.add((status, result.reason))
        change = changes.StateChange.of(check.snapshot(), before,
                                        self._prober)
        if status is not before:
            self._changed(change)
        log = LOG.info if status is Status.PASS else LOG.warning
        log('Healthcheck %s', change, extra=change.fields())
