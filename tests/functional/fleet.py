# SPDX-License-Identifier: Apache-2.0

"""Three nodes of a service behind a real HAProxy, and clients.

Each node has its own way to the one database or broker, which can be cut. That
way begins at an address that is not loopback: what is there is no node's own.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import itertools
import pathlib
import socket
import time

import psutil
import pytest
import requests

from tests.functional import brokers
from tests.functional import callers
from tests.functional import servers
from tests.functional import stalls
from tests.functional import test_demo

SEND_STATE = ['option httpchk GET /healthcheck', 'http-check send-state',
              'http-check expect status 200']

CONF = '''
[DEFAULT]
transport_url = {queue}

[database]
connection = {database}

[healthcheck]
backends = {backends}
interval = 0.5
retry_interval = 0.2
timeout = 1
ttl = 5
startup_wait = 10
detail_source_ranges = 127.0.0.1
{more}
'''

BELIEVED = 'balancer_source_ranges = 127.0.0.0/8'
LAST_STAYS = f'{BELIEVED}\nshared_failure = last_stays'


_NUMBERS = itertools.count()


def own_address() -> str:
    """An address of this host that is not loopback."""
    for found in psutil.net_if_addrs().values():
        for one in found:
            if one.family is socket.AF_INET and not one.address.startswith(
                    '127.'):
                return one.address
    pytest.skip('this host has no address but loopback')


class Way:
    """A node's way to what all nodes share.

    :param server: where it ends
    :param backend: the check that goes this way
    :param url_of: from (host, port) to what the node connects to
    :param relay: to the server; default: one at an address of this host
    :param host: the name of the relay's address, for the node
    :ivar values: for CONF
    """

    def __init__(self, server: servers.MariaDB | servers.RabbitMQ,
                 backend: str, url_of: Callable[[str, int], str],
                 relay: servers.Relay | None = None, host: str = '') -> None:
        self._relay = relay or servers.Relay(server.host, server.port,
                                             own_address())
        url = url_of(host or self._relay.host,
                     self._relay.port).replace('$', '$$')
        self.values = {'queue': 'kombu+memory://', 'database': '',
                       'backends': backend,
                       'database' if backend == 'database' else 'queue': url}

    def cut(self) -> None:
        self._relay.refuse()
        self._relay.cut()

    def heal(self) -> None:
        self._relay.heal()

    def close(self) -> None:
        self._relay.close()


@contextlib.contextmanager
def a_database(mariadb: servers.MariaDB) -> Iterator[str]:
    """The database that all nodes share, and a user of the same name."""
    name = f'fleet{next(_NUMBERS)}'
    mariadb.create_database(name)
    mariadb.create_user(name, 'secret', name)
    try:
        yield name
    finally:
        mariadb.drop_user(name)
        mariadb.drop_database(name)


def to_database(mariadb: servers.MariaDB, name: str,
                relay: servers.Relay | None = None, host: str = '') -> Way:
    """A way to one of :func:`a_database`."""
    return Way(mariadb, 'database', lambda host, port: (
        f'mysql+pymysql://{name}:secret@{host}:{port}/{name}'), relay, host)


def to_broker(broker: brokers.Broker) -> Way:
    """A way to a virtual host."""
    return Way(broker.server, 'message_queue',
               lambda host, port: broker.url(port, host=host))


def conf(directory: pathlib.Path, way: Way, more: str = '') -> pathlib.Path:
    """The configuration of a node."""
    directory.mkdir(exist_ok=True)
    made = directory / 'node.conf'
    made.write_text(CONF.format(**way.values, more=more))
    return made


class Node:
    """The API of a node.

    :param inside: what it is run by, such as ``unshare``
    """

    def __init__(self, directory: pathlib.Path, way: Way, more: str = '',
                 inside: Sequence[str] = ()) -> None:
        self.way = way
        try:
            self.conf = conf(directory, self.way, more)
            self.api = test_demo.Demo(directory, '--config-file',
                                      str(self.conf), inside=inside)
        except BaseException:
            self.way.close()
            raise
        self.bound = self.api.bound + test_demo.ALLOWANCE

    def close(self) -> None:
        self.api.kill()
        self.way.close()


@contextlib.contextmanager
def nodes(directory: pathlib.Path, mariadb: servers.MariaDB,
          more: str = '') -> Iterator[dict[str, Node]]:
    """Three nodes that are well."""
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(a_database(mariadb))
        made = {}
        for name in ('one', 'two', 'three'):
            made[name] = Node(directory / name,
                              to_database(mariadb, database), more)
            stack.callback(made[name].close)
        for node in made.values():
            node.api.wait_for(200)
        yield made


class Clients(callers.Callers):
    """Requests through a balancer, one after the other, in some threads.

    :ivar answers: (when, status, server) of each, in monotonic seconds
    """

    def __init__(self, haproxy: servers.HAProxy, threads: int = 3) -> None:
        self.answers: list[tuple[float, int, str]] = []
        self._url = f'http://{haproxy.host}:{haproxy.port}/'
        super().__init__(*[self._run] * threads)

    def since(self, moment: float) -> list[tuple[int, str]]:
        """(status, server) of each answer since then."""
        return [(status, server) for when, status, server
                in list(self.answers) if when >= moment]

    def _run(self) -> None:
        while not self._over.wait(0.01):
            began = time.monotonic()
            answer = requests.get(self._url, timeout=30)
            self.answers.append((began, answer.status_code,
                                 answer.headers.get('X-Server', '')))


def usable(haproxy: servers.HAProxy, names: Mapping[str, object]) -> set[str]:
    """The servers that get work."""
    return {name for name in names if haproxy.up(name)
            and haproxy.server(name)['weight'] != '0'}


def wait_for(haproxy: servers.HAProxy, names: Mapping[str, object],
             wanted: set[str], timeout: float) -> float:
    """Wait until just these get work; return the moment."""
    servers.wait_until(lambda: usable(haproxy, names) == wanted,
                       f'{wanted} get work', timeout)
    return time.monotonic()


def stays(haproxy: servers.HAProxy, names: Mapping[str, object],
          seconds: float) -> set[frozenset[str]]:
    """All sets of servers that get work in that time."""
    began, seen = time.monotonic(), set()
    noted = stalls.of_this_process()
    while time.monotonic() < began + seconds + noted.seconds(began):
        seen.add(frozenset(usable(haproxy, names)))
        time.sleep(0.02)
    return seen
