# SPDX-License-Identifier: Apache-2.0

"""All nodes lose the one database: HAProxy fails open by itself.

HAProxy runs with the configurations that the documentation shows.
"""

from __future__ import annotations

from collections.abc import Iterator
import pathlib
import re
import subprocess
import time

import pytest

from healthcheck.host import drains
from tests.functional import fleet
from tests.functional import servers
from tests.functional.servers import client
from tests.functional.servers import process
from tests.functional import test_demo

EXAMPLES = pathlib.Path(__file__).parents[2] / 'doc' / 'source' / 'examples'
NAMES = ('node1', 'node2', 'node3')

# What the tests see of a node in each: (its server, its server for the case
# that all are out), as backend/server.
SERVERS = {
    'haproxy-open.cfg': ('nova_api/{}', 'nova_open/{}'),
    'haproxy-open-3.4.cfg': ('nova_api/{}', 'nova_api/{}_open'),
}


class Node(fleet.Node):
    """A node that can be drained in two ways."""

    def __init__(self, directory: pathlib.Path, way: fleet.Way) -> None:
        directory.mkdir()
        self.directory = directory
        self.drain = drains.of_service(str(directory))
        self.switch = directory / 'disabled'
        way.values['backends'] = 'disable_by_file,database'
        super().__init__(directory, way, (
            f'state_path = {directory}\n'
            f'disable_by_file_path = {self.switch}'))

    def heal(self) -> None:
        self.way.heal()
        self.drain.end()
        self.switch.unlink(missing_ok=True)
        if self.api.process.poll() is not None:
            self.api = test_demo.Demo(self.directory, '--config-file',
                                      str(self.conf))


class Balancer(servers.HAProxy):
    """With an example of the documentation, and this machine's ports.

    Each answer names its server in ``X-Server``.

    :param changes: what else is another here
    :ivar well: a node's server that all checks count for
    :ivar open: a node's server that only its own faults take out
    """

    def __init__(self, example: str, nodes: dict[str, Node],
                 **changes: str) -> None:
        super().__init__({name: node.api.port for name, node in nodes.items()})
        self._example = example
        self._changes = changes
        well, open_ = SERVERS[example]
        self.well = {name: well.format(name) for name in nodes}
        self.open = {name: open_.format(name) for name in nodes}

    def prepare(self) -> None:
        text = (EXAMPLES / self._example).read_text()
        changes = {
            ' 192.0.2.1:8774': f' {self.host}:{self.port}\n'
            '    http-response set-header X-Server %b/%s',
            ' inter 2s ': ' inter 100ms ', **self._changes}
        for number, port in enumerate(self.backends.values(), 11):
            changes[f' 192.0.2.{number}:8774 '] = f' 127.0.0.1:{port} '
        for there, here in changes.items():
            assert there in text
            text = text.replace(there, here)
        (self.directory / 'haproxy.cfg').write_text(
            f'global\n    stats socket {self.stats} level admin\n'
            'defaults\n    timeout connect 1s\n    timeout client 5s\n'
            f'    timeout server 5s\n{text}')

    def usable(self, of_nodes: dict[str, str]) -> set[str]:
        """The nodes whose servers, of these, are up."""
        return {name for name, where in of_nodes.items()
                if self._row(where)['status'].startswith('UP')}

    def _row(self, where: str) -> dict[str, str]:
        backend, name = where.split('/')
        return self.server(name, backend)

    def wait_for_all(self) -> None:
        """Wait until each server has passed a check: it starts UP."""
        for where in [*self.well.values(), *self.open.values()]:
            servers.wait_until(
                lambda: self._row(where)['check_status'] == 'L7OK',
                f'{where} has passed')
        self.wait_for(set(self.well), set(self.open), 30)

    def wait_for(self, well: set[str], open_: set[str], timeout: float,
                 ) -> None:
        """Wait until just these nodes have servers that are up."""
        servers.wait_until(
            lambda: (self.usable(self.well), self.usable(self.open))
            == (well, open_), f'well {well}, open {open_}', timeout)


def version() -> tuple[int, ...]:
    """Of the HAProxy that is installed."""
    said = subprocess.run([process.find_binary('haproxy', 'haproxy'), '-v'],
                          check=True, text=True, stdout=subprocess.PIPE)
    found = re.search(r'version (\d+)\.(\d+)', said.stdout)
    assert found, said.stdout
    return tuple(int(number) for number in found.groups())


@pytest.fixture(scope='module')
def running(tmp_path_factory: pytest.TempPathFactory,
            mariadb_server: servers.MariaDB) -> Iterator[dict[str, Node]]:
    directory = tmp_path_factory.mktemp('open')
    with fleet.a_database(mariadb_server) as database:
        made: dict[str, Node] = {}
        try:
            for name in NAMES:
                made[name] = Node(directory / name, fleet.to_database(
                    mariadb_server, database))
            yield made
        finally:
            for node in made.values():
                node.close()


