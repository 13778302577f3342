# SPDX-License-Identifier: Apache-2.0

"""Time per request in process, without a server."""

from __future__ import annotations

import dataclasses
import io
import pathlib
import statistics
import sys
import time
import timeit
from typing import Any, TYPE_CHECKING

from benchmarks import apps

if TYPE_CHECKING:
    from _typeshed import wsgi

HEALTH = '/healthcheck'
API = '/v2.1/servers/detail'

REPEATS = 21
# How long one sample takes, in seconds.
SAMPLE = 0.03


@dataclasses.dataclass(frozen=True)
class Case:
    """One request to one app."""

    title: str
    app: str
    path: str = HEALTH
    method: str = 'GET'
    accept: str | None = None


BARE = Case('Bare WSGI callable, two bytes', 'bare')
OURS = Case('This project, text, ``database``', 'ours')
OURS_SHARED = Case('… with a shared prober', 'ours_shared')
OURS_IN_FLEET = Case('… and ``fleet_url``', 'ours_in_fleet')
OURS_WITH_FILE = Case('… and ``disable_by_file``', 'ours_with_file')
OSLO = Case('oslo.middleware, text, ``disable_by_file``', 'oslo')
PASSED_ON = Case('Passed on by this project\'s filter', 'ours', API)
PASSED_ON_UNHEARD = Case('… without evidence', 'ours_without_evidence', API)

CASES = (
    BARE, OURS, OURS_SHARED, OURS_IN_FLEET, OURS_WITH_FILE,
    Case('This project, health+json', 'ours',
         accept='application/health+json'),
    Case('This project, HEAD', 'ours', method='HEAD'),
    OSLO,
    Case('oslo.middleware, JSON', 'oslo', accept='application/json'),
    Case('oslo.middleware, HEAD', 'oslo', method='HEAD'),
    PASSED_ON, PASSED_ON_UNHEARD,
    Case('Passed on by a filter of oslo.middleware\'s kind (webob)',
         'oslo_filter', API))


def measure(directory: pathlib.Path) -> dict[Case, float]:
    """Seconds per request of each case: the median of its samples.

    Samples of all cases take turns, so that what slows the machine down for
    a while slows all of them down.
    """
    made = {name: maker(directory) for name, maker in apps.MAKERS.items()}
    timers = {case: _timer(case, made[case.app]) for case in CASES}
    numbers = {case: _number(timer) for case, timer in timers.items()}
    samples: dict[Case, list[float]] = {case: [] for case in CASES}
    for _ in range(REPEATS):
        for case, timer in timers.items():
            number = numbers[case]
            samples[case].append(timer.timeit(number) / number)
    return {case: statistics.median(times)
            for case, times in samples.items()}


def _number(timer: timeit.Timer) -> int:
    """How many requests take about SAMPLE seconds."""
    number, taken = timer.autorange()
    return max(1, int(number * SAMPLE / taken))


def _timer(case: Case, app: wsgi.WSGIApplication) -> timeit.Timer:
    environ = _environ(case)
    _wait_until_well(case, app, environ)

    def start_response(status: str, headers: list[tuple[str, str]],
                       exc_info: Any = None) -> Any:
        pass

    def request() -> None:
        for _ in app(environ, start_response):
            pass
    # Processor time, so that what else runs on the machine counts less.
    return timeit.Timer(request, timer=time.process_time)


def _wait_until_well(case: Case, app: wsgi.WSGIApplication,
                     environ: wsgi.WSGIEnvironment) -> None:
    """Have the first report made, and make sure of what is measured."""
    seen: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]],
                       exc_info: Any = None) -> Any:
        seen.append(status)

    deadline = time.monotonic() + 10
    while not (seen and seen[-1].startswith('20')):
        if time.monotonic() > deadline:
            raise RuntimeError(f'{case.title}: {seen[-1]}')
        for _ in app(environ, start_response):
            pass


def _environ(case: Case) -> wsgi.WSGIEnvironment:
    """What a server makes of a balancer's request."""
    environ: wsgi.WSGIEnvironment = {
        'REQUEST_METHOD': case.method, 'SCRIPT_NAME': '',
        'PATH_INFO': case.path, 'QUERY_STRING': '',
        'REQUEST_URI': case.path, 'RAW_URI': case.path,
        'SERVER_PROTOCOL': 'HTTP/1.1', 'SERVER_NAME': 'controller',
        'SERVER_PORT': '8774', 'SERVER_SOFTWARE': 'benchmark',
        'REMOTE_ADDR': '192.0.2.7', 'REMOTE_PORT': '41234',
        'HTTP_HOST': 'controller:8774', 'HTTP_USER_AGENT': 'benchmark',
        'wsgi.version': (1, 0), 'wsgi.url_scheme': 'http',
        'wsgi.input': io.BytesIO(), 'wsgi.errors': sys.stderr,
        'wsgi.multithread': True, 'wsgi.multiprocess': True,
        'wsgi.run_once': False}
    if case.accept is not None:
        environ['HTTP_ACCEPT'] = case.accept
    return environ
