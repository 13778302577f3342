# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""When to probe: one scheduler, one thread a check, nobody waits for anybody.

The scheduler owns every check's state and is the only one to touch it; what
the probe threads find comes to it through a queue, and what it makes of that
leaves as a frozen report. So there is no lock in here, and a probe that
hangs holds its own thread and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
import queue
import random
import threading
import time as time_module
from typing import Protocol

from oslo_log import log as logging

from healthcheck import check as check_module
from healthcheck import report

LOG = logging.getLogger(__name__)

PROBE_ERROR = 'PROBE ERROR'

Check = check_module.Check
Status = report.Status


class Probe(Protocol):
    """What a monitor runs."""

    @property
    def name(self) -> str:
        """The name of the check."""

    @property
    def label(self) -> str:
        """What is put in front of a reason where many are listed."""

    def probe(self) -> report.Result:
        """Look at the backend. Runs in a thread that is this probe's own."""

    def overdue(self) -> tuple[str, str]:
        """Say (reason, detail) why a running probe has no answer yet.

        Called by the scheduler: it must return at once, and is the place
        to cut off what the probe waits for.
        """

    def close(self) -> None:
        """Give back what the probe holds; runs in the probe's thread."""


class Monitor:
    """Runs probes on their schedule and publishes what they find.

    :param probes: one check is made of each
    :param policy: how they are run and judged
    :param publish: called in the scheduler's thread with each new report;
        the first one comes when every check is settled
    :param noncritical: names of the checks that cannot fail the node
    :param clock: monotonic seconds
    :param wall_clock: seconds since the epoch
    :param uniform: where jitter comes from
    :param runner: makes what runs one probe at a time, away from here
    """

    def __init__(self, probes: Sequence[Probe], policy: check_module.Policy,
                 publish: Callable[[report.Report], None], *,
                 noncritical: Sequence[str] = (),
                 clock: Callable[[], float] = time_module.monotonic,
                 wall_clock: Callable[[], float] = time_module.time,
                 uniform: Callable[[float, float], float] = random.uniform,
                 runner: Callable[..., Runner] | None = None) -> None:
        self._publish = publish
        self._clock = clock
        self._wall_clock = wall_clock
        # Not SimpleQueue: where a service runs under eventlet, Queue has been
        # replaced by one that lets others run, and SimpleQueue has not; a
        # wait for it would stop the whole process.
        self._events: queue.Queue[
            tuple[Check, report.Result, float] | None] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._published = False
        self._said: dict[str, set[tuple[Status, str]]] = {}
        make_runner = runner or Runner
        self._lanes = [
            (Check(p.name, policy, label=p.label, uniform=uniform,
                   critical=p.name not in noncritical),
             p, make_runner(p, self._hand_in, clock)) for p in probes]

    def start(self) -> None:
        """Start probing.

        :raises RuntimeError: if the process can start no thread
        """
        self._thread = threading.Thread(
            target=self._run, name='healthcheck-monitor', daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 0.0) -> None:
        """Stop probing; what probes hold is given back in their threads.

        :param timeout: how long to wait for the threads, in seconds. One
            that hangs in a backend is left behind: it is a daemon.
        """
        deadline = self._clock() + timeout
        self._events.put(None)
        threads = [self._thread] if self._thread else []
        for _, _, runner in self._lanes:
            threads += runner.stop()
        for thread in threads:
            thread.join(max(0.0, deadline - self._clock()))

    def step(self) -> float:
        """Do what is due, and say when to look again."""
        now = self._clock()
        for check, probe, runner in self._lanes:
            if check.due_at > now:
                continue
            if check.running:
                reason, detail = self._ask_why(probe)
                self._judge(check, lambda: check.overdue(
                    now, self._wall_clock(), reason, detail))
            else:
                check.started(now)
                try:
                    runner.launch(check)
                except RuntimeError as exc:  # no more threads to be had
                    self.take(check, report.Result.failed(
                        PROBE_ERROR, str(exc)), now)
        return min(check.due_at for check, _, _ in self._lanes)

    def take(self, check: Check, result: report.Result,
             finished_at: float) -> None:
        """Take what a probe found at ``finished_at``."""
        self._judge(check, lambda: check.finished(
            result, finished_at, self._wall_clock()))

    def _hand_in(self, check: Check, result: report.Result,
                 finished_at: float) -> None:
        self._events.put((check, result, finished_at))

    def _run(self) -> None:
        failing = False
        while True:
            try:
                wait = self.step() - self._clock()
                event = self._events.get(timeout=max(0.0, wait))
                if event is None:
                    return
                self.take(*event)
                failing = False
            except queue.Empty:
                failing = False
            except Exception:
                # A fault of our own must not end probing: the report goes
                # stale while it lasts, which is the truth.
                if not failing:
                    LOG.exception('The healthcheck monitor failed; it goes '
                                  'on trying')
                failing = True
                time_module.sleep(1.0)

    @staticmethod
    def _ask_why(probe: Probe) -> tuple[str, str]:
        try:
            return probe.overdue()
        except Exception as exc:
            LOG.debug('%s could not say why it is overdue: %s',
                      probe.name, type(exc).__name__)
            return check_module.NO_ANSWER, ''

    def _judge(self, check: Check, change: Callable[[], None]) -> None:
        before = check.status
        change()
        self._log_change(check, before)
        if not self._published:
            self._published = all(c.settled for c, _, _ in self._lanes)
        if self._published:
            self._publish(report.Report(
                tuple(c.snapshot() for c, _, _ in self._lanes)))

    def _log_change(self, check: Check, before: Status | None) -> None:
        """Log a change of status, and each reason for it once.

        Between two passes the same thing is said once, however a backend
        wavers between two ways to fail.
        """
        status, result = check.status, check.result
        assert status is not None and result is not None
        said = self._said.setdefault(check.name, set())
        if status is Status.PASS:
            if before is status:
                return
            said.clear()
        elif (status, result.reason) in said:
            return
        said.add((status, result.reason))
        log = LOG.info if status is Status.PASS else LOG.warning
        log('Healthcheck %(check)s: %(before)s -> %(after)s: '
            '%(reason)s%(detail)s',
            {'check': check.name, 'after': status.word,
             'before': 'never run' if before is None else before.word,
             'reason': result.reason,
             'detail': f' ({result.detail})' if result.detail else ''})


