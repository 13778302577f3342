# SPDX-License-Identifier: Apache-2.0

"""A connection to a broker that ends between two probes."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import pathlib

import pytest

from healthcheck.reports import report
from healthcheck.targets import queue_target
from tests.functional import brokers
from tests.functional import encrypted
from tests.functional import service


@pytest.fixture(scope='module')
def tls_rabbitmq() -> Iterator[encrypted.RabbitMQ]:
    with encrypted.RabbitMQ() as server:
        yield server


@pytest.fixture(params=['rabbitmq', 'tls_rabbitmq'])
def broker(request: pytest.FixtureRequest) -> Iterator[brokers.Broker]:
    server = request.getfixturevalue(request.param)
    server.heal()
    with brokers.on(server) as made:
        yield made


class TestEndsInBetween:
    """Each probe finds the broker well, as it is."""

    @pytest.fixture(autouse=True)
    def settings(self, broker: brokers.Broker,
                 tmp_path: pathlib.Path) -> None:
        tls = {'ssl': True,
               'ssl_ca_file': broker.server.directory / 'cert.pem'}
        self.conf = service.configured(
            tmp_path / 'service.conf', {'oslo_messaging_rabbit': tls if (
                isinstance(broker.server, encrypted.RabbitMQ)) else {}},
            ['message_queue'])

    def target(self, broker: brokers.Broker, port: int | None = None,
               ) -> contextlib.closing[queue_target.QueueTarget]:
        return contextlib.closing(queue_target.QueueTarget(
            self.conf, broker.url(port or broker.server.port), option='o',
            bound=8))

    def probe(self, broker: brokers.Broker, port: int,
              end: Callable[[], None]) -> None:
        with self.target(broker, port) as target:
            for _ in range(3):
                assert target.probe().result == report.Result.ok()
                assert target.connected
                end()
            assert target.probe().result == report.Result.ok()

    def test_closed_by_a_balancer(self, broker: brokers.Broker) -> None:
        with encrypted.Balancer(broker.server.port) as balancer:
            self.probe(broker, balancer.port, balancer.close_sessions)

    def test_reset(self, broker: brokers.Broker) -> None:
        with broker.relay() as relay:
            self.probe(broker, relay.port, relay.cut)

    def test_closed_by_an_administrator(self, broker: brokers.Broker) -> None:
        # RabbitMQ says goodbye first, and waits for the answer: the probe
        # meets the connection on its way out, or gone.
        self.probe(broker, broker.server.port,
                   broker.server.close_connections)

    def test_server_crashed(self, broker: brokers.Broker) -> None:
        def crash() -> None:
            broker.server.kill()
            broker.server.start()
        self.probe(broker, broker.server.port, crash)

    def test_stays_away(self, broker: brokers.Broker) -> None:
        with self.target(broker) as target:
            assert target.probe().result == report.Result.ok()
            broker.server.kill()
            for _ in range(2):
                assert target.probe().result.reason == 'CONNECTION REFUSED'
