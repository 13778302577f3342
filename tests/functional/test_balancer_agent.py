# SPDX-License-Identifier: Apache-2.0

"""An agent beside each node, asked by HAProxy's agent check and by HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
from http import server as http_server
import itertools
import pathlib
import signal
import threading
import time

import pytest
import requests

from tests.functional import brokers
from tests.functional import fleet
from tests.functional import servers
from tests.functional.servers import agent
from tests.functional.servers import client
from tests.functional.servers import process
from tests.functional import test_demo

# What the agents' configuration promises, see fleet.CONF.
DETECTION = max(0.5 * 1.1, 1) + 1 + 0.2 + 1
BOUND = DETECTION + test_demo.ALLOWANCE

NAMES = ('one', 'two', 'three')
ANSWERS = ['http-response set-header X-Server %s']


class Api(http_server.ThreadingHTTPServer):
    """The API of a node; its health is its agent's affair.

    It has as many threads as it may have requests at a time.
    """

    daemon_threads = True
    threads = 4

    def __init__(self) -> None:
        super().__init__(('127.0.0.1', 0), Hello)
        self.free = threading.Semaphore(self.threads)
        self.release = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.release.set()
        self.shutdown()
        self.server_close()


class Hello(http_server.BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        with self.server.free:
            if self.path == '/slow':
                self.server.release.wait(60)
            self.send_response(200)
            self.send_header('Content-Length', '0')
            self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


class Node:
    """The API of a node, and its agent."""

    def __init__(self, directory: pathlib.Path, way: fleet.Way,
                 more: str) -> None:
        with contextlib.ExitStack() as stack:
            self.way = way
            stack.callback(self.way.close)
            self.api = Api()
            stack.callback(self.api.close)
            self.drain = directory / 'drain'
            conf = fleet.conf(directory, self.way, more + (
                f'\ndisable_by_file_path = {self.drain}'))
            conf.write_text(conf.read_text().replace(
                'backends = ', 'backends = disable_by_file,'))
            self.port = process.free_port()
            self.agent = agent.Agent(
                '--config-file', conf, '--agent-check',
                f'127.0.0.1:{self.port}', '--agent-check-warn-weight', '50')
            stack.callback(self.agent.close)
            self.agent.start()
            # Without its last word: nobody is left to hear it.
            stack.callback(self.agent.kill)
            self.close = stack.pop_all().close

    def heal(self) -> None:
        self.way.heal()
        self.drain.unlink(missing_ok=True)
        servers.wait_until(
            lambda: client.ask(self.agent.port).status == 200, 'well')


@contextlib.contextmanager
def made(directory: pathlib.Path, mariadb: servers.MariaDB,
         more: str = '') -> Iterator[dict[str, Node]]:
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(fleet.a_database(mariadb))
        found = {}
        for name in NAMES:
            found[name] = Node(directory / name, fleet.to_database(
                mariadb, database), more)
            stack.callback(found[name].close)
        yield found


@pytest.fixture(scope='module')
def running(tmp_path_factory: pytest.TempPathFactory,
            mariadb_server: servers.MariaDB) -> Iterator[dict[str, Node]]:
    with made(tmp_path_factory.mktemp('agents'), mariadb_server,
              fleet.LAST_STAYS) as found:
        yield found


@pytest.fixture
def nodes(running: dict[str, Node],
          mariadb: servers.MariaDB) -> Iterator[dict[str, Node]]:
    for node in running.values():
        node.heal()
    yield running


def shipped() -> tuple[list[str], str]:
    """What the documentation has: (lines of the backend, of a server)."""
    path = pathlib.Path(__file__).parents[2] / 'doc' / 'source' / (
        'examples/haproxy-agent.cfg')
    lines = [line.strip() for line in path.read_text().splitlines()
             if line.startswith(' ')]
    (of_server,) = (line for line in lines if 'agent-check' in line)
    return ([line for line in lines
             if line != of_server and not line.startswith('server ')],
            of_server.removeprefix('default-server ').replace(
                '8079', '{http}').replace('8078', '{line}'))


@pytest.fixture(scope='module')
def running_that_fail(tmp_path_factory: pytest.TempPathFactory,
                      mariadb_server: servers.MariaDB,
                      ) -> Iterator[dict[str, Node]]:
    with made(tmp_path_factory.mktemp('failing'), mariadb_server,
              fleet.BELIEVED) as found:
        yield found


@pytest.fixture
def nodes_that_fail(running_that_fail: dict[str, Node],
                    mariadb: servers.MariaDB) -> dict[str, Node]:
    for node in running_that_fail.values():
        node.heal()
    return running_that_fail


@contextlib.contextmanager
def asking(nodes: Mapping[str, Node], check: list[str], more: str,
           options: str | None = None) -> Iterator[servers.HAProxy]:
    """HAProxy with such options for each server, and all of them up.

    Each asks from an address of its own, so agents do not take it for one of
    those before.

    :param more: with the ports of the agent, as ``{http}`` and ``{line}``
    :param options: of each server, in place of those of the bench
    """
    source = f'source 127.0.0.{next(_SOURCES)}'
    haproxy = servers.HAProxy(
        {name: node.api.server_port for name, node in nodes.items()},
        check=[*ANSWERS, *check], more={
            name: f'{source} weight 100 ' + more.format(
                http=node.agent.port, line=node.port)
            for name, node in nodes.items()})
    if options is not None:
        haproxy.options = options
    with haproxy:
        fleet.wait_for(haproxy, nodes, set(nodes), 30)
        yield haproxy


_SOURCES = itertools.count(10)

LINE = 'agent-check agent-port {line} agent-inter 100ms'
WAYS = {'http': (fleet.SEND_STATE, 'port {http}'),
        'agent': ([], LINE),
        'both': (fleet.SEND_STATE, 'port {http} ' + LINE)}


@pytest.mark.parametrize('way', WAYS)
def test_one_that_loses_the_database_leaves_and_returns(
        nodes: dict[str, Node], way: str) -> None:
    with asking(nodes, *WAYS[way]) as haproxy:
        nodes['one'].way.cut()
        fleet.wait_for(haproxy, nodes, {'two', 'three'}, BOUND)
        if way == 'agent':
            assert haproxy.server('one')['agent_status'] == 'L7STS'
            assert 'DATABASE: ' in haproxy.server('one')['last_agt']
        nodes['one'].way.heal()
        fleet.wait_for(haproxy, nodes, set(nodes), BOUND)
        for name in ('two', 'three'):
            assert haproxy.server(name)['chkdown'] == '0'


@pytest.mark.parametrize('way', ['http', 'agent'])
def test_one_that_loses_the_broker_leaves_and_returns(
        tmp_path: pathlib.Path, rabbitmq: servers.RabbitMQ,
        way: str) -> None:
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(brokers.on(rabbitmq))
        nodes = {}
        for name in ('one', 'two'):
            nodes[name] = Node(tmp_path / name, fleet.to_broker(broker), '')
            stack.callback(nodes[name].close)
        for node in nodes.values():
            node.heal()
        haproxy = stack.enter_context(asking(nodes, *WAYS[way]))
        nodes['one'].way.cut()
        fleet.wait_for(haproxy, nodes, {'two'}, BOUND)
        nodes['one'].way.heal()
        fleet.wait_for(haproxy, nodes, set(nodes), BOUND)


@pytest.mark.parametrize('way', ['http', 'both'])
def test_the_last_one_goes_on_under_load(nodes: dict[str, Node],
                                         way: str) -> None:
    with asking(nodes, *WAYS[way]) as haproxy, fleet.Clients(
            haproxy) as clients:
        for node in nodes.values():
            node.way.cut()
        servers.wait_until(
            lambda: len(fleet.usable(haproxy, nodes)) == 1, 'one is left',
            BOUND)
        (last,) = fleet.usable(haproxy, nodes)
        settled = time.monotonic()
        assert fleet.stays(haproxy, nodes, 5.0) == {frozenset([last])}
        assert set(clients.since(settled)) == {(200, last)}
        if way == 'both':
            # With the weight of a node that warns.
            assert haproxy.server(last)['weight'] == '50'
        for node in nodes.values():
            node.way.heal()
        fleet.wait_for(haproxy, nodes, set(nodes), BOUND)


def test_the_configuration_of_the_documentation(
        nodes: dict[str, Node]) -> None:
    check, more = shipped()
    with asking(nodes, check, more, options='') as haproxy:
        nodes['one'].way.cut()
        # Its "inter" and "fall", and one poll of the agent's.
        late = 2 * 2 + 2
        fleet.wait_for(haproxy, nodes, {'two', 'three'}, BOUND + late)
        nodes['two'].way.cut()
        nodes['three'].way.cut()
        servers.wait_until(
            lambda: len(fleet.usable(haproxy, nodes)) == 1, 'one is left',
            BOUND + late)
        (last,) = fleet.usable(haproxy, nodes)
        assert fleet.stays(haproxy, nodes, 10.0) == {frozenset([last])}
        for node in nodes.values():
            node.way.heal()
        fleet.wait_for(haproxy, nodes, set(nodes), BOUND + late)


@pytest.mark.parametrize('way', ['http', 'both'])
def test_without_the_policy_nobody_stays(
        nodes_that_fail: dict[str, Node], way: str) -> None:
    with asking(nodes_that_fail, *WAYS[way]) as haproxy:
        for node in nodes_that_fail.values():
            node.way.cut()
        fleet.wait_for(haproxy, nodes_that_fail, set(), BOUND)
        assert requests.get(f'http://{haproxy.host}:{haproxy.port}/',
                            timeout=10).status_code == 503
        assert fleet.stays(haproxy, nodes_that_fail, 1.0) == {frozenset()}


def test_with_the_line_alone_nobody_is_the_last(
        nodes: dict[str, Node]) -> None:
    """The line's callers say nothing, so nobody can tell who is last."""
    with asking(nodes, *WAYS['agent']) as haproxy:
        for node in nodes.values():
            node.way.cut()
        fleet.wait_for(haproxy, nodes, set(), BOUND)
        assert requests.get(f'http://{haproxy.host}:{haproxy.port}/',
                            timeout=10).status_code == 503


