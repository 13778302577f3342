# SPDX-License-Identifier: Apache-2.0

"""A private HAProxy, which is who asks for the health of a service."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
import csv
import socket

from tests.functional.servers import process


class HAProxy(process.Server):
    """A load balancer before one group of backends.

    ``backends`` gives the ports by name; ``check`` holds the lines of
    configuration that say how their health is checked, such as
    ``option httpchk GET /healthcheck``. ``more`` has further options of each
    server, by its name.
    """

    name = 'haproxy'

    def __init__(self, backends: Mapping[str, int],
                 check: Sequence[str] = ('option httpchk GET /healthcheck',),
                 interval_ms: int = 100, fall: int = 2, rise: int = 2,
                 more: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.backends = dict(backends)
        self.check = list(check)
        self.options = f'check inter {interval_ms} fall {fall} rise {rise}'
        self.more = dict(more or {})
        self.stats = self.directory / 'stats'

    def prepare(self) -> None:
        lines = ['global', f'stats socket {self.stats} level admin',
                 'defaults', 'mode http', 'timeout connect 1s',
                 'timeout client 5s', 'timeout server 5s', 'timeout check 1s',
                 'frontend front', f'bind {self.host}:{self.port}',
                 'default_backend back',
                 'backend back', *self.check,
                 *(f'server {name} 127.0.0.1:{port} {self.options} '
                   f'{self.more.get(name, "")}'
                   for name, port in self.backends.items())]
        (self.directory / 'haproxy.cfg').write_text('\n'.join(lines) + '\n')

    def command(self) -> list[str]:
        program = process.find_binary('haproxy', 'haproxy')
        return [program, '-db', '-f', str(self.directory / 'haproxy.cfg')]

    def ready(self) -> bool:
        try:
            return bool(self.ask('show info'))
        except OSError:
            return False

    def ask(self, question: str) -> str:
        """Send a command to the stats socket; return the answer."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(self.stats))
            client.sendall(question.encode() + b'\n')
            answer = b''
            while data := client.recv(65536):
                answer += data
        return answer.decode()

    def server(self, name: str, backend: str = 'back') -> dict[str, str]:
        """Return all that HAProxy knows of one server."""
        table = self.ask('show stat').lstrip('# ').splitlines()
        for row in csv.DictReader(table):
            if row['pxname'] == backend and row['svname'] == name:
                return row
        raise process.ServerError(f'haproxy has no server {backend}/{name}')

    def set(self, name: str, what: str) -> None:
        """What an operator does: ``state drain``, ``weight 10``."""
        said = self.ask(f'set server back/{name} {what}').strip()
        if said:
            raise process.ServerError(f'haproxy: {what}: {said}')

    def up(self, name: str) -> bool:
        """Tell whether a backend is in rotation."""
        # On its way down it shows as "UP 1/2", on its way up "DOWN 1/2".
        return self.server(name)['status'].startswith('UP')
