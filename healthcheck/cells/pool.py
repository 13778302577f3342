# SPDX-License-Identifier: Apache-2.0

"""A bounded number of threads, for any number of backends.

Not a ``ThreadPoolExecutor``: one thread of that which hangs in a driver would
keep the process from ending.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
import itertools
import queue
import threading

IDLE = 2.0
"""Seconds without work after which a thread ends."""

Job = Callable[[], None]


class Pool:
    """Daemon threads, started when there is work and none of them is idle.

    Who has worked last gets the next job, so that those end that are not
    needed any more.

    :param size: how many there may be
    :param name: what their names begin with
    """

    def __init__(self, size: int, name: str) -> None:
        self.size = size
        self._names = (f'{name}-{n}' for n in itertools.count(1))
        # Held to hand over a job, never while one runs.
        self._lock = threading.Lock()
        self._threads = 0
        self._waiting: collections.deque[Job] = collections.deque()
        # Not SimpleQueue, which is not replaced under eventlet.
        self._idle: list[queue.Queue[Job]] = []

    def submit(self, job: Job) -> None:
        """Have a job done, which must not raise; at once, or when it can be.

        :raises RuntimeError: if there is no thread, and none can be started
        """
        with self._lock:
            if self._idle:
                self._idle.pop().put(job)
                return
            if self._threads >= self.size:
                self._waiting.append(job)
                return
            self._threads += 1
        try:
            threading.Thread(target=self._run, args=(job,), daemon=True,
                             name=next(self._names)).start()
        except RuntimeError:  # no more threads to be had
            with self._lock:
                self._threads -= 1
                if not self._threads:
                    raise
                self._waiting.append(job)

    def _run(self, first: Job) -> None:
        job: Job | None = first
        own: queue.Queue[Job] = queue.Queue()
        while job is not None:
            job()
            job = self._next(own)

    def _next(self, own: queue.Queue[Job]) -> Job | None:
        """The next job, or None if there is nothing to do."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._idle.append(own)
        try:
            return own.get(timeout=IDLE)
        except queue.Empty:
            pass
        with self._lock:
            if own in self._idle:
                self._idle.remove(own)
                self._threads -= 1
                return None
        return own.get()  # it was put in between
