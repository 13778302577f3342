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

"""A bounded number of threads, for any number of backends.

Not a ``ThreadPoolExecutor``: one thread of that which hangs in a driver would
keep the process from ending.
"""

from __future__ import annotations

from collections.abc import Callable
import itertools
import queue
import threading

IDLE = 2.0
"""Seconds without work after which a thread ends."""

Job = Callable[[], None]


class Pool:
    """Daemon threads, started when there is work and none of them is idle.

    Used by one thread, its owner.

    :param size: how many there may be
    :param name: what their names begin with
    """

    def __init__(self, size: int, name: str) -> None:
        self.size = size
        self._names = (f'{name}-{n}' for n in itertools.count(1))
        # Not SimpleQueue, which is not replaced under eventlet.
        self._jobs: queue.Queue[Job] = queue.Queue()
        # Held to count, never while a job runs.
        self._lock = threading.Lock()
        self._threads = 0
        # Idle threads less the jobs that wait for one.
        self._spare = 0

    def submit(self, job: Job) -> None:
        """Have a job done, which must not raise; at once, or when it can be.

        :raises RuntimeError: if there is no thread, and none can be started
        """
        with self._lock:
            more = self._spare <= 0 and self._threads < self.size
            if more:
                self._threads += 1
            else:
                self._spare -= 1
        if more:
            self._start()
        self._jobs.put(job)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, daemon=True,
                                  name=next(self._names))
        try:
            thread.start()
        except RuntimeError:  # no more threads to be had
            with self._lock:
                self._threads -= 1
                if not self._threads:
                    raise
                self._spare -= 1

    def _run(self) -> None:
        while (job := self._next()) is not None:
            job()
            with self._lock:
                self._spare += 1

    def _next(self) -> Job | None:
        """The next job, or None if there is nothing to do."""
        while True:
            try:
                return self._jobs.get(timeout=IDLE)
            except queue.Empty:
                with self._lock:
                    if self._spare > 0:
                        self._spare -= 1
                        self._threads -= 1
                        return None
                # A job is on its way.
