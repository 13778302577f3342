# SPDX-License-Identifier: Apache-2.0

"""What it costs to look at 1, 10, 100 and 1,000 cells.

Each is a process of its own with the checks ``cells`` and ``services`` and the
default options, against one MariaDB and one RabbitMQ. Every cell has a
connection to either, as if it had servers of its own; the schema and the
virtual host are the same for all, so that the servers have no more to do than
they would have apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import threading
import time
import timeit
from typing import Any

from oslo_config import cfg
import psutil

import healthcheck
from tests.functional import servers

SIZES = (1, 10, 100, 1000)

INTERVAL = 10.0
"""The default of the option, in seconds."""

# Seconds over which it is watched.
WATCHED = 3 * INTERVAL

# Seconds in which all cells have to be known.
PATIENCE = 120.0

_TABLES = (
    'CREATE TABLE cell_mappings (id INT PRIMARY KEY, uuid VARCHAR(36), '
    'name VARCHAR(255), transport_url TEXT, database_connection TEXT, '
    'disabled BOOL)',
    'CREATE TABLE services (id INT PRIMARY KEY AUTO_INCREMENT, '
    'host VARCHAR(255), `binary` VARCHAR(255), disabled BOOL, '
    'forced_down BOOL, deleted INT, last_seen_up DATETIME, '
    'created_at DATETIME)')
# As many computes as a cell of medium size has.
_SERVICES = ('INSERT INTO services (host, `binary`, disabled, forced_down, '
             'deleted, last_seen_up) SELECT seq, IF(seq < 3, '
             '"nova-conductor", "nova-compute"), 0, 0, 0, '
             'UTC_TIMESTAMP() FROM seq_1_to_100')
_CELL0 = '00000000-0000-0000-0000-000000000000'


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one process needs.

    :param first: seconds until all cells were known
    :param round: seconds for a round of all that somebody asks for
    :param processor: the part of a core that it holds
    :param request: how long an anonymous request takes, in requests to a
        bare callable, as a machine's pace changes in the meantime
    :param memory: resident bytes
    """

    cells: int
    first: float
    round: float
    processor: float
    threads: int
    connections: int
    memory: int
    request: float


def measure(directory: pathlib.Path) -> list[Cost]:
    with running(max(SIZES)) as (mariadb, rabbitmq):
        return [Cost(**run(
            pathlib.Path(__file__).parents[1], cells,
            configure(directory, mariadb, rabbitmq, cells)))
            for cells in SIZES]


def run(tree: pathlib.Path, cells: int,
        config: pathlib.Path) -> dict[str, Any]:
    """What a process of a tree of this project costs."""
    child = subprocess.run(
        [sys.executable, '-m', 'benchmarks.cells', str(cells), str(config)],
        check=True, stdout=subprocess.PIPE, text=True, cwd=tree)
    found: dict[str, Any] = json.loads(child.stdout)
    return found


@contextlib.contextmanager
def running(cells: int,
            ) -> Iterator[tuple[servers.MariaDB, servers.RabbitMQ]]:
    """Servers for a number of cells."""
    mariadb = servers.MariaDB(max_connections=2 * cells + 100)
    rabbitmq = servers.RabbitMQ()
    try:
        for server in (mariadb, rabbitmq):
            server.start()
        yield mariadb, rabbitmq
    finally:
        for server in (mariadb, rabbitmq):
            server.close()


