# SPDX-License-Identifier: Apache-2.0

"""A connection that ends between two probes, in plain text and with TLS.

It says nothing about the database as it is now, whichever way it ended. A
database that stays away has its true reason at once.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses

import pytest
import sqlalchemy

from healthcheck.probing import target as target_module
from healthcheck.reports import report
from healthcheck.targets import database_target
from healthcheck.targets import dialects
from tests.functional import databases
from tests.functional import encrypted
from tests.functional import servers


@dataclasses.dataclass(frozen=True)
class Database(databases.Database):
    """One whose clients ask for what ``options`` of the URL say."""

    options: str = ''

    def url(self, port: int | None = None, host: str = '127.0.0.1') -> str:
        return super().url(port, host) + self.options


@pytest.fixture(scope='module')
def tls_mariadb() -> Iterator[encrypted.MariaDB]:
    with encrypted.MariaDB() as server:
        yield server


@pytest.fixture(scope='module')
def tls_postgresql() -> Iterator[encrypted.PostgreSQL]:
    with encrypted.PostgreSQL() as server:
        yield server


@pytest.fixture(params=[(driver, tls) for driver in databases.DRIVERS
                        for tls in (False, True)],
                ids=lambda param: param[0] + ('-tls' if param[1] else ''))
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    driver, tls = request.param
    name = 'mariadb' if driver.startswith('mysql') else 'postgresql'
    server = request.getfixturevalue(f'tls_{name}' if tls else name)
    server.heal()
    options = ''
    if tls:
        options = ('?sslmode=require' if name == 'postgresql' else
                   f'?ssl_ca={server.directory}/cert.pem')
    made = Database(server, driver, options=options)
    made.drop()
    made.create()
    try:
        yield made
    finally:
        server.heal()
        made.drop()


def target_of(database: Database, port: int | None = None,
              ) -> contextlib.closing[database_target.DatabaseTarget]:
    return contextlib.closing(database_target.DatabaseTarget(
        database.url(port), option='o', bound=8,
        tolerance=dialects.Tolerance()))


def is_encrypted(connection: sqlalchemy.Connection) -> bool:
    if connection.dialect.name == 'postgresql':
        return bool(connection.exec_driver_sql(
            'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()',
        ).scalar())
    return bool(connection.exec_driver_sql(
        "SHOW SESSION STATUS LIKE 'Ssl_cipher'").one()[1])


class TestEndsInBetween:
    """Each probe finds the database well, as it is."""

    def probe(self, database: Database, port: int,
              end: Callable[[], None]) -> None:
        question = target_module.Question(
            lambda connection: target_module.Answer(
                report.Result.ok(), is_encrypted(connection)))
        expected = target_module.Findings(report.Result.ok(), {
            question: target_module.Answer(
                report.Result.ok(), bool(database.options))})
        with target_of(database, port) as target:
            for _ in range(3):
                assert target.probe([question]) == expected
                assert target.connected
                end()
            assert target.probe([question]) == expected

    def test_closed_by_a_balancer(self, database: Database) -> None:
        with encrypted.Balancer(database.server.port) as balancer:
            self.probe(database, balancer.port, balancer.close_sessions)

    def test_reset(self, database: Database) -> None:
        with database.relay() as relay:
            self.probe(database, relay.port, relay.cut)

    def test_session_killed(self, database: Database) -> None:
        def kill() -> None:
            database.server.disconnect_user(database.user)
            servers.wait_until(lambda: not database.connections(), 'killed')
        self.probe(database, database.server.port, kill)

    def test_server_restarted(self, database: Database) -> None:
        self.probe(database, database.server.port, database.server.restart)

    def test_server_crashed(self, database: Database) -> None:
        def crash() -> None:
            database.server.kill()
            database.server.start()
        self.probe(database, database.server.port, crash)

    def test_idle_for_too_long(self, database: Database) -> None:
        server = database.server
        if database.driver.startswith('mysql'):
            server.sql('SET GLOBAL wait_timeout = 1')
        else:
            server.sql(f'ALTER USER "{database.user}"'
                       " SET idle_session_timeout = '500ms'")
        try:
            self.probe(database, server.port, lambda: servers.wait_until(
                lambda: not database.connections(), 'closed by the server'))
        finally:
            if database.driver.startswith('mysql'):
                server.sql('SET GLOBAL wait_timeout = 28800')


class TestStaysAway:
    """What the next connection finds is the reason."""

    def test_down(self, database: Database) -> None:
        with target_of(database) as target:
            assert target.probe().result == report.Result.ok()
            database.server.stop()
            for _ in range(2):
                assert target.probe().result.reason == 'CONNECTION REFUSED'

    def test_no_server_behind_the_balancer(self, database: Database) -> None:
        with encrypted.Balancer(database.server.port) as balancer, \
                target_of(database, balancer.port) as target:
            assert target.probe().result == report.Result.ok()
            database.server.stop()
            for _ in range(2):
                assert target.probe().result.reason == 'CONNECTION LOST'

    def test_login(self, database: Database) -> None:
        with target_of(database) as target:
            assert target.probe().result == report.Result.ok()
            database.server.set_password(database.user, 'another')
            database.server.disconnect_user(database.user)
            assert target.probe().result.reason == 'LOGIN REFUSED'


def test_a_balancer_whose_timeout_is_shorter_than_the_interval(
        database: Database) -> None:
    with encrypted.Balancer(database.server.port, idle_ms=1000) as balancer:
        with database.service(balancer.port, interval=2.0, fall=1,
                              timeout=5.0) as service:
            service.passes()
            servers.wait_until(
                lambda: int(balancer.server('db')['stot']) > 2,
                'connected three times')
            service.stays('OK', 0.5)
        assert [told.text for told in service.history] in (
            ['OK'], ['STARTING', 'OK'])
