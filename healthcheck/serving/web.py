# SPDX-License-Identifier: Apache-2.0

"""The web server of the agent, which slow callers cannot fill.

waitress needs no thread to read a request. But it closes no connection that
sends a byte now and then, and accepts no more when it has too many. (cheroot
and gunicorn hold a thread for each slow request.) So each exchange gets a
deadline here, and when there are too many connections, those that have waited
longest are closed, of the source that has most.
"""

from __future__ import annotations

import collections
from collections.abc import Hashable
import errno
import ipaddress
import logging
import math
import resource
import socket
import struct
import time
from typing import Any, TYPE_CHECKING

from waitress import adjustments
from waitress import channel
from waitress import server
from waitress import task

if TYPE_CHECKING:
    from _typeshed import wsgi

LOG = logging.getLogger(__name__)

# Seconds from the first byte of a request, or from the connection, to the
# last byte of the request, and from the answer to its last byte.
_EXCHANGE = 10.0
# Seconds that a connection may be kept open between two requests.
_IDLE = 30.0

# Connections that a listener keeps open, and the part of the process's
# descriptors that this may be: probes need the others.
_MOST = 256
_LEAST = 16
_PART = 8
# How many sources it takes to use them all.
_SOURCES = 4

# Connections that are accepted before others are served.
_BATCH = 32

# Seconds between two looks at the deadlines, and between two lines that say
# that there are too many connections.
_LOOK = 1
_QUIET = 60.0

_SETTINGS = {
    # Callers without a valid token hold four at most.
    'threads': 8,
    # select() knows no descriptor above 1023.
    'asyncore_use_poll': True,
    'cleanup_interval': _LOOK,
    # waitress's own limit is never reached: see _Server.
    'connection_limit': 2 ** 31,
    'max_request_header_size': 64 * 1024,
    'max_request_body_size': 64 * 1024,
    # A caller could fill the log with them.
    'log_socket_errors': False,
    # The marks that a proxy leaves tell who may see what; waitress would
    # take them away.
    'clear_untrusted_proxy_headers': False,
}


def make_server(listening: socket.socket,
                application: wsgi.WSGIApplication) -> Any:
    """A server, of waitress's kind, for a socket that is listened on."""
    # It would log each poll that has to wait for another.
    logging.getLogger('waitress.queue').setLevel(logging.ERROR)
    settings = adjustments.Adjustments(sockets=[listening], **_SETTINGS)
    dispatcher = task.ThreadedTaskDispatcher()
    dispatcher.set_thread_count(settings.threads)
    kind = _Unix if listening.family == socket.AF_UNIX else _TCP
    return kind(application, {}, _sock=listening, dispatcher=dispatcher,
                adj=settings, bind_socket=False,
                sockinfo=(listening.family, listening.type, listening.proto,
                          listening.getsockname()))


class Channel(channel.HTTPChannel):
    """A connection.

    :ivar source: where it comes from
    :ivar since: when it began to wait for what it waits for, in monotonic
        seconds
    """

    def __init__(self, server: Any, sock: socket.socket, addr: Any,
                 *args: Any, **kwargs: Any) -> None:
        self.source = source_of(sock, addr)
        self.since = time.monotonic()
        # A request has begun, or is expected to as there was none yet.
        self._begun = True
        super().__init__(server, sock, addr, *args, **kwargs)

    @property
    def works(self) -> bool:
        """Whether a request is there, which a thread answers or will."""
        return bool(self.requests)

    def received(self, data: bytes) -> bool:
        # The bytes of one request, or of none, get no new deadline each.
        if not self._begun:
            self._begun, self.since = True, time.monotonic()
        done: bool = super().received(data)
        return done

    def service(self) -> None:
        super().service()
        self._begun, self.since = False, time.monotonic()

    def is_late(self, now: float) -> bool:
        """Whether its deadline is over.

        :param now: in monotonic seconds. While a request is answered this
            must be called more often than deadlines are long.
        """
        if self.works:
            self.since = now
            return False
        waits = self._begun or self.total_outbufs_len
        return bool(now - self.since > (_EXCHANGE if waits else _IDLE))


class _Server(server.BaseWSGIServer):
    """Closes connections that are late, or too many.

    :ivar most: connections that are kept open
    :ivar per_source: of these, from one source
    """

    channel_class = Channel

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.most = most_connections(
            resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self.per_source = self.most // _SOURCES
        self._said_at = -math.inf
        super().__init__(*args, **kwargs)

    def accept(self) -> Any:
        try:
            return super().accept()
        except OSError as exc:
            if exc.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            # It would be tried again at once, and in vain.
            self.accepting = False
            self._say(f'{exc.strerror}: no connection is accepted for now')
            return None

    def handle_accept(self) -> None:
        accepted = -1
        # Rather than one for each look at all connections.
        for _ in range(_BATCH):
            if accepted == len(self.active_channels):
                break
            accepted = len(self.active_channels)
            super().handle_accept()
        # Not in between: a new connection with the number of one that is
        # closed would be taken for it until the next look.
        self._make_room()

    def maintenance(self, now: float) -> None:
        self.accepting = True
        moment = time.monotonic()
        for each in list(self.active_channels.values()):
            if each.is_late(moment):
                # At once: one that takes no bytes would never get to it.
                each.handle_close()

    def _make_room(self) -> None:
        """Close those that have waited longest, of the source with most.

        New ones have waited least, and are read before the next look.
        """
        total = len(self.active_channels)
        crowds = collections.Counter(
            each.source for each in self.active_channels.values())
        while crowds:
            (source, count), = crowds.most_common(1)
            if count <= self.per_source and total <= self.most:
                break
            waiting = [each for each in self.active_channels.values()
                       if each.source == source and not each.works]
            if not waiting:
                # One that was accepted now waits; it is another source's.
                del crowds[source]
                continue
            min(waiting, key=lambda each: each.since).handle_close()
            crowds[source] -= 1
            total -= 1
            self._say(f'more than {self.per_source} connections come from '
                      f'{source}, or {self.most} in all: those that have '
                      f'waited longest are closed')

    def _say(self, problem: str) -> None:
        now = time.monotonic()
        if now - self._said_at >= _QUIET:
            self._said_at = now
            LOG.warning('The listener of the healthcheck agent: %s', problem)


class _TCP(_Server, server.TcpWSGIServer):
    """Listens on an address."""


class _Unix(_Server, server.UnixWSGIServer):
    """Listens on a UNIX socket."""


def most_connections(descriptors: int) -> int:
    """How many connections a listener keeps open.

    :param descriptors: that the process may have open (RLIMIT_NOFILE)
    """
    if descriptors == resource.RLIM_INFINITY:
        return _MOST
    return max(_LEAST, min(_MOST, descriptors // _PART))


def source_of(sock: socket.socket, address: Any) -> Hashable:
    """Where a connection comes from: who has many, has one of these.

    That is a user of this host, an IPv4 address, or a network of IPv6 of the
    size that one host gets (RFC 4291, 2.5.1).
    """
    if sock.family == socket.AF_UNIX:
        size = struct.calcsize('3i')
        _, user, _ = struct.unpack('3i', sock.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, size))
        return f'user {user}'
    host = ipaddress.ip_address(address[0])
    if isinstance(host, ipaddress.IPv4Address):
        return str(host)
    if host.ipv4_mapped is not None:
        return str(host.ipv4_mapped)
    return str(ipaddress.ip_network((int(host), 64), strict=False))
