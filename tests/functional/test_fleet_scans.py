# SPDX-License-Identifier: Apache-2.0

"""Ten nodes count the services of six cells: what the databases see of it."""

from __future__ import annotations

import collections
from collections.abc import Iterator
import contextlib
import pathlib

import pytest

from tests.functional import cells
from tests.functional import fleet
from tests.functional import servers
from tests.functional import service as service_module
from tests.functional import traffic

NODES, CELLS = 10, 6
OWNERS = 2

# A busy machine is given time: what counts is how many statements there are.
PACE = {'interval': 2.0, 'retry_interval': 0.5, 'timeout': 3.0, 'ttl': 20.0,
        'slow_threshold': 3.0, 'detail_source_ranges': '192.0.2.1/32',
        'evidence': False, 'services_of': 'nova'}

WITHIN = 90.0
"""Seconds for the nodes to know each other, on a busy machine."""

_API = 'zscan-api'
_MAPPINGS = (
    'CREATE TABLE cell_mappings (id INT PRIMARY KEY, uuid VARCHAR(36), '
    'name VARCHAR(255), transport_url TEXT, database_connection TEXT, '
    'disabled BOOL)')
_SERVICES = (
    'CREATE TABLE services (id INT PRIMARY KEY, host VARCHAR(255), '
    '`binary` VARCHAR(255), disabled BOOL, forced_down BOOL, deleted INT, '
    'last_seen_up DATETIME, created_at DATETIME)')

_VISIT = 'SHOW GLOBAL VARIABLES%'
_HEAVY = 'SELECT%last_seen_up%'


class Region:
    """The cells, what their databases have seen, and the nodes.

    Its address is not loopback: what is there is no node's own.
    """

    def __init__(self, mariadb: servers.MariaDB, redis: servers.Redis,
                 directory: pathlib.Path) -> None:
        self.mariadb = mariadb
        self.redis = redis
        self.names = [f'zscan-{number}' for number in range(CELLS)]
        self.nodes: dict[str, cells.Node] = {}
        self._directory = directory
        self._relay = servers.Relay(mariadb.host, mariadb.port,
                                    fleet.own_address())

    def make(self) -> None:
        for name in (_API, *self.names):
            self.mariadb.create_database(name)
            self.mariadb.create_user(name, 'secret', name)
        self._sql(_API, _MAPPINGS)
        for number, name in enumerate(self.names):
            self._sql(_API, 'INSERT INTO cell_mappings VALUES '
                      '(%s, %s, %s, "none:///", %s, 0)', number,
                      f'00000000-0000-0000-0000-{number:012}', name,
                      self._url(name))
            self._sql(name, _SERVICES)
            self._sql(name, 'INSERT INTO services VALUES '
                      '(1, "c", "nova-conductor", 0, 0, 0, UTC_TIMESTAMP(), '
                      'UTC_TIMESTAMP())')

    def heal(self) -> None:
        """Start the nodes that are missing; wait until all are well."""
        for number in range(NODES):
            if f'node{number}' not in self.nodes:
                self.start(f'node{number}')
        for node in self.nodes.values():
            node.wait_for(200, 'OK', WITHIN)
            node.history.clear()

    def start(self, name: str) -> None:
        directory = self._directory / name
        directory.mkdir(exist_ok=True)
        conf = service_module.configured(
            directory / 'nova.conf', {
                'DEFAULT': {'service_down_time': 86400},
                'api_database': {'connection': self._url(_API)}},
            ['services'], **PACE, state_path=directory, fleet_node=name,
            fleet_name='nova',
            fleet_url=self.redis.url())
        self.nodes[name] = cells.Node('services', conf=conf, **PACE)

    def close(self) -> None:
        for node in self.nodes.values():
            node.close(0.0)
        for node in self.nodes.values():
            node.close()
        self._relay.close()
        for name in (_API, *self.names):
            self.mariadb.drop_database(name)
            self.mariadb.drop_user(name)

    def kill(self, name: str) -> None:
        """It says no goodbye: its record stays in the store."""
        self.nodes.pop(name).close()

    def set_conductor(self, cell: str, age: int) -> None:
        self._sql(cell, 'UPDATE services SET last_seen_up = '
                  'UTC_TIMESTAMP() - INTERVAL %s SECOND', age)

    def counted_by(self) -> dict[str, list[str]]:
        """The nodes that count for themselves, by cell.

        All cells have to be well on all nodes.
        """
        found: dict[str, list[str]] = {name: [] for name in self.names}
        for name, node in self.nodes.items():
            parts = node.parts('services')
            assert {cell: part['status'] for cell, part in parts.items()
                    } == dict.fromkeys(self.names, 'pass'), (name, parts)
            for cell, part in parts.items():
                numbers, _, by = part['detail'].partition(' (counted by ')
                assert numbers == 'nova-conductor 1 up'
                if not by:
                    found[cell].append(name)
        return found

    def wait_for(self, owners: int) -> dict[str, list[str]]:
        """Wait until so many nodes count each cell."""
        def seen() -> dict[str, list[str]]:
            found = self.counted_by()
            return found if all(len(nodes) == owners
                                for nodes in found.values()) else {}
        return servers.wait_until(
            seen, f'{owners} nodes count each cell', WITHIN, 0.2)

    def watch(self, intervals: int) -> tuple[dict[str, int],
                                             dict[str, float]]:
        """(statements that count, visits of one node), by cell.

        One node alone would count once a visit. The visits of all nodes are
        counted, too: on a busy machine there are fewer of them.

        :param intervals: how many visits of each node to wait for
        """
        with traffic.logged(self.mariadb):
            servers.wait_until(
                lambda: all(number >= intervals * len(self.nodes)
                            for number in self._logged(_VISIT).values()),
                'visits', WITHIN, 0.5)
            visits, heavy = self._logged(_VISIT), self._logged(_HEAVY)
        return heavy, {name: number / len(self.nodes)
                       for name, number in visits.items()}

    def _logged(self, like: str) -> dict[str, int]:
        """How many statements each cell's database has seen."""
        seen = collections.Counter(
            user.partition('[')[0] for user, in self.mariadb.sql(
                'SELECT user_host FROM mysql.general_log '
                'WHERE argument LIKE %s', like))
        return {name: seen[name] for name in self.names}

    def _url(self, name: str) -> str:
        return (f'mysql+pymysql://{name}:secret@{fleet.own_address()}:'
                f'{self._relay.port}/{name}')

    def _sql(self, name: str, statement: str, *values: object) -> None:
        self.mariadb.sql(f'USE `{name}`')
        self.mariadb.sql(statement, *values)


