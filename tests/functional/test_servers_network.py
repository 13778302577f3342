# SPDX-License-Identifier: Apache-2.0

"""Tests of the test bench: the networks."""

from __future__ import annotations

from collections.abc import Iterator
import os
import socket
import subprocess
import sys

import pytest

from tests.functional import servers


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets."""
    listener = socket.create_server(('127.0.0.1', 0))
    script = ('import socket, sys, threading\n'
              'def serve(one):\n'
              '    while data := one.recv(4096):\n'
              '        one.sendall(data)\n'
              '    one.close()\n'
              'listener = socket.socket(fileno=int(sys.argv[1]))\n'
              'while True:\n'
              '    one = listener.accept()[0]\n'
              '    threading.Thread(target=serve, args=[one]).start()\n')
    number = listener.fileno()
    server = subprocess.Popen([sys.executable, '-c', script, str(number)],
                              pass_fds=[number])
    yield listener.getsockname()[1]
    server.kill()
    server.wait()
    listener.close()


def answer(port: int, timeout: float = 5) -> bytes:
    """Return what comes back for a word sent to a port."""
    with socket.create_connection(('127.0.0.1', port), timeout) as client:
        client.sendall(b'word')
        return client.recv(4096)


class TestNetwork:

    def test_refused_port(self) -> None:
        with servers.RefusedPort() as port:
            with pytest.raises(ConnectionRefusedError):
                answer(port.port)
            with socket.socket() as other, pytest.raises(OSError):
                other.bind((port.host, port.port))

    def test_silent_listener(self) -> None:
        with servers.SilentListener() as listener:
            with pytest.raises(TimeoutError):
                answer(listener.port, timeout=0.1)

    def test_relay_relays_and_counts(self, echo: int) -> None:
        with servers.Relay('127.0.0.1', echo) as relay:
            assert answer(relay.port) == b'word'
            assert answer(relay.port) == b'word'
            assert relay.accepted == 2
            servers.wait_until(lambda: relay.connections == 0, 'closed')

    def test_relay_refuses(self, echo: int) -> None:
        with servers.Relay('127.0.0.1', echo) as relay:
            relay.refuse()
            with pytest.raises(ConnectionRefusedError):
                answer(relay.port)
            relay.heal()
            assert answer(relay.port) == b'word'

    def test_relay_is_silent_and_resumes(self, echo: int) -> None:
        with servers.Relay('127.0.0.1', echo) as relay:
            with socket.create_connection((relay.host, relay.port),
                                          timeout=0.1) as client:
                relay.silence()
                client.sendall(b'word')
                with pytest.raises(TimeoutError):
                    client.recv(10)
                relay.heal()
                client.settimeout(5)
                assert client.recv(10) == b'word'

    def test_relay_delays(self, echo: int) -> None:
        with servers.Relay('127.0.0.1', echo) as relay:
            relay.delay(0.5)
            with pytest.raises(TimeoutError):
                answer(relay.port, timeout=0.15)
            assert answer(relay.port) == b'word'

    def test_relay_cuts(self, echo: int) -> None:
        with servers.Relay('127.0.0.1', echo) as relay:
            with socket.create_connection((relay.host, relay.port),
                                          timeout=5) as client:
                client.sendall(b'word')
                assert client.recv(10) == b'word'
                relay.cut()
                with pytest.raises(ConnectionResetError):
                    client.recv(10)
            assert answer(relay.port) == b'word'

    def test_relay_without_target_resets(self) -> None:
        with servers.RefusedPort() as nobody:
            with servers.Relay(nobody.host, nobody.port) as relay:
                with pytest.raises(OSError):
                    answer(relay.port)

    def test_relay_leaks_no_descriptor(self, echo: int) -> None:
        before = len(os.listdir('/proc/self/fd'))
        for _ in range(3):
            with servers.Relay('127.0.0.1', echo) as relay:
                answer(relay.port)
                relay.silence()
                with pytest.raises(TimeoutError):
                    answer(relay.port, timeout=0.05)
        assert len(os.listdir('/proc/self/fd')) == before
