# SPDX-License-Identifier: Apache-2.0

"""What it costs a service to be heard, and what that saves and finds.

The service of ``tests.functional.traffic`` runs against one MariaDB, with
``evidence`` and without, at the same pace and with the default options. The
prober's statements are counted by the server itself. A fault comes at a
moment that nothing chose, so without evidence it takes from ``timeout`` to
what the formula promises.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import functools
import io
import itertools
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import time
from typing import Any

from oslo_config import cfg
import sqlalchemy
from sqlalchemy import event
from sqlalchemy import pool

import healthcheck
from healthcheck.evidence import engines
from healthcheck.evidence import ledger
from tests.functional import servers
from tests.functional.servers import wsgi
from tests.functional import traffic

WORKERS = 4
WATCHED = 60.0
"""Seconds over which statements are counted."""

FAULTS = 3
"""How often the database is killed, and how often it is frozen."""

PAIRS = 300
REQUESTS = 50
"""How many make a sample: few, as the machine's pace changes."""

WARM = 20
"""How many come before, and are not measured."""

_STATEMENTS = 2000
_USER = 'service'


@dataclasses.dataclass(frozen=True)
class Overhead:
    """Requests of one process with evidence and without, in turn.

    Evidence waits for nothing, so all that it takes is processor time.

    :param pairs: seconds of a processor that a request takes with it, and
        without
    :param request: how long one takes without it, in seconds, for a caller
        who is alone
    """

    pairs: Sequence[tuple[float, float]]
    request: float

    @property
    def more(self) -> float:
        """Seconds of a processor that evidence takes of a request."""
        return statistics.median(one - other for one, other in self.pairs)

    @property
    def ratio(self) -> float:
        """Of the processor's time of a request, to that without."""
        return statistics.median(one / other for one, other in self.pairs)

    @property
    def share(self) -> float:
        """The part of a request's time that evidence takes."""
        return self.more / self.request


@dataclasses.dataclass(frozen=True)
class Found:
    """What is seen of a busy service with evidence, or without.

    :param statements: of the prober, a minute
    :param killed: seconds from each kill to 503
    :param frozen: the same from when the server stands still
    """

    statements: float
    killed: Sequence[float]
    frozen: Sequence[float]


@dataclasses.dataclass(frozen=True)
class Figures:
    """All that is measured.

    :param statement: seconds that a statement takes longer
    :param checkout: the same, of one with a checkout of its connection
    """

    statement: float
    checkout: float
    overhead: Overhead
    found: dict[bool, Found]

    @property
    def saved(self) -> float:
        return 1 - self.found[True].statements / self.found[False].statements


def measure(directory: pathlib.Path) -> Figures:
    state = traffic.mappable(directory)
    with servers.MariaDB() as mariadb:
        mariadb.create_database(_USER)
        mariadb.create_user(_USER, 'secret', _USER)
        url = mariadb.url(_USER, 'secret', _USER, 'mysql+pymysql')
        traffic.create_table(url)
        overhead = _overhead(directory, state, url)
        found = {evidence: _find(mariadb, state, url, evidence)
                 for evidence in (True, False)}
    return Figures(_more(_statement), _more(_checkout), overhead, found)


def _more(sample: Callable[[sqlalchemy.Engine], float]) -> float:
    """By how much a sample takes longer while an engine is heard."""
    made = sqlalchemy.create_engine('sqlite://', poolclass=pool.StaticPool)
    # No time for what it leads to: it leads to no target.
    listening = engines.Engines(ledger.Ledger())
    differences = []
    for _ in range(31):
        for registered in engines.EVENTS:
            event.remove(*registered)
        without = sample(made)
        engines.register()
        listening.listen()
        differences.append(sample(made) - without)
        listening.ignore()
    return statistics.median(differences)


def _statement(made: sqlalchemy.Engine) -> float:
    with made.connect() as connection:
        began = time.process_time()
        for _ in range(_STATEMENTS):
            connection.exec_driver_sql('SELECT 1')
        return (time.process_time() - began) / _STATEMENTS


def _checkout(made: sqlalchemy.Engine) -> float:
    began = time.process_time()
    for _ in range(_STATEMENTS):
        with made.connect() as connection:
            connection.exec_driver_sql('SELECT 1')
    return (time.process_time() - began) / _STATEMENTS


