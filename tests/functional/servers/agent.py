# SPDX-License-Identifier: Apache-2.0

"""``healthcheck-agent``, told what systemd would tell it."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

from tests.functional.servers import process

ROOT = pathlib.Path(__file__).parents[3]


class Agent(process.Server):
    """An agent, and what it says to systemd.

    :param arguments: of its command line
    :param site: a directory in which it finds more modules
    :param watchdog: seconds, or 0 for none
    """

    name = 'agent'
    under_test = True
    own_account = False
    start_timeout = 30.0

    def __init__(self, *arguments: str | pathlib.Path, site: str = '',
                 watchdog: float = 0.0) -> None:
        super().__init__()
        self.arguments = list(map(str, arguments))
        self.socket_path = self.directory / 'agent.sock'
        self.said: list[tuple[float, str]] = []
        """(when, line), in monotonic seconds"""
        self._site = site
        self._watchdog = watchdog
        self._path = self.directory / 'notify'
        self._inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._inbox.bind(str(self._path))
        self._inbox.setblocking(False)
        self._heard = 0

    def command(self) -> list[str]:
        program = process.find_binary(
            'healthcheck-agent', 'openstack-healthcheck',
            os.path.dirname(sys.executable))
        return [program, '--listen', f'{self.host}:{self.port}', '--listen',
                f'unix:{self.socket_path}', *self.arguments]

    def environment(self) -> dict[str, str]:
        given = {'PYTHONPATH': f'{self._site}:{ROOT}',
                 'TMPDIR': str(self.directory),
                 'PYTHONDONTWRITEBYTECODE': '1',
                 'NOTIFY_SOCKET': str(self._path)}
        if self._watchdog:
            given['WATCHDOG_USEC'] = str(int(self._watchdog * 1e6))
        return given

    def start(self) -> None:
        self._heard = len(self.lines())
        super().start()

    def ready(self) -> bool:
        return self.says('READY=1')

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def lines(self) -> list[str]:
        """All that systemd has been told so far."""
        while True:
            try:
                message = self._inbox.recv(4096).decode()
            except BlockingIOError:
                return [line for _, line in self.said]
            now = time.monotonic()
            self.said += [(now, line) for line in message.splitlines()]

    def says(self, line: str) -> bool:
        """Whether it has told systemd that since :meth:`listen_anew`."""
        return line in self.lines()[self._heard:]

    def listen_anew(self) -> None:
        self._heard = len(self.lines())

    def reload(self, wanted: str) -> None:
        """Send SIGHUP, and wait until it is done and the log says so."""
        assert self._process is not None
        self.listen_anew()
        before = self.log.read_text().count(wanted)
        self._process.send_signal(signal.SIGHUP)
        process.wait_until(lambda: self.says('RELOADING=1'), 'reloading')
        process.wait_until(lambda: self.says('READY=1'), 'reloaded')
        assert self.log.read_text().count(wanted) == before + 1

    def leave(self, signum: int = signal.SIGTERM) -> tuple[int, float]:
        """End it by a signal; (status, seconds that it took)."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(signum)
        status = self._process.wait(self.stop_timeout)
        return status, time.monotonic() - began

    def curl(self, path: str = '/healthcheck', *arguments: str) -> str:
        """What curl prints that goes through the UNIX socket."""
        return subprocess.run(
            ['curl', '--silent', '--max-time', '10', '--unix-socket',
             str(self.socket_path), *arguments, f'http://localhost{path}'],
            check=True, stdout=subprocess.PIPE, text=True).stdout

    def close(self) -> None:
        super().close()
        self._inbox.close()

    @staticmethod
    def _unprivileged(command: list[str]) -> list[str]:
        # As the user who runs the tests, to share what it publishes.
        return ['setpriv', '--pdeathsig', 'KILL', '--', *command]
