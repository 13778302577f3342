# SPDX-License-Identifier: Apache-2.0

"""Anonymous requests cost the servers nothing, however many there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from healthcheck.answers import render
from tests.functional import brokers
from tests.functional import databases
from tests.functional import servers
from tests.functional import service as service_module

REQUESTS = 100_000


@pytest.fixture
def on_mariadb(mariadb: servers.MariaDB) -> Iterator[databases.Database]:
    with databases.on(mariadb, databases.DRIVERS[0]) as database:
        yield database


@pytest.fixture
def on_postgresql(
        postgresql: servers.PostgreSQL) -> Iterator[databases.Database]:
    with databases.on(postgresql, databases.DRIVERS[2]) as database:
        yield database


@pytest.fixture
def broker(rabbitmq: servers.RabbitMQ) -> Iterator[brokers.Broker]:
    with brokers.on(rabbitmq) as broker:
        yield broker


def asked_by_balancers(names: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """Every kind of request, over and over."""
    kinds = [{'PATH_INFO': f'/healthcheck{path}', 'REQUEST_METHOD': method,
              'QUERY_STRING': query, 'HTTP_ACCEPT': accept,
              'REMOTE_ADDR': '192.0.2.1', 'SERVER_PORT': '8774'}
             for path, query in [('', ''), ('/live', ''), ('/ready', ''),
                                 ('/ready', f'exclude={names[0]}'),
                                 ('/ready', 'exclude=nothing'),
                                 ('/nothing', ''),
                                 *((f'/{name}', '') for name in names)]
             for method in ('GET', 'HEAD', 'OPTIONS', 'POST')
             for accept in ('', *render.FORMATS)]
    for number in range(REQUESTS):
        yield dict(kinds[number % len(kinds)])


def ask_all(service: service_module.Service, *names: str) -> set[str]:
    told: set[str] = set()

    def start_response(*args: Any) -> Any:
        told.add(args[0])

    for environ in asked_by_balancers(names):
        for _ in service.app(environ, start_response):
            pass
    return told


def test_no_request_reaches_a_server(
        on_mariadb: databases.Database, on_postgresql: databases.Database,
        broker: brokers.Broker) -> None:
    mariadb, postgresql = on_mariadb.server, on_postgresql.server
    rabbitmq = broker.server

    def seen() -> dict[str, Any]:
        return {'connections to MariaDB': mariadb.status('Connections'),
                'statements to MariaDB': mariadb.questions(),
                'logins to PostgreSQL': postgresql.logins(
                    on_postgresql.user),
                'statements to PostgreSQL': postgresql.statements(
                    on_postgresql.user),
                # The same ones, by their process: none came and went.
                'connections to RabbitMQ': rabbitmq.eval(
                    'lists:sort(rabbit_networking:connections())'),
                'messages to RabbitMQ': rabbitmq.published()}

    # Probes are off after the first one.
    off: dict[str, Any] = {
        'interval': 3600, 'ttl': 86400, 'retry_interval': 3600}
    with service_module.Service(
            'database', 'message_queue', database_connection=on_mariadb.url(),
            message_queue_transport_url=broker.url(), **off) as service, \
            on_postgresql.service(**off) as other:
        service.wait_for(200, 'OK\nOK', 10)
        other.wait_for(200, 'OK', 10)
        before = seen()
        assert before['statements to PostgreSQL'] > 0
        assert before['messages to RabbitMQ'] > 0
        told = ask_all(service, 'database', 'message_queue')
        told |= ask_all(other, 'database')
        assert seen() == before
    assert {status.split()[0] for status in told} == {
        '200', '204', '404', '405'}


def test_no_request_retries_what_is_down(
        on_mariadb: databases.Database) -> None:
    with on_mariadb.relay() as relay:
        relay.refuse()
        with on_mariadb.service(relay.port, interval=3600, ttl=86400,
                                fall=1) as service:
            service.fails('DATABASE: CONNECTION REFUSED')
            relay.heal()
            assert ask_all(service, 'database') == {
                '200 OK', '204 No Content', '404 Not Found',
                '405 Method Not Allowed', '503 Service Unavailable'}
            assert relay.accepted == 0
