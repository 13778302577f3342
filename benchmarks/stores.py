# SPDX-License-Identifier: Apache-2.0

"""What a fleet costs a real etcd or Redis, and each of its nodes.

All nodes are real clients of the store, with the product's own code. Their
reads and their writes are measured apart, in processor time, one call after
the other. So a machine that is too small for a large fleet, or busy, shows
what each call costs; the product's pace says how many there are in a second.

tooz reads from Redis in a transaction, and tries again if a node has written
meanwhile. How often, that is measured with writes at the product's pace.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import itertools
import pathlib
import statistics
import subprocess
import sys
import threading
import time
from typing import Any

from redis import client
from redis import exceptions

from healthcheck.fleet import member
from healthcheck.fleet import members
from healthcheck.fleet import pace
from healthcheck.fleet import tooz_store
from healthcheck.probing import policy as policy_module
from healthcheck.reports import fleet
from tests.functional import servers

SIZES = (10, 30, 100, 300)
POLICY = policy_module.Policy()

CALLS = 60
"""Calls that are measured of each kind, at least."""

WATCHED = 10.0
"""Seconds in which reads meet writes."""

LEASE = 3600
"""Seconds. A busy machine may be late with signs of life."""

Store = servers.Etcd | servers.Redis
STORES: tuple[type[Store], ...] = (servers.Etcd, servers.Redis)


@dataclasses.dataclass(frozen=True)
class Calls:
    """Calls of one kind, one after the other.

    :param rate: calls a second of the whole fleet, at the product's pace
    :param client: seconds of the client's processor for each
    :param server: the same of the store's
    :param latency: median, in seconds
    """

    rate: float
    client: float
    server: float
    latency: float


@dataclasses.dataclass(frozen=True)
class Load:
    """A store with a number of nodes.

    :param record: bytes of one
    :param writes_meanwhile: that were made in a second while reads went on
    :param retries: for each read, meanwhile; for Redis
    """

    store: str
    nodes: int
    record: int
    reads: Calls
    writes: Calls
    writes_meanwhile: float
    retries: float

    @property
    def server(self) -> float:
        """The part of a core that the store takes."""
        return sum(one.rate * one.server for one in (self.reads, self.writes))

    @property
    def node(self) -> float:
        """The part of a core that a node takes for its calls."""
        return sum(one.rate * one.client
                   for one in (self.reads, self.writes)) / self.nodes


def measure(sizes: Sequence[int] = SIZES) -> Iterator[Load]:
    for kind in STORES:
        for nodes in sizes:
            yield _load(kind, nodes)


def record_of(node: str, sequence: int) -> fleet.NodeRecord:
    """As a node of Nova's API has one."""
    return fleet.NodeRecord(
        node, '1.0.0', sequence, pace.BEAT, fleet.IN, since=1e9, checks=tuple(
            fleet.NodeCheck(name, fleet.Status.PASS, 'OK', target * 8, True,
                            False, 1e9)
            for name, target in (('database', 'c4e1'), ('cells', '90ab'),
                                 ('message_queue', '77d0'))))


class _Nodes:
    """Nodes of a fleet, which take turns."""

    def __init__(self, url: str, nodes: int) -> None:
        self._keys = [f'controller-{number}' for number in range(nodes)]
        self._stores = [tooz_store.ToozStore(url, 'nova', f'{key}.0a1b2c3d')
                        for key in self._keys]
        self._sequence = itertools.count(10 ** 9)
        self._writers = itertools.cycle(zip(self._keys, self._stores))
        self._readers = itertools.cycle(self._stores)

    def write(self) -> None:
        key, store = next(self._writers)
        store.write(members.dump(record_of(key, next(self._sequence))))

    def read(self) -> None:
        found = len(next(self._readers).read())
        if found != len(self._keys):
            raise RuntimeError(f'{found} records of {len(self._keys)} nodes')

    def join(self) -> None:
        for store in self._stores:
            store.beat()
            self.write()


def _load(kind: type[Store], nodes: int) -> Load:
    member.LEASE = LEASE
    with kind() as server:
        all_nodes = _Nodes(server.url(), nodes)
        all_nodes.join()
        writes = _calls(server, nodes / pace.beat(nodes, POLICY),
                        all_nodes.write)
        reads = _calls(server, nodes / pace.look(nodes, POLICY),
                       all_nodes.read)
        with _counted() as seen, _writing(server.url(), nodes) as written:
            before = written()
            began = time.monotonic()
            read = 0
            while time.monotonic() < began + WATCHED:
                all_nodes.read()
                read += 1
            rate = (written() - before) / (time.monotonic() - began)
    return Load(server.name, nodes,
                len(members.dump(record_of('controller-100', 10 ** 9))),
                reads, writes, rate, len(seen) / read)


def _calls(server: Store, rate: float, call: Callable[[], None]) -> Calls:
    call()  # connects
    latencies = []
    before, began = _processor(server), time.process_time()
    for _ in range(CALLS):
        at = time.monotonic()
        call()
        latencies.append(time.monotonic() - at)
    return Calls(rate, (time.process_time() - began) / CALLS,
                 (_processor(server) - before) / CALLS,
                 statistics.median(latencies))


def _processor(server: Store) -> float:
    """Seconds for which all threads of a server have run."""
    return sum(int(task.read_text().split()[0])
               for process in server.processes()
               for task in pathlib.Path(f'/proc/{process.pid}/task').glob(
                   '*/schedstat')) / 1e9


@contextlib.contextmanager
def _counted() -> Iterator[list[Exception]]:
    """What redis-py tries again by itself."""
    seen: list[Exception] = []
    execute = client.Pipeline.execute

    def counted(*args: Any, **kwargs: Any) -> Any:
        try:
            return execute(*args, **kwargs)
        except exceptions.WatchError as exc:
            seen.append(exc)
            raise
    client.Pipeline.execute = counted  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        client.Pipeline.execute = execute  # type: ignore[method-assign]


@contextlib.contextmanager
def _writing(url: str, nodes: int) -> Iterator[Callable[[], int]]:
    """Another process writes at the pace of the fleet; gives how often."""
    child = subprocess.Popen(
        [sys.executable, '-m', 'benchmarks.stores', 'write', url, str(nodes)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=pathlib.Path(__file__).parents[1])

    def written() -> int:
        assert child.stdin is not None and child.stdout is not None
        print('?', file=child.stdin, flush=True)
        return int(child.stdout.readline())
    try:
        yield written
    finally:
        child.kill()
        child.communicate()


def _write(url: str, nodes: int) -> None:
    """Write at the pace of the fleet, and say how often when asked."""
    member.LEASE = LEASE
    # Their connections make no difference to readers.
    few = _Nodes(url, min(nodes, 10))
    few.join()
    every = pace.beat(nodes, POLICY) / nodes
    number = 0

    def told() -> None:
        for _ in sys.stdin:
            print(number, flush=True)
    threading.Thread(target=told, daemon=True).start()
    due = time.monotonic()
    while True:
        few.write()
        number += 1
        due = max(due + every, time.monotonic() - every)
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == '__main__':
    if sys.argv[1:2] == ['write']:
        _write(sys.argv[2], int(sys.argv[3]))
    for found in measure(list(map(int, sys.argv[1:])) or SIZES):
        print(found)
        print(f'  store {found.server:.1%}, node {found.node:.2%}',
              flush=True)
