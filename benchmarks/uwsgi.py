# SPDX-License-Identifier: Apache-2.0

"""Throughput under uWSGI, with wrk for the load."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from urllib import request

import psutil

PATH = '/healthcheck'


@dataclasses.dataclass(frozen=True)
class Use:
    """How the apps are used.

    :param option: uWSGI's, for such a socket
    :param connections: how many there are, and threads to serve them: with
        fewer of either the workers wait for wrk
    """

    title: str
    option: str
    rounds: int
    apps: tuple[str, ...] = ('bare', 'ours', 'oslo')
    workers: int = 1
    connections: int = 4


# What HAProxy does; opening connections makes the figures scatter.
EACH = Use('a connection for each request', '--http-socket', 16)
# The server itself costs least, so a difference between apps shows most.
KEPT = Use('connections kept alive', '--http11-socket', 6)
# What it costs to answer from the report of another worker.
SHARED = Use('16 workers and 64 clients', '--http-socket', 16,
             ('bare', 'ours', 'ours_shared'), 16, 64)


@dataclasses.dataclass(frozen=True)
class Round:
    """What one app did in one second."""

    requests: int
    seconds: float
    processor: float
    """Seconds for which the worker held a processor."""

    @property
    def rate(self) -> float:
        """Requests per second, as the load generator counts them."""
        return self.requests / self.seconds

    @property
    def cost(self) -> float:
        """Seconds of a processor for each request.

        It still tells two apps apart where the load generator is the slower
        one and the worker waits for it.
        """
        return self.processor / self.requests


@dataclasses.dataclass(frozen=True)
class Throughput:
    """All rounds of one app."""

    rounds: Sequence[Round]
    bare: Sequence[Round]
    ours: Sequence[Round]
    """The bare callable's, and ours with probers of its own, at the same
    times."""

    @property
    def rate(self) -> float:
        return statistics.median(one.rate for one in self.rounds)

    @property
    def cost(self) -> float:
        return statistics.median(one.cost for one in self.rounds)

    @property
    def ratio(self) -> float:
        """Of the rate to the bare callable's, within each round."""
        return self._ratio(self.bare)

    @property
    def ratio_to_ours(self) -> float:
        return self._ratio(self.ours)

    def _ratio(self, others: Sequence[Round]) -> float:
        return statistics.median(one.rate / other.rate for one, other
                                 in zip(self.rounds, others))

    @property
    def busy(self) -> float:
        return statistics.median(r.processor / r.seconds for r in self.rounds)


def measure(directory: pathlib.Path, use: Use) -> dict[str, Throughput]:
    """Let all apps take turns, and compare within each round."""
    rounds: dict[str, list[Round]] = {app: [] for app in use.apps}
    with contextlib.ExitStack() as stack:
        served = {app: stack.enter_context(_serve(app, directory, use))
                  for app in use.apps}
        for url, _ in served.values():
            _wrk(url, use.connections)  # each worker's first report
        for number in range(use.rounds):
            # Every other round backwards, so that none always comes first.
            for app in use.apps[::-1] if number % 2 else use.apps:
                rounds[app].append(_load(*served[app], use.connections))
    return {app: Throughput(rounds[app], rounds['bare'], rounds['ours'])
            for app in use.apps}


def _load(url: str, workers: Sequence[int], connections: int) -> Round:
    before = _processor_time(workers)
    output = _wrk(url, connections)
    processor = _processor_time(workers) - before
    # That connections end is no error here: uWSGI does not announce it.
    found = re.search(r'(\d+) requests in ([\d.]+)s', output)
    if not found or int(found[1]) == 0 or 'Non-2xx' in output:
        raise RuntimeError(f'wrk says:\n{output}')
    return Round(int(found[1]), float(found[2]), processor)


def _wrk(url: str, connections: int) -> str:
    return subprocess.run(
        [*_pinned(-1), _program('wrk'), '-t1', f'-c{connections}', '-d1s',
         url], check=True, stdout=subprocess.PIPE, text=True).stdout


def _processor_time(processes: Sequence[int]) -> float:
    """Seconds that all threads of the processes have run for."""
    return sum(int(task.read_text().split()[0]) for process in processes
               for task in pathlib.Path(f'/proc/{process}/task').glob(
                   '*/schedstat')) / 1e9


@contextlib.contextmanager
def _serve(app: str, directory: pathlib.Path, use: Use,
           ) -> Iterator[tuple[str, list[int]]]:
    """Serve an app; give its URL and the numbers of its workers."""
    with socket.create_server(('127.0.0.1', 0)) as found:
        address = '127.0.0.1:{}'.format(found.getsockname()[1])
    log = directory / f'{app}.log'
    command = [
        *_pinned(0), _program('uwsgi'), use.option, address,
        '--wsgi', 'benchmarks.served', '--virtualenv', sys.prefix,
        '--chdir', str(pathlib.Path(__file__).parents[1]),
        '--master', '--workers', str(use.workers), '--enable-threads',
        '--threads', str(max(1, use.connections // use.workers)),
        '--need-app', '--die-on-term',
        '--disable-logging']
    with log.open('wb') as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output,
            env={**os.environ, 'BENCHMARK_APP': app,
                 'BENCHMARK_DIRECTORY': str(directory)})
    try:
        url = f'http://{address}{PATH}'
        _wait(url, process, log)
        yield url, [child.pid for child
                    in psutil.Process(process.pid).children()]
    finally:
        process.terminate()
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes],
          log: pathlib.Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            with request.urlopen(url, timeout=5):
                return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f'uWSGI: {error}\n{log.read_text()}') from None
            time.sleep(0.05)


def _program(name: str) -> str:
    # uWSGI comes from pip, and its virtualenv need not be active.
    path = os.pathsep.join([os.path.dirname(sys.executable),
                            os.environ.get('PATH', os.defpath)])
    found = shutil.which(name, path=path)
    if found is None:
        raise RuntimeError(f'{name} was not found (see bindep.txt)')
    return found


def _pinned(index: int) -> list[str]:
    """Give server and load a processor each, where there are two."""
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) < 2:
        return []
    return ['taskset', '--cpu-list', str(processors[index])]
