# SPDX-License-Identifier: Apache-2.0

"""What every server of the bench has in common: one private process.

A server keeps all it writes in a temporary directory of its own, listens on
127.0.0.1 only, and dies with the test run: ``setpriv --pdeathsig`` has the
kernel kill it when the thread that started it ends, however that happens.
So start servers from the main thread.
"""

from __future__ import annotations

from collections.abc import Callable
import os
import pathlib
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from typing import Any
from typing import TypeVar

import psutil

from tests.functional import stalls

T = TypeVar('T')
Self = TypeVar('Self', bound='Server')

# Databases refuse to run as root; this account exists on every system.
ACCOUNT = 'nobody'

_given_ports: set[int] = set()
_giving = threading.Lock()
_started: set[str] = set()

absent: dict[str, str] = {}
"""Servers that do not start here, by name, and the test that failed of it."""


class ServerError(Exception):
    """A server of the bench did not do what it was told."""


class NotStarted(ServerError):
    """No server of this name has started in this process.

    :ivar name: of the server
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on.

    The port lies below the range the kernel picks outgoing ports from, so
    that no client can take it by accident while its server is down. Nor can a
    server of another process of pytest-xdist: each process has its own ports.
    """
    worker, workers = _worker()
    for _ in range(1000):
        port = random.SystemRandom().randrange(20000 + worker, 32000, workers)
        with _giving:  # several threads may start servers
            if port in _given_ports:
                continue
            _given_ports.add(port)
        with socket.socket() as probe:
            try:
                probe.bind(('127.0.0.1', port))
            except OSError:
                continue
        return port
    raise ServerError('no free port on 127.0.0.1')


def _worker() -> tuple[int, int]:
    """(number, count) of this process among those that share a run."""
    name = os.environ.get('PYTEST_XDIST_WORKER', 'gw0')
    return (int(name.removeprefix('gw')),
            int(os.environ.get('PYTEST_XDIST_WORKER_COUNT', '1')))


def wait_until(condition: Callable[[], T], what: str,
               timeout: float = 30.0, interval: float = 0.02) -> T:
    """Poll until the condition is true; return what it returned.

    :param timeout: seconds, without those in which this process stood still
    """
    noted = stalls.of_this_process()
    began = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        late = time.monotonic() - began - timeout
        if late > 0 and late > noted.seconds(began):
            raise ServerError(f'not within {timeout:g} s: {what}')
        time.sleep(interval)


def find_binary(name: str, package: str, *directories: str) -> str:
    """Return the path of a program, or say which package brings it."""
    # Debian keeps some servers in sbin, out of an ordinary user's path.
    path = os.pathsep.join([*directories, os.environ.get('PATH', ''),
                            '/usr/sbin', '/usr/local/sbin'])
    found = shutil.which(name, path=path)
    if found is None:
        raise ServerError(f'{name} was not found: install the Debian package '
                          f'{package} (see bindep.txt)')
    return found


def _gone(process: psutil.Process) -> bool:
    try:
        # A zombie runs no more; when its parent reaps it is not our affair.
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


