# SPDX-License-Identifier: Apache-2.0

"""A bounded number of threads for any number of targets.

Not a ``ThreadPoolExecutor``: if one of its threads hung in a driver, the
process could not end.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
import itertools
import queue
import threading
from typing import TypeVar

from healthcheck.probing import daemons

IDLE = 2.0
"""Seconds without work after which a thread ends."""

T = TypeVar('T')
_Job = Callable[[], None]


class Pool:
    """Daemon threads. One is started when there is work and none is idle.

    The thread that worked last gets the next job, so threads that are no
    longer needed end.

    :param size: maximum number of threads
    :param name: prefix of their names
    """

    def __init__(self, size: int, name: str) -> None:
        self.size = size
        self._names = (f'{name}-{n}' for n in itertools.count(1))
        # Held to hand over a job, never while one runs.
        self._lock = threading.Lock()
        self._threads = 0
        self._idling = IDLE
        self._waiting: collections.deque[_Job] = collections.deque()
        # Not SimpleQueue: eventlet replaces Queue by one that lets other
        # threads run, but not SimpleQueue. To wait for a SimpleQueue would
        # block the whole process.
        self._idle: list[queue.Queue[_Job | None]] = []

    def submit(self, act: Callable[[], T],
               done: Callable[[T], None]) -> None:
        """Run ``act`` at once, or when a thread is free.

        :param act: must not raise
        :param done: called with what it returns, in the same thread
        :raises RuntimeError: if there is no thread and none can be started
        """
        def job() -> None:
            done(act())
        with self._lock:
            if self._idle:
                self._idle.pop().put(job)
                return
            if self._threads >= self.size:
                self._waiting.append(job)
                return
            self._threads += 1
        try:
            daemons.start(self._run, next(self._names), job)
        except RuntimeError:  # no thread can be started
            with self._lock:
                self._threads -= 1
                if not self._threads:
                    raise
                self._waiting.append(job)

    def end(self) -> None:
        """End idle threads; the others end when they run out of work."""
        with self._lock:
            self._idling = 0.0
            while self._idle:
                self._idle.pop().put(None)

    def _run(self, first: _Job) -> None:
        job: _Job | None = first
        own: queue.Queue[_Job | None] = queue.Queue()
        while job is not None:
            job()
            job = self._next(own)

    def _next(self, own: queue.Queue[_Job | None]) -> _Job | None:
        """The next job, or None if there is nothing to do."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._idle.append(own)
        job: _Job | None = None
        try:
            job = own.get(timeout=self._idling)
        except queue.Empty:
            with self._lock:
                if own in self._idle:
                    self._idle.remove(own)
                    own.put(None)
            job = own.get()  # there is one, put in meanwhile or just now
        if job is None:
            with self._lock:
                self._threads -= 1
        return job