@pytest.fixture(scope='module')
def shared_region(mariadb_server: servers.MariaDB,
                  tmp_path_factory: pytest.TempPathFactory,
                  ) -> Iterator[Region]:
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(servers.Redis())
        made = Region(mariadb_server, redis,
                      tmp_path_factory.mktemp('region'))
        stack.callback(made.close)
        made.make()
        yield made


@pytest.fixture
def region(shared_region: Region, mariadb: servers.MariaDB) -> Region:
    shared_region.heal()
    return shared_region


def test_two_nodes_count_each_cell(region: Region) -> None:
    region.wait_for(OWNERS)
    heavy, visits = region.watch(6)
    assert sum(heavy.values()) <= 2.5 * sum(visits.values()), (heavy, visits)
    assert all(number >= 6 for number in heavy.values()), heavy


def test_nodes_that_die(region: Region) -> None:
    """Others count in their place, and no cell is without a count."""
    cell = region.names[-1]
    first, second = region.wait_for(OWNERS)[cell]
    region.kill(first)
    heir, = set(region.wait_for(OWNERS)[cell]) - {second}
    assert heir != first
    region.kill(second)
    assert not {first, second} & set(region.wait_for(OWNERS)[cell])
    heavy, _ = region.watch(2)
    assert all(heavy.values()), heavy
    # All cells were well all the time, or counted_by() would have said so.
    for node in region.nodes.values():
        assert {answer.text for answer in node.history} <= {'OK', 'STARTING'}


def test_a_store_that_dies(region: Region) -> None:
    """Each node counts for itself, and all is well."""
    region.wait_for(OWNERS)
    region.redis.kill()
    region.wait_for(len(region.nodes))
    heavy, visits = region.watch(4)
    assert sum(heavy.values()) >= 0.9 * NODES * sum(visits.values())
    for node in region.nodes.values():
        node.stays('OK', 0.1)
    region.redis.start()
    region.wait_for(OWNERS)


def test_a_conductor_that_dies(region: Region) -> None:
    """Each node sees it for itself, and that it is back."""
    region.wait_for(OWNERS)
    cell = region.names[1]
    region.set_conductor(cell, 100000)
    for node in region.nodes.values():
        node.wait_for(200, 'OK (SERVICES: NO CONDUCTOR UP)')
        part = node.parts('services')[cell]
        assert part['detail'] == 'nova-conductor 0 of 1 up, 1 down'
    region.set_conductor(cell, 0)
    for node in region.nodes.values():
        node.wait_for(200, 'OK')
    region.wait_for(OWNERS)
