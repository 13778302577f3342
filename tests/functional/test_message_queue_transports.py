# SPDX-License-Identifier: Apache-2.0

"""Plugin ``message_queue``: the transports, and the service's settings."""

from __future__ import annotations

from collections.abc import Iterator
import pathlib
from typing import Any

from kombu.transport import memory
from oslo_config import cfg
from oslo_messaging._drivers import impl_fake
import pytest

from healthcheck import exceptions
from healthcheck.plugins import message_queue
from tests.functional import brokers
from tests.functional import servers
from tests.functional import service as service_module


@pytest.fixture
def broker(rabbitmq: servers.RabbitMQ) -> Iterator[brokers.Broker]:
    with brokers.on(rabbitmq) as broker:
        yield broker


def held_in_memory() -> dict[str, int]:
    """How many messages wait in which queue of kombu's memory transport."""
    return {name: waiting.qsize()
            for name, waiting in memory.Channel.queues.items()}


def held_by_fake() -> dict[Any, int]:
    """How many messages wait in which queue of the fake driver."""
    exchanges = impl_fake.FakeExchangeManager._exchanges.values()
    return {key: len(messages) for exchange in exchanges
            for queues in (exchange._topic_queues, exchange._server_queues)
            for key, messages in queues.items()}


@pytest.mark.parametrize(('url', 'held'), [
    ('kombu+memory://', held_in_memory), ('fake://', held_by_fake)])
def test_in_memory(url: str, held: Any) -> None:
    before = held()
    with service_module.Service(
            'message_queue', message_queue_transport_url=url) as service:
        service.passes()
        service.stays('OK', 0.5)
    target = message_queue.MessageQueue(
        cfg.CONF, {'message_queue_transport_url': url})._target
    for _ in range(50):
        assert target.probe().result.reason == 'OK'
    target.close()
    assert held() == before


def test_service_settings(broker: brokers.Broker,
                          tmp_path: pathlib.Path) -> None:
    """What the service's own file says, and not cfg.CONF, is used."""
    conf = service_module.configured(
        tmp_path / 'service.conf',
        {'DEFAULT': {'transport_url': broker.url(),
                     'control_exchange': 'zexchange7'},
         'oslo_messaging_rabbit': {'amqp_durable_queues': 'true'}},
        ['message_queue'])
    with service_module.Service('message_queue', conf=conf) as service:
        service.passes()
        assert broker.exchanges() == ['zexchange7']
        assert broker.queues() == []
        durable = broker.server.eval(
            '[element(4, E) || E <- rabbit_exchange:list(),'
            ' element(4, element(2, E)) =:= <<"zexchange7">>]')
        assert durable == '[true]'
        broker.server.close_connections()
        broker.server.set_password(broker.user, 'another')
        service.fails('MESSAGE QUEUE: LOGIN REFUSED')


def test_exchange_that_the_service_made(broker: brokers.Broker,
                                        tmp_path: pathlib.Path) -> None:
    # It exists and is durable; the service is configured as if not. Such a
    # service cannot send either.
    broker.server.declare_exchange(broker.vhost, 'zexchange7', durable=True)
    conf = service_module.configured(
        tmp_path / 'service.conf',
        {'DEFAULT': {'transport_url': broker.url(),
                     'control_exchange': 'zexchange7'}}, ['message_queue'])
    with service_module.Service('message_queue', conf=conf) as service:
        service.fails('MESSAGE QUEUE: EXCHANGE DIFFERS')


def test_slash_in_the_password(broker: brokers.Broker) -> None:
    secret = 'Zq1x/Xv2k'
    broker.server.set_password(broker.user, secret)
    url = broker.server.url(broker.user, secret, broker.vhost)
    with service_module.Log.of_everybody() as log:
        with service_module.Service(
                'message_queue', message_queue_transport_url=url) as service:
            service.fails('MESSAGE QUEUE: BAD URL')
    lines = [line for name, line in log.lines
             if name.startswith('healthcheck')]
    assert any('BAD URL' in line for line in lines)
    for line in lines:
        assert 'Zq1x' not in line and 'Xv2k' not in line


@pytest.mark.parametrize('url', ['kafka://zhost7', 'none://',
                                 'no-such-driver://zhost7'])
def test_what_cannot_be_proved_is_refused(url: str) -> None:
    with pytest.raises(exceptions.ConfigError, match='message_queue'):
        service_module.Service('message_queue',
                               message_queue_transport_url=url)
