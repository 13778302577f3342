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

"""What runs one probe: a thread of its own, one run at a time."""

from __future__ import annotations

from collections.abc import Callable
import enum
import queue
import threading
from typing import Protocol

from oslo_log import log as logging

from healthcheck.probing import check
from healthcheck import report

LOG = logging.getLogger(__name__)

PROBE_ERROR = 'PROBE ERROR'


class Probe(Protocol):
    """What a monitor runs.

    :ivar per_worker: whether it looks at the worker process that it runs in,
        so that each has to do so for itself
    :ivar news: set by the monitor; a probe that goes on looking between two
        runs calls it, in any thread, to be run now
    """

    per_worker: bool
    news: Callable[[], None]

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

    def hurry(self) -> None:
        """Find out everything anew in the next run: somebody asked for it.

        Called by the scheduler: it must return at once.
        """

    def restore(self, last: report.CheckReport) -> None:
        """Go on from what another process has found, before the next run.

        Called by the scheduler: it must return at once.
        """

    def close(self) -> None:
        """Give back what the probe holds; runs in the probe's thread."""


def probe_once(name: str, probe: Callable[[], object]) -> report.Result:
    """What a probe finds, or that it is at fault itself; raises nothing."""
    # BaseException: a plugin that calls sys.exit, or a GreenletExit, costs
    # its own check only. The text of an exception that no plugin vouches for
    # may hold a secret and is not passed on.
    try:
        result = probe()
    except BaseException as exc:
        return report.Result.failed(
            PROBE_ERROR, f'{name} raised '
                         f'{type(exc).__module__}.{type(exc).__name__}')
    if not isinstance(result, report.Result):
        return report.Result.failed(
            PROBE_ERROR, f'{name} returned '
                         f'{type(result).__name__}, not a Result')
    return result


def why_overdue(name: str, overdue: Callable[[], tuple[str, str]],
                ) -> tuple[str, str]:
    """(reason, detail) as a probe has it, if it can say; raises nothing."""
    try:
        return overdue()
    except Exception as exc:
        LOG.debug('%s could not say why it is overdue: %s', name,
                  type(exc).__name__)
        return check.NO_ANSWER, ''


class _Order(enum.Enum):
    """What a thread is told besides to probe."""

    REST = enum.auto()
    STOP = enum.auto()


class Runner:
    """Runs one probe, one run at a time, in one thread of its own."""

    def __init__(self, probe: Probe,
                 hand_in: Callable[[check.Check, report.Result, float],
                                   None],
                 clock: Callable[[], float]) -> None:
        self._probe = probe
        self._hand_in = hand_in
        self._clock = clock
        # Not SimpleQueue: where a service runs under eventlet, Queue has been
        # replaced by one that lets others run, and SimpleQueue has not; a
        # wait for it would stop the whole process.
        self._orders: queue.Queue[check.Check | _Order] = queue.Queue()
        self._thread: threading.Thread | None = None

    def launch(self, of: check.Check) -> None:
        """Have the probe run; what it finds is handed in for ``of``.

        :raises RuntimeError: if there are no more threads to be had
        """
        if self._thread is None:
            thread = threading.Thread(
                target=self._run, daemon=True,
                name=f'healthcheck-{self._probe.name}')
            thread.start()
            self._thread = thread
        self._orders.put(of)

    def rest(self) -> None:
        """Give back what the probe holds, until it is launched again.

        The thread is kept: one that hangs in a backend must be the only one
        of its probe.
        """
        if self._thread is not None:
            self._orders.put(_Order.REST)

    def stop(self) -> list[threading.Thread]:
        self._orders.put(_Order.STOP)
        return [self._thread] if self._thread else []

    def _run(self) -> None:
        while (order := self._orders.get()) is not _Order.STOP:
            if isinstance(order, check.Check):
                result = probe_once(self._probe.name, self._probe.probe)
                self._hand_in(order, result, self._clock())
            else:
                self._close()
        self._close()

    def _close(self) -> None:
        try:
            self._probe.close()
        except Exception as exc:
            LOG.debug('Closing %s: %s', self._probe.name, type(exc).__name__)
