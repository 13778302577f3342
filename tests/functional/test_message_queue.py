# SPDX-License-Identifier: Apache-2.0

"""Plugin ``message_queue``: what a broker can do to a service."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator

import pytest

from tests.functional import brokers
from tests.functional import servers


@pytest.fixture
def broker(rabbitmq: servers.RabbitMQ) -> Iterator[brokers.Broker]:
    with brokers.on(rabbitmq) as broker:
        yield broker


class TestUnreachable:

    def test_refused(self, broker: brokers.Broker) -> None:
        with broker.relay() as relay, broker.service(relay.port) as service:
            service.passes()
            relay.refuse()
            relay.cut()
            service.fails('MESSAGE QUEUE: CONNECTION REFUSED')
            relay.heal()
            service.passes()
            service.answers_at_once()

    def test_unknown_host(self, broker: brokers.Broker) -> None:
        with broker.service(host='zhost7.invalid') as service:
            service.fails('MESSAGE QUEUE: UNKNOWN HOST')
            service.answers_at_once()

    def test_silent(self, broker: brokers.Broker) -> None:
        with broker.relay() as relay:
            relay.silence()
            with broker.service(relay.port) as service:
                service.fails('MESSAGE QUEUE: NO ANSWER')
                relay.heal()
                service.passes()
                service.answers_at_once()

    def test_client_bounds_the_wait(self, broker: brokers.Broker) -> None:
        # With a timeout above the five seconds that kombu waits for a
        # greeting, the probe comes back by itself.
        with servers.SilentListener() as listener:
            service = broker.service(listener.port, timeout=6, fall=1)
            service.fails('MESSAGE QUEUE: NO ANSWER')
            service.answers_at_once()
        service.close()

    def test_frozen(self, broker: brokers.Broker) -> None:
        with broker.service() as service:
            service.passes()
            broker.server.freeze()
            service.fails('MESSAGE QUEUE: NO ANSWER')
            # Past the two seconds after which the client gives up.
            service.stays('MESSAGE QUEUE: NO ANSWER', 3.0)
            broker.server.thaw()
            service.passes()
            service.answers_at_once()
        servers.wait_until(lambda: not broker.server.connections(),
                           'connections given back')

    def test_killed_and_restarted(self, broker: brokers.Broker) -> None:
        with broker.service() as service:
            service.passes()
            broker.server.kill()
            service.fails('MESSAGE QUEUE: CONNECTION REFUSED')
            broker.server.start()
            service.passes()
            service.answers_at_once()
            assert broker.server.connections() == 1

    def test_slow(self, broker: brokers.Broker) -> None:
        with broker.relay() as relay, broker.service(
                relay.port, timeout=3, slow_threshold=0.2) as service:
            service.passes()
            relay.delay(0.15)
            service.warns('MESSAGE QUEUE: SLOW')
            relay.delay(0)
            service.passes()
            service.answers_at_once()


class TestTurnedDown:

    def test_login(self, broker: brokers.Broker) -> None:
        with broker.service() as service:
            service.passes()
            broker.server.set_password(broker.user, 'another')
            broker.server.close_connections()
            service.fails('MESSAGE QUEUE: LOGIN REFUSED')
            broker.server.set_password(broker.user, broker.password)
            service.passes()
            service.answers_at_once()

    def test_vhost_gone(self, broker: brokers.Broker) -> None:
        with broker.service() as service:
            service.passes()
            broker.server.delete_vhost(broker.vhost)
            service.fails('MESSAGE QUEUE: NO SUCH VHOST')
            broker.create_vhost()
            service.passes()
            service.answers_at_once()

    def test_vhost_down(self, broker: brokers.Broker) -> None:
        with broker.service() as service:
            service.passes()
            broker.server.stop_vhost(broker.vhost)
            service.fails('MESSAGE QUEUE: VHOST DOWN')
            # Past the connection that heard of it.
            service.stays('MESSAGE QUEUE: VHOST DOWN', 1.0)
            broker.server.start_vhost(broker.vhost)
            service.passes()
            service.answers_at_once()

    def test_vhost_restarted(self, broker: brokers.Broker) -> None:
        # What the connection was told at its end is not so any more.
        target = broker.target()
        try:
            for _ in range(3):
                assert target.probe().result.reason == 'OK'
                broker.server.stop_vhost(broker.vhost)
                broker.server.start_vhost(broker.vhost)
        finally:
            target.close()

    @pytest.mark.parametrize(('kind', 'durable'), [
        ('topic', True), ('direct', False)])
    def test_exchange_differs(self, broker: brokers.Broker, kind: str,
                              durable: bool) -> None:
        broker.server.declare_exchange(broker.vhost, 'openstack',
                                       kind=kind, durable=durable)
        with broker.service() as service:
            service.fails('MESSAGE QUEUE: EXCHANGE DIFFERS')
            broker.server.delete_exchange(broker.vhost, 'openstack')
            service.passes()
            service.answers_at_once()

    def test_exchange_deleted(self, broker: brokers.Broker) -> None:
        target = broker.target()
        try:
            assert target.probe().result.reason == 'OK'
            broker.server.delete_exchange(broker.vhost, 'openstack')
            assert target.probe().result.reason == 'NO SUCH EXCHANGE'
            # Declared by this probe.
            assert target.probe().result.reason == 'OK'
        finally:
            target.close()

    @pytest.mark.parametrize('limit', [
        lambda on, number: on.server.limit_vhost(on.vhost, number),
        lambda on, number: on.server.limit_user(on.user, connections=number),
        lambda on, number: on.server.limit_user(on.user, channels=number)],
        ids=['vhost', 'user', 'channels'])
    def test_limit(self, broker: brokers.Broker,
                   limit: Callable[[brokers.Broker, int], None]) -> None:
        with broker.service() as service:
            service.passes()
            limit(broker, 0)
            broker.server.close_connections()
            service.fails('MESSAGE QUEUE: TOO MANY CONNECTIONS')
            limit(broker, -1)
            service.passes()
            service.answers_at_once()

    def test_no_permission_on_vhost(self, broker: brokers.Broker) -> None:
        with broker.service() as service:
            service.passes()
            broker.server.clear_permissions(broker.user, broker.vhost)
            broker.server.close_connections()
            service.fails('MESSAGE QUEUE: PERMISSION DENIED')
            broker.server.set_permissions(broker.user, broker.vhost)
            service.passes()
            service.answers_at_once()

    @pytest.mark.parametrize('missing', ['conf', 'write'])
    def test_no_permission(self, broker: brokers.Broker,
                           missing: str) -> None:
        with broker.service() as service:
            service.passes()
            broker.server.set_permissions(broker.user, broker.vhost,
                                          **{missing: '^$'})
            # A channel that is open goes on with what it was allowed.
            broker.server.close_connections()
            service.fails('MESSAGE QUEUE: PERMISSION DENIED')
            broker.server.set_permissions(broker.user, broker.vhost)
            service.passes()
            service.answers_at_once()

    def test_permission_revoked_under_an_open_channel(
            self, broker: brokers.Broker) -> None:
        # RabbitMQ asks again when a channel has been idle for a second.
        with broker.service(interval=1.5) as service:
            service.passes()
            broker.server.set_permissions(broker.user, broker.vhost,
                                          write='^$')
            service.fails('MESSAGE QUEUE: PERMISSION DENIED')
            broker.server.set_permissions(broker.user, broker.vhost)
            service.passes()

    def test_read_permission_is_not_needed(
            self, broker: brokers.Broker) -> None:
        broker.server.set_permissions(broker.user, broker.vhost, read='^$')
        with broker.service() as service:
            service.passes()

    def test_blocked(self, broker: brokers.Broker) -> None:
        with broker.service() as service:
            service.passes()
            broker.server.block()
            service.fails('MESSAGE QUEUE: BLOCKED BY BROKER')
            # Past the two seconds after which the client gives up.
            service.stays('MESSAGE QUEUE: BLOCKED BY BROKER', 3.0)
            broker.server.unblock()
            service.passes()
            service.answers_at_once()

    def test_blocked_from_the_start(self, broker: brokers.Broker) -> None:
        broker.server.block()
        with broker.service() as service:
            service.fails('MESSAGE QUEUE: BLOCKED BY BROKER')
            broker.server.unblock()
            service.passes()
            service.answers_at_once()


class TestSeveralHosts:

    def test_one_is_down(self, broker: brokers.Broker) -> None:
        # oslo.messaging shuffles them: try often enough to begin with the
        # one that is down.
        with servers.RefusedPort() as refused:
            for _ in range(6):
                with broker.service(refused.port,
                                    broker.server.port) as service:
                    service.passes()
                    service.stays('OK', 0.4)
                    service.answers_at_once()

    def test_one_goes_down(self, broker: brokers.Broker) -> None:
        with broker.relay() as first, broker.relay() as second, \
                broker.service(first.port, second.port) as service:
            service.passes()
            for relay, other in ((first, second), (second, first)) * 2:
                relay.refuse()
                relay.cut()
                servers.wait_until(lambda: other.connections == 1,
                                   'the other host is used')
                service.stays('OK', 0.4)
                relay.heal()

    def test_all_are_down(self, broker: brokers.Broker) -> None:
        with broker.relay() as first, broker.relay() as second, \
                broker.service(first.port, second.port) as service:
            service.passes()
            for relay in (first, second):
                relay.refuse()
                relay.cut()
            service.fails('MESSAGE QUEUE: CONNECTION REFUSED')
            service.stays('MESSAGE QUEUE: CONNECTION REFUSED', 1)
            second.heal()
            service.passes()
            service.answers_at_once()


class TestConnection:

    def test_nothing_is_left(self, broker: brokers.Broker) -> None:
        with broker.service(interval=0.1) as service:
            service.passes()
            before = broker.server.published()
            servers.wait_until(
                lambda: broker.server.published() >= before + 10,
                'ten probes')
            assert broker.server.connections() == 1
            assert broker.queues() == []
            assert broker.exchanges() == ['openstack']
        servers.wait_until(lambda: broker.server.connections() == 0,
                           'connection given back')
        assert broker.queues() == []

    @pytest.mark.parametrize('end', ['closed', 'reset'])
    def test_ended_in_between(self, broker: brokers.Broker,
                              end: str) -> None:
        with broker.relay() as relay, broker.service(relay.port) as service:
            service.passes()
            for accepted in range(2, 5):
                if end == 'closed':
                    broker.server.close_connections()
                else:
                    relay.cut()
                servers.wait_until(lambda: relay.accepted == accepted,
                                   'a new connection')
                service.stays('OK', 0.5)
            assert [told.text for told in service.history] in (
                ['OK'], ['STARTING', 'OK'])
            assert broker.server.connections() == 1