@pytest.mark.parametrize('way', WAYS)
def test_a_drain(nodes: dict[str, Node], way: str) -> None:
    """No client request fails, and the node comes back when it is over."""
    with asking(nodes, *WAYS[way]) as haproxy, fleet.Clients(
            haproxy) as clients:
        nodes['one'].drain.touch()
        fleet.wait_for(haproxy, nodes, {'two', 'three'}, 10)
        # To the agent check it is no failure.
        assert haproxy.up('one') or way != 'agent'
        nodes['one'].drain.unlink()
        fleet.wait_for(haproxy, nodes, set(nodes), 10)
    assert {status for _, status, _ in clients.answers} == {200}


@pytest.mark.parametrize('state', ['drain', 'maint'])
def test_an_operator_has_the_last_word(nodes: dict[str, Node],
                                       state: str) -> None:
    """Whatever the agent says meanwhile."""
    with asking(nodes, *WAYS['agent']) as haproxy:
        haproxy.set('one', f'state {state}')
        for act, wanted in (
                (nodes['one'].way.cut, 'L7STS'),
                (nodes['one'].way.heal, 'L7OK'),
                (nodes['one'].drain.touch, 'L7OK'),
                (nodes['one'].drain.unlink, 'L7OK')):
            act()
            # "* L7OK" while the next one runs.
            servers.wait_until(
                lambda: wanted in haproxy.server('one')['agent_status'],
                wanted, BOUND)
            # "DOWN (agent)" where the agent says so, too.
            assert not haproxy.up('one')
        assert haproxy.server('one')['status'].startswith(state.upper())
        haproxy.set('one', 'state ready')
        fleet.wait_for(haproxy, nodes, set(nodes), BOUND)