class Server:
    """A server process and the directory it lives in."""

    name = 'server'
    start_timeout = 180.0  # RabbitMQ took more than 60 on a busy machine
    stop_timeout = 20.0
    stop_signal = signal.SIGTERM
    under_test = False
    """Whether a start that fails says nothing about others of its name."""
    own_account = True
    """Whether it runs as ACCOUNT, which has its directory, under root."""

    def __init__(self) -> None:
        self.host = '127.0.0.1'
        self.port = free_port()
        self.directory = pathlib.Path(
            tempfile.mkdtemp(prefix=f'healthcheck-{self.name}-'))
        self.log = self.directory / 'log'
        self.frozen = False
        self._process: subprocess.Popen[bytes] | None = None
        self._thawer: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0 and self.own_account:
            account = pwd.getpwnam(ACCOUNT)
            os.chown(self.directory, account.pw_uid, account.pw_gid)

    # What a kind of server fills in.

    def prepare(self) -> None:
        """Make what the server needs before its first start."""

    def command(self) -> list[str]:
        """Return the command line of the server."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Return the variables the server gets on top of a bare few."""
        return {}

    def ready(self) -> bool:
        """Tell whether a server just started answers by now."""
        raise NotImplementedError

    def disconnect(self) -> None:
        """Drop the bench's own connections: the server is about to go."""

    # What all of them do alike.

    def start(self) -> None:
        """Start it, and wait until it answers.

        :raises NotStarted: if it does not, and no other of its name has; at
            once, if a test has failed of that before
        :raises ServerError: if it does not
        """
        if self.running:
            return
        if self.name in absent:
            raise NotStarted(self.name, f'{self.name} did not start before')
        try:
            self._launch()
            wait_until(self._ready_or_dead, f'{self.name} ready',
                       self.start_timeout)
        except ServerError as error:
            self.kill()
            why = f'{error}\nend of {self.log}:\n{self.log_tail()}'
            if self.under_test or self.name in _started:
                raise ServerError(why) from None
            raise NotStarted(self.name, why) from None
        _started.add(self.name)

    def stop(self) -> None:
        """Shut the server down the polite way, or kill it if it won't go."""
        self.thaw()
        self.disconnect()
        if self._process is None or not self.running:
            return
        family = self.processes()
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(self.stop_timeout)
            wait_until(lambda: all(map(_gone, family)), 'stopped',
                       self.stop_timeout)
        except (subprocess.TimeoutExpired, ServerError):
            self.kill()

    def kill(self) -> None:
        """Kill every process of the server at once, as a crash would."""
        self.disconnect()
        family = self.processes()
        for process in family:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                pass
        if self._process is not None:
            self._process.wait()
        # SIGKILL needs no SIGCONT to take effect: this only ends the helper.
        self.thaw()
        wait_until(lambda: all(map(_gone, family)), f'{self.name} killed')

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Stop every process of the server where it stands.

        The kernel goes on completing TCP handshakes for it, so clients see
        a server that accepts and then never says a word.
        """
        if self.frozen:
            return
        family: list[psutil.Process] = []
        # Parents come first, so the second round finds what they started
        # before they stopped, and the last round finds nothing new.
        while len(now := self.processes()) > len(family):
            for process in now:
                process.suspend()
            family = now
        # A helper thaws them when told to, or when this process is gone:
        # a stopped orphan would otherwise stay for ever.
        self._thawer = subprocess.Popen(
            ['sh', '-c', 'read line; kill -CONT "$@"', 'thaw',
             *(str(process.pid) for process in family)],
            stdin=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True)
        self.frozen = True

    def thaw(self) -> None:
        if self._thawer is not None:
            self._thawer.communicate()
            self._thawer = None
        self.frozen = False

    def close(self) -> None:
        """Stop the server and remove all that it wrote."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self: Self) -> Self:
        self.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def heal(self) -> None:
        """Undo whatever a test may have done to the server."""
        self.thaw()
        if not (self.running and self.ready()):
            self.restart()

    def processes(self) -> list[psutil.Process]:
        """Return the processes of the server, parents first.

        By descent, not by process group: PostgreSQL gives every connection
        a group of its own.
        """
        if self._process is None or not self.running:
            return []
        try:
            main = psutil.Process(self._process.pid)
            return [main, *main.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def log_tail(self, lines: int = 30) -> str:
        if not self.log.exists():
            return ''
        text = self.log.read_text(errors='replace')
        return '\n'.join(text.splitlines()[-lines:])

    def run(self, command: list[str]) -> str:
        """Run a program of the server's to its end; return its output."""
        done: subprocess.CompletedProcess[str] = subprocess.run(
            self._unprivileged(command), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, **self._surroundings())
        if done.returncode:
            raise ServerError(f'{" ".join(command)} failed:\n{done.stdout}')
        return done.stdout

    def _launch(self) -> None:
        if self._process is None:
            self.prepare()
        with self.log.open('ab') as log:
            self._process = subprocess.Popen(
                self._unprivileged(self.command()), stdout=log, stderr=log,
                **self._surroundings())

    def _ready_or_dead(self) -> bool:
        if not self.running:
            raise ServerError(f'{self.name} ended by itself')
        return self.ready()

    def _surroundings(self) -> dict[str, Any]:
        bare = {'PATH': os.environ.get('PATH', os.defpath), 'LC_ALL': 'C',
                'HOME': str(self.directory),
                # oslo.messaging imports eventlet, which is not used. Without
                # a resolver of its own a service starts a fifth faster.
                'EVENTLET_NO_GREENDNS': 'yes'}
        return {'cwd': self.directory, 'stdin': subprocess.DEVNULL,
                'start_new_session': True,
                'env': bare | self.environment()}

    @staticmethod
    def _unprivileged(command: list[str]) -> list[str]:
        setpriv = ['setpriv', '--pdeathsig', 'KILL']
        if os.geteuid() == 0:
            account = pwd.getpwnam(ACCOUNT)
            setpriv += [f'--reuid={account.pw_uid}',
                        f'--regid={account.pw_gid}', '--clear-groups']
        return [*setpriv, '--', *command]
