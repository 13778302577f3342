# SPDX-License-Identifier: Apache-2.0

"""Checks that ask about one database share one connection to it."""

from __future__ import annotations

from collections.abc import Iterator
import datetime
import time
from typing import Any

import pytest
import sqlalchemy

from tests.functional import cells
from tests.functional import databases
from tests.functional import servers
from tests.functional import service as service_module
from tests import heartbeat_rows


@pytest.fixture
def database(mariadb: servers.MariaDB) -> Iterator[databases.Database]:
    with databases.on(mariadb, databases.DRIVERS[0]) as made:
        yield made


def fill(database: databases.Database, name: str, binary: str) -> None:
    """Make the table of a service's services, with one that is up."""
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    engine = sqlalchemy.create_engine(
        database.url(), poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        heartbeat_rows.fill(connection, name, [heartbeat_rows.row(
            name, 1, binary, now)])


def opened(database: databases.Database,
           service: service_module.Service) -> set[int]:
    """How many connections there are, at many moments in many visits."""
    found = set()
    deadline = time.monotonic() + 3 * service.policy.interval
    while time.monotonic() < deadline:
        found.add(database.connections())
    return found


@pytest.mark.parametrize(('name', 'binary'), [
    ('cinder', 'cinder-volume'), ('neutron', 'L3 agent')])
def test_database_and_services(database: databases.Database, name: str,
                               binary: str) -> None:
    fill(database, name, binary)
    with service_module.Service(
            'database', 'services', services_of=name,
            database_connection=database.url()) as service:
        service.passes()
        assert opened(database, service) == {1}
    servers.wait_until(lambda: database.connections() == 0, 'closed')


def test_api_database_and_cell0(database: databases.Database) -> None:
    """All that asks of Nova's databases, where they are one."""
    fill(database, 'nova', 'nova-scheduler')
    server = database.server
    table = f'`{database.name}`.cell_mappings'
    server.sql(f'CREATE TABLE {table} (id INT PRIMARY KEY, uuid TEXT, '
               'name TEXT, transport_url TEXT, database_connection TEXT, '
               'disabled BOOL)')
    server.sql(f'INSERT INTO {table} VALUES (1, %s, %s, %s, %s, 0)',
               cells.CELL0, 'cell0', 'none:///', database.url())
    options: dict[str, Any] = {'services_of': 'nova'}
    with service_module.Service(
            'database', 'cells', 'services',
            database_connection=database.url(),
            cells_api_connection=database.url(), **options) as service:
        service.wait_for(200, 'OK\nOK (CELLS: NO CELL MAPPED)\nOK')
        assert opened(database, service) == {1}
    servers.wait_until(lambda: database.connections() == 0, 'closed')