class Runner:
    """Runs one probe, one run at a time, in one thread of its own."""

    def __init__(self, probe: Probe,
                 hand_in: Callable[[Check, report.Result, float], None],
                 clock: Callable[[], float]) -> None:
        self._probe = probe
        self._hand_in = hand_in
        self._clock = clock
        self._orders: queue.Queue[Check | None] = queue.Queue()
        self._thread: threading.Thread | None = None

    def launch(self, check: Check) -> None:
        """Have the probe run; what it finds is handed in for ``check``."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, daemon=True,
                name=f'healthcheck-{self._probe.name}')
            self._thread.start()
        self._orders.put(check)

    def stop(self) -> list[threading.Thread]:
        self._orders.put(None)
        return [self._thread] if self._thread else []

    def _run(self) -> None:
        while (check := self._orders.get()) is not None:
            result = self._probe_once()
            self._hand_in(check, result, self._clock())
        try:
            self._probe.close()
        except Exception as exc:
            LOG.debug('Closing %s: %s', self._probe.name, type(exc).__name__)

    def _probe_once(self) -> report.Result:
        # BaseException: a plugin that calls sys.exit, or a GreenletExit,
        # costs its own check only. The text of an exception that no plugin
        # vouches for may hold a secret and is not passed on.
        try:
            result: object = self._probe.probe()
        except BaseException as exc:
            return report.Result.failed(
                PROBE_ERROR, f'{self._probe.name} raised '
                             f'{type(exc).__module__}.{type(exc).__name__}')
        if not isinstance(result, report.Result):
            return report.Result.failed(
                PROBE_ERROR, f'{self._probe.name} returned '
                             f'{type(result).__name__}, not a Result')
        return result
