# SPDX-License-Identifier: Apache-2.0

"""Faults at random for ten minutes: each is reported, and nothing drifts.

``SOAK_SECONDS`` and ``SOAK_SEED`` in the environment change how long, and
which faults; the seed is printed, so that a failure can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import os
import random
import signal
import time

import psutil
import pytest

from tests.functional import brokers
from tests.functional import databases
from tests.functional import served
from tests.functional import servers
from tests.functional.servers import wsgi

SECONDS = float(os.environ.get('SOAK_SECONDS', '600'))
SEED = int(os.environ.get('SOAK_SEED', str(random.randrange(10 ** 6))))

WORKERS = 4
OPTIONS = {'interval': 0.5, 'retry_interval': 0.2, 'timeout': 2,
           'slow_threshold': 2, 'ttl': 10, 'fall': 2, 'sharing': 'host',
           'state_path': '{directory}',
           'backends': 'database,message_queue'}

WELL = 'OK\nOK'
WITHIN = 30.0

# What a worker may hold: its own, the prober's, and what either of them
# keeps when it has been the prober once.
MOST_THREADS = 5
MOST_DESCRIPTORS = 6
"""On top of those of a worker that has answered and never probed."""
MOST_GROWTH = 6 * 2 ** 20


@dataclasses.dataclass(frozen=True)
class Held:
    """What the service holds, over all its workers."""

    threads: int
    descriptors: int
    memory: int
    """Of the largest worker, in bytes."""
    connections: tuple[int, int]
    queues: int
    files: int


class Soak:
    def __init__(self, database: databases.Database, broker: brokers.Broker,
                 chance: random.Random) -> None:
        self.database = database
        self.broker = broker
        self.chance = chance
        self.relays = [database.relay(), broker.relay()]
        options = {**OPTIONS, 'message_queue_transport_url':
                   broker.url(self.relays[1].port)}
        self.server = wsgi.UWSGI(served.files(
            database=database.url(self.relays[0].port),
            **{key: str(value).replace('$', '$$')
               for key, value in options.items()}), workers=WORKERS)
        self.told: dict[str, int] = {}

    def __enter__(self) -> Soak:
        self.server.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.server.close()
        for relay in self.relays:
            relay.close()

    def all_say(self, *wanted: str) -> None:
        """Ask until each worker has said one of ``wanted``, and no other."""
        said: dict[int, str] = {}

        def ask() -> bool:
            answer = self.server.ask()
            said[answer.pid] = answer.text
            self.told[answer.text] = self.told.get(answer.text, 0) + 1
            alive = {one.pid for one in self.workers()}
            return {said.get(pid) for pid in alive} <= set(wanted)
        servers.wait_until(ask, f'{wanted} of all, and not {said}', WITHIN,
                           interval=0.0)

    def workers(self) -> list[psutil.Process]:
        assert self.server._process is not None
        return psutil.Process(self.server._process.pid).children()

    def held(self) -> Held:
        workers = self.workers()
        shared, = self.server.directory.glob('healthcheck-*')
        return Held(
            max(one.num_threads() for one in workers),
            max(one.num_fds() for one in workers),
            max(one.memory_info().rss for one in workers),
            (self.database.connections(), self.broker.server.connections()),
            len(self.broker.queues()), len(list(shared.iterdir())))

    def faults(self) -> dict[str, Callable[[], None]]:
        return {name: getattr(self, name) for name in (
            'refused', 'cut', 'silent', 'frozen', 'worker_killed',
            'worker_stopped', 'directory_removed')}

    def refused(self) -> None:
        index = self.chance.randrange(2)
        relay = self.relays[index]
        relay.refuse()
        relay.cut()
        self.all_say(*failing(index, 'CONNECTION REFUSED'))

    def cut(self) -> None:
        """A connection that breaks and can be made again is no fault."""
        self.chance.choice(self.relays).cut()

    def silent(self) -> None:
        index = self.chance.randrange(2)
        self.relays[index].silence()
        self.all_say(*failing(index, 'NO ANSWER'))
        self.relays[index].cut()

    def frozen(self) -> None:
        self.database.server.freeze()
        self.all_say(*failing(0, 'NO ANSWER'))
        self.database.server.thaw()

    def worker_killed(self) -> None:
        self.chance.choice(self.workers()).kill()

    def worker_stopped(self) -> None:
        """For long enough to be deposed, if it is the prober.

        It answers nothing; those behind it in the queue are waited for.
        """
        worker = self.chance.choice(self.workers())
        worker.send_signal(signal.SIGSTOP)
        time.sleep(self.chance.uniform(0.1, 3.0))
        worker.send_signal(signal.SIGCONT)

    def directory_removed(self) -> None:
        for path in self.server.directory.glob('healthcheck-*'):
            for file in path.iterdir():
                file.unlink(missing_ok=True)

    def heal(self) -> None:
        for relay in self.relays:
            relay.heal()
        self.all_say(WELL)


def failing(index: int, reason: str) -> list[str]:
    """What may be said when that check has failed.

    Where a connection breaks first, that is the reason.
    """
    label = ('DATABASE', 'MESSAGE QUEUE')[index]
    lines = []
    for why in (reason, 'CONNECTION LOST', 'CONNECTION REFUSED', 'NO ANSWER'):
        both = ['OK', 'OK']
        both[index] = f'{label}: {why}'
        lines.append('\n'.join(both))
    return lines


@pytest.fixture
def soak(mariadb: servers.MariaDB,
         rabbitmq: servers.RabbitMQ) -> Iterator[Soak]:
    with databases.on(mariadb, 'mysql+pymysql') as database, \
            brokers.on(rabbitmq) as broker, \
            Soak(database, broker, random.Random(SEED)) as soak:
        yield soak


def test_soak(soak: Soak) -> None:
    print(f'\nSOAK_SEED={SEED} SOAK_SECONDS={SECONDS:g}')
    soak.all_say(WELL)
    fresh = soak.held()
    began = time.monotonic()
    warm: Held | None = None
    count: dict[str, int] = {}
    while (passed := time.monotonic() - began) < SECONDS:
        name, fault = soak.chance.choice(sorted(soak.faults().items()))
        fault()
        soak.heal()
        count[name] = count.get(name, 0) + 1
        if warm is None and passed > SECONDS / 5:
            warm = soak.held()
    assert warm is not None
    servers.wait_until(lambda: soak.held().connections == (1, 1),
                       f'a connection each: {soak.held()}', WITHIN)
    last = soak.held()
    print(f'faults: {count}\nfresh: {fresh}\nwarm:  {warm}\nlast:  {last}')
    assert last.threads <= MOST_THREADS
    assert last.descriptors <= fresh.descriptors + MOST_DESCRIPTORS
    assert last.memory - warm.memory < MOST_GROWTH
    assert last.queues == 0
    assert last.files == 4
    assert min(count.values()) > 0 and len(count) == len(soak.faults())
