# SPDX-License-Identifier: Apache-2.0

"""What else is asked over the connection of a database's target."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import time

import pytest
import sqlalchemy

from healthcheck.plugins import heartbeats
from healthcheck.plugins import service_tables
from healthcheck.reports import report
from healthcheck.targets import database_target
from healthcheck.targets import dialects
from healthcheck.targets import mysql_tls
from tests.functional import databases
from tests.functional import servers
from tests import heartbeat_rows

BOUND = 1.0  # mysqlclient takes whole seconds


@pytest.fixture(params=databases.DRIVERS)
def database(request: pytest.FixtureRequest) -> Iterator[databases.Database]:
    yield from databases.requested(request)


@pytest.fixture
def target(database: databases.Database,
           ) -> Iterator[database_target.DatabaseTarget]:
    with contextlib.closing(_target(database)) as made:
        yield made


def _target(database: databases.Database) -> database_target.DatabaseTarget:
    return database_target.DatabaseTarget(
        database.url(), option='o', bound=BOUND,
        tolerance=dialects.Tolerance())


def test_each_visit_sees_what_is_there_now_and_leaves_nothing(
        database: databases.Database,
        target: database_target.DatabaseTarget) -> None:
    seen = []

    def count(connection: sqlalchemy.Connection) -> None:
        seen.append(connection.execute(
            sqlalchemy.text('SELECT count(*) FROM nodes')).scalar())
        connection.execute(sqlalchemy.text('INSERT INTO nodes VALUES (1)'))

    target.also = count
    other = sqlalchemy.create_engine(
        database.url(), poolclass=sqlalchemy.NullPool)
    with other.begin() as connection:
        connection.exec_driver_sql('CREATE TABLE nodes (id int)')
    for expected in (0, 2, 4):
        assert target.probe() == report.Result.ok()
        assert seen.pop() == expected
        with other.begin() as connection:
            connection.exec_driver_sql('INSERT INTO nodes VALUES (2), (3)')


def test_a_statement_that_takes_too_long_is_bounded(
        database: databases.Database,
        target: database_target.DatabaseTarget) -> None:
    assert target.probe() == report.Result.ok()
    sleep = 'pg_sleep' if 'postgresql' in database.driver else 'SLEEP'
    target.also = lambda connection: connection.exec_driver_sql(
        f'SELECT {sleep}(60)')
    started_at = time.monotonic()
    result = target.probe()
    assert time.monotonic() - started_at < 30
    assert (result.status, result.reason) == (
        report.Status.FAIL, 'NO ANSWER')
    target.also = None
    assert target.probe() == report.Result.ok()


def test_a_fault_is_the_visits(
        target: database_target.DatabaseTarget) -> None:
    target.also = lambda connection: connection.exec_driver_sql(
        'SELECT 1 FROM nodes')
    result = target.probe()
    assert result.status is report.Status.FAIL
    assert 'nodes' in result.detail
    assert databases.PASSWORD not in result.detail


def test_targets_share_what_tls_takes(mariadb: servers.MariaDB) -> None:
    with databases.on(mariadb, 'mysql+pymysql') as database:
        targets = [_target(database) for _ in range(3)]
        for each in targets:
            assert each.probe() == report.Result.ok()
        made = [each._connection.connection.dbapi_connection
                for each in targets if each._connection is not None]
        assert [type(one) for one in made] == [mysql_tls.Connection] * 3
        assert len({id(one.ctx) for one in made}) == 1
        for each in targets:
            each.close()


@pytest.mark.parametrize('counts, statements', [(False, 1), (True, 3)])
def test_what_a_visit_sends(mariadb: servers.MariaDB, counts: bool,
                            statements: int) -> None:
    """One, or also the one that counts and the end of its transaction."""
    with databases.on(mariadb, 'mysql+pymysql') as database, \
            contextlib.closing(_target(database)) as target:
        other = sqlalchemy.create_engine(
            database.url(), poolclass=sqlalchemy.NullPool)
        with other.connect() as connection:
            heartbeat_rows.fill(connection, 'nova', [])
        if counts:
            target.also = lambda connection: _count(connection)
        assert target.probe() == report.Result.ok()
        before = mariadb.status('Questions')
        for _ in range(10):
            assert target.probe() == report.Result.ok()
        # What asks for the number is counted too.
        own = mariadb.status('Questions')
        sent = own - before - (mariadb.status('Questions') - own)
        assert sent == 10 * statements


def _count(connection: sqlalchemy.Connection) -> None:
    heartbeats.count(connection, service_tables.NOVA, 60)
