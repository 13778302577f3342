# SPDX-License-Identifier: Apache-2.0

"""Plugin ``database``: what only PostgreSQL can do to a service."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg2
import psycopg2.extensions
import pytest

from tests.functional import databases
from tests.functional import servers


@pytest.fixture(params=databases.DRIVERS[2:])
def database(request: pytest.FixtureRequest) -> Iterator[databases.Database]:
    yield from databases.requested(request)


@pytest.fixture
def one_database(
        postgresql: servers.PostgreSQL) -> Iterator[databases.Database]:
    with databases.on(postgresql, databases.DRIVERS[2]) as database:
        yield database


def connect(database: databases.Database) -> psycopg2.extensions.connection:
    return psycopg2.connect(
        host=database.server.host, port=database.server.port,
        user=database.user, password=database.password, dbname=database.name)


def test_too_many_clients(one_database: databases.Database) -> None:
    others: list[psycopg2.extensions.connection] = []
    try:
        with pytest.raises(psycopg2.OperationalError, match='slots'):
            while len(others) < 100:
                others.append(connect(one_database))
        with one_database.service() as service:
            service.fails('DATABASE: TOO MANY CONNECTIONS')
            while others:
                others.pop().close()
            service.passes()
            service.answers_at_once()
    finally:
        for other in others:
            other.close()


@pytest.mark.parametrize('what', ['USER "zuser7"', 'DATABASE "zschema7"'])
def test_connection_limit(database: databases.Database, what: str) -> None:
    with database.service() as service:
        service.passes()
        database.server.sql(f'ALTER {what} CONNECTION LIMIT 0')
        service.stays('OK', 0.5)
        database.server.disconnect_user(database.user)
        service.fails('DATABASE: TOO MANY CONNECTIONS')
        database.server.sql(f'ALTER {what} CONNECTION LIMIT -1')
        service.passes()
        service.answers_at_once()


def test_permission_denied(database: databases.Database) -> None:
    server = database.server
    server.sql(f'ALTER DATABASE "{database.name}" OWNER TO postgres')
    with database.service() as service:
        service.passes()
        server.sql(f'REVOKE CONNECT ON DATABASE "{database.name}"'
                   ' FROM PUBLIC')
        server.disconnect_user(database.user)
        service.fails('DATABASE: PERMISSION DENIED')
        server.sql(f'GRANT CONNECT ON DATABASE "{database.name}" TO PUBLIC')
        service.passes()


def test_not_permitted_to_log_in(database: databases.Database) -> None:
    with database.service() as service:
        service.passes()
        database.server.sql(f'ALTER USER "{database.user}" NOLOGIN')
        database.server.disconnect_user(database.user)
        service.fails('DATABASE: LOGIN REFUSED')
        database.server.sql(f'ALTER USER "{database.user}" LOGIN')
        service.passes()


@pytest.mark.parametrize('tolerated', [False, True])
def test_read_only(database: databases.Database, tolerated: bool) -> None:
    with database.service(database_read_only_ok=tolerated) as service:
        service.passes()
        database.server.set_read_only(database.name, True)
        # The setting is that of new sessions.
        database.server.disconnect_user(database.user)
        if tolerated:
            service.stays('OK', 0.8)
        else:
            service.fails('DATABASE: READ ONLY')
        database.server.set_read_only(database.name, False)
        database.server.disconnect_user(database.user)
        service.passes()
        service.answers_at_once()


def test_in_recovery(one_database: databases.Database) -> None:
    server = one_database.server
    with one_database.service() as strict, one_database.service(
            database_read_only_ok=True) as tolerant:
        strict.passes()
        tolerant.passes()
        server.standby()
        # The restart shows too: wait for what comes of it.
        strict.wait_for(503, 'DATABASE: IN RECOVERY')
        tolerant.passes()
        strict.stays('DATABASE: IN RECOVERY', 0.5)
        tolerant.stays('OK', 0.5)
        server.promote()
        # Its clients stay connected while it becomes a primary.
        strict.passes()
        strict.answers_at_once()


def test_standby_that_answers_nobody(database: databases.Database) -> None:
    with database.service(timeout=5.0, fall=1) as service:
        service.passes()
        database.server.standby(hot=False)
        # The restart shows too: wait for what comes of it.
        service.wait_for(503, 'DATABASE: NOT READY')
        service.stays('DATABASE: NOT READY', 0.5)


def test_database_that_accepts_no_connections(
        database: databases.Database) -> None:
    with database.service() as service:
        service.passes()
        database.server.sql(f'ALTER DATABASE "{database.name}"'
                            ' ALLOW_CONNECTIONS false')
        database.server.disconnect_user(database.user)
        service.fails('DATABASE: NO SUCH DATABASE')
        database.server.sql(f'ALTER DATABASE "{database.name}"'
                            ' ALLOW_CONNECTIONS true')
        service.passes()
