# SPDX-License-Identifier: Apache-2.0

"""Many who open a connection, and never get to the end of their request."""

from __future__ import annotations

from collections.abc import Callable
import resource
import socket
import threading
from typing import Any

_HEAD = b'GET /healthcheck HTTP/1.1\r\nX: '
# Seconds between two bytes of a connection.
_PAUSE = 0.2


class SlowCallers:
    """Keeps connections open, each of which sends a byte now and then.

    What the server closes is opened again.

    :param count: how many
    :param family: of the sockets
    :param address: where they connect to
    :param source: tells where the one of that number comes from
    """

    def __init__(self, count: int, family: int, address: Any,
                 source: Callable[[int], Any] = lambda number: None) -> None:
        _allow_descriptors(count + 256)
        self.sent = 0
        """Bytes, by all of them."""
        self._family = family
        self._address = address
        self._source = source
        self._sockets: list[socket.socket | None] = [None] * count
        self._opened = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> SlowCallers:
        self._thread.start()
        # Each has been connected once, as far as the server lets them.
        assert self._opened.wait(60)
        return self

    def __exit__(self, *args: object) -> None:
        self._stop.set()
        self._thread.join()
        for each in self._sockets:
            if each is not None:
                each.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            for number, one in enumerate(self._sockets):
                if one is None or not self._send(one, b'x'):
                    self._sockets[number] = self._open(number)
            self._opened.set()
            self._stop.wait(_PAUSE)

    def _open(self, number: int) -> socket.socket | None:
        made = socket.socket(self._family, socket.SOCK_STREAM)
        made.setblocking(False)
        try:
            source = self._source(number)
            if source is not None:
                made.bind(source)
            made.connect(self._address)
        except BlockingIOError:
            pass
        except OSError:
            made.close()
            return None
        self._send(made, _HEAD)
        return made

    def _send(self, one: socket.socket, data: bytes) -> bool:
        """Whether the connection is still open."""
        try:
            self.sent += one.send(data)
            # The server says nothing, or that it has closed.
            if one.recv(1024) == b'':
                raise ConnectionResetError
        except BlockingIOError:
            return True
        except OSError:
            one.close()
            return False
        return True


def _allow_descriptors(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
