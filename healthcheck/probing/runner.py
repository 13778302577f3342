# SPDX-License-Identifier: Apache-2.0

"""What runs one probe: a thread of its own, one run at a time."""

from __future__ import annotations

from collections.abc import Callable
import enum
import queue
import threading
from typing import Protocol

from healthcheck.probing import check
from healthcheck.probing import guard
from healthcheck.reports import report


class Probe(Protocol):
    """What a plugin is to a monitor, which has it in a ``guard.Guarded``.

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


class _Order(enum.Enum):
    """What a thread is told besides to probe."""

    REST = enum.auto()
    STOP = enum.auto()


class Runner:
    """Runs one probe, one run at a time, in one thread of its own."""

    def __init__(self, probe: guard.Guarded,
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
                result = self._probe.probe()
                self._hand_in(order, result, self._clock())
            else:
                self._probe.close()
        self._probe.close()
