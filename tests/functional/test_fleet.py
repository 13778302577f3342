# SPDX-License-Identifier: Apache-2.0

"""Nodes that lose the one database stay in; one that loses it alone leaves."""

from __future__ import annotations

from collections.abc import Iterator
import time

import pytest

from tests.functional import fleet as fleet_module
from tests.functional import joined
from tests.functional import servers

STORES = ('etcd', 'redis')

CHECK = ['option httpchk GET /healthcheck', 'http-check expect status 200',
         'http-response set-header X-Server %s']


@pytest.fixture(scope='module', params=STORES)
def running(request: pytest.FixtureRequest, mariadb_server: servers.MariaDB,
            tmp_path_factory: pytest.TempPathFactory,
            ) -> Iterator[joined.Fleet]:
    store = request.getfixturevalue(f'{request.param}_server')
    store.heal()
    with joined.three(tmp_path_factory.mktemp('fleet'), mariadb_server,
                      store) as made:
        yield made


@pytest.fixture
def fleet(running: joined.Fleet) -> joined.Fleet:
    running.heal()
    return running


@pytest.mark.parametrize('fault', ['kill', 'freeze'])
def test_all_stay_in_when_they_lose_the_database(
        fleet: joined.Fleet, fault: str) -> None:
    ports = {name: node.api.port for name, node in fleet.nodes.items()}
    with servers.HAProxy(ports, CHECK) as haproxy, fleet.polls() as polls:
        fleet_module.wait_for(haproxy, ports, set(ports), 30)
        with fleet_module.Clients(haproxy) as clients:
            getattr(fleet.mariadb, fault)()
            polls.wait_for(200, joined.note(3), fleet.bound)
            held = time.monotonic()
            servers.wait_until(
                lambda: {server for _, server in clients.since(held)}
                == set(ports), 'all get work')
            fleet.mariadb.heal()
            polls.wait_for(200, 'OK', fleet.bound)
    assert polls.statuses() == {200}
    assert {status for _, status, _ in clients.answers} == {200}
    polls.never_waited()


def test_one_that_loses_it_alone_leaves_and_returns(
        fleet: joined.Fleet) -> None:
    with fleet.polls() as polls:
        fleet.nodes['one'].way.cut()
        polls.wait_for(503, '', fleet.nodes['one'].api.bound + 2, ['one'])
        fleet.nodes['one'].way.heal()
        polls.wait_for(200, 'OK', fleet.bound, ['one'])
    assert polls.statuses(names=['two', 'three']) == {200}
    assert not any('NODES' in one.text for one in polls.answers['one'])
