# SPDX-License-Identifier: Apache-2.0

"""Failures and recoveries leave nothing behind, however many there are."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import logging
from typing import Any

import pytest

from tests.functional import brokers
from tests.functional import databases
from tests.functional import holding
from tests.functional import servers
from tests.functional import service as service_module

CYCLES = 200
HANGS = 5


@pytest.fixture(autouse=True)
def nothing_logged() -> Iterator[None]:
    """Nobody keeps log records, and with them tracebacks and sockets.

    pytest does, for as long as a test runs.
    """
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def on_mariadb(mariadb: servers.MariaDB) -> Iterator[databases.Database]:
    with databases.on(mariadb, 'mysql+pymysql') as database:
        yield database


@pytest.fixture
def on_postgresql(
        postgresql: servers.PostgreSQL) -> Iterator[databases.Database]:
    with databases.on(postgresql, 'postgresql+psycopg2') as database:
        yield database


@pytest.fixture
def broker(rabbitmq: servers.RabbitMQ) -> Iterator[brokers.Broker]:
    with brokers.on(rabbitmq) as broker:
        yield broker


def test_failures_and_recoveries(
        on_mariadb: databases.Database, on_postgresql: databases.Database,
        broker: brokers.Broker) -> None:
    """Of the message queue and of each driver, all at the same time."""
    quick: dict[str, Any] = {'interval': 0.1, 'retry_interval': 0.05,
                             'fall': 1, 'timeout': 5}
    with contextlib.ExitStack() as stack:
        relays = [stack.enter_context(on.relay())
                  for on in (on_mariadb, on_postgresql, broker)]
        for_mariadb, for_postgresql, for_rabbitmq = relays
        services = [stack.enter_context(service_module.Service(
            'database', 'message_queue',
            database_connection=on_mariadb.url(for_mariadb.port),
            message_queue_transport_url=broker.url(for_rabbitmq.port),
            **quick))]
        for driver, on, relay in (
                ('mysql+mysqldb', on_mariadb, for_mariadb),
                ('postgresql+psycopg2', on_postgresql, for_postgresql),
                ('postgresql+psycopg', on_postgresql, for_postgresql)):
            services.append(stack.enter_context(
                databases.Database(on.server, driver).service(
                    relay.port, **quick)))

        def cycle() -> None:
            for relay in relays:
                relay.refuse()
                relay.cut()
            for service in services:
                service.wait_for(503, '\n'.join(
                    name.replace('_', ' ').upper() + ': CONNECTION REFUSED'
                    for name in service.names))
            for relay in relays:
                relay.heal()
            for service in services:
                service.passes()

        def at_the_servers() -> dict[str, object]:
            return {
                'connections to MariaDB': on_mariadb.connections(),
                'connections to PostgreSQL': on_postgresql.connections(),
                'connections to RabbitMQ': broker.server.connections(),
                'queues': broker.queues(), 'exchanges': broker.exchanges()}

        # What is made once is there after the first cycles.
        for _ in range(3):
            cycle()
        exchanges = broker.exchanges()
        before = holding.Held()
        for _ in range(CYCLES):
            cycle()
        # A server notes a moment later that a client has left it.
        servers.wait_until(
            lambda: at_the_servers() == {
                'connections to MariaDB': 2, 'connections to PostgreSQL': 2,
                'connections to RabbitMQ': 1, 'queues': [],
                'exchanges': exchanges},
            f'one connection for each probe: {at_the_servers()}')
        servers.wait_until(lambda: holding.Held().is_within(before),
                           f'{holding.Held()} no more than {before}')
        for service in services:
            service.answers_at_once()
    for count in (on_mariadb.connections, on_postgresql.connections,
                  broker.server.connections):
        servers.wait_until(lambda: count() == 0, 'connections given back')


def test_hangs(on_mariadb: databases.Database,
               on_postgresql: databases.Database,
               broker: brokers.Broker) -> None:
    """Of a server that goes silent, which a client has to give up on."""
    with contextlib.ExitStack() as stack:
        relays = [stack.enter_context(on.relay())
                  for on in (on_mariadb, on_postgresql, broker)]
        one = stack.enter_context(service_module.Service(
            'database', 'message_queue', fall=1, timeout=0.5,
            database_connection=on_mariadb.url(relays[0].port),
            message_queue_transport_url=broker.url(relays[2].port)))
        other = stack.enter_context(on_postgresql.service(
            relays[1].port, fall=1, timeout=0.5))

        def cycle() -> None:
            for relay in relays:
                relay.silence()
            one.wait_for(503,
                         'DATABASE: NO ANSWER\nMESSAGE QUEUE: NO ANSWER')
            other.wait_for(503, 'DATABASE: NO ANSWER')
            for relay in relays:
                relay.cut()
                relay.heal()
            one.passes()
            other.passes()

        cycle()
        before = holding.Held()
        for _ in range(HANGS):
            cycle()
        servers.wait_until(
            lambda: [relay.connections for relay in relays] == [1, 1, 1],
            'one connection for each probe')
        servers.wait_until(lambda: holding.Held().is_within(before),
                           f'{holding.Held()} no more than {before}')
