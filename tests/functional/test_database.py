# SPDX-License-Identifier: Apache-2.0

"""Plugin ``database``: what every database server can do to a service."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.functional import databases
from tests.functional import servers


@pytest.fixture(params=databases.DRIVERS)
def database(request: pytest.FixtureRequest) -> Iterator[databases.Database]:
    yield from databases.requested(request)


class TestUnreachable:

    def test_refused(self, database: databases.Database) -> None:
        with database.relay() as relay:
            with database.service(relay.port) as service:
                service.passes()
                relay.refuse()
                relay.cut()
                service.fails('DATABASE: CONNECTION REFUSED')
                relay.heal()
                service.passes()
                service.answers_at_once()

    def test_unknown_host(self, database: databases.Database) -> None:
        with database.service(host='zhost7.invalid') as service:
            service.fails('DATABASE: UNKNOWN HOST')
            service.answers_at_once()

    def test_silent(self, database: databases.Database) -> None:
        with database.relay() as relay:
            relay.silence()
            with database.service(relay.port) as service:
                service.fails('DATABASE: NO ANSWER')
                relay.heal()
                service.passes()
                service.answers_at_once()

    def test_driver_bounds_the_wait(
            self, database: databases.Database) -> None:
        # With a timeout that drivers can keep to, libpq's being of two
        # seconds at least, the probe comes back by itself.
        with servers.SilentListener() as listener:
            service = database.service(listener.port, timeout=2.6, fall=1)
            service.fails('DATABASE: NO ANSWER')
            service.answers_at_once()
        service.close()

    def test_frozen(self, database: databases.Database) -> None:
        with database.service() as service:
            service.passes()
            database.server.freeze()
            service.fails('DATABASE: NO ANSWER')
            service.stays('DATABASE: NO ANSWER', 1.5)
            database.server.thaw()
            service.passes()
            service.answers_at_once()
            assert database.connections() == 1

    def test_killed_and_restarted(self,
                                  database: databases.Database) -> None:
        with database.service() as service:
            service.passes()
            database.server.kill()
            service.fails('DATABASE: CONNECTION REFUSED')
            database.server.start()
            service.passes()
            service.answers_at_once()
            assert database.connections() == 1

    def test_slow(self, database: databases.Database) -> None:
        with database.relay() as relay:
            with database.service(relay.port, timeout=3,
                                  slow_threshold=0.2) as service:
                service.passes()
                relay.delay(0.11)
                service.warns('DATABASE: SLOW')
                service.stays('OK (DATABASE: SLOW)', 0.8)
                relay.delay(0)
                service.passes()
                service.answers_at_once()


class TestTurnedDown:

    def test_login(self, database: databases.Database) -> None:
        with database.service() as service:
            service.passes()
            database.server.set_password(database.user, 'another')
            database.server.disconnect_user(database.user)
            service.fails('DATABASE: LOGIN REFUSED')
            database.server.set_password(database.user, database.password)
            service.passes()
            service.answers_at_once()

    def test_no_such_user(self, database: databases.Database) -> None:
        database.server.drop_database(database.name)
        database.server.drop_user(database.user)
        with database.service() as service:
            service.fails('DATABASE: LOGIN REFUSED')
            database.create()
            service.passes()

    def test_no_such_schema(self, database: databases.Database) -> None:
        with database.service() as service:
            service.passes()
            # The connection that is kept outlives a schema of MariaDB.
            database.server.drop_database(database.name)
            service.fails('DATABASE: NO SUCH DATABASE')
            database.server.create_database(database.name)
            service.passes()
            service.answers_at_once()


class TestConnection:

    def test_one_is_kept(self, database: databases.Database) -> None:
        with database.relay() as relay:
            with database.service(relay.port, interval=0.1) as service:
                service.passes()
                service.stays('OK', 1.0)
                assert relay.accepted == 1
                assert database.connections() == 1
        servers.wait_until(lambda: database.connections() == 0,
                           'connection given back')

    def test_closed_in_between(self, database: databases.Database) -> None:
        with database.relay() as relay:
            with database.service(relay.port) as service:
                service.passes()
                for accepted in range(2, 5):
                    database.server.disconnect_user(database.user)
                    servers.wait_until(lambda: relay.accepted == accepted,
                                       'a new connection')
                    service.stays('OK', 0.5)
                assert [told.text for told in service.history] in (
                    ['OK'], ['STARTING', 'OK'])
                assert relay.accepted == 4

    def test_reset_in_between(self, database: databases.Database) -> None:
        with database.relay() as relay:
            with database.service(relay.port) as service:
                service.passes()
                relay.cut()
                servers.wait_until(lambda: relay.accepted == 2,
                                   'a new connection')
                service.stays('OK', 1.0)