@pytest.fixture
def nodes(running: dict[str, Node],
          mariadb: servers.MariaDB) -> Iterator[dict[str, Node]]:
    for node in running.values():
        node.heal()
    for node in running.values():
        node.api.wait_for(200)
    yield running


@pytest.fixture(params=SERVERS)
def haproxy(request: pytest.FixtureRequest,
            nodes: dict[str, Node]) -> Iterator[Balancer]:
    if '3.4' in request.param and version() < (3, 4):
        pytest.skip('HAProxy is older than 3.4')
    with Balancer(request.param, nodes) as made:
        made.wait_for_all()
        yield made


def bound(nodes: dict[str, Node]) -> float:
    return max(node.bound for node in nodes.values())


def answering(haproxy: Balancer) -> set[str]:
    """The servers of some requests, which all must be answered."""
    given = [client.ask(haproxy.port, '/') for _ in range(12)]
    assert {answer.status for answer in given} == {200}
    return {answer.headers['x-server'] for answer in given}


def test_all_lose_it_and_all_go_on(nodes: dict[str, Node],
                                   haproxy: Balancer) -> None:
    with fleet.Clients(haproxy) as clients:
        for node in nodes.values():
            node.way.cut()
        haproxy.wait_for(set(), set(nodes), bound(nodes))
        opened = time.monotonic()
        wanted = set(haproxy.open.values())
        servers.wait_until(
            lambda: {where for _, where in clients.since(opened)} == wanted,
            'all nodes answer')
        # Each poll of the other kind read 503 all the time.
        assert not haproxy.usable(haproxy.well)
        for node in nodes.values():
            node.way.heal()
        haproxy.wait_for(set(nodes), set(nodes), bound(nodes))
        closed = time.monotonic()
        wanted = set(haproxy.well.values())
        servers.wait_until(
            lambda: {where for _, where in clients.since(closed)} == wanted,
            'it is as before')
    # Nobody was turned away, on neither change.
    assert {status for _, status, _ in clients.answers} == {200}
    assert {where for _, where in clients.since(closed)} == wanted


def test_one_that_loses_it_leaves_alone(nodes: dict[str, Node],
                                        haproxy: Balancer) -> None:
    nodes['node1'].way.cut()
    haproxy.wait_for({'node2', 'node3'}, set(nodes), bound(nodes))
    assert answering(haproxy) == {
        haproxy.well['node2'], haproxy.well['node3']}
    nodes['node1'].way.heal()
    haproxy.wait_for(set(nodes), set(nodes), bound(nodes))
    assert answering(haproxy) == set(haproxy.well.values())


@pytest.mark.parametrize('how', ['drain', 'file'])
def test_a_drained_node_gets_nothing(how: str, nodes: dict[str, Node],
                                     haproxy: Balancer) -> None:
    if how == 'drain':
        nodes['node1'].drain.begin('a new disk', 'alice', None)
    else:
        nodes['node1'].switch.touch()
    others = {'node2', 'node3'}
    haproxy.wait_for(others, others, bound(nodes))
    assert answering(haproxy) == {haproxy.well[name] for name in others}
    for node in nodes.values():
        node.way.cut()
    haproxy.wait_for(set(), others, bound(nodes))
    assert answering(haproxy) == {haproxy.open[name] for name in others}


def test_a_killed_node_gets_nothing(nodes: dict[str, Node],
                                    haproxy: Balancer) -> None:
    nodes['node1'].api.kill()
    others = {'node2', 'node3'}
    haproxy.wait_for(others, others, bound(nodes))
    assert answering(haproxy) == {haproxy.well[name] for name in others}
    for name in others:
        nodes[name].way.cut()
    haproxy.wait_for(set(), others, bound(nodes))
    assert answering(haproxy) == {haproxy.open[name] for name in others}


def test_all_drained_is_closed(nodes: dict[str, Node],
                               haproxy: Balancer) -> None:
    """What is out on purpose stays out, and HAProxy says so itself."""
    for node in nodes.values():
        node.drain.begin('a new disk', 'alice', None)
    haproxy.wait_for(set(), set(), bound(nodes))
    answer = client.ask(haproxy.port, '/')
    assert (answer.status, answer.headers.get('x-server')) == (503, None)


def test_a_threshold(nodes: dict[str, Node]) -> None:
    """With another number than 0, few that are well do not carry all."""
    with Balancer('haproxy-open.cfg', nodes, **{' eq 0 ': ' lt 2 '}) as made:
        made.wait_for_all()
        nodes['node1'].way.cut()
        made.wait_for({'node2', 'node3'}, set(nodes), bound(nodes))
        assert answering(made) == {made.well['node2'], made.well['node3']}
        nodes['node2'].way.cut()
        made.wait_for({'node3'}, set(nodes), bound(nodes))
        assert answering(made) == set(made.open.values())
