# SPDX-License-Identifier: Apache-2.0

"""A hold on the connections that oslo.messaging makes for one transport."""

from __future__ import annotations

import functools
import threading
from typing import Any

import oslo_messaging

from healthcheck.targets import wire as wire_module

# Bytes; the least that AMQP 0-9-1 allows a peer to ask for (section 4.2.3).
_FRAME_MIN = 4096

# AMQP 0-9-1, basic.ack, and RabbitMQ's basic.nack.
_ACK, _NACK = (60, 80), (60, 120)

# What is replaced in oslo.messaging's class. Of its instances, which cannot be
# looked at before there is one, nothing is taken for granted.
_NEEDED = ('_on_connection_blocked', '_on_connection_unblocked',
           '_heartbeat_start', '_heartbeat_stop',
           'set_transport_socket_timeout', 'topic_send')


class Hold:
    """What a connection tells, and lets be done to it.

    :ivar blocked: whether the broker has blocked the connection
    :ivar wire: follows the connection's socket
    """

    def __init__(self, wire: wire_module.Wire) -> None:
        self.blocked = threading.Event()
        self.wire = wire

    def take(self, transport: Any) -> None:
        """Have a transport of our own make connections that we hold.

        They tell when the broker blocks them, which oslo.messaging only
        logs; their socket can be cut; and they do without a heartbeat
        thread, which holds the connection's lock while it reconnects, for
        over a second. The heartbeat itself stays as the service has it: each
        probe is a sign of life.

        Where a release of oslo.messaging is built otherwise, connections
        stay as they are, with their thread. heartbeat_timeout_threshold=0
        would spare it, and with it the only bound that is left: a cast on a
        broker that froze would never come back.
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
    """A class of connections like ``connection_cls`` that are held."""
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
            """Without a thread."""

        def _heartbeat_stop(self) -> None:
            """There is no thread."""

        def set_transport_socket_timeout(
                self, timeout: float | None = None) -> None:
            # Called after each (re)connect, and about each publish.
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
            except oslo_messaging.MessageUndeliverable:
                # The broker confirms behind what it returns. Left unread,
                # that would be read, and warned of, at the end.
                lock = getattr(self, '_connection_lock', None)
                if lock is not None:
                    with lock:
                        _wait_for_confirmation(
                            getattr(self, 'channel', None))
                raise

    return HeldConnection


def _write_small_frames(connection: Any) -> None:
    """Have a connection of py-amqp do with a small buffer.

    It keeps one of the greatest frame that the server takes, 128 KiB, and
    would not ask for less; the message of a probe has a few hundred bytes.
    """
    make_writer = getattr(connection, 'frame_writer_cls', None)
    if make_writer and getattr(connection, 'frame_max', 0) > _FRAME_MIN:
        connection.frame_max = _FRAME_MIN
        connection.frame_writer = make_writer(
            connection, connection.transport)


def _wait_for_confirmation(channel: Any) -> None:
    """:raises oslo_messaging.MessageDeliveryFailure: if it is refused"""
    def take(method: tuple[int, int], *args: Any) -> None:
        if method == _NACK:
            raise oslo_messaging.MessageDeliveryFailure(
                'the broker could not handle the message (basic.nack)')
    wait = getattr(channel, 'wait', None)  # kombu+memory has none
    if wait is not None:
        wait([_ACK, _NACK], callback=take)
