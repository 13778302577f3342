# SPDX-License-Identifier: Apache-2.0

"""Plugin ``database`` with a PgBouncer in front of PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import dataclasses

import psycopg2
import pytest

from healthcheck.reports import report
from healthcheck.targets import database_target
from healthcheck.targets import dialects
from tests.functional import databases
from tests.functional import servers


@pytest.fixture(params=databases.DRIVERS[2:])
def database(request: pytest.FixtureRequest) -> Iterator[databases.Database]:
    yield from databases.requested(request)


def pooler(database: databases.Database, **settings: object,
           ) -> servers.PgBouncer:
    return servers.PgBouncer(database.server.port, database.name,
                             database.user, database.password, **settings)


def target_of(database: databases.Database, port: int,
              ) -> contextlib.closing[database_target.DatabaseTarget]:
    return contextlib.closing(database_target.DatabaseTarget(
        database.url(port), option='o', bound=8,
        tolerance=dialects.Tolerance()))


def test_ends_in_between(database: databases.Database) -> None:
    with pooler(database) as bouncer, \
            target_of(database, bouncer.port) as target:
        for _ in range(2):
            assert target.probe().result == report.Result.ok()
            bouncer.restart()
        assert target.probe().result == report.Result.ok()
        # The pooler's own connection, behind ours.
        database.server.disconnect_user(database.user)
        assert target.probe().result == report.Result.ok()


def test_no_such_database(database: databases.Database) -> None:
    other = dataclasses.replace(database, name='zother7')
    with pooler(database) as bouncer, \
            target_of(other, bouncer.port) as target:
        assert target.probe().result.reason == 'NO SUCH DATABASE'


def test_database_dropped(database: databases.Database) -> None:
    with pooler(database) as bouncer, \
            target_of(database, bouncer.port) as target:
        database.server.drop_database(database.name)
        assert target.probe().result.reason == 'NO SUCH DATABASE'


def test_disabled(database: databases.Database) -> None:
    with pooler(database) as bouncer, \
            target_of(database, bouncer.port) as target:
        bouncer.tell(f'DISABLE {database.name}')
        assert target.probe().result.reason == 'NO SUCH DATABASE'
        bouncer.tell(f'ENABLE {database.name}')
        assert target.probe().result == report.Result.ok()


@pytest.mark.parametrize('user', ['zuser7', 'zother7'])
def test_login(database: databases.Database, user: str) -> None:
    other = dataclasses.replace(database, user=user, password='another')
    with pooler(database) as bouncer, \
            target_of(other, bouncer.port) as target:
        assert target.probe().result.reason == 'LOGIN REFUSED'


def test_login_of_the_pooler(database: databases.Database) -> None:
    database.server.set_password(database.user, 'another')
    with pooler(database) as bouncer, \
            target_of(database, bouncer.port) as target:
        assert target.probe().result.reason == 'LOGIN REFUSED'


def test_too_many_connections(database: databases.Database) -> None:
    with pooler(database, max_client_conn=1) as bouncer, \
            target_of(database, bouncer.port) as target:
        with contextlib.closing(psycopg2.connect(
                host=bouncer.host, port=bouncer.port, user=database.user,
                password=database.password, dbname=database.name)):
            assert target.probe().result.reason == 'TOO MANY CONNECTIONS'
        servers.wait_until(
            lambda: target.probe().result == report.Result.ok(), 'room again')


def test_no_server(database: databases.Database) -> None:
    with pooler(database, query_wait_timeout=2) as bouncer, \
            target_of(database, bouncer.port) as target:
        assert target.probe().result == report.Result.ok()
        database.server.stop()
        # The first one may wait until the pooler knows.
        target.probe()
        # psycopg2 reads the pooler's last words no more.
        expected = ('CONNECTION LOST' if database.driver.endswith('psycopg2')
                    else 'NO SERVER BEHIND PROXY')
        for _ in range(2):
            assert target.probe().result.reason == expected
        database.server.start()
        servers.wait_until(
            lambda: target.probe().result == report.Result.ok(), 'server back')
