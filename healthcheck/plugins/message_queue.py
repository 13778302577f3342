# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Plugin ``message_queue``: can the service send messages?

The probe is an RPC cast, with ``mandatory`` set, to a topic that nobody
consumes. The broker takes it, finds no queue to put it in, returns it and
confirms it: proof that it accepts, routes and answers, and nothing is left
behind. It costs about a millisecond and no queue.
"""

from __future__ import annotations

import threading
from typing import Any

from oslo_config import cfg
import oslo_messaging

from healthcheck import config
from healthcheck import exceptions
from healthcheck.plugins import base
from healthcheck.plugins import connected
from healthcheck.plugins import failures
from healthcheck import redact

BLOCKED = 'BLOCKED BY BROKER'
NO_SUCH_VHOST = 'NO SUCH VHOST'
BAD_URL = 'BAD URL'

TOPIC = 'healthcheck.nobody'

_PROVABLE = ('rabbit', 'kombu', 'kombu+memory', 'fake')

# The broker's words, which come with code 403 or 530 for several faults.
_PHRASES = {
    'login was refused': failures.LOGIN_REFUSED,
    'connection limit': failures.TOO_MANY_CONNECTIONS,
    'access to vhost': failures.PERMISSION_DENIED,
    'access_refused': failures.PERMISSION_DENIED,
    'vhost': NO_SUCH_VHOST,
    'connection_forced': failures.CONNECTION_LOST,
    'socket closed': failures.CONNECTION_LOST,
    'already closed': failures.CONNECTION_LOST,
    'server unexpectedly closed': failures.CONNECTION_LOST,
    'timed out': failures.NO_ANSWER,
}


# AMQP 0-9-1, basic.ack, and RabbitMQ's basic.nack.
_ACK, _NACK = (60, 80), (60, 120)


class MessageQueue(connected.ConnectedPlugin):
    """Probes the service's message queue over one transport of its own.

    It is made with the service's own settings, so that TLS, durability and
    the control exchange are the service's.
    """

    name = 'message_queue'

    def set_up(self) -> None:
        self._option, self._url_text = self._find_url()
        self._redact = redact.Redactor(self._url_text)
        self._url = self._parse()
        self._hosts = max(1, len(self._url.hosts))
        self._client: Any = None
        self.bound = self.settings.timeout
        self._blocked = threading.Event()

    @property
    def connected(self) -> bool:
        return self._client is not None

    def ask(self) -> base.Result:
        if self._client is None:
            self._client = self._connect()
        self._blocked.clear()
        try:
            self._client.cast({}, 'healthcheck')
        except oslo_messaging.MessageUndeliverable:
            pass  # returned and confirmed: this is what we wanted to see
        return base.Result.ok()

    def overdue(self) -> tuple[str, str]:
        if self._blocked.is_set():
            # Not cut: the broker does not read from a connection that it
            # has blocked, so it would not notice, and hold it beside the
            # next one. The cast comes back when the alarm is over.
            return BLOCKED, 'the broker has blocked the connection, see its ' \
                            'resource alarms'
        return super().overdue()

    def drop(self) -> None:
        """Let the transport go, with a connection that failed.

        oslo.messaging does not always mend one: after a time-out it went on
        failing with "connection already closed". It is cut first, so that
        nobody waits for a broker that is silent to agree to the end.
        """
        self.wire.cut()
        try:
            self.close()
        except Exception:  # it is broken, that is why it goes
            pass

    def close(self) -> None:
        client, self._client = self._client, None
        try:
            # The fake driver's cleanup would empty the service's own
            # exchanges.
            if client is not None and self._url.transport != 'fake':
                client.transport.cleanup()
        finally:
            self.wire.follow(None)

    def reason(self, exc: BaseException) -> str:
        return _reason(exc)

    def describe(self, exc: BaseException) -> str:
        where = ','.join(f'{host.hostname}:{host.port or 5672}'
                         for host in self._url.hosts)
        if _reason(exc) == BAD_URL:
            # kombu's text holds a piece of the password.
            return f'{where}: oslo.messaging hands the URL to its driver ' \
                   f'with a slash of the password not encoded'
        return self._redact(f'{where}: {type(exc).__name__}: {exc}')

    def _connect(self) -> Any:
        """Make the transport; in the process that uses it, not before.

        oslo.messaging must not be carried over a fork once it is connected.
        """
        transport = oslo_messaging.get_rpc_transport(
            self.view.service, url=self._url)
        # The driver goes on with the service's configuration. The client
        # reads groups for metrics and tracing, which oslo.messaging 18
        # registers on the global one and nowhere else.
        transport.conf = cfg.CONF
        self._take_hold(transport)
        return oslo_messaging.get_rpc_client(
            transport,
            # The fake driver keeps what it is given for a topic for good,
            # and only a fanout to nobody not at all.
            oslo_messaging.Target(topic=TOPIC,
                                  fanout=self._url.transport == 'fake'),
            # Each retry goes to the next host: all are tried, none twice.
            retry=self._hosts - 1,
            transport_options=oslo_messaging.TransportOptions(
                at_least_once=True))

    def _take_hold(self, transport: Any) -> None:
        """Have our own transport make connections that we have a hold on.

        They tell when the broker blocks them, which oslo.messaging only
        logs; their socket can be cut; and they do without a heartbeat
        thread, which holds the connection's lock while it reconnects, for
        over a second. The heartbeat itself stays as the service has it: each
        probe is a sign of life.

        Where a release of oslo.messaging is built otherwise, connections
        stay as they are, and the check's timeout alone bounds them.
        """
        driver = getattr(transport, '_driver', None)
        pool: Any = getattr(driver, '_connection_pool', None)
        connection_cls: Any = getattr(pool, 'connection_cls', None)
        if not all(hasattr(connection_cls, name) for name in (
                '_on_connection_blocked', '_on_connection_unblocked',
                '_heartbeat_start', 'set_transport_socket_timeout')):
            return
        blocked, followed = self._blocked, self.wire

        class HeldConnection(connection_cls):
            _held: Any = None

            @staticmethod
            def _on_connection_blocked(reason: str) -> None:
                blocked.set()
                connection_cls._on_connection_blocked(reason)

            @staticmethod
            def _on_connection_unblocked() -> None:
                blocked.clear()
                connection_cls._on_connection_unblocked()

            def _heartbeat_start(self) -> None:
                self._heartbeat_thread = None

            def set_transport_socket_timeout(
                    self, timeout: float | None = None) -> None:
                # Called after each (re)connect, and about each publish.
                super().set_transport_socket_timeout(timeout)
                sock = getattr(getattr(self.channel, 'connection', None),
                               'sock', None)
                if sock is not None and sock is not self._held:
                    self._held = sock
                    followed.follow(sock.fileno())

            def topic_send(self, *args: Any, **kwargs: Any) -> None:
                try:
                    super().topic_send(*args, **kwargs)
                except oslo_messaging.MessageUndeliverable:
                    # The broker confirms behind what it returns. Left
                    # unread, that would be read, and warned of, at the end.
                    with self._connection_lock:
                        _wait_for_confirmation(self.channel)
                    raise

        pool.connection_cls = HeldConnection

    def _find_url(self) -> tuple[str, str]:
        """(name of the option, URL)

        :raises exceptions.ConfigError: if none is set
        """
        own = self.settings.message_queue_transport_url
        if own:
            return 'message_queue_transport_url', own
        url = config.service_option(self.view, None, 'transport_url')
        if not url or url == 'rabbit://':  # oslo.messaging's default
            raise exceptions.ConfigError([
                'message_queue: there is no message queue to probe; set '
                'transport_url of the service, or '
                'message_queue_transport_url'])
        return 'transport_url', url

    def _parse(self) -> oslo_messaging.TransportURL:
        """:raises exceptions.ConfigError: without the URL, a secret."""
        try:
            url = oslo_messaging.TransportURL.parse(
                self.view.service, self._url_text)
        except (oslo_messaging.InvalidTransportURL, ValueError):
            raise exceptions.ConfigError([
                f'{self._option}: not a transport URL (allowed: '
                f'rabbit://user:password@host:port/vhost; characters other '
                f'than letters and digits in the password percent-encoded)',
            ]) from None
        if url.transport not in _PROVABLE:
            raise exceptions.ConfigError([
                f'{self._option}: message_queue cannot prove that '
                f'{url.transport}:// works (allowed: '
                f'{", ".join(_PROVABLE)}); take message_queue out of '
                f'backends'])
        # oslo.messaging sleeps that long, with the lock held, before it goes
        # to the next host. Of our own connection only.
        url.query.setdefault('kombu_reconnect_delay', '0')
        return url


def _wait_for_confirmation(channel: Any) -> None:
    """:raises oslo_messaging.MessageDeliveryFailure: if it is refused"""
    def take(method: tuple[int, int], *args: Any) -> None:
        if method == _NACK:
            raise oslo_messaging.MessageDeliveryFailure(
                'the broker could not handle the message (basic.nack)')
    wait = getattr(channel, 'wait', None)  # kombu+memory has none
    if wait is not None:
        wait([_ACK, _NACK], callback=take)


def _reason(exc: BaseException) -> str:
    if isinstance(exc, ValueError):
        return BAD_URL
    return (failures.network_reason(exc)
            or failures.text_reason(exc, _PHRASES) or failures.FAILED)
