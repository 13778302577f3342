# SPDX-License-Identifier: Apache-2.0

"""Real load balancers' ways to ask, and what they make of the answers."""

from __future__ import annotations

from collections.abc import Iterator
import pathlib
import socket
import time

import pytest
import yaml

from healthcheck.host import drains
from tests.functional import load
from tests.functional import servers
from tests.functional.servers import client
from tests.functional import test_demo

CONF = '''
[DEFAULT]
transport_url = kombu+memory://

[database]
connection = sqlite:///{database}
''' + test_demo.HEALTHCHECK + '''
state_path = {state}
'''

EXAMPLES = pathlib.Path(__file__).parents[2] / 'doc' / 'source' / 'examples'
KOLLA = ['option httpchk GET /healthcheck', 'http-check expect status 200']


def _openstack_ansible() -> list[str]:
    """As its template writes them, of what the documentation sets."""
    service = yaml.safe_load((EXAMPLES / 'openstack-ansible.yml').read_text())[
        'haproxy_nova_api_compute_service_overrides']
    return ([f'option {line}' for line in service['haproxy_backend_options']]
            + [f'http-check {line}'
               for line in service['haproxy_backend_httpcheck_options']])


# As they stand in a configuration that the named tool has written.
CHECKS = {
    # HTTP/1.0, and no Host.
    'haproxy': ['option httpchk OPTIONS /healthcheck'],
    'kolla-ansible': KOLLA,
    # The role's lines for Nova, and then what the documentation adds.
    'kolla-ansible, Nova': ['option httpchk GET /',
                            'http-check expect status 200', *KOLLA],
    'openstack-ansible': _openstack_ansible(),
    'openstack-ansible, Glance': [
        'option httpchk',
        'http-check send hdr User-Agent "osa-haproxy-healthcheck" meth HEAD '
        'uri /healthcheck'],
}


class Node:
    """A node of a service: the API, and a database that can be taken away."""

    def __init__(self, directory: pathlib.Path) -> None:
        directory.mkdir()
        self.database = directory / 'node.db'
        self.database.touch()
        conf = directory / 'node.conf'
        self.drain = drains.of_service(str(directory))
        conf.write_text(CONF.format(database=self.database, state=directory))
        self.api = test_demo.Demo(directory, '--config-file', str(conf))
        self.bound = self.api.bound + test_demo.ALLOWANCE

    def break_database(self) -> None:
        self.database.rename(self._away)

    def answers(self) -> set[str]:
        """What its workers say, on many connections."""
        return {client.ask(self.api.port).text for _ in range(20)}

    def repair(self) -> None:
        if self._away.exists():
            self._away.rename(self.database)

    @property
    def _away(self) -> pathlib.Path:
        return self.database.with_suffix('.away')


@pytest.fixture(scope='module')
def running_nodes(tmp_path_factory: pytest.TempPathFactory,
                  ) -> Iterator[dict[str, Node]]:
    directory = tmp_path_factory.mktemp('nodes')
    nodes: dict[str, Node] = {}
    try:
        for name in ('one', 'two'):
            nodes[name] = Node(directory / name)
        yield nodes
    finally:
        for node in nodes.values():
            node.api.kill()


@pytest.fixture
def nodes(running_nodes: dict[str, Node]) -> Iterator[dict[str, Node]]:
    for node in running_nodes.values():
        node.api.wait_for(200)
    yield running_nodes
    for node in running_nodes.values():
        node.repair()
        node.drain.end()


@pytest.mark.parametrize('tool', CHECKS)
def test_node_leaves_and_returns(tool: str, nodes: dict[str, Node]) -> None:
    ports = {name: node.api.port for name, node in nodes.items()}
    one = nodes['one']
    with servers.HAProxy(ports, check=CHECKS[tool]) as haproxy:
        # A server starts UP: a check must have passed to be sure.
        for name in nodes:
            servers.wait_until(
                lambda: last_check(haproxy, name)[0] == 'L7OK'
                and haproxy.up(name), f'{name} is up')
        one.break_database()
        servers.wait_until(lambda: not haproxy.up('one'), 'one is down',
                           one.bound)
        # While the next check runs, the result of the last is not shown.
        servers.wait_until(
            lambda: last_check(haproxy, 'one') == ('L7STS', '503'),
            'one is down for its status')
        assert haproxy.up('two')
        one.repair()
        servers.wait_until(lambda: haproxy.up('one'), 'one is up again',
                           one.bound)
        # Two of its own passed all the time.
        assert haproxy.server('two')['chkdown'] == '0'


@pytest.mark.parametrize('seconds', [None, 2.0], ids=['resumed', 'for 2 s'])
def test_drained_node_leaves_and_no_request_fails(
        seconds: float | None, nodes: dict[str, Node]) -> None:
    ports = {name: node.api.port for name, node in nodes.items()}
    one = nodes['one']
    with servers.HAProxy(ports, fall=1, rise=1) as haproxy, load.Load(
            haproxy.port) as clients:
        for name in nodes:
            servers.wait_until(
                lambda: last_check(haproxy, name)[0] == 'L7OK', name)
        one.drain.begin('a new disk', 'alice', seconds)
        if seconds is None:
            # The very next poll of any worker, but for those that have
            # looked within the last hundredth of a second.
            time.sleep(0.02)
            assert one.answers() == {'OK\nOK\nDRAINED'}
        servers.wait_until(lambda: not haproxy.up('one'), 'one is out')
        assert haproxy.server('one')['chkdown'] == '1'
        clients.goes_on()
        served = int(haproxy.server('one')['stot'])
        if seconds is None:
            clients.goes_on()
            assert int(haproxy.server('one')['stot']) == served
            one.drain.end()
        servers.wait_until(lambda: haproxy.up('one'), 'one is back')
        clients.goes_on()
        assert int(haproxy.server('one')['stot']) > served
        assert haproxy.server('two')['chkdown'] == '0'
    assert clients.failures == []


def last_check(haproxy: servers.HAProxy, name: str) -> tuple[str, str]:
    row = haproxy.server(name)
    return row['check_status'], row['check_code']


def exchange(port: int, request: bytes) -> tuple[bytes, bytes]:
    """Send the bytes; return the head and the body of the answer."""
    with socket.create_connection(('127.0.0.1', port), 10) as client:
        client.sendall(request)
        answer = b''
        while data := client.recv(65536):
            answer += data
    head, _, body = answer.partition(b'\r\n\r\n')
    return head, body


@pytest.mark.parametrize(
    ('method', 'well', 'body'),
    [(b'GET', b'200 OK', b'OK\nOK'), (b'OPTIONS', b'200 OK', b'OK\nOK'),
     (b'HEAD', b'204 No Content', b'')], ids=['GET', 'OPTIONS', 'HEAD'])
def test_http_1_0_without_host(method: bytes, well: bytes, body: bytes,
                               nodes: dict[str, Node]) -> None:
    one = nodes['one']
    request = method + b' /healthcheck HTTP/1.0\r\n\r\n'
    head, got = exchange(one.api.port, request)
    status = head.splitlines()[0].split(b' ', 1)[1]
    assert (status, got) == (well, body)
    assert b'\r\nCache-Control: no-store' in head
    one.break_database()
    one.api.wait_for(503)
    head, got = exchange(one.api.port, request)
    assert head.splitlines()[0].endswith(b' 503 Service Unavailable')
    assert got == (b'DATABASE: NO SUCH DATABASE\nOK' if body else b'')
    length = str(len(got)).encode()
    assert b'\r\nContent-Length: ' + length + b'\r\n' in head + b'\r\n'