def configure(directory: pathlib.Path, mariadb: servers.MariaDB,
              rabbitmq: servers.RabbitMQ, cells: int) -> pathlib.Path:
    """Make the cells; return the service's configuration file."""
    schema = f'nova{cells}'
    mariadb.create_database(schema)
    mariadb.create_user(schema, 'secret', schema)
    for statement in (*_TABLES, _SERVICES):
        mariadb.sql(f'USE {schema}')
        mariadb.sql(statement)
    rabbitmq.add_user(schema, 'secret')
    rabbitmq.set_permissions(schema)
    database = mariadb.url(schema, 'secret', schema, 'mysql+pymysql')
    queue = rabbitmq.url(schema, 'secret')
    mariadb.sql('INSERT INTO cell_mappings VALUES '
                '(0, %s, "cell0", "none:///", %s, 0)', _CELL0, database)
    # Two cells with the same URL would be one target. What is behind the ?
    # makes no difference to a server.
    mariadb.sql('INSERT INTO cell_mappings SELECT seq, UUID(), '
                'CONCAT("cell", seq), CONCAT(%s, "?processname=", seq), '
                'CONCAT(%s, "?program_name=cell", seq), 0 '
                f'FROM seq_1_to_{cells}', queue, database)
    path = directory / f'{schema}.conf'
    path.write_text('\n'.join([
        '[DEFAULT]', f'transport_url = {queue}',
        # Nobody beats meanwhile.
        'service_down_time = 86400',
        '[database]', f'connection = {database}',
        '[api_database]', f'connection = {database}',
        '[healthcheck]', 'backends = cells,services', 'services_of = nova',
        'sharing = process', 'detail_source_ranges = 127.0.0.1', '']))
    return path


class _Node:
    """The process that is measured."""

    def __init__(self, config: pathlib.Path) -> None:
        conf = cfg.ConfigOpts()
        conf(['--config-file', str(config)])
        self.door = healthcheck.Healthcheck(_below, conf)

    def ask(self, path: str = '/healthcheck',
            bare: bool = False) -> tuple[str, bytes]:
        told: list[Any] = []

        def start_response(*args: Any) -> Any:
            told.extend(args)

        body = b''.join((_below if bare else self.door)({
            'REQUEST_METHOD': 'GET', 'SCRIPT_NAME': '', 'PATH_INFO': path,
            'QUERY_STRING': '', 'SERVER_NAME': 'localhost',
            'SERVER_PORT': '8774', 'REMOTE_ADDR': '127.0.0.1',
            'HTTP_ACCEPT': 'application/json'}, start_response))
        return told[0], body

    def up(self) -> int:
        """How many cells are up, for both checks, cell0 included."""
        _, body = self.ask('/healthcheck/detail')
        return min((sum(component['status'] == 'pass'
                        for component in check['components'])
                    for check in json.loads(body)['checks']), default=0)

    def refresh(self) -> None:
        """What an admin's refresh does."""
        self.door._engine.get().refresh()


def _watch(cells: int, config: pathlib.Path) -> Cost:
    began = time.monotonic()
    node = _Node(config)
    while node.up() <= cells:
        if time.monotonic() > began + PATIENCE:
            raise RuntimeError(node.ask('/healthcheck/detail')[1].decode())
        time.sleep(0.1)
    first = time.monotonic() - began
    process = psutil.Process()
    time.sleep(INTERVAL)  # after the first round all is as it always is
    before, began = _processor(process), time.monotonic()
    time.sleep(WATCHED)
    processor = (_processor(process) - before) / (time.monotonic() - began)
    threads = threading.active_count()
    connections = len(process.net_connections('tcp'))
    memory = process.memory_info().rss
    request = statistics.median(
        timeit.timeit(node.ask, number=1000)
        / timeit.timeit(lambda: node.ask(bare=True), number=1000)
        for _ in range(51))
    began = time.monotonic()
    node.refresh()
    return Cost(cells, first, time.monotonic() - began, processor, threads,
                connections, memory, request)


def _processor(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _below(environ: Mapping[str, Any], start_response: Any) -> list[bytes]:
    start_response('404 Not Found', [])
    return [b'']


if __name__ == '__main__':
    print(json.dumps(dataclasses.asdict(_watch(int(sys.argv[1]),
                                               pathlib.Path(sys.argv[2])))),
          flush=True)
    os._exit(0)  # a thousand connections need not be closed one by one
