# SPDX-License-Identifier: Apache-2.0

"""A server that lets no thread run between two requests.

That is uWSGI before 2.0.27 without ``enable-threads``. A probe would stand
still with the rest there, and blame its backend when it goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
import time

import pytest

from healthcheck import engine
from tests.functional import served
from tests.functional import servers
from tests.functional.servers import wsgi

# Seconds; longer than any result lives.
IDLE = 1.5


@pytest.fixture(params=served.SHARING)
def running(request: pytest.FixtureRequest) -> Iterator[served.Served]:
    files = served.files(sharing=request.param, interval='0.2',
                         timeout='0.2', ttl='0.5')
    with served.running(lambda: wsgi.DebianUWSGI(files, workers=2)
                        ) as service:
        yield service


def idle() -> None:
    """Ask nothing for some time."""
    until = time.monotonic() + IDLE
    servers.wait_until(lambda: time.monotonic() > until, 'time passed')


def test_says_so_and_nothing_else(running: served.Served) -> None:
    told = {(running.first.status, running.first.text)}
    for _ in range(2):
        idle()
        told |= {(a.status, a.text) for a in running.round()}
    assert told == {(503, engine.NOT_RUNNING)}
    assert running.server.ask('/healthcheck/live').status == 200
    log = running.server.log.read_text()
    assert 'enable-threads = true' in log
    assert 'Healthcheck database' not in log
