# SPDX-License-Identifier: Apache-2.0

"""Processes come and go while the health is asked for.

The backend is MariaDB here: it counts connections, and notices when two
processes use one.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import os
import signal
import time

import pytest

from healthcheck.reports import report
from tests.functional import callers
from tests.functional import databases
from tests.functional import served
from tests.functional import servers
from tests.functional.servers import wsgi


@pytest.fixture(scope='module')
def database(mariadb_server: servers.MariaDB) -> Iterator[databases.Database]:
    with databases.on(mariadb_server, 'mysql+pymysql') as database:
        yield database


def files(database: databases.Database, sharing: str = 'process', *,
          polled: bool = False) -> dict[str, str]:
    # oslo.config replaces $name, and $$ is a dollar.
    return served.files(database=database.url().replace('$', '$$'),
                        sharing=sharing, polled=polled)


Make = Callable[[Mapping[str, str]], wsgi.WSGIServer]

# As the documentation says. Without it a worker stands still for ever that was
# forked while a thread of the parent had the interpreter.
FORK_HOOKS = '--py-call-uwsgi-fork-hooks'

# Each loads the application before it forks its two workers.
POLLED: dict[str, Make] = {
    'uwsgi': lambda files: wsgi.UWSGI(files, [FORK_HOOKS], workers=2),
    'uwsgi-threads': lambda files: wsgi.UWSGI(
        files, [FORK_HOOKS, '--threads', '4'], workers=2),
    'gunicorn': lambda files: wsgi.Gunicorn(files, ['--preload'], workers=2),
    'gunicorn-gthread': lambda files: wsgi.Gunicorn(
        files, ['--preload', '--threads', '4'], workers=2),
}


class Polling(callers.Callers):
    """Asks again and again, from several threads, while the block runs.

    Who asks a new worker in another thread while the first to ask waits for
    the first report is told so.

    :param resets: how many connections may be closed without an answer
    :ivar pids: who has answered
    :ivar wrong: what else but the truth came back
    """

    def __init__(self, service: served.Served, resets: int = 0) -> None:
        self._service = service
        self._resets = resets
        super().__init__(*[self._run] * 3)
        self._right = {(200, served.WELL)}
        if '--threads' in service.server.arguments:
            self._right.add((503, report.STARTING))
        self.pids: set[int] = set()
        self.wrong: list[str] = []

    def _run(self) -> None:
        while not self._over.wait(0.002):
            try:
                answer = self._service.server.ask()
            except OSError as error:
                if self._resets and isinstance(error, ConnectionResetError):
                    self._resets -= 1
                else:
                    self.wrong.append(repr(error))
                continue
            self.pids.add(answer.pid)
            if (answer.status, answer.text) not in self._right:
                self.wrong.append(f'{answer.pid}: {answer.status} '
                                  f'{answer.text!r}')


@pytest.mark.parametrize(('server', 'sharing', 'probers'), [
    ('uwsgi', 'process', 3), ('uwsgi-threads', 'process', 3),
    ('gunicorn', 'process', 3), ('gunicorn-gthread', 'process', 3),
    ('uwsgi', 'host', 1), ('gunicorn', 'host', 1)])
def test_polled_before_the_fork(server: str, sharing: str, probers: int,
                                database: databases.Database) -> None:
    """Threads and a connection of the parent are there when it forks."""
    with served.running(lambda: POLLED[server](
            files(database, sharing, polled=True))) as service:
        with Polling(service) as polling:
            workers = service.everyone(200, served.WELL)
            for pid in workers:
                assert service.server.ask('/bench/fork').text == repr(
                    ('200 OK', served.WELL))
            # Everybody has probed more than once since.
            asked = database.server.questions()
            servers.wait_until(lambda: database.server.questions() > (
                asked + 10 * probers), 'probes go on')
        assert not polling.wrong
        # Nobody answers for the parent, which goes on as well.
        assert polling.pids == workers
        # A server notes a moment later that a child has left it.
        servers.wait_until(lambda: database.connections() == probers,
                           'a connection for each prober')
        database.server.stop()
        try:
            service.everyone(503, 'DATABASE: CONNECTION REFUSED\nOK')
        finally:
            database.server.start()
        service.everyone(200, served.WELL)
        servers.wait_until(lambda: database.connections() == probers,
                           'a new connection for each prober')
    servers.wait_until(lambda: database.connections() == 0,
                       'all connections closed')


def by_signal(server: wsgi.WSGIServer) -> None:
    os.kill(server.processes()[0].pid, signal.SIGHUP)


def by_touch(server: wsgi.WSGIServer) -> None:
    # uWSGI looks at whole seconds.
    later = time.time() + 10
    os.utime(server.directory / 'service.conf', (later, later))


@pytest.mark.parametrize(('reload', 'arguments', 'sharing'), [
    (by_signal, [], 'process'), (by_touch, [], 'process'),
    (by_signal, ['--lazy-apps'], 'process'),
    (by_signal, ['--threads', '4'], 'process'), (by_signal, [], 'host')])
def test_uwsgi_reload(reload: Callable[[wsgi.WSGIServer], None],
                      arguments: list[str], sharing: str,
                      database: databases.Database) -> None:
    """Who asks during a graceful reload gets the truth.

    A worker of uWSGI that has just accepted a connection, and read nothing of
    it, ends all the same: its gracefully_kill looks at ``in_request``, which
    is set later.
    """
    with served.running(lambda: wsgi.UWSGI(
            files(database, sharing),
            [*arguments, '--touch-reload', 'service.conf'],
            workers=2)) as service:
        before = service.everyone(200, served.WELL)
        with Polling(service, resets=service.workers) as polling:
            reload(service.server)
            servers.wait_until(
                lambda: len(polling.pids - before) == 2, 'two new workers')
            after = service.everyone(200, served.WELL)
        assert not polling.wrong
        assert not after & before
        probers = 1 if sharing == 'host' else 2
        servers.wait_until(lambda: database.connections() == probers,
                           'the old workers have closed their connections')


@pytest.mark.parametrize('make', [
    # By default a worker lives for a minute at least.
    lambda files: wsgi.UWSGI(files, [
        '--max-requests', '200', '--min-worker-lifetime', '2'], workers=2),
    lambda files: wsgi.Gunicorn(files, ['--max-requests', '200'], workers=2),
], ids=['uwsgi', 'gunicorn'])
def test_recycled_workers(make: Make,
                          database: databases.Database) -> None:
    """Workers that are replaced after some requests."""
    with served.running(lambda: make(files(database))) as service:
        with Polling(service) as polling:
            servers.wait_until(lambda: len(polling.pids) >= 5,
                               'workers replaced')
        assert not polling.wrong
        service.everyone(200, served.WELL)
        servers.wait_until(
            lambda: database.connections() <= service.workers,
            'workers that went have closed their connections')


@pytest.mark.parametrize('make', [
    lambda files: wsgi.UWSGI(files, workers=2),
    lambda files: wsgi.Apache(files, workers=2)], ids=['uwsgi', 'apache'])
def test_killed_worker(make: Make,
                       database: databases.Database) -> None:
    """A worker that crashes is replaced by one that tells the truth."""
    with served.running(lambda: make(files(database))) as service:
        before = service.everyone(200, served.WELL)
        os.kill(min(before), signal.SIGKILL)

        def replaced() -> bool:
            with contextlib.suppress(OSError):
                return service.server.ask().pid not in before
            return False

        servers.wait_until(replaced, 'a new worker answers')
        new = service.server.ask()
        assert (new.status, new.text) == (200, served.WELL)
