# SPDX-License-Identifier: Apache-2.0

"""Nodes that lose the one database stay in; one that loses it alone leaves."""

from __future__ import annotations

import os
import pathlib
import signal
import time

import pytest

from tests.functional import fleet as fleet_module
from tests.functional import joined
from tests.functional import servers

CHECK = ['option httpchk GET /healthcheck', 'http-check expect status 200',
         'http-response set-header X-Server %s']


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


def test_drained_nodes_do_not_count(fleet: joined.Fleet) -> None:
    others = 'two', 'three'
    with fleet.polls() as polls:
        for name in others:
            fleet.nodes[name].drain()
        polls.wait_for(503, names=others)
        fleet.wait_for_records()
        fleet.mariadb.kill()
        polls.wait_for(503, within=fleet.bound, names=['one'])
        assert not any('NODES' in one.text for one in polls.answers['one'])
        fleet.mariadb.heal()
        polls.wait_for(200, 'OK', fleet.bound, ['one'])
        fleet.nodes['two'].resume()
        polls.wait_for(200, 'OK', names=['two'])
        fleet.wait_for_records()
        resumed = time.monotonic()
        fleet.mariadb.kill()
        polls.wait_for(200, joined.note(2), fleet.bound, ['one', 'two'])
        assert polls.statuses(resumed, names=['one', 'two']) == {200}


def test_one_that_is_cut_off_leaves(fleet: joined.Fleet) -> None:
    one = fleet.nodes['one']
    with fleet.polls() as polls:
        one.cut_store()
        one.way.cut()
        polls.wait_for(503, '', one.api.bound + 2, ['one'])
        one.way.heal()
        one.store_way.heal()
        polls.wait_for(200, 'OK', fleet.bound, ['one'])
    assert polls.statuses(names=['two', 'three']) == {200}
    assert not any('NODES' in one.text for one in polls.answers['one'])


def test_a_killed_prober_does_not_end_the_hold(fleet: joined.Fleet) -> None:
    one = fleet.nodes['one']
    with fleet.polls() as polls:
        fleet.mariadb.kill()
        polls.wait_for(200, joined.note(3), fleet.bound)
        killed = one.prober
        polls.may_lose = 1
        os.kill(killed, signal.SIGKILL)
        servers.wait_until(lambda: one.prober != killed,
                           'another process probes')
        # It takes part, and counts once: under the same name.
        fleet.wait_for_records()
        polls.wait_for(200, joined.note(3))
        assert {told.text.rpartition(', ')[2]
                for told in polls.answers['two'][-10:]} == {
                    joined.note(3)[2:]}
        assert polls.statuses() == {200}
        fleet.mariadb.heal()
        polls.wait_for(200, 'OK', fleet.bound)


def test_all_leave_if_they_may_not_stay(
        tmp_path: pathlib.Path, mariadb: servers.MariaDB,
        etcd_server: servers.Etcd) -> None:
    etcd_server.heal()
    with joined.three(tmp_path, mariadb, etcd_server,
                      shared_failure='fail') as fleet, fleet.polls() as polls:
        mariadb.kill()
        polls.wait_for(503, '', fleet.bound)
        mariadb.heal()
        polls.wait_for(200, 'OK', fleet.bound)
        assert not any('NODES' in one.text for told in polls.answers.values()
                       for one in told)
