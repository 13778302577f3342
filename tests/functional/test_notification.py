# SPDX-License-Identifier: Apache-2.0

"""A change is sent over the message queue, which delays no probe."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import json
import logging
import os
import pathlib
from typing import Any

import kombu
import oslo_messaging
import pytest

from tests.functional import brokers
from tests.functional import holding
from tests.functional import servers
from tests.functional import service as service_module

CHANGES = 20
OPTIONS: dict[str, Any] = {'interval': 0.1, 'retry_interval': 0.05, 'fall': 1,
                           'listeners': 'notification'}


class Told:
    """A service whose database comes and goes, and its notifications."""

    def __init__(self, directory: pathlib.Path, broker: brokers.Broker,
                 *ports: int) -> None:
        self._broker = broker
        self._database = directory / 'service.db'
        self._database.touch()
        self.service = service_module.Service(
            'database', conf=service_module.configured(
                directory / 'service.conf', {
                    'oslo_messaging_notifications': {
                        'driver': 'messagingv2',
                        'transport_url': broker.url(*ports)},
                    'database': {'connection':
                                 f'sqlite:///{self._database}'}},
                ['database'], **OPTIONS), **OPTIONS)

    def fails(self) -> None:
        self._database.rename(self._database.with_suffix('.away'))
        # For a probe that runs it is read-only, for the next one gone.
        self.service.wait_for(503)

    def passes(self) -> None:
        self._database.with_suffix('.away').rename(self._database)
        self.service.passes()

    def take(self, priority: str, within: float = 30.0) -> dict[str, Any]:
        """The next notification."""
        broker = self._broker
        with kombu.Connection(
                hostname=broker.server.host, port=broker.server.port,
                userid=broker.user, password=broker.password,
                virtual_host=broker.vhost) as connection:
            # As oslo.messaging declares it.
            with connection.SimpleQueue(
                    f'notifications.{priority}',
                    queue_opts={'durable': False},
                    exchange_opts={'durable': False}) as waiting:
                taken = waiting.get(timeout=within)
                taken.ack()
        message: dict[str, Any] = json.loads(taken.payload['oslo.message'])
        return message


@pytest.fixture
def broker(rabbitmq: servers.RabbitMQ) -> Iterator[brokers.Broker]:
    with brokers.on(rabbitmq) as broker:
        yield broker


@contextlib.contextmanager
def telling(*args: Any) -> Iterator[Told]:
    told = Told(*args)
    try:
        yield told
    finally:
        told.service.close()


def test_a_change_arrives(broker: brokers.Broker,
                          tmp_path: pathlib.Path) -> None:
    with telling(tmp_path, broker) as told:
        told.service.passes()
        first = told.take('info')
        assert first['payload']['before'] is None
        told.fails()
        message = told.take('error')
        told.passes()
        last = told.take('info')
    assert message['event_type'] == 'healthcheck.state.change'
    assert message['priority'] == 'ERROR'
    assert message['publisher_id'] == f'healthcheck.{os.uname().nodename}'
    payload = message['payload']
    assert payload['lasted'] > 0
    assert payload['pid'] == os.getpid()
    assert payload['reason'] in ('NO SUCH DATABASE', 'READ ONLY')
    assert {key: payload[key] for key in (
        'check', 'before', 'after', 'critical')} == {
        'check': 'database', 'before': 'pass', 'after': 'fail',
        'critical': True}
    assert last['payload']['after'] == 'pass'
    servers.wait_until(lambda: broker.server.connections() == 0,
                       'connections given back')
    # What nobody has taken is kept: oslo.messaging declares them.
    assert broker.queues() == ['notifications.error', 'notifications.info']


def test_a_broker_that_does_not_answer(broker: brokers.Broker,
                                       tmp_path: pathlib.Path) -> None:
    """It is given up on after a while; if it has an alarm, waited for."""
    server = broker.server
    with service_module.Log.of_everybody() as log, telling(
            tmp_path, broker) as told:
        told.service.passes()
        told.take('info')
        server.freeze()
        told.fails()
        servers.wait_until(lambda: given_up(log) == 1, 'given up')
        server.thaw()
        told.passes()
        assert told.take('info')['payload']['after'] == 'pass'
        server.block()
        told.fails()
        told.passes()
        server.unblock()
        assert told.take('error')['payload']['after'] == 'fail'
        told.service.answers_at_once()
    servers.wait_until(lambda: server.connections() == 0,
                       'connections given back', 30)


def test_a_broker_that_stops_once_it_has_the_notification(
        broker: brokers.Broker, tmp_path: pathlib.Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    """To take leave of it takes seconds, or the next one would be late."""
    with telling(tmp_path, broker) as told:
        told.service.passes()
        told.take('info')
        send = oslo_messaging.Notifier.error

        def send_and_freeze(*args: Any, **kwargs: Any) -> None:
            send(*args, **kwargs)
            monkeypatch.undo()
            broker.server.freeze()

        monkeypatch.setattr(oslo_messaging.Notifier, 'error', send_and_freeze)
        with service_module.Log.of_everybody() as log:
            told.fails()
            told.passes()
            servers.wait_until(lambda: given_up(log) == 1, 'the next one')
        broker.server.thaw()
        assert told.take('error')['payload']['after'] == 'fail'
        told.service.answers_at_once()


def given_up(log: service_module.Log) -> int:
    """How many notifications could not be sent."""
    return sum('Could not send notification' in line
               for name, line in log.lines
               if name.startswith('oslo_messaging'))


@pytest.mark.parametrize('fault', [None, 'refuse'])
def test_nothing_is_left_behind(fault: str | None, broker: brokers.Broker,
                                tmp_path: pathlib.Path) -> None:
    # pytest would keep what is logged, and with it tracebacks and sockets.
    logging.disable()
    try:
        with broker.relay() as relay, telling(
                tmp_path, broker, relay.port) as told:
            told.service.passes()
            told.take('info')
            if fault is not None:
                getattr(relay, fault)()
            told.fails()
            told.passes()
            before = holding.Held()
            for _ in range(CHANGES // 2):
                told.fails()
                told.passes()
            servers.wait_until(
                lambda: not relay.connections
                and holding.Held().is_within(before),
                f'no more than {before}', 60)
            if fault is None:
                for _ in range(CHANGES // 2):
                    told.take('error')
            told.service.answers_at_once()
    finally:
        logging.disable(logging.NOTSET)


def test_no_secret_is_logged(broker: brokers.Broker,
                             tmp_path: pathlib.Path) -> None:
    """Whatever is wrong with the broker."""
    secrets = service_module.spellings(brokers.PASSWORD)
    with service_module.Log.of_everybody() as log, \
            broker.relay() as relay, telling(
                tmp_path, broker, relay.port) as told:
        told.service.passes()
        told.take('info')

        relay.refuse()
        told.fails()
        servers.wait_until(lambda: given_up(log) == 1, 'refused')
        relay.heal()
        broker.server.set_password(broker.user, 'another')
        told.passes()
        servers.wait_until(lambda: given_up(log) == 2, 'not let in')
    for name, line in log.lines:
        assert not [secret for secret in secrets if secret in line], name
