# SPDX-License-Identifier: Apache-2.0

"""Plugin worker, in processes that really run out of something."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import pathlib
import resource
import threading

import pytest
import sqlalchemy
from sqlalchemy import pool

from tests.functional import servers
from tests.functional.servers import wsgi
from tests.functional import service as service_module

WELL = 'OK'

UWSGI_SERVICE = """
import time

from oslo_config import cfg

import healthcheck

cfg.CONF([], project='service',
         default_config_files=['{directory}/service.conf'])


def api(environ, start_response):
    if environ['PATH_INFO'] == '/slow':
        # Until a file says otherwise: nobody has to guess how long.
        import os
        deadline = time.monotonic() + 60
        while not os.path.exists('{directory}/go') and (
                time.monotonic() < deadline):
            time.sleep(0.01)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'done']


application = healthcheck.Healthcheck(api, cfg.CONF)
"""

CONF = """
[healthcheck]
backends = worker
interval = 0.3
retry_interval = 0.1
timeout = 2
ttl = 60
sharing = process
"""


@pytest.fixture
def service() -> Iterator[service_module.Service]:
    with service_module.Service('worker') as service:
        service.passes()
        yield service


@contextlib.contextmanager
def descriptors_left(directory: pathlib.Path, part: float) -> Iterator[None]:
    """Have that part of the limit of descriptors left, for a time."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, hard))
    try:
        (directory / 'x').touch()
        while opened[-1:] == [] or opened[-1].fileno() < 400 * (1 - part):
            opened.append((directory / 'x').open())
        yield
    finally:
        for one in opened:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_descriptors(service: service_module.Service,
                     tmp_path: pathlib.Path) -> None:
    with descriptors_left(tmp_path, 0.05):
        service.warns('WORKER: DESCRIPTORS LOW')
    service.passes()
    with descriptors_left(tmp_path, 0.2):
        service.stays(WELL, 1.0)


def test_alone_it_answers_503(service: service_module.Service,
                              tmp_path: pathlib.Path) -> None:
    with descriptors_left(tmp_path, 0.05):
        servers.wait_until(
            lambda: service.request('/healthcheck/worker').status == 503,
            'worker fails', service.bound)


def test_threads() -> None:
    most = threading.active_count() + 10
    done = threading.Event()
    with service_module.Service('worker', worker_max_threads=most) as service:
        service.passes()
        threads = [threading.Thread(target=done.wait) for _ in range(20)]
        for thread in threads:
            thread.start()
        try:
            service.warns('WORKER: TOO MANY THREADS')
        finally:
            done.set()
            for thread in threads:
                thread.join()
        service.passes()


def test_pool(service: service_module.Service,
              tmp_path: pathlib.Path) -> None:
    engine = sqlalchemy.create_engine(
        f'sqlite:///{tmp_path}/x.db', poolclass=pool.QueuePool,
        pool_size=2, max_overflow=1)
    held = [engine.connect() for _ in range(2)]
    service.stays(WELL, 1.0)
    held.append(engine.connect())
    service.warns('WORKER: POOL EXHAUSTED')
    held.pop().close()
    service.passes()
    for one in held:
        one.close()
    engine.dispose()


class AllBusy(wsgi.UWSGI):
    """uWSGI with two workers, of one thread each."""

    def __init__(self) -> None:
        super().__init__({'service.py': UWSGI_SERVICE, 'service.conf': CONF},
                         workers=2)

    def requests(self) -> list[threading.Thread]:
        """Keep every worker busy."""
        threads = [threading.Thread(target=self.ask, args=('/slow',))
                   for _ in range(self.workers)]
        for thread in threads:
            thread.start()
        return threads

    def go_on(self) -> None:
        (self.directory / 'go').touch()


def test_all_workers_of_uwsgi() -> None:
    with AllBusy() as server:
        servers.wait_until(lambda: server.ask().text == WELL, 'well')
        for _ in range(20):  # polls are quick: they exhaust nobody
            assert server.ask().text == WELL
        threads = server.requests()
        # Nobody is left to answer, so it is the log that tells; the first
        # who is free again tells the balancer.
        servers.wait_until(lambda: 'ALL WORKERS BUSY (' in
                           server.log.read_text(), 'it is seen')
        server.go_on()
        for thread in threads:
            thread.join()
        servers.wait_until(lambda: server.ask().text == WELL, 'well again')
        assert 'busy workers 2 of 2' in server.log.read_text()
