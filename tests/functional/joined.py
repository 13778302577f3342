# SPDX-License-Identifier: Apache-2.0

"""Three nodes of a service that tell each other what they find.

All look at one database under one name. What the name means is another
address for each node, as :file:`/etc/hosts` says. So each has its own way
there, and its own way to the store, and both can be cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from concurrent import futures
import contextlib
import dataclasses
import functools
import itertools
import json
import math
import os
import pathlib
import re
import statistics
import subprocess
import time

import psutil

from healthcheck.fleet import member
from healthcheck.fleet import members
from healthcheck.fleet import tooz_store
from healthcheck.reports import fleet as records
from tests.functional import callers
from tests.functional import fleet
from tests.functional import servers
from tests.functional.servers import client
from tests.functional import stalls
from tests.functional import test_demo

Store = servers.Etcd | servers.Redis

NAMES = ('one', 'two', 'three')
DATABASE = 'database.example'

RETRY = 0.5
FALL = 4
TTL = 4.0

# Before a node gives up, the others have the time to fail, too, and to say
# so: even on a machine that is busy with other tests.
CONF = f'''
retry_interval = {RETRY}
fall = {FALL}
ttl = {TTL}
shared_failure = {{shared_failure}}
state_path = {{directory}}
fleet_url = {{url}}
fleet_name = {{group}}
fleet_node = {{name}}
'''

SLOWEST = 1.5
"""Seconds for a request. One that waits for the store, or for a backend, may
need as long as these have: two seconds."""

_NUMBERS = itertools.count()


def note(nodes: int) -> str:
    """What a node says that is held."""
    return f', ON {nodes} OF {nodes} NODES)'


@dataclasses.dataclass(frozen=True)
class Told:
    """An answer.

    :ivar at: when the request began, in monotonic seconds
    """

    at: float
    seconds: float
    status: int
    text: str


class Polls(callers.Callers):
    """Asks every node all the time, as balancers do.

    :ivar may_lose: the number of polls that may end without an answer. A
        test that kills a worker allows one: the worker may be answering it.
    """

    def __init__(self, ports: dict[str, int]) -> None:
        self.answers: dict[str, list[Told]] = {name: [] for name in ports}
        self.may_lose = 0
        super().__init__(*(functools.partial(self._run, *item)
                           for item in ports.items()))
        self._stalls = stalls.of_this_process()
        self._began = time.monotonic()

    def statuses(self, since: float = 0.0, until: float = math.inf,
                 names: Sequence[str] = NAMES) -> set[int]:
        """All that these nodes have answered."""
        return {one.status for name in names for one in
                list(self.answers[name]) if since <= one.at < until}

    def wait_for(self, status: int, text: str = '', within: float = 30.0,
                 names: Sequence[str] = NAMES) -> float:
        """Wait until these nodes say so; return when the last one began to.

        :param text: the end of what they say
        """
        began = time.monotonic()

        def since(name: str) -> float | None:
            """When it began to say so and nothing else."""
            first = None
            for one in reversed(self.answers[name]):
                if one.status != status or not one.text.endswith(text):
                    break
                first = one.at
            # Each worker has been asked.
            return first if first and time.monotonic() - first > 0.3 else None
        try:
            servers.wait_until(lambda: all(since(name) for name in names),
                               f'{status} {text} from {names}', within + 0.3)
        except servers.ServerError as error:
            raise AssertionError(f'{error}, but {self._shown()}') from None
        return max(max(since(name) or began for name in names), began)

    def never_waited(self) -> None:
        """See that no request has waited for anything."""
        seconds = sorted(one.seconds for told in self.answers.values()
                         for one in told)
        assert statistics.median(seconds) < 0.05, seconds[len(seconds) // 2]
        stood_still = self._stalls.seconds(self._began)
        assert seconds[-1] < SLOWEST + stood_still, seconds[-5:]

    def _run(self, name: str, port: int) -> None:
        while not self._over.wait(0.02):
            began = time.monotonic()
            try:
                answer = client.ask(port)
            except ConnectionResetError:
                if not self.may_lose:
                    raise
                self.may_lose -= 1
                continue
            self.answers[name].append(Told(
                began, time.monotonic() - began, answer.status, answer.text))

    def _shown(self) -> str:
        return ', '.join(f'{name}: {told[-1].text}' if told else name
                         for name, told in self.answers.items())


class Node(fleet.Node):
    """A node, and its way to the store.

    :param way: to the database
    :param store_way: to the store
    """

    def __init__(self, directory: pathlib.Path, way: fleet.Way,
                 store_way: servers.Relay, more: str,
                 inside: Sequence[str]) -> None:
        self.store_way = store_way
        self._drained = False
        super().__init__(directory, way, more, inside)

    def cut_store(self) -> None:
        self.store_way.refuse()
        self.store_way.cut()

    def drain(self) -> None:
        self._drained = True
        self._command('drain', '--reason', 'test')

    def resume(self) -> None:
        if self._drained:
            self._command('resume')
            self._drained = False

    @property
    def prober(self) -> int:
        """The process that probes."""
        told = client.ask(self.api.port, '/healthcheck/detail',
                          Accept='application/json').text
        return int(json.loads(told)['prober']['pid'])

    def close(self) -> None:
        super().close()
        self.store_way.close()

    def _command(self, what: str, *arguments: str) -> None:
        done = subprocess.run(
            [test_demo.BIN / 'healthcheck', what, *arguments,
             '--config-file', self.conf], capture_output=True, text=True)
        assert not done.returncode, done.stdout + done.stderr


class Fleet:
    """Three nodes, their database and their store."""

    def __init__(self, nodes: dict[str, Node], mariadb: servers.MariaDB,
                 store: Store, group: str) -> None:
        self.nodes = nodes
        self.mariadb = mariadb
        self.store = store
        self.group = group
        self._observer = self.another('observer')

    def threads(self) -> list[int]:
        """How many each prober has."""
        return [psutil.Process(node.prober).num_threads()
                for node in self.nodes.values()]

    @property
    def bound(self) -> float:
        """Seconds from a fault to 503, on a busy machine."""
        return max(node.bound for node in self.nodes.values())

    def another(self, key: str) -> tooz_store.ToozStore:
        """Who may read and write the store, too."""
        return tooz_store.ToozStore(self.store.url(), self.group, key)

    def polls(self) -> Polls:
        return Polls({name: node.api.port
                      for name, node in self.nodes.items()})

    def written(self) -> dict[str, records.NodeRecord]:
        """The records of the nodes."""
        made = [members.load(data) for key, data in self.read().items()
                if any(re.fullmatch(f'{name}[.][0-9a-f]{{8}}', key)
                       for name in NAMES)]
        return {one.node: one for one in made}

    def read(self) -> Mapping[str, bytes]:
        """All that is in the store, by its keys; nothing if that is away."""
        try:
            return self._observer.read()
        except member.StoreAway:
            return {}

    def wait_for_records(self, names: Sequence[str] = NAMES) -> None:
        """Wait until these nodes know each other.

        A record counts once it has changed before the others' eyes.
        """
        for _ in range(3):
            before = {name: one.sequence
                      for name, one in self.written().items()}

            def changed(before: dict[str, int] = before) -> bool:
                now = self.written()
                return all(name in now and now[name].sequence
                           != before.get(name) for name in names)
            servers.wait_until(changed, 'records in the store', 30)

    def heal(self) -> None:
        """Undo whatever a test may have done."""
        self.mariadb.heal()
        self.store.heal()
        for node in self.nodes.values():
            node.way.heal()
            node.store_way.heal()
            node.resume()
        with self.polls() as polls:
            polls.wait_for(200, 'OK')
            self.wait_for_records()
            polls.wait_for(200, 'OK')


def _inside(directory: pathlib.Path, address: str) -> list[str]:
    """What runs a node, where the database's name has this address."""
    hosts = directory / 'hosts'
    hosts.write_text(f'127.0.0.1 localhost\n{address} {DATABASE}\n')
    unshare = ['unshare', '--mount']
    if os.geteuid() != 0:
        unshare += ['--user', '--map-root-user']
    return [*unshare, '--', 'sh', '-c',
            'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts)]


@contextlib.contextmanager
def three(directory: pathlib.Path, mariadb: servers.MariaDB, store: Store,
          shared_failure: str = 'majority_stays') -> Iterator[Fleet]:
    """Three nodes that are well and know each other."""
    group = f'fleet{next(_NUMBERS)}'
    with contextlib.ExitStack() as stack:
        mariadb.heal()
        database = stack.enter_context(fleet.a_database(mariadb))
        stack.callback(mariadb.heal)
        port = servers.free_port()

        def start(name: str) -> Node:
            place = directory / name
            place.mkdir()
            relay = servers.Relay(mariadb.host, mariadb.port,
                                  f'127.0.0.{2 + NAMES.index(name)}', port)
            stack.callback(relay.close)
            store_way = servers.Relay(store.host, store.port)
            stack.callback(store_way.close)
            node = Node(
                place, fleet.to_database(mariadb, database, relay, DATABASE),
                store_way, CONF.format(
                    shared_failure=shared_failure, directory=place,
                    url=store.url(store_way.port), group=group, name=name),
                _inside(place, relay.host))
            stack.callback(node.close)
            return node
        with futures.ThreadPoolExecutor() as pool:
            made = dict(zip(NAMES, pool.map(start, NAMES)))
        whole = Fleet(made, mariadb, store, group)
        whole.heal()
        yield whole
