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
from healthcheck.probing import target as target_module
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


def _question(statement: str) -> target_module.Question:
    def ask(connection: sqlalchemy.Connection) -> target_module.Answer:
        connection.exec_driver_sql(statement)
        return target_module.Answer(report.Result.ok())
    return target_module.Question(ask)


def test_each_visit_sees_what_is_there_now_and_leaves_nothing(
        database: databases.Database,
        target: database_target.DatabaseTarget) -> None:
    def count(connection: sqlalchemy.Connection) -> target_module.Answer:
        found = connection.execute(
            sqlalchemy.text('SELECT count(*) FROM nodes')).scalar()
        connection.execute(sqlalchemy.text('INSERT INTO nodes VALUES (1)'))
        return target_module.Answer(report.Result.ok(), found)

    question = target_module.Question(count)
    other = sqlalchemy.create_engine(
        database.url(), poolclass=sqlalchemy.NullPool)
    with other.begin() as connection:
        connection.exec_driver_sql('CREATE TABLE nodes (id int)')
    for expected in (0, 2, 4):
        found = target.probe([question])
        assert found.result == report.Result.ok()
        assert found.answers[question].value == expected
        with other.begin() as connection:
            connection.exec_driver_sql('INSERT INTO nodes VALUES (2), (3)')


def test_a_statement_that_takes_too_long_is_bounded(
        database: databases.Database,
        target: database_target.DatabaseTarget) -> None:
    assert target.probe().result == report.Result.ok()
    sleep = 'pg_sleep' if 'postgresql' in database.driver else 'SLEEP'
    slow, quick = _question(f'SELECT {sleep}(60)'), _question('SELECT 1')
    started_at = time.monotonic()
    found = target.probe([slow, quick])
    assert time.monotonic() - started_at < 30
    # The database is well, and there was no time left for the other one.
    assert found.result == report.Result.ok()
    for question in (slow, quick):
        assert found.answers[question].result.reason == 'NO ANSWER'
    assert not target.connected
    assert target.probe().result == report.Result.ok()


def test_a_question_that_fails_is_its_own_failure(
        database: databases.Database,
        target: database_target.DatabaseTarget) -> None:
    bad, well = _question('SELECT 1 FROM nodes'), _question('SELECT 1')
    found = target.probe([bad, well])
    assert found.result == report.Result.ok()
    assert found.answers[well].result == report.Result.ok()
    # The one that it failed on is closed.
    servers.wait_until(lambda: database.connections() == 1, 'one is left')
    result = found.answers[bad].result
    assert result.status is report.Status.FAIL
    assert 'nodes' in result.detail
    assert databases.PASSWORD not in result.detail


def test_targets_share_what_tls_takes(mariadb: servers.MariaDB) -> None:
    with databases.on(mariadb, 'mysql+pymysql') as database:
        targets = [_target(database) for _ in range(3)]
        for each in targets:
            assert each.probe().result == report.Result.ok()
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
        questions = [target_module.Question(_count)] if counts else []
        assert target.probe(questions).result == report.Result.ok()
        before = mariadb.status('Questions')
        for _ in range(10):
            assert target.probe(questions).result == report.Result.ok()
        # What asks for the number is counted too.
        own = mariadb.status('Questions')
        sent = own - before - (mariadb.status('Questions') - own)
        assert sent == 10 * statements


def _count(connection: sqlalchemy.Connection) -> target_module.Answer:
    return target_module.Answer(report.Result.ok(), heartbeats.count(
        connection, service_tables.NOVA, 60))