def test_an_agent_that_is_restarted_takes_no_node_out(
        nodes: dict[str, Node]) -> None:
    with asking(nodes, *WAYS['agent']) as haproxy:
        one = nodes['one'].agent
        for end in (one.leave, one.kill):
            end()
            assert fleet.stays(haproxy, nodes, 0.5) == {frozenset(nodes)}
            one.start()
            assert fleet.stays(haproxy, nodes, 1.0) == {frozenset(nodes)}


def test_its_last_word_is_up(nodes: dict[str, Node]) -> None:
    """Else the node would be out until there is an agent again."""
    with asking(nodes, *WAYS['agent']) as haproxy:
        one = nodes['one']
        one.way.cut()
        fleet.wait_for(haproxy, nodes, {'two', 'three'}, BOUND)
        status, seconds = one.agent.leave(signal.SIGTERM)
        assert (status, seconds < 10) == (0, True)
        assert haproxy.up('one')
        one.agent.start()
        fleet.wait_for(haproxy, nodes, {'two', 'three'}, BOUND)
        one.way.heal()
        fleet.wait_for(haproxy, nodes, set(nodes), BOUND)


def test_a_poll_does_not_queue_behind_requests(
        nodes: dict[str, Node]) -> None:
    """All threads of the service are busy; its agent answers."""
    busy = nodes['one'].api
    with asking(nodes, *WAYS['http']) as beside, asking(
            nodes, ['option httpchk GET /'], '') as queued, \
            contextlib.ExitStack() as stack:
        callers = [threading.Thread(
            target=requests.get, args=(
                f'http://127.0.0.1:{busy.server_port}/slow',))
            for _ in range(Api.threads)]
        for caller in callers:
            caller.start()
            stack.callback(caller.join)
        stack.callback(busy.release.set)
        fleet.wait_for(queued, nodes, {'two', 'three'}, 30)
        assert fleet.stays(beside, nodes, 2.0) == {frozenset(nodes)}
        # In milliseconds.
        assert int(beside.server('one')['check_duration'] or 0) < 500
        # And it still takes the node out, should it have to.
        nodes['one'].way.cut()
        fleet.wait_for(beside, nodes, {'two', 'three'}, BOUND)
