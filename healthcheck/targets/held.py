# SPDX-License-Identifier: Apache-2.0

"""Control over the connections that oslo.messaging makes for a transport."""

from __future__ import annotations

from collections.abc import Callable
import functools
import threading
from typing import Any

import oslo_messaging

from healthcheck.targets import wire as wire_module

# Bytes: the least that AMQP 0-9-1 lets a peer ask for (section 4.2.3).
_FRAME_MIN = 4096

# AMQP 0-9-1, basic.ack, and RabbitMQ's basic.nack.
_ACK, _NACK = (60, 80), (60, 120)

# What we replace in oslo.messaging's class. Its instances cannot be checked
# before there is one, so nothing about them is taken for granted.
_NEEDED = ('_on_connection_blocked', '_on_connection_unblocked',
           '_heartbeat_start', '_heartbeat_stop',
           'set_transport_socket_timeout', 'topic_send')

# What a channel needs to publish a message without oslo.messaging.
_PUBLISHES = ('basic_publish', 'prepare_message')


class Hold:
    """What we know of a connection, and how to end it.

    :ivar blocked: whether the broker has blocked the connection
    :ivar wire: follows the connection's socket
    :ivar repeat: sends another message to where the last one went, straight
        through the driver, and raises what the driver raises; None if there
        was none yet
    """

    def __init__(self, wire: wire_module.Wire) -> None:
        self.blocked = threading.Event()
        self.wire = wire
        self.repeat: Callable[[], None] | None = None

    def forget(self) -> None:
        """The connection is gone."""
        self.blocked.clear()
        self.repeat = None

    def take(self, transport: Any) -> None:
        """Let a transport of our own make connections that we control.

        They report when the broker blocks them, which oslo.messaging only
        logs. Their socket can be cut. And they have no heartbeat thread,
        which holds the connection's lock while it reconnects, for over a
        second. The heartbeat itself stays as the service has it: each probe
        is a sign of life.

        If a release of oslo.messaging is built differently, connections stay
        as they are, with their thread. heartbeat_timeout_threshold=0 would
        avoid the thread, but also the only bound that is left: a cast to a
        frozen broker would never come back.
        """
        driver = getattr(transport, '_driver', None)
        pool: Any = getattr(driver, '_connection_pool', None)
        connection_cls: Any = getattr(pool, 'connection_cls', None)
        if isinstance(connection_cls, type) and all(
                hasattr(connection_cls, name) for name in _NEEDED):
            pool.connection_cls = functools.partial(
                _held(connection_cls), hold=self)


@functools.cache
def _held(connection_cls: Any) -> Any:
    """A sub-class of ``connection_cls`` whose connections we control."""
    class HeldConnection(connection_cls):
        def __init__(self, *args: Any, hold: Hold, **kwargs: Any) -> None:
            self._hold = hold
            self._held: Any = None
            super().__init__(*args, **kwargs)

        def _on_connection_blocked(self, reason: str) -> None:
            self._hold.blocked.set()
            super()._on_connection_blocked(reason)

        def _on_connection_unblocked(self) -> None:
            self._hold.blocked.clear()
            super()._on_connection_unblocked()

        def _heartbeat_start(self) -> None:
            """Do nothing: no thread."""

        def _heartbeat_stop(self) -> None:
            """Do nothing: there is no thread."""

        def set_transport_socket_timeout(
                self, timeout: float | None = None) -> None:
            # Called after each (re)connect, and around each publish.
            super().set_transport_socket_timeout(timeout)
            channel = getattr(self, 'channel', None)
            connection = getattr(channel, 'connection', None)
            sock = getattr(connection, 'sock', None)
            if sock is not None and sock is not self._held:
                self._held = sock
                self._hold.wire.follow(sock.fileno())
                _write_small_frames(connection)

        def topic_send(self, *args: Any, **kwargs: Any) -> None:
            try:
                super().topic_send(*args, **kwargs)
            except oslo_messaging.MessageUndeliverable as exc:
                lock = getattr(self, '_connection_lock', None)
                if lock is not None:
                    channel: Any = getattr(self, 'channel', None)
                    with lock:
                        _wait_for_confirmation(channel)
                    if all(hasattr(channel, name) for name in _PUBLISHES):
                        self._hold.repeat = functools.partial(
                            _publish, channel, channel.prepare_message(b''),
                            exc.exchange, exc.routing_key)
                raise

    return HeldConnection


def _publish(channel: Any, message: Any, exchange: str,
             routing_key: str) -> None:
    """Publish an empty message, which is returned.

    oslo.messaging and kombu need as much processor time for a message as the
    driver does, and the driver a third less if it is empty. That counts where
    a thousand brokers are asked every ten seconds.
    """
    try:
        channel.basic_publish(message, exchange=exchange,
                              routing_key=routing_key, mandatory=True)
    except oslo_messaging.MessageUndeliverable:
        _wait_for_confirmation(channel)


def _write_small_frames(connection: Any) -> None:
    """Give a connection of py-amqp a small buffer.

    By default it has the size of the largest frame that the server accepts,
    128 KiB, and cannot be less. A probe's message has a few hundred bytes.
    """
    make_writer = getattr(connection, 'frame_writer_cls', None)
    if make_writer and getattr(connection, 'frame_max', 0) > _FRAME_MIN:
        connection.frame_max = _FRAME_MIN
        connection.frame_writer = make_writer(
            connection, connection.transport)


def _wait_for_confirmation(channel: Any) -> None:
    """Read what the broker confirms after it has returned a message.

    Left unread, it would be read and warned of at the end.

    :raises oslo_messaging.MessageDeliveryFailure: if it is refused
    """
    def take(method: tuple[int, int], *args: Any) -> None:
        if method == _NACK:
            raise oslo_messaging.MessageDeliveryFailure(
                'the broker could not handle the message (basic.nack)')
    wait = getattr(channel, 'wait', None)  # kombu+memory has none
    if wait is not None:
        wait([_ACK, _NACK], callback=take)