def _overhead(directory: pathlib.Path, state: pathlib.Path,
              url: str) -> Overhead:
    with servers.Keystone() as keystone:
        token = keystone.token('admin', project='admin')
        files = functools.partial(traffic.files, url, state_path=state,
                                  authtoken=keystone.authtoken())
        path = directory / 'service.conf'
        path.write_text(files(interval=60, ttl=3600)['service.conf'])
        child = subprocess.run(
            [sys.executable, '-W', 'ignore', '-m', 'benchmarks.evidence',
             str(path), token], check=True, stdout=subprocess.PIPE,
            text=True, cwd=pathlib.Path(__file__).parents[1])
        with wsgi.UWSGI(files(evidence=False)) as server:
            elapsed = []
            for method, where in itertools.islice(
                    itertools.cycle(traffic.BUSY), PAIRS):
                began = time.perf_counter()
                answer = server.ask(where, method, X_Auth_Token=token)
                elapsed.append(time.perf_counter() - began)
                assert answer.status == 200
    return Overhead(json.loads(child.stdout), statistics.median(elapsed))


def _measure_requests(path: pathlib.Path,
                      token: str) -> Sequence[tuple[float, float]]:
    """The pairs of :class:`Overhead`, in this very process."""
    cfg.CONF(['--config-file', str(path)], project='service')
    heard = healthcheck.Healthcheck(traffic.checked_api, cfg.CONF)
    cfg.CONF.set_override('evidence', False, 'healthcheck')
    alone = healthcheck.Healthcheck(traffic.checked_api, cfg.CONF)
    for door in (heard, alone):
        while _ask(door, 'GET', '/healthcheck', token) != '200 OK':
            time.sleep(0.05)
    witness = heard._engine.get()._witness
    assert witness is not None
    witness.ignore()
    pairs = []

    def with_() -> float:
        witness.listen()
        try:
            return _serve(heard, token)
        finally:
            witness.ignore()
    _serve(alone, token)  # connections are made, and the token is cached
    for number in range(PAIRS):
        # Every other time backwards, so that none always comes first.
        if number % 2:
            one, other = with_(), _serve(alone, token)
        else:
            other, one = _serve(alone, token), with_()
        pairs.append((one, other))
    return pairs


def _serve(door: healthcheck.Healthcheck, token: str) -> float:
    """Serve some requests; return what each takes of a processor.

    Each time that a listener comes or goes, the interpreter forgets what it
    has learned of SQLAlchemy's classes, and so do its caches. No service pays
    for that with each request, so it is over before the time is taken.
    """
    for method, path in itertools.islice(itertools.cycle(traffic.BUSY),
                                         WARM):
        _ask(door, method, path, token)
    began = time.thread_time()
    for method, path in itertools.islice(itertools.cycle(traffic.BUSY),
                                         REQUESTS):
        assert _ask(door, method, path, token) == '200 OK'
    return (time.thread_time() - began) / REQUESTS


def _ask(door: healthcheck.Healthcheck, method: str, path: str,
         token: str) -> str:
    told: list[Any] = []

    def start_response(*args: Any) -> Any:
        told.extend(args)
    for _ in door({'REQUEST_METHOD': method, 'PATH_INFO': path,
                   'SCRIPT_NAME': '', 'QUERY_STRING': '',
                   'SERVER_NAME': 'localhost', 'SERVER_PORT': '8774',
                   'SERVER_PROTOCOL': 'HTTP/1.1', 'wsgi.url_scheme': 'http',
                   'HTTP_X_AUTH_TOKEN': token,
                   'wsgi.input': io.BytesIO()}, start_response):
        pass
    return str(told[0])


def _find(mariadb: servers.MariaDB, state: pathlib.Path, url: str,
          evidence: bool) -> Found:
    server = wsgi.UWSGI(traffic.files(
        url, state_path=state, evidence=evidence, slow_threshold=1),
        workers=WORKERS)
    with server, traffic.Load(server) as load:
        load.come_to(10 * WORKERS)
        with traffic.Watcher(server.directory / 'service.conf',
                             'database') as watcher:
            statements = _count(mariadb, watcher)
            times: dict[str, list[float]] = {'killed': [], 'frozen': []}
            for kind in ('killed', 'frozen') * FAULTS:
                watcher.wait_for(200, 'OK', within=60)
                time.sleep(random.uniform(3, 13))
                began = time.monotonic()
                if kind == 'killed':
                    mariadb.kill()
                else:
                    mariadb.freeze()
                times[kind].append(watcher.seconds_to(503, began))
                mariadb.heal()
    return Found(statements, **times)


def _count(mariadb: servers.MariaDB, watcher: traffic.Watcher) -> float:
    """How many statements the prober makes in a minute."""
    watcher.passes()
    with traffic.logged(mariadb):
        began = time.monotonic()
        time.sleep(WATCHED)
        return traffic.statements(mariadb) * 60 / (time.monotonic() - began)


if __name__ == '__main__':
    print(json.dumps(_measure_requests(pathlib.Path(sys.argv[1]),
                                       sys.argv[2])), flush=True)
    os._exit(0)
