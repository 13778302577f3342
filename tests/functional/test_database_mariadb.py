# SPDX-License-Identifier: Apache-2.0

"""Plugin ``database``: what only MariaDB can do to a service."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib

import pymysql
import pytest
import sqlalchemy

from healthcheck.probing import target as target_module
from healthcheck.reports import report
from healthcheck.targets import database_target
from healthcheck.targets import dialects
from tests.functional import databases
from tests.functional import servers


@pytest.fixture(params=databases.DRIVERS[:2])
def database(request: pytest.FixtureRequest) -> Iterator[databases.Database]:
    yield from databases.requested(request)


@pytest.fixture
def one_database(
        mariadb: servers.MariaDB) -> Iterator[databases.Database]:
    with databases.on(mariadb, databases.DRIVERS[0]) as database:
        yield database


def test_too_many_connections(database: databases.Database) -> None:
    server = database.server
    before = server.sql('SELECT @@max_connections')[0][0]
    others: list[pymysql.Connection] = []

    def connect() -> None:
        others.append(pymysql.connect(
            host=server.host, port=server.port, user=database.user,
            password=database.password))

    def taken_its_place() -> bool:
        # The probe may be the quicker one to take what is free: then again.
        ours = {other.thread_id() for other in others}
        with contextlib.suppress(pymysql.Error):
            for one, in server.sql('SELECT id FROM information_schema'
                                   '.processlist WHERE user = %s',
                                   database.user):
                if one not in ours:
                    server.sql(f'KILL {one}')
            connect()
            return True
        return False

    with database.service() as service:
        service.passes()
        try:
            server.sql('SET GLOBAL max_connections = 10')
            with pytest.raises(pymysql.OperationalError, match='1040'):
                while len(others) < 20:
                    connect()
            # A connection that is held is not affected by the others, and
            # is lost when the server closes it.
            service.stays('OK', 0.5)
            servers.wait_until(taken_its_place, 'its place is taken')
            service.fails('DATABASE: TOO MANY CONNECTIONS')
        finally:
            for other in others:
                other.close()
            server.sql(f'SET GLOBAL max_connections = {before}')
        service.passes()
        service.answers_at_once()


def test_too_many_connections_of_the_user(
        database: databases.Database) -> None:
    server = database.server
    limit = f'GRANT USAGE ON *.* TO `{database.user}`@`%` WITH' \
            ' MAX_USER_CONNECTIONS '
    # Only those that come after it count towards a limit.
    server.sql(f'{limit} 1')
    with pymysql.connect(host=server.host, port=server.port,
                         user=database.user, password=database.password):
        with database.service() as service:
            service.fails('DATABASE: TOO MANY CONNECTIONS')
            server.sql(f'{limit} 0')
            service.passes()


def test_permission_denied(database: databases.Database) -> None:
    with database.service() as service:
        service.passes()
        database.server.sql(f'REVOKE ALL ON `{database.name}`.*'
                            f' FROM `{database.user}`@`%`')
        database.server.disconnect_user(database.user)
        service.fails('DATABASE: PERMISSION DENIED')
        database.server.sql(f'GRANT ALL ON `{database.name}`.*'
                            f' TO `{database.user}`@`%`')
        service.passes()


@pytest.mark.parametrize('tolerated', [False, True])
def test_read_only(one_database: databases.Database,
                   tolerated: bool) -> None:
    server = one_database.server
    with one_database.service(database_read_only_ok=tolerated) as service:
        service.passes()
        try:
            server.sql('SET GLOBAL read_only = 1')
            if tolerated:
                service.stays('OK', 0.8)
            else:
                service.fails('DATABASE: READ ONLY')
        finally:
            server.sql('SET GLOBAL read_only = 0')
        service.passes()
        service.answers_at_once()


@pytest.mark.parametrize('fault, mended', [
    ('ALTER USER {} ACCOUNT LOCK', 'ALTER USER {} ACCOUNT UNLOCK'),
    ('ALTER USER {} PASSWORD EXPIRE', 'ALTER USER {} PASSWORD EXPIRE NEVER'),
    ('SET GLOBAL require_secure_transport = 1',
     'SET GLOBAL require_secure_transport = 0')])
def test_account_that_may_not_log_in(database: databases.Database,
                                     fault: str, mended: str) -> None:
    server, account = database.server, f'`{database.user}`@`%`'
    try:
        server.sql(fault.format(account))
        result = _probed(database)
        assert result.reason == 'LOGIN REFUSED', result.detail
    finally:
        server.sql('SET GLOBAL require_secure_transport = 0')
    server.sql(mended.format(account))
    if 'EXPIRE' not in fault:
        assert _probed(database).reason == 'OK'


@pytest.mark.parametrize('code, text, reason', [
    (9001, 'Max connect timeout reached while reaching hostgroup 10 after '
     '10000ms', 'NO SERVER BEHIND PROXY'),
    (1815, 'Internal error: Session creation failed',
     'NO SERVER BEHIND PROXY'),
    (1135, 'Can\'\'t create a new thread (errno 11)',
     'TOO MANY CONNECTIONS'),
    (1105, 'Unknown error (1105)', 'FAILED'),
    (1109, 'Unknown table (1109)', 'FAILED')])
def test_code_that_a_server_sends(database: databases.Database, code: int,
                                  text: str, reason: str) -> None:
    """ProxySQL and MaxScale send their own in the same way."""
    result = _probed(database, f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = "
                               f"{code}, MESSAGE_TEXT = '{text}'")
    assert result.reason == reason, result.detail


def _probed(database: databases.Database,
            statement: str = 'DO 1') -> report.Result:
    target = database_target.DatabaseTarget(
        database.url(), option='o', bound=3.0,
        tolerance=dialects.Tolerance())
    question = target_module.Question(
        lambda connection: _execute(connection, statement))
    with contextlib.closing(target):
        return target.probe([question]).answer(question).result


def _execute(connection: sqlalchemy.Connection,
             statement: str) -> target_module.Answer:
    connection.exec_driver_sql(statement)
    return target_module.Answer(report.Result.ok())
