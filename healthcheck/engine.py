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

"""What runs in one process: a monitor, and the board that it writes to."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from collections.abc import Sequence
import os
import threading
from typing import Any, Generic, TypeVar

from oslo_log import log as logging

from healthcheck import check
from healthcheck import monitor
from healthcheck import pages
from healthcheck import switches

LOG = logging.getLogger(__name__)

T = TypeVar('T')

# Seconds that the end of a process waits for probes to close.
_EXIT_WAIT = 0.5


class PerProcess(Generic[T]):
    """One ``T`` for each process, made by whoever asks first in it.

    A server may fork at any moment, and uWSGI calls no ``register_at_fork``
    hook, so the process is asked for at each access. What was made before a
    fork is kept and not used: to let it go would close connections that the
    parent goes on using. There is no lock that a fork could inherit locked.

    :param make: makes a ``T`` that has started nothing yet: when two
        threads ask at once, two are made and one is dropped
    """

    def __init__(self, make: Callable[..., T]) -> None:
        self._make = make
        self._made: dict[int, T] = {}

    def get(self, *args: Any) -> T:
        """The ``T`` of this process; ``args`` go to ``make``."""
        pid = os.getpid()
        made = self._made.get(pid)
        if made is None:
            made = self._made.setdefault(pid, self._make(*args))
        return made

    def peek(self) -> T | None:
        """The ``T`` of this process, if it has one."""
        return self._made.get(os.getpid())


class Engine:
    """The probing of one process.

    :param names: the checks, in the order of their lines
    :param probes: those of them that are probed
    :param policy: how they are probed
    :param settings: the values of group ``[healthcheck]``
    :param file_switches: those that are read per request
    """

    def __init__(self, names: Sequence[str], probes: Sequence[monitor.Probe],
                 policy: check.Policy, settings: Any,
                 file_switches: switches.Switches) -> None:
        self.board = pages.Board(names, file_switches, probed=bool(probes),
                                 detailed=settings.detailed)
        self.started = not probes
        self._starting = threading.Lock()
        self._startup_wait: float = settings.startup_wait
        self._monitor = monitor.Monitor(
            probes, policy, self.board.publish,
            noncritical=settings.noncritical) if probes else None

    def start(self) -> None:
        """Start probing and wait ``startup_wait`` for the first report.

        Whoever comes while another thread does so goes on at once.
        """
        if not self._starting.acquire(blocking=False):
            return
        try:
            if self.started:
                return
            assert self._monitor is not None
            try:
                self._monitor.start()
            except RuntimeError as exc:
                LOG.error('Healthcheck cannot start probing and answers 503 '
                          'until it can: %s', exc)
                return
            self.started = True
            atexit.register(self._stop_at_exit, os.getpid())
            self.board.reported.wait(self._startup_wait)
        finally:
            self._starting.release()

    def _stop_at_exit(self, pid: int) -> None:
        # So that servers see a connection that was closed, and log none
        # that was lost. A child that was forked inherits the hook.
        if os.getpid() == pid:
            self.stop(_EXIT_WAIT)

    def stop(self, timeout: float = 0.0) -> None:
        """Stop probing; wait ``timeout`` seconds at most for its threads."""
        if self._monitor is not None:
            self._monitor.stop(timeout)
