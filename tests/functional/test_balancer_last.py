# SPDX-License-Identifier: Apache-2.0

"""All nodes lose the one database: HAProxy says who is last, and it stays."""

from __future__ import annotations

from collections.abc import Iterator
import json
import time
from typing import Any

import pytest
import requests

from healthcheck.answers import balancers
from tests.functional import fleet
from tests.functional import servers
from tests.functional.servers import client

CHECK = [*fleet.SEND_STATE, 'http-response set-header X-Server %s']


@pytest.fixture(scope='module')
def running(tmp_path_factory: pytest.TempPathFactory,
            mariadb_server: servers.MariaDB,
            ) -> Iterator[dict[str, fleet.Node]]:
    with fleet.nodes(tmp_path_factory.mktemp('last'), mariadb_server,
                     fleet.LAST_STAYS) as made:
        yield made


@pytest.fixture
def nodes(running: dict[str, fleet.Node],
          mariadb: servers.MariaDB) -> Iterator[dict[str, fleet.Node]]:
    for node in running.values():
        node.way.heal()
    for node in running.values():
        node.api.wait_for(200)
    yield running


@pytest.fixture
def haproxy(nodes: dict[str, fleet.Node]) -> Iterator[servers.HAProxy]:
    with servers.HAProxy({name: node.api.port for name, node
                          in nodes.items()}, check=CHECK, fall=3) as made:
        fleet.wait_for(made, nodes, set(nodes), 30)
        yield made


def bound(nodes: dict[str, fleet.Node]) -> float:
    return max(node.bound for node in nodes.values())


def test_one_that_loses_it_leaves_and_returns(
        nodes: dict[str, fleet.Node], haproxy: servers.HAProxy) -> None:
    nodes['one'].way.cut()
    fleet.wait_for(haproxy, nodes, {'two', 'three'}, nodes['one'].bound)
    nodes['one'].way.heal()
    fleet.wait_for(haproxy, nodes, set(nodes), nodes['one'].bound)
    for name in ('two', 'three'):
        assert haproxy.server(name)['chkdown'] == '0'


def test_the_last_one_goes_on_under_load(
        nodes: dict[str, fleet.Node], haproxy: servers.HAProxy) -> None:
    with fleet.Clients(haproxy) as clients:
        for node in nodes.values():
            node.way.cut()
        servers.wait_until(
            lambda: len(fleet.usable(haproxy, nodes)) == 1, 'one is left',
            bound(nodes))
        (last,), = {tuple(fleet.usable(haproxy, nodes))}
        # The same one stays, and clients get its answers.
        settled = time.monotonic()
        assert fleet.stays(haproxy, nodes, 5.0) == {frozenset([last])}
        assert set(clients.since(settled)) == {(200, last)}
        port = nodes[last].api.port
        servers.wait_until(
            lambda: 'LAST NODE' in detail(port)['reason'],
            'a worker that was polled says so')
        for node in nodes.values():
            node.way.heal()
        fleet.wait_for(haproxy, nodes, set(nodes), bound(nodes))
    # All may have been out for some polls, but not again.
    assert {status for when, status, _ in clients.answers
            if when >= settled} == {200}


def detail(port: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        client.ask(port, '/healthcheck/detail').text)
    return found


def test_all_that_were_out_come_back_as_one(
        nodes: dict[str, fleet.Node], haproxy: servers.HAProxy) -> None:
    """Polls may be in flight while the others go out, so all may be out."""
    for node in nodes.values():
        node.way.cut()
    for node in nodes.values():
        node.api.wait_for(503)
    for name in nodes:
        haproxy.set(name, 'health down')
    assert not fleet.usable(haproxy, nodes)
    servers.wait_until(lambda: fleet.usable(haproxy, nodes), 'one is back',
                       10)
    # Those that have come back with it leave one by one.
    servers.wait_until(lambda: len(fleet.usable(haproxy, nodes)) == 1,
                       'one is left', balancers.COME_BACK[1] + 10)
    (last,) = fleet.usable(haproxy, nodes)
    assert fleet.stays(haproxy, nodes, 3.0) == {frozenset([last])}


def test_without_send_state_all_go_out(
        nodes: dict[str, fleet.Node]) -> None:
    with servers.HAProxy(
            {name: node.api.port for name, node in nodes.items()},
            check=[line for line in CHECK if 'send-state' not in line]
    ) as haproxy:
        fleet.wait_for(haproxy, nodes, set(nodes), 30)
        for node in nodes.values():
            node.way.cut()
        fleet.wait_for(haproxy, nodes, set(), bound(nodes))
        assert requests.get(f'http://{haproxy.host}:{haproxy.port}/',
                            timeout=10).status_code == 503
