# SPDX-License-Identifier: Apache-2.0

"""The life of an agent: it probes, answers, and handles signals."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
import contextlib
import math
import os
import signal
import socket
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING

from oslo_config import cfg
from oslo_log import log as logging

from healthcheck import exceptions
from healthcheck.host import lameduck
from healthcheck.probing import daemons
from healthcheck.probing import threads
from healthcheck.reports import drain
from healthcheck.reports import report
from healthcheck.serving import door as door_module
from healthcheck.serving import systemd

if TYPE_CHECKING:
    from _typeshed import wsgi

LOG = logging.getLogger(__name__)

# Seconds between two looks: normally, and while something is under way.
_TICK = 1.0
_BUSY_TICK = 0.05

# Seconds until the agent is ready even without a first report. Backends that
# are down must not block the boot of a host.
_FIRST_REPORT = 10.0

# Seconds that a check of a new configuration may take.
_CHECK_TIMEOUT = 60.0

# Seconds at the end for probes to close what they hold.
_END_WAIT = 1.0


class Signals:
    """Returns SIGTERM, SIGINT and SIGHUP one by one.

    Made in the main thread. (Not ``signal.sigtimedwait``: it reports a signal
    that did not come when the process is stopped and continued.)
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno())
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, lambda signum, frame: None)

    def next(self, timeout: float) -> int | None:
        """The next signal; None if none comes within ``timeout`` seconds."""
        self._reader.settimeout(timeout)
        try:
            return self._reader.recv(1)[0]
        except TimeoutError:
            return None


class ConfigCheck:
    """A check of the current configuration by another process.

    A mistake must not affect the configuration in use. And loading the new one
    here would change options that foreign backends may read at any time.

    :param command: its command line; status 0 means that all is well
    """

    def __init__(self, command: Iterable[str]) -> None:
        self._said = tempfile.TemporaryFile()
        self._deadline = time.monotonic() + _CHECK_TIMEOUT
        self._process = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=self._said)

    @property
    def is_over(self) -> bool:
        return (self._process.poll() is not None
                or time.monotonic() > self._deadline)

    def problem(self) -> str | None:
        """The problem, or None. Call it once, at the end."""
        over = self._process.poll() is not None
        self.kill(close=False)
        with self._said:
            self._said.seek(0)
            text = self._said.read().decode(errors='replace').strip()
        if not over:
            return f'not read within {_CHECK_TIMEOUT:g} s'
        return text or 'no reason given' if self._process.returncode else None

    def kill(self, close: bool = True) -> None:
        self._process.kill()
        self._process.wait()
        if close:
            self._said.close()


class Agent:
    """Probes, and is a WSGI application that answers.

    :param load: makes a door from the current configuration
    :param check: starts a check of the current configuration
    :param notifier: notifies systemd
    :raises healthcheck.exceptions.ConfigError: if it cannot be loaded
    """

    def __init__(self, load: Callable[[], door_module.Door],
                 check: Callable[[], ConfigCheck],
                 notifier: systemd.Notifier) -> None:
        self._load = load
        self._make_check = check
        self._systemd = notifier
        self._watchdog_period = (notifier.watchdog or math.inf) / 2
        self._stuck = min(threads.STALLED, notifier.watchdog or math.inf)
        self._watched_at = -math.inf
        self._door = load()
        self._check: ConfigCheck | None = None
        self._starting: door_module.Door | None = None
        self._deadline = 0.0
        self._status = ''

    @property
    def door(self) -> door_module.Door:
        """The one in use."""
        return self._door

    def __call__(self, environ: wsgi.WSGIEnvironment,
                 start_response: wsgi.StartResponse) -> Iterable[bytes]:
        return self._door(environ, start_response)

    def run(self, signals: Signals) -> None:
        """Work until SIGTERM or SIGINT comes."""
        self._start(self._door)
        try:
            while True:
                self._step()
                busy = self._check is not None or self._starting is not None
                received = signals.next(
                    _BUSY_TICK if busy else min(_TICK, self._watchdog_period))
                if received == signal.SIGHUP:
                    self._reload()
                elif received is not None:
                    break
            if received == signal.SIGTERM and self._door.drain_delay:
                self._linger(signals, self._door.drain_delay)
        finally:
            self._end()

    def _linger(self, signals: Signals, delay: float) -> None:
        """Answer that the node is out, until the balancers know.

        A second signal ends that.
        """
        LOG.info('The healthcheck agent answers %(line)s for %(delay)g s, '
                 'and then ends', {'line': drain.STOPPING, 'delay': delay})
        self._systemd.stopping(delay)
        lameduck.OURS.begin()
        deadline = time.monotonic() + delay
        while (left := deadline - time.monotonic()) > 0:
            self._tell()
            received = signals.next(min(left, _TICK, self._watchdog_period))
            if received not in (None, signal.SIGHUP):
                break

    def _step(self) -> None:
        if self._check is not None and self._check.is_over:
            self._end_check(self._check)
        if self._starting is not None and (
                self._starting.status is not None
                or time.monotonic() > self._deadline):
            self._adopt(self._starting)
        self._tell()

    def _start(self, door: door_module.Door) -> None:
        """Start a door's probing, and begin the wait for its first report."""
        self._starting = door
        self._deadline = time.monotonic() + _FIRST_REPORT
        daemons.start(door.probed, 'healthcheck-start', {})

    def _adopt(self, door: door_module.Door) -> None:
        self._starting = None
        before = self._door
        if before is not door:
            door.inherit(before)
            self._door = door
            before.stop()
            LOG.info('The healthcheck agent goes on with the new '
                     'configuration')
        self._systemd.ready()

    def _reload(self) -> None:
        LOG.info('The healthcheck agent reads its configuration again')
        self._systemd.reloading()
        if self._starting not in (None, self._door):
            self._starting.stop()
            self._starting = None
        if self._check is not None:
            self._check.kill()
        self._check = self._make_check()

    def _end_check(self, check: ConfigCheck) -> None:
        self._check = None
        problem = check.problem()
        if problem is None:
            try:
                self._start(self._load())
                return
            except (cfg.Error, exceptions.ConfigError) as exc:
                problem = str(exc)
        LOG.error('The healthcheck agent goes on with the configuration that '
                  'it has, as the new one cannot be used: %s', problem)
        self._systemd.ready()

    def _tell(self) -> None:
        """Report the state to systemd."""
        now = time.monotonic()
        if (now - self._watched_at >= self._watchdog_period
                and now - self._door.alive_at < self._stuck):
            self._watched_at = now
            self._systemd.alive()
        if self._systemd.enabled:
            status = self._describe()
            if status != self._status:
                self._status = status
                self._systemd.status(status)

    def _describe(self) -> str:
        status, known = self._door.status, self._door.known()
        if status is None or known is None:
            return 'no report yet'
        words = [status.word]
        words += [f'{check.name}: {check.reason}' for check in known.checks
                  if check.status is not report.Status.PASS]
        if known.prober is not None and known.prober.pid != os.getpid():
            words.append(f'process {known.prober.pid} probes')
        return ', '.join(words)

    def _end(self) -> None:
        LOG.info('The healthcheck agent ends')
        self._systemd.stopping()
        if self._check is not None:
            self._check.kill()
        for door in {self._door, self._starting}:
            if door is not None:
                with contextlib.suppress(Exception):
                    door.stop(_END_WAIT)
