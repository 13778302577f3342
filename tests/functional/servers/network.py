# SPDX-License-Identifier: Apache-2.0

"""Networks that misbehave on purpose."""

from __future__ import annotations

from collections.abc import Callable
import queue
import select
import socket
import struct
import threading
import time

from tests.functional.servers import process

# Closing a socket that lingers for no time at all sends a reset.
RESET = struct.pack('ii', 1, 0)


class RefusedPort:
    """A port that refuses: bound, so nobody else takes it, but no listener."""

    def __init__(self) -> None:
        self.host = '127.0.0.1'
        self._socket = socket.socket()
        self._socket.bind((self.host, 0))
        self.port: int = self._socket.getsockname()[1]

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> RefusedPort:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


class SilentListener:
    """A port that accepts connections and never says a word."""

    def __init__(self) -> None:
        self.host = '127.0.0.1'
        # The kernel accepts for us: nothing here needs to run.
        self._socket = socket.create_server((self.host, 0), backlog=128)
        self.port: int = self._socket.getsockname()[1]

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> SilentListener:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


def _listening(host: str, port: int | None) -> tuple[int, socket.socket]:
    """A port and its listener; another port if a free one is taken."""
    while True:
        chosen = process.free_port() if port is None else port
        try:
            return chosen, socket.create_server((host, chosen), backlog=128)
        except OSError:
            if port is not None:
                raise


class Relay:
    """A TCP relay whose behaviour can be changed while it runs.

    One thread owns every socket; the methods below hand it their work and
    return when it is done, so nothing here needs a lock.

    :param host: the address that it listens on
    :param port: the port there; default: a free one
    """

    def __init__(self, target_host: str, target_port: int,
                 host: str = '127.0.0.1', port: int | None = None) -> None:
        self.host = host
        self.port, listener = _listening(host, port)
        self.accepted = 0
        self._target = (target_host, target_port)
        self._late = 0.0
        self._silent = False
        self._closed = False
        self._listener: socket.socket | None = listener
        self._peers: dict[socket.socket, socket.socket] = {}
        # What was read and waits to be sent: when, to whom, what.
        self._waiting: list[tuple[float, socket.socket, bytes]] = []
        self._calls: queue.SimpleQueue[
            tuple[Callable[[], None], threading.Event]] = queue.SimpleQueue()
        # A byte down this pair ends the thread's wait for traffic.
        self._waker, self._wakened = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def heal(self) -> None:
        """Relay everything at once, held back bytes first."""
        self._call(self._heal)

    def refuse(self) -> None:
        """Refuse new connections; the open ones are left alone."""
        self._call(self._unlisten)

    def silence(self) -> None:
        """Keep and accept connections, but move no more bytes."""
        self._call(lambda: setattr(self, '_silent', True))

    def delay(self, seconds: float) -> None:
        """Move all bytes that much later, in both directions."""
        self._call(lambda: setattr(self, '_late', seconds))

    def cut(self) -> None:
        """Reset every open connection; new ones are accepted as before."""
        self._call(self._cut)

    @property
    def connections(self) -> int:
        """How many connections are open through the relay."""
        return len(self._peers) // 2

    def close(self) -> None:
        if self._closed:
            return
        self._call(self._close)
        self._thread.join()
        self._waker.close()
        self._wakened.close()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def _call(self, work: Callable[[], None]) -> None:
        done = threading.Event()
        self._calls.put((work, done))
        self._waker.send(b'.')
        done.wait()

    # All below runs in the relay's thread.

    def _run(self) -> None:
        while not self._closed:
            ready, _, _ = select.select(self._sources(), [], [],
                                        self._pause())
            for source in ready:
                if source is self._wakened:
                    source.recv(1)
                    work, done = self._calls.get()
                    work()
                    done.set()
                elif source is self._listener:
                    self._accept(source)
                elif source in self._peers and not self._silent:
                    self._read(source)
            if not self._silent:
                self._send_due()

    def _sources(self) -> list[socket.socket]:
        sources = [self._wakened]
        if self._listener is not None:
            sources.append(self._listener)
        if not self._silent:
            # A source that ended stays readable: its end is waiting below.
            ended = {self._peers.get(sink)
                     for _, sink, data in self._waiting if not data}
            sources.extend(one for one in self._peers if one not in ended)
        return sources

    def _pause(self) -> float | None:
        if self._silent or not self._waiting:
            return None
        return max(0.0, self._waiting[0][0] - time.monotonic())

    def _listen(self) -> None:
        if self._listener is None:
            self._listener = socket.create_server((self.host, self.port),
                                                  backlog=128)

    def _unlisten(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        client, _ = listener.accept()
        self.accepted += 1
        try:
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            self._reset(client)
            return
        for one, peer in ((client, server), (server, client)):
            one.settimeout(5)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._peers[one] = peer

    def _read(self, source: socket.socket) -> None:
        try:
            data = source.recv(65536)
        except OSError:
            self._drop(source, reset=True)
            return
        self._waiting.append(
            (time.monotonic() + self._late, self._peers[source], data))

    def _send_due(self) -> None:
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            _, sink, data = self._waiting.pop(0)
            if sink not in self._peers:
                continue
            if not data:
                self._drop(sink)
                continue
            try:
                sink.sendall(data)
            except OSError:
                self._drop(sink, reset=True)

    def _drop(self, one: socket.socket, reset: bool = False) -> None:
        peer = self._peers.pop(one)
        del self._peers[peer]
        for each in (one, peer):
            if reset:
                self._reset(each)
            else:
                each.close()

    @staticmethod
    def _reset(one: socket.socket) -> None:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        one.close()

    def _cut(self) -> None:
        for one in list(self._peers):
            if one in self._peers:
                self._drop(one, reset=True)

    def _heal(self) -> None:
        self._listen()
        self._silent = False
        self._late = 0.0
        self._waiting = [(0.0, sink, data) for _, sink, data in self._waiting]

    def _close(self) -> None:
        self._closed = True
        self._unlisten()
        self._cut()
