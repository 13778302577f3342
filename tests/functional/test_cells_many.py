# SPDX-License-Identifier: Apache-2.0

"""Plugin ``cells``: what it costs, what it keeps, and what it tells."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import gc
import os
import pathlib
import subprocess
import sys
import textwrap
import threading
import time

import psutil
import pytest

from healthcheck.admin.auth import gate
from tests.functional import cells
from tests.functional import clouds
from tests.functional import servers
from tests.functional import service as service_module
from tests.functional import test_secrets

FIFTY = 50

DOWN = ('fail', 'DATABASE: CONNECTION REFUSED')


@pytest.fixture
def own_server() -> Iterator[servers.MariaDB]:
    """A MariaDB for one cell, which a test may do anything to."""
    server = servers.MariaDB()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def counted(cloud: clouds.Cloud) -> Iterator[None]:
    """The server counts the statements of each of its users."""
    cloud.mariadb.sql('SET GLOBAL userstat = 1')
    yield
    cloud.mariadb.sql('SET GLOBAL userstat = 0')


# Bytes of the statements of a visit, and some more.
A_VISIT = 500


def received(cloud: clouds.Cloud) -> dict[str, int]:
    """How many bytes each user has sent that is a cell's.

    There are counts of statements too, but SHOW is in none of them.
    """
    return {user: int(number) for user, number in cloud.mariadb.sql(
        'SELECT user, bytes_received'
        ' FROM information_schema.user_statistics')
        if user.startswith('zuser-z')}


def queue_connections(cloud: clouds.Cloud) -> str:
    return cloud.rabbitmq.eval(
        '[pid_to_list(P) || P <- lists:sort(rabbit_networking:connections())]')


def threads() -> list[str]:
    """Those of a pool have a number, which is another one each time."""
    return sorted(one.name.rstrip('0123456789')
                  for one in threading.enumerate()
                  if one.name.startswith('healthcheck'))


def settles(look: Callable[[], object], wanted: object) -> None:
    """Wait until that is what is seen."""
    try:
        servers.wait_until(lambda: look() == wanted, 'settled', 60)
    except servers.ServerError:
        assert look() == wanted


def connections_to(port: int) -> int:
    """How many connections of this process go there."""
    return sum(bool(one.raddr) and one.raddr[1] == port
               for one in psutil.Process().net_connections('tcp')
               if one.status != psutil.CONN_TIME_WAIT)


@pytest.mark.usefixtures('counted')
@pytest.mark.parametrize('workers', [4, 80])
def test_one_frozen_among_fifty(cloud: clouds.Cloud, tmp_path: pathlib.Path,
                                own_server: servers.MariaDB,
                                workers: int) -> None:
    """It delays nobody, and holds one worker at most."""
    broker = cloud.cells[1].broker
    many = [cells.Cell(f'zmany-{number}', cloud.mariadb, broker,
                       relayed=False) for number in range(FIFTY - 1)]
    frozen = cells.Cell('zfrozen', own_server, broker, relayed=False)
    pace = {'interval': 4.0, 'retry_interval': 1.0, 'timeout': 3.0}
    with cloud.also([*many, frozen]), cloud.service(
            tmp_path, 'cells', cells_workers=workers, **pace) as node:
        node.passes()
        own_server.disconnect()
        own_server.freeze()
        node.warns('CELLS: SOME CELLS DOWN')
        seen, most, longest = received(cloud), 0, 0.0
        assert len(seen) >= FIFTY
        changed = dict.fromkeys(seen, time.monotonic())
        until = time.monotonic() + 6 * pace['interval']
        while time.monotonic() < until:
            for user, number in received(cloud).items():
                if number != seen[user]:
                    now = time.monotonic()
                    longest = max(longest, now - changed[user])
                    seen[user], changed[user] = number, now
            most = max(most, connections_to(own_server.port))
            time.sleep(0.1)
        longest = max(longest, time.monotonic() - min(changed.values()))
        # As long as it would take without the frozen one, and a bit.
        assert longest < pace['interval'] * 1.1 + pace['timeout'] + 10
        assert most == 1
        # Besides the two that no request can do without.
        assert threads().count('healthcheck-') <= workers + 2
        parts = node.parts()
        assert {name for name, part in parts.items()
                if part['status'] != 'pass'} == {'zfrozen'}
        assert parts['zfrozen']['reason'] == 'DATABASE: NO ANSWER'
        own_server.thaw()
        node.passes()
        node.answers_at_once()


def test_server_of_its_own_stopped(
        cloud: clouds.Cloud, tmp_path: pathlib.Path,
        own_server: servers.MariaDB) -> None:
    """A real stop, a crash, and a freeze."""
    cell = cells.Cell('zown', own_server, cloud.cells[1].broker,
                      relayed=False)
    with cloud.also([cell]), cloud.service(tmp_path, 'cells') as node:
        for fault, reason in ((own_server.stop, 'CONNECTION REFUSED'),
                              (own_server.kill, 'CONNECTION REFUSED'),
                              (own_server.freeze, 'NO ANSWER')):
            node.passes()
            fault()
            node.warns('CELLS: SOME CELLS DOWN')
            servers.wait_until(
                lambda: node.parts()['zown']['reason']
                == f'DATABASE: {reason}', reason, node.bound)
            own_server.heal()
        node.passes()


@pytest.mark.usefixtures('counted')
def test_connections_are_kept(cloud: clouds.Cloud,
                              tmp_path: pathlib.Path) -> None:
    """However often it is probed."""
    # A probe that takes longer gives its connection up.
    patient = {'timeout': 20, 'slow_threshold': 20}
    with cloud.service(tmp_path, 'cells', interval=0.3, **patient) as node:
        node.passes()
        before = cloud.mariadb.status('Connections'), queue_connections(cloud)
        assert all(cell.stored.connections() == 1 for cell in cloud.cells)
        published = cloud.rabbitmq.published()
        began = received(cloud)

        def often() -> bool:
            now = received(cloud)
            return all(now[cell.stored.user]
                       >= began[cell.stored.user] + 20 * A_VISIT
                       for cell in cloud.cells) and (
                cloud.rabbitmq.published() >= published + 20)

        servers.wait_until(often, 'probed often', 60)
        after = cloud.mariadb.status('Connections'), queue_connections(cloud)
    assert after == before


def test_all_is_given_back(cloud: clouds.Cloud,
                           tmp_path: pathlib.Path) -> None:
    def held() -> dict[str, object]:
        gc.collect()
        return {
            'threads': threads(),
            'descriptors': len(os.listdir('/proc/self/fd')),
            'connections to databases': [
                each.stored.connections() for each in [cloud, *cloud.cells]],
            'connections to queues': cloud.rabbitmq.connections()}

    def cycle() -> None:
        with cloud.service(tmp_path, 'cells', 'services',
                           services_of='nova') as node:
            cloud.cells[1].register('a', 'nova-conductor')
            cloud.cells[2].register('a', 'nova-conductor')
            node.passes()
            open_now = held()
            assert open_now['connections to databases'] == [1, 1, 1, 1]
            assert open_now['connections to queues'] == 2
            cloud.cells[1].go_down()
            cloud.cells[2].queue.silence()
            node.wait_for(503)
            cloud.heal()
            cloud.cells[1].go_down()
            node.comes_to({'cell0': ('pass', 'OK'), 'zcell-1': DOWN,
                           'zcell-2': ('pass', 'OK')})
        cloud.heal()

    cycle()  # what is made once is there then
    settles(threads, [])
    settles(lambda: held()['connections to databases'], [0, 0, 0, 0])
    settles(lambda: held()['connections to queues'], 0)
    before = held()
    cycle()
    settles(held, before)


@pytest.mark.parametrize('fault', ['refused', 'password', 'vhost',
                                   'mapping'])
def test_what_is_told(cloud: clouds.Cloud, tmp_path: pathlib.Path,
                      fault: str) -> None:
    """No body names a cell; the log does, and has no secret in it."""
    names = ('zcell', 'zuser', 'zschema', 'zvhost', 'cell0')
    ports = [relay.port for cell in cloud.cells for relay in cell.relays]
    with service_module.Log.of_everybody() as log:
        with cloud.service(tmp_path, 'cells',
                           detail_source_ranges='') as node:
            node.passes()
            for cell in cloud.cells[1:]:
                assert cell.broker is not None
                if fault == 'refused':
                    cell.go_down()
                elif fault == 'vhost':
                    cloud.rabbitmq.delete_vhost(cell.broker.vhost)
                elif fault == 'mapping':
                    cloud.rewrite(cell, database_connection=(
                        cell.database_url.replace('zschema', '{zschema}')))
                else:
                    cloud.mariadb.set_password(cell.stored.user, 'another')
                    cloud.mariadb.disconnect_user(cell.stored.user)
            node.fails('CELLS: NO CELL UP')
            test_secrets.assert_tells_nothing(node, *names, *ports)
    test_secrets.assert_no_secret(log)
    reason = {'refused': 'DATABASE: CONNECTION REFUSED',
              'password': 'DATABASE: LOGIN REFUSED',
              'vhost': 'MESSAGE QUEUE: NO SUCH VHOST',
              'mapping': 'BAD MAPPING'}[fault]
    for cell in cloud.cells[1:]:
        assert any(name.startswith('healthcheck.cells')
                   and f'cell {cell.name} is down: {reason}' in line
                   for name, line in log.lines), (cell.name, reason)


def test_round_that_an_admin_asks_for(
        cloud: clouds.Cloud, tmp_path: pathlib.Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is probed again, and the list is read again."""
    monkeypatch.setattr(gate.Gate, 'check',
                        lambda self, environ, rule: None)
    with cloud.service(tmp_path, 'cells', interval=3600, ttl=7200,
                       fall=1) as node:
        node.passes()
        cloud.cells[2].go_down()
        cloud.enable(cloud.cells[1], False)
        node.stays('OK', 2)

        def told() -> bool:
            node.request('/healthcheck/refresh', 'POST')
            parts = node.parts()
            return (parts['zcell-1']['reason'], parts['zcell-2']['reason']
                    ) == ('DISABLED', DOWN[1])

        servers.wait_until(told, 'the change is reported', 30)
        assert node.ask().text == 'CELLS: NO CELL UP'


def test_nova_is_not_imported(cloud: clouds.Cloud,
                              tmp_path: pathlib.Path) -> None:
    """Nor tried to be; in a process of its own, up to where all is well."""
    with cloud.service(tmp_path, 'cells', 'services', services_of='nova'):
        pass
    for cell in cloud.cells:
        cell.register('a', 'nova-conductor')
    program = textwrap.dedent('''
        import sys

        tried = []


        class Watcher:
            def find_spec(self, name, path=None, target=None):
                if name.partition('.')[0] == 'nova':
                    tried.append(name)


        sys.meta_path.insert(0, Watcher())
        from oslo_config import cfg

        from tests.functional import service

        conf = cfg.ConfigOpts()
        conf(['--config-file', sys.argv[1]], project='nova')
        with service.Service('cells', 'services', conf=conf) as node:
            node.wait_for(200, 'OK\\nOK', 60)
        assert not tried, tried
        assert 'nova' not in sys.modules
        ''')
    root = pathlib.Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, '-c', program, str(tmp_path / 'nova.conf')],
        cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=120)
    assert done.returncode == 0, done.stdout
