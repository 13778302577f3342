# SPDX-License-Identifier: Apache-2.0

"""A service whose database is down while it starts, in front of real servers.

The service connects to its database when it is imported, as Nova does, and
sets a signal handler, as Nova and Neutron do.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import pathlib
import signal
import time

import pytest

from tests.functional import databases
from tests.functional import servers
from tests.functional.servers import client
from tests.functional.servers import process
from tests.functional.servers import wsgi

WORKERS = 2

SERVICE = """
import os
import pathlib
import signal
import time

import sqlalchemy

from oslo_config import cfg

{signals}
pathlib.Path('{directory}/loads').open('a').write(f'{os.getpid()}\\n')
sqlalchemy.create_engine(
    pathlib.Path('{directory}/url').read_text()).connect().close()
assert cfg.CONF._args is None, 'configured by somebody else'
loaded_in = os.getpid()


def application(environ, start_response):
    body = f'{loaded_in} {os.getpid()}'.encode()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]
"""

SIGNALS = 'signal.signal(signal.SIGUSR2, lambda *args: None)'

CONF = """
[DEFAULT]
transport_url = fake:/
[database]
connection = {url}
[healthcheck]
backends = database, message_queue
interval = 0.3
retry_interval = 0.1
timeout = 2
ttl = 60
"""

NOT_LOADED = 'DATABASE: CONNECTION REFUSED\nOK\nAPPLICATION: NOT LOADED'
LOADED = 'OK\nOK\nOK'


class Wrapped(wsgi.WSGIServer):
    """A server whose application is ``healthcheck.wsgi``.

    :param url: of the database
    :param command: without the port to listen on
    :param app: ``HEALTHCHECK_APP``
    :param signals: what the service does besides while it loads
    :param service_url: of the database, for the service alone
    """

    under_test = True

    def __init__(self, url: str, command: list[str],
                 app: str = 'service:application', signals: str = SIGNALS,
                 service_url: str | None = None) -> None:
        self.name = command[0]
        if self.name == 'uwsgi':
            self.stop_signal = signal.SIGINT
        super().__init__({
            'service.py': SERVICE.replace('{signals}', signals),
            'url': service_url or url,
            'a.conf': '[healthcheck]\nbackends = \n',
            'b.conf': CONF.replace('{url}', url.replace('$', '$$'))})
        self._command = command
        self._app = app

    def command(self) -> list[str]:
        name, *arguments = self._command
        listen = ('--http-socket' if name == 'uwsgi' else '--bind',
                  f'{self.host}:{self.port}')
        return [self.program(name), *listen, *arguments]

    def environment(self) -> dict[str, str]:
        return {**super().environment(), 'HEALTHCHECK_APP': self._app,
                'HEALTHCHECK_CONFIG_FILES':
                    f'{self.directory}/a.conf;{self.directory}/b.conf'}

    def ready(self) -> bool:
        try:
            return self.ask('/healthcheck/live').status == 200
        except OSError:
            return False

    def loads(self) -> list[str]:
        """The process of each attempt to load the service."""
        path = self.directory / 'loads'
        return path.read_text().split() if path.exists() else []


UWSGI = ['uwsgi', '--module', 'healthcheck.wsgi', '--master',
         '--enable-threads', '--need-app', '--disable-logging',
         '--processes', str(WORKERS)]
GUNICORN = ['gunicorn', 'healthcheck.wsgi', '--workers', str(WORKERS)]

KINDS = {
    'uwsgi': UWSGI,
    'uwsgi-lazy-apps': [*UWSGI, '--lazy-apps'],
    'uwsgi-threads': [*UWSGI, '--threads', '3'],
    'gunicorn': GUNICORN,
    'gunicorn-preload': [*GUNICORN, '--preload'],
}
SHARES_MEMORY = ('uwsgi', 'gunicorn-preload')


@pytest.fixture
def database(mariadb: servers.MariaDB) -> Iterator[databases.Database]:
    with databases.on(mariadb, databases.DRIVERS[0]) as database:
        yield database


@pytest.fixture
def serve(database: databases.Database) -> Iterator[Callable[..., Wrapped]]:
    made: list[Wrapped] = []

    def serve(kind: str, **options: str) -> Wrapped:
        command = KINDS.get(kind) or [*GUNICORN, *kind.split()]
        made.append(Wrapped(database.url(), command, **options))
        made[-1].start()
        return made[-1]
    yield serve
    for server in made:
        server.close()


def until(server: Wrapped, path: str, condition: Callable[
        [client.Answer], bool], what: str) -> None:
    """Ask until the answers of some time are all of one kind."""
    def agreed() -> bool:
        return all(condition(server.ask(path)) for _ in range(8 * WORKERS))
    try:
        servers.wait_until(agreed, what, 30)
    except servers.ServerError as error:
        raise AssertionError(f'{error}; {server.ask(path)}\n'
                             f'{server.log_tail()}') from None


def says(text: str) -> Callable[[client.Answer], bool]:
    return lambda answer: answer.text == text


@pytest.mark.parametrize('kind', KINDS)
def test_database_down_at_the_start(
        kind: str, serve: Callable[..., Wrapped],
        database: databases.Database) -> None:
    database.server.stop()
    server = serve(kind)
    until(server, '/healthcheck', says(NOT_LOADED), 'not loaded')
    servers.wait_until(lambda: len(server.processes()) == 1 + WORKERS,
                       'all workers')
    workers = {one.pid for one in server.processes()}
    answer = server.ask('/servers')
    assert (answer.status, answer.headers['retry-after']) == (503, '1')
    assert server.ask('/healthcheck/application').text == (
        'APPLICATION: NOT LOADED')
    # Its driver would have waited, and tried, for as long as it likes.
    assert server.loads() == []

    database.server.start()
    # One worker may get all the requests for a while.
    servers.wait_until(lambda: server.ask() and len(server.loads()) == WORKERS,
                       'each worker has loaded')
    until(server, '/healthcheck', says(LOADED), 'loaded')
    until(server, '/servers', lambda answer: answer.status == 200, 'serves')
    # Without a restart, and each process for itself.
    assert {one.pid for one in server.processes()} == workers
    assert len(set(server.loads())) == len(server.loads()) == WORKERS
    assert 'Traceback' not in server.log.read_text()


@pytest.mark.parametrize('kind', ['uwsgi', 'uwsgi-lazy-apps',
                                  'gunicorn-preload'])
def test_database_up_at_the_start(
        kind: str, serve: Callable[..., Wrapped]) -> None:
    server = serve(kind)
    answer = server.ask('/servers')
    assert answer.status == 200, f'{answer}\n{server.log_tail()}'
    loaded_in, answered_by = answer.text.split()
    assert (loaded_in != answered_by) == (kind in SHARES_MEMORY)
    until(server, '/healthcheck', says(LOADED), 'well')
    times = 1 if kind in SHARES_MEMORY else WORKERS
    servers.wait_until(lambda: len(server.loads()) >= times, 'all loaded')
    assert len(server.loads()) == times


@pytest.mark.parametrize('signals', [SIGNALS, ''])
def test_requests_in_other_threads(
        signals: str, serve: Callable[..., Wrapped],
        database: databases.Database) -> None:
    """Of a server that serves none in the main thread."""
    database.server.stop()
    server = serve('--worker-class gthread --threads 2', signals=signals)
    until(server, '/healthcheck', says(NOT_LOADED), 'not loaded')
    database.server.start()
    if signals:
        until(server, '/healthcheck',
              says('OK\nOK\nAPPLICATION: NOT LOADED'), 'cannot be loaded')
        servers.wait_until(lambda: 'only the main thread can do' in
                           server.log.read_text(), 'it says why')
    else:
        until(server, '/healthcheck', says(LOADED), 'loaded')


def test_fails_for_another_reason(
        serve: Callable[..., Wrapped], database: databases.Database) -> None:
    """The checks are well, and the application is not."""
    wrong = database.url().replace(database.user, 'somebody')
    server = serve('uwsgi', service_url=wrong)
    until(server, '/healthcheck', says('OK\nOK\nAPPLICATION: NOT LOADED'),
          'not loaded')
    servers.wait_until(lambda: server.ask() and len(server.loads()) > 4,
                       'several attempts')
    log = server.log.read_text()
    # Workers do not repeat what the process said that they were forked from.
    assert log.count('cannot be loaded') == 1
    assert "'somebody'@" in log
    (server.directory / 'url').write_text(database.url())
    until(server, '/servers', lambda answer: answer.status == 200, 'serves')
    for secret in (database.password, wrong):
        assert secret not in log


def test_is_answered_while_it_loads(
        serve: Callable[..., Wrapped], database: databases.Database) -> None:
    """One process at a time loads, and the poller never waits for it."""
    database.server.stop()
    server = serve('uwsgi', signals='time.sleep(2)')
    until(server, '/healthcheck', says(NOT_LOADED), 'not loaded')
    database.server.start()
    slow = 0
    deadline = time.monotonic() + 60
    while len(server.loads()) < WORKERS or not slow:
        assert time.monotonic() < deadline, server.log_tail()
        began = time.monotonic()
        server.ask()
        slow += time.monotonic() - began > 1
    # Who waits for the end of the connection, and not of the body, waits
    # for the load that its own request sets off; nobody else does.
    assert slow <= WORKERS


@pytest.mark.parametrize('app, problem', [
    ('servce:application', 'there is no module servce'),
    ('service:aplication', 'did you mean application?'),
    ('service', 'not an import path'),
])
def test_mistake_in_the_variable(
        app: str, problem: str, database: databases.Database) -> None:
    server = Wrapped(database.url(), UWSGI, app=app)
    with pytest.raises(process.ServerError, match='ended by itself'):
        server.start()
    try:
        log = pathlib.Path(server.log).read_text()
        assert f'HEALTHCHECK_APP = {app!r}: ' in log
        assert problem in log
    finally:
        server.close()
