# SPDX-License-Identifier: Apache-2.0

"""What a busy service sees saves probes, and finds faults first."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import fcntl
import os
import pathlib
import shutil
import signal
import time
from typing import Any

import pytest

from healthcheck.reports import report
from tests.functional import brokers
from tests.functional import databases
from tests.functional import servers
from tests.functional.servers import wsgi
from tests.functional import traffic

Make = Callable[[dict[str, str]], wsgi.WSGIServer]

WORKERS = 4

WATCHED = 30.0
"""Seconds over which statements are counted."""

SPARSE = {'interval': 2, 'retry_interval': 1, 'probe_at_least_every': 30,
          'jitter': 0}
"""One probe of fifteen is left, so that one stall is no failure."""

SOON = 2.0
"""Seconds in which a fault is known that the service meets at once."""

TRIES = 4
"""Another process than this one may stand still, too."""

SERVERS: dict[str, Make] = {
    'uwsgi': lambda files: wsgi.UWSGI(files, workers=WORKERS),
    'gunicorn-gthread': lambda files: wsgi.Gunicorn(
        files, ['--threads', '4'], workers=2),
    'gunicorn-gevent': lambda files: wsgi.Gunicorn(
        files, ['--worker-class', 'gevent'], workers=2)}


class Bench:
    """A service that shares a prober, and its database."""

    def __init__(self, database: databases.Database,
                 state: pathlib.Path) -> None:
        self.database = database
        self.state = state

    @contextlib.contextmanager
    def serving(self, make: Make = SERVERS['uwsgi'],
                **options: Any) -> Iterator[wsgi.WSGIServer]:
        settings = {'state_path': self.state, **options}
        with make(traffic.files(self.database.url(), **settings)) as server:
            yield server

    @contextlib.contextmanager
    def watching(self, server: wsgi.WSGIServer, *backends: str,
                 probes: bool = False) -> Iterator[traffic.Watcher]:
        """Poll from elsewhere.

        :param probes: whether it is the prober; a worker is otherwise,
            which begins with the first request that it passes on
        """
        with contextlib.ExitStack() as stack:
            if not probes:
                with traffic.Load(server) as load:
                    load.come_to(10 * WORKERS)
                servers.wait_until(lambda: self.files('report'), 'a report')
            watcher = stack.enter_context(traffic.Watcher(
                server.directory / 'service.conf', *backends or ['database']))
            watcher.passes()
            servers.wait_until(
                lambda: (watcher.prober() == os.getpid()) is probes,
                'the prober that was wanted')
            yield watcher

    def files(self, kind: str) -> list[pathlib.Path]:
        return list(self.state.glob(f'healthcheck-*/*.{kind}'))

    def all_live(self, number: int) -> bool:
        """Whether there are so many ledgers, each of a process that lives."""
        found = self.files('evidence')
        return len(found) == number and not any(map(_is_free, found))


def _is_free(path: pathlib.Path) -> bool:
    """Whether the process is gone that made the file."""
    try:
        with path.open('rb') as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@pytest.fixture
def bench(mariadb: servers.MariaDB,
          tmp_path: pathlib.Path) -> Iterator[Bench]:
    state = traffic.mappable(tmp_path)
    with databases.on(mariadb, 'mysql+pymysql') as database:
        traffic.create_table(database.url())
        yield Bench(database, state)
    if state != tmp_path:
        shutil.rmtree(state)


def test_a_busy_service_saves_the_statements_of_its_prober(
        bench: Bench, mariadb: servers.MariaDB) -> None:
    """One that does without evidence runs beside it, for comparison."""
    other = databases.Database(mariadb, 'mysql+pymysql', user='zuser8',
                               name='zschema8')
    with contextlib.ExitStack() as stack:
        stack.callback(other.drop)
        other.create()
        loads = []
        for database, evidence in ((bench.database, True), (other, False)):
            traffic.create_table(database.url())
            state = bench.state / database.user
            state.mkdir(mode=0o700)
            made = Bench(database, state)
            server = stack.enter_context(
                made.serving(evidence=evidence, **SPARSE))
            stack.enter_context(made.watching(server, probes=not evidence))
            loads.append(stack.enter_context(traffic.Load(server)))
        stack.enter_context(traffic.logged(mariadb))
        time.sleep(WATCHED)
        with_evidence, without = (
            traffic.statements(mariadb, database.user)
            for database in (bench.database, other))
    for load in loads:
        assert set(load.told) == {200}
        assert load.told.total() > 0.5 * traffic.RATE * WATCHED
    assert with_evidence <= 0.2 * without, (with_evidence, without)


@pytest.mark.parametrize(('kind', 'probes'), [
    ('uwsgi', False), *((kind, True) for kind in SERVERS)])
def test_killed_under_load(bench: Bench, kind: str, probes: bool) -> None:
    """With the defaults, in any prober, and though no worker is polled."""
    took = []
    with bench.serving(SERVERS[kind]) as server, \
            bench.watching(server, probes=probes) as watcher:
        for _ in range(TRIES):
            with traffic.Load(server) as load:
                load.come_to(2 * traffic.RATE)
                began = time.monotonic()
                bench.database.server.kill()
                took.append(watcher.seconds_to(503, began))
            if took[-1] < SOON:
                break
            bench.database.server.start()
            watcher.passes()
    assert took[-1] < SOON, took
    assert watcher.check().history is not None
    assert {one.cause for one in watcher.check().history.transitions[-2:]} == {
        'traffic'}


def test_frozen_under_load(bench: Bench) -> None:
    """It is looked at as soon as the service itself has waited too long."""
    with bench.serving(timeout=2, slow_threshold=2) as server, \
            bench.watching(server) as watcher:
        policy = watcher.app.policy
        promised = (traffic.READ_TIMEOUT + policy.timeout
                    + policy.retry_interval + policy.timeout)
        assert promised < policy.detection - 5
        with traffic.Load(server) as load:
            load.come_to(2 * traffic.RATE)
            began = time.monotonic()
            bench.database.server.freeze()
            took = watcher.seconds_to(503, began)
            bench.database.server.thaw()
        assert took < promised + 2
        watcher.passes()


FAILING = ('/fault', '/fault?raise', '/stranger', '/stranger?raise')
UNKNOWN = ('/nothing',)
FLOOD = 4.0
"""Seconds that each lasts."""


def test_floods_of_requests_that_fail(
        bench: Bench, mariadb: servers.MariaDB) -> None:
    """Those that nobody vouched for set off nothing, nor does a 404."""
    with bench.serving() as server, bench.watching(server) as watcher:
        for floods in ([('', FAILING), ('', UNKNOWN),
                        (traffic.TOKEN, UNKNOWN)],
                       [(traffic.TOKEN, FAILING)]):
            began = time.monotonic()
            with contextlib.ExitStack() as stack:
                stack.enter_context(traffic.logged(mariadb))
                loads = [stack.enter_context(traffic.Load(
                    server, [('GET', path) for path in paths], token=token,
                    rate=traffic.RATE / len(floods)))
                    for token, paths in floods]
                while time.monotonic() < began + FLOOD:
                    watcher.ask()
                    time.sleep(0.05)
            seconds, probes = (time.monotonic() - began,
                               traffic.probes(mariadb))
            for load in loads:
                assert load.told.total() > 2 * seconds
                assert 200 not in load.told
            regular = seconds / watcher.app.policy.interval + 1
            if floods == [(traffic.TOKEN, FAILING)]:
                assert regular < probes <= seconds + 1
            else:
                assert probes <= regular
        assert {answer.text for answer in watcher.history[1:]} <= {'OK'}


def test_whatever_dies_leaves_nothing(bench: Bench) -> None:
    """Workers that are killed, the prober that is killed, and one stopped."""
    with bench.serving(**SPARSE) as server, \
            contextlib.ExitStack() as watchers, \
            bench.watching(server) as watcher, \
            traffic.Load(server) as load:
        def recovers() -> None:
            servers.wait_until(lambda: bench.all_live(WORKERS + 1),
                               'a ledger for each process', 20)
            before = watcher.stand_ins
            servers.wait_until(
                lambda: watcher.ask() and watcher.stand_ins > before,
                'evidence for the prober that there is now', 40)

        recovers()
        prober = watcher.prober()
        workers = {one.pid for one in server.processes()[1:]}
        os.kill((workers - {prober}).pop(), signal.SIGKILL)
        recovers()
        os.kill(watcher.prober(), signal.SIGKILL)
        servers.wait_until(
            lambda: watcher.ask() and watcher.prober() != prober, 'another')
        recovers()
        told = list(watcher.history)
        for _ in range(5):
            if watcher.prober() != os.getpid():
                break
            watcher.close()
            time.sleep(2)  # or this process would be the first to try again
            watcher = watchers.enter_context(traffic.Watcher(
                server.directory / 'service.conf', 'database'))
            watcher.passes()
            with contextlib.suppress(servers.ServerError):
                servers.wait_until(lambda: watcher.prober() != os.getpid(),
                                   'a worker that probes', 10)
        prober = watcher.prober()
        assert prober != os.getpid()
        os.kill(prober, signal.SIGSTOP)
        try:
            servers.wait_until(
                lambda: watcher.ask() and watcher.prober() != prober,
                'another')
        finally:
            os.kill(prober, signal.SIGCONT)
        recovers()
        assert {answer.status for answer in [*told, *watcher.history]
                if answer.text != report.STARTING} == {200}
        load.come_to(WORKERS)
    watcher.close()
    assert bench.files('evidence') == []


def test_without_evidence(bench: Bench) -> None:
    with bench.serving(evidence=False) as server, \
            bench.watching(server, probes=True) as watcher:
        for _ in range(4 * WORKERS):
            assert server.ask('/listeners').text == '0'
        assert bench.files('evidence') == []
        assert watcher.check().evidence is None


class TestObserved:
    """A service's own function, around what it sends."""

    def test_it_stands_in_and_sets_off(self, bench: Bench,
                                       rabbitmq: servers.RabbitMQ) -> None:
        with brokers.on(rabbitmq) as broker, broker.relay() as relay:
            with bench.serving(
                    transport_url=broker.url(relay.port),
                    backends='message_queue') as server, \
                    bench.watching(server, 'message_queue') as watcher:
                self._check(server, watcher, relay)

    @staticmethod
    def _check(server: wsgi.WSGIServer, watcher: traffic.Watcher,
               relay: servers.Relay) -> None:
        def stood_in() -> bool:
            return watcher.check('message_queue').evidence is not None
        with traffic.Load(server, [('POST', '/events')], rate=20) as load:
            servers.wait_until(stood_in, 'evidence', 20)
            assert set(load.told) == {200}
            relay.refuse()
            began = time.monotonic()
            relay.cut()
            took = watcher.seconds_to(503, began)
            assert took < watcher.app.policy.interval / 2
            history = watcher.check('message_queue').history
            assert history is not None
            assert history.transitions[-1].cause == 'traffic'
            relay.heal()
            watcher.passes()
