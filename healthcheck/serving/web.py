# SPDX-License-Identifier: Apache-2.0

"""The web server of the agent, which slow callers cannot fill.

waitress needs no thread to read a request. But it never closes a connection
that sends a byte now and then, and stops accepting when it has too many.
(cheroot and gunicorn hold a thread for each slow request.) So here each
exchange has a deadline. If there are too many connections, those that have
waited longest are closed, of the source with the most.
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
# last byte of the request; and from the answer to its last byte.
_EXCHANGE = 10.0
# Seconds that a connection may be kept open between two requests.
_IDLE = 30.0

# Connections that a listener keeps open, and the share of the process's
# descriptors that this may be; probes need the rest.
_MOST = 256
_LEAST = 16
_PART = 8
# The least number of sources that can use them all.
_SOURCES = 4

# Connections that are accepted before others are served.
_BATCH = 32

# Seconds between two checks of the deadlines, and between two log lines about
# too many connections.
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
    # A proxy's headers decide who may see what. waitress would remove them.
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
    :ivar since: when its current wait began, in monotonic seconds
    """

    def __init__(self, server: Any, sock: socket.socket, addr: Any,
                 *args: Any, **kwargs: Any) -> None:
        self.source = source_of(sock, addr)
        self.since = time.monotonic()
        # A request has begun, or is expected as the first one.
        self._begun = True
        super().__init__(server, sock, addr, *args, **kwargs)

    @property
    def works(self) -> bool:
        """Whether a request is complete, and a thread answers it or will."""
        return bool(self.requests)

    def received(self, data: bytes) -> bool:
        # More bytes of the same request do not extend the deadline.
        if not self._begun:
            self._begun, self.since = True, time.monotonic()
        done: bool = super().received(data)
        return done

    def service(self) -> None:
        super().service()
        self._begun, self.since = False, time.monotonic()

    def is_late(self, now: float) -> bool:
        """Whether its deadline has passed.

        :param now: in monotonic seconds. While a request is being answered,
            this must be called more often than a deadline is long.
        """
        if self.works:
            self.since = now
            return False
        waits = self._begun or self.total_outbufs_len
        return bool(now - self.since > (_EXCHANGE if waits else _IDLE))


class _Server(server.BaseWSGIServer):
    """Closes connections that are late or too many.

    :ivar most: connections kept open in all
    :ivar per_source: connections kept open for one source
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
            # Otherwise the loop would try again at once, in vain.
            self.accepting = False
            self._say(f'{exc.strerror}: no connection is accepted for now')
            return None

    def handle_accept(self) -> None:
        accepted = -1
        # Several in one pass: each pass looks at all connections.
        for _ in range(_BATCH):
            if accepted == len(self.active_channels):
                break
            accepted = len(self.active_channels)
            super().handle_accept()
        # Only here: a new connection with the number of a closed one would
        # be taken for it until the next check.
        self._make_room()

    def maintenance(self, now: float) -> None:
        self.accepting = True
        moment = time.monotonic()
        for each in list(self.active_channels.values()):
            if each.is_late(moment):
                # At once: a peer that reads nothing would never get there.
                each.handle_close()

    def _make_room(self) -> None:
        """Close the longest-waiting connections of the largest source.

        New ones have waited least, and are read before the next check.
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
                # All of these are at work. The connection just accepted is
                # not, so it is another source's.
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

    :param descriptors: the process's limit (RLIMIT_NOFILE)
    """
    if descriptors == resource.RLIM_INFINITY:
        return _MOST
    return max(_LEAST, min(_MOST, descriptors // _PART))


def source_of(sock: socket.socket, address: Any) -> Hashable:
    """The source of a connection. Each source has a limit.

    It is a user of this host, an IPv4 address, or an IPv6 network of the size
    that one host gets (RFC 4291, 2.5.1).
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
