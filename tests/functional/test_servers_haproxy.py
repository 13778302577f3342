# SPDX-License-Identifier: Apache-2.0

"""Tests of the test bench: HAProxy."""

from __future__ import annotations

from collections.abc import Iterator
from http import server as http_server
import threading

import pytest

from tests.functional import servers


class Health(http_server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header('Content-Length', '0')
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def health() -> Iterator[http_server.ThreadingHTTPServer]:
    with http_server.ThreadingHTTPServer(('127.0.0.1', 0), Health) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_follows_the_health_of_its_backends(
        health: http_server.ThreadingHTTPServer,
        monkeypatch: pytest.MonkeyPatch) -> None:
    with servers.RefusedPort() as nobody:
        ports = {'one': health.server_port, 'two': nobody.port}
        with servers.HAProxy(ports, interval_ms=20) as haproxy:
            servers.wait_until(lambda: not haproxy.up('two'), 'two is down')
            assert haproxy.up('one')
            monkeypatch.setattr(Health, 'status', 503)
            servers.wait_until(lambda: not haproxy.up('one'), 'one is down')
            # While the next check runs, the code of the last is not shown.
            servers.wait_until(
                lambda: haproxy.server('one')['check_code'] == '503', '503')
            monkeypatch.setattr(Health, 'status', 200)
            servers.wait_until(lambda: haproxy.up('one'), 'one is up')
