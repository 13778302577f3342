# SPDX-License-Identifier: Apache-2.0

"""However many workers there are, the servers see one prober."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
import contextlib
import dataclasses
import threading
import time
from typing import Any

import pytest

from tests.functional import brokers
from tests.functional import databases
from tests.functional import served
from tests.functional import servers
from tests.functional.servers import wsgi

CLIENTS = 64
PAUSE = 0.2
"""Seconds between two polls of a client. What asks without a pause takes the
processors from the prober, and from other tests."""
INTERVAL = 1.0

PROBES = 8
"""In how many of them no connection may be made."""

TRIES = 6
"""A prober that got no processor for two seconds is deposed, and the next one
has to connect. That is no cost of polls, and does not happen each time."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """What the servers see of a service during PROBES.

    :ivar rounds: the maximum number of probes of each check that one prober
        makes in that time
    :ivar connections: the most that were open at once, to each server
    """

    rounds: float
    connections: tuple[int, int]
    dialled: int
    statements: int
    messages: int


class Backends:
    def __init__(self, database: databases.Database,
                 broker: brokers.Broker) -> None:
        self.database = database
        self.broker = broker

    def serve(self, workers: int, **options: Any) -> wsgi.UWSGI:
        # The machine is kept busy: what is measured here is not how fast
        # it answers.
        options = {'interval': INTERVAL, 'retry_interval': INTERVAL,
                   'jitter': 0, 'fall': 2,
                   'timeout': 5, 'slow_threshold': 5,
                   'sharing': 'host', 'state_path': '{directory}',
                   'backends': 'database,message_queue',
                   'message_queue_transport_url': self.broker.url(), **options}
        return wsgi.UWSGI(served.files(
            database=self.database.url(),
            **{key: str(value).replace('$', '$$')
               for key, value in options.items()}), workers=workers)

    def counts(self) -> tuple[int, int, int]:
        server = self.database.server
        return (server.status('Connections'), server.questions(),
                self.broker.server.published())

    def cost(self, server: wsgi.UWSGI, clients: int) -> Cost:
        """Of PROBES of one prober."""
        with polled(server, clients):
            seen_by_all(server)
            for _ in range(TRIES):
                term = locks(server)
                cost = self._cost()
                if locks(server) == term:
                    break
        return cost

    def _cost(self) -> Cost:
        most = [0, 0]
        began = time.monotonic()
        before = self.counts()

        def probed() -> bool:
            most[:] = map(max, most, (self.database.connections(),
                                      self.broker.server.connections()))
            return self.broker.server.published() >= before[2] + PROBES

        servers.wait_until(probed, f'{PROBES} probes', 120, interval=0.2)
        after = self.counts()
        # One probe more may begin, and one more end.
        rounds = (time.monotonic() - began) / INTERVAL + 2
        dialled, statements, messages = (
            b - a for a, b in zip(before, after, strict=True))
        return Cost(rounds, (most[0], most[1]), dialled, statements, messages)


def locks(server: wsgi.UWSGI) -> set[str]:
    """The names of the lock files, another one for each deposed prober."""
    return {path.name for path in server.directory.glob(
        'healthcheck-*/*.lock')}


@pytest.fixture
def backends(mariadb: servers.MariaDB,
             rabbitmq: servers.RabbitMQ) -> Iterator[Backends]:
    with databases.on(mariadb, 'mysql+pymysql') as database, \
            brokers.on(rabbitmq) as broker:
        yield Backends(database, broker)


@contextlib.contextmanager
def polled(server: wsgi.UWSGI, clients: int) -> Iterator[None]:
    """Callers that ask again and again, each time on a new connection."""
    over = threading.Event()

    def poll() -> set[tuple[int, str]]:
        told = set()
        while not over.wait(PAUSE):
            answer = server.ask()
            told.add((answer.status, answer.text))
        return told
    with futures.ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(poll) for _ in range(clients)]
        try:
            yield
        finally:
            over.set()
        for one in running:
            assert one.result() == {(200, 'OK\nOK')}


def seen_by_all(server: wsgi.UWSGI, text: str = 'OK\nOK') -> None:
    """Ask until each worker has answered, and see that all say the same."""
    said: dict[int, str] = {}

    def ask() -> bool:
        answer = server.ask()
        said[answer.pid] = answer.text
        return len(said) == server.workers and set(said.values()) == {text}
    servers.wait_until(ask, f'{text!r} of {server.workers}: {said}',
                       30, interval=0.0)


def test_the_cost_is_that_of_one(backends: Backends) -> None:
    patient = {'timeout': 20, 'slow_threshold': 20}
    with backends.serve(1, **patient) as server:
        single = backends.cost(server, 4)
    for count in (backends.database.connections,
                  backends.broker.server.connections):
        servers.wait_until(lambda: count() == 0, 'connections given back')
    with backends.serve(16, **patient) as server:
        shared = backends.cost(server, CLIENTS)
    assert single.connections == shared.connections == (1, 1)
    assert single.dialled == shared.dialled == 0
    of_one_probe = (single.statements + 1) / single.messages
    for cost in (single, shared):
        assert PROBES <= cost.messages <= cost.rounds
        assert 2 < cost.statements <= cost.rounds * of_one_probe


def test_all_agree(backends: Backends) -> None:
    """Within the time in which one prober finds it."""
    with backends.serve(16) as server:
        seen_by_all(server)
        backends.database.server.freeze()
        seen_by_all(server, 'DATABASE: NO ANSWER\nOK')
        backends.database.server.thaw()
        seen_by_all(server)
