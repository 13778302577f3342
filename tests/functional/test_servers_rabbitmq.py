# SPDX-License-Identifier: Apache-2.0

"""Tests of the test bench: RabbitMQ."""

from __future__ import annotations

from collections.abc import Iterator

import amqp
import pytest

from tests.functional import servers
from tests.functional.servers import rabbitmq as rabbitmq_module

# Everything a URL has to escape.
PASSWORD = 'p@ss:w/rd %41'


@pytest.fixture
def rabbit_user(rabbitmq: servers.RabbitMQ) -> Iterator[servers.RabbitMQ]:
    rabbitmq.add_user('bench', PASSWORD)
    rabbitmq.set_permissions('bench')
    yield rabbitmq
    rabbitmq.heal()
    rabbitmq.delete_user('bench')


def rabbit(server: servers.RabbitMQ, timeout: float = 5,
           password: str = PASSWORD) -> amqp.Connection:
    connection = amqp.Connection(
        host=f'{server.host}:{server.port}', userid='bench',
        password=password, connect_timeout=timeout, read_timeout=timeout,
        write_timeout=timeout)
    connection.connect()
    return connection


class TestRabbitMQ:

    def test_counts(self, rabbit_user: servers.RabbitMQ) -> None:
        # Another test's probe may have declared the exchange of a service.
        others = sorted(rabbit_user.exchanges())
        before = rabbit_user.published()
        with rabbit(rabbit_user) as connection:
            channel = connection.channel()
            channel.queue_declare('bench-queue', durable=True)
            channel.exchange_declare('bench-exchange', 'topic')
            channel.basic_publish_confirm(amqp.Message('x'),
                                          routing_key='bench-queue')
            assert rabbit_user.connections() == 1
            assert rabbit_user.published() == before + 1
            assert rabbit_user.queues() == ['bench-queue']
            assert sorted(rabbit_user.exchanges()) == sorted(
                [*others, 'bench-exchange'])
            channel.queue_delete('bench-queue')
            channel.exchange_delete('bench-exchange')
        assert rabbit_user.queues() == []
        assert sorted(rabbit_user.exchanges()) == others

    def test_block(self, rabbit_user: servers.RabbitMQ) -> None:
        with rabbit(rabbit_user) as connection:
            channel = connection.channel()
            rabbit_user.block()
            before = rabbit_user.published()
            with pytest.raises(TimeoutError):
                channel.basic_publish_confirm(
                    amqp.Message('x'), routing_key='nowhere',
                    confirm_timeout=0.3)
            assert rabbit_user.published() == before
            rabbit_user.unblock()
            servers.wait_until(lambda: rabbit_user.published() == before + 1,
                               'publisher listened to again')

    def test_password(self, rabbit_user: servers.RabbitMQ) -> None:
        rabbit_user.set_password('bench', 'other')
        with pytest.raises(amqp.AccessRefused):
            rabbit(rabbit_user)
        rabbit(rabbit_user, password='other').close()

    def test_permissions(self, rabbit_user: servers.RabbitMQ) -> None:
        rabbit_user.set_permissions('bench', conf='^$')
        with rabbit(rabbit_user) as connection:
            with pytest.raises(amqp.AccessRefused):
                connection.channel().queue_declare('forbidden')
        rabbit_user.clear_permissions('bench')
        with pytest.raises(amqp.NotAllowed):
            rabbit(rabbit_user)

    def test_vhosts(self, rabbit_user: servers.RabbitMQ) -> None:
        rabbit_user.add_vhost('bench/2')
        assert 'bench/2' in rabbit_user.ctl('list_vhosts')
        rabbit_user.delete_vhost('bench/2')
        assert 'bench/2' not in rabbit_user.ctl('list_vhosts')

    def test_freeze(self, rabbit_user: servers.RabbitMQ) -> None:
        rabbit_user.freeze()
        with pytest.raises(TimeoutError):
            rabbit(rabbit_user, timeout=0.3)
        rabbit_user.thaw()
        rabbit(rabbit_user).close()

    def test_eval_reports_errors(self, rabbitmq: servers.RabbitMQ) -> None:
        assert rabbitmq.eval('1 + 1') == '2'
        with pytest.raises(servers.ServerError, match='badmatch'):
            rabbitmq.eval('1 = 2')
        with pytest.raises(servers.ServerError, match='syntax error'):
            rabbitmq.eval('nonsense(')

    def test_kill_and_restart(self, rabbit_user: servers.RabbitMQ) -> None:
        rabbit_user.kill()
        with pytest.raises(ConnectionRefusedError):
            rabbit(rabbit_user)
        rabbit_user.start()
        rabbit(rabbit_user).close()

    def test_url(self, rabbitmq: servers.RabbitMQ) -> None:
        assert rabbitmq.url('u@', 'p/:', 'v/1') == (
            f'rabbit://u%40:p%2F%3A@127.0.0.1:{rabbitmq.port}/v%2F1')
        assert rabbitmq.url('u', 'p', hosts=[('a', 1), ('b', 2)]) == (
            'rabbit://u:p@a:1,u:p@b:2/%2F')

    def test_term_escapes(self) -> None:
        assert rabbitmq_module.term('a">>é') == (
            '<<97,34,62,62,195,169>>')
