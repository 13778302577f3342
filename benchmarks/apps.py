# SPDX-License-Identifier: Apache-2.0

"""What is measured: ours, and what it is compared to."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
import contextlib
import pathlib
import sqlite3
from typing import TYPE_CHECKING

from oslo_config import cfg
import oslo_middleware
from oslo_middleware import base

import healthcheck

if TYPE_CHECKING:
    from _typeshed import wsgi

Maker = Callable[[pathlib.Path], 'wsgi.WSGIApplication']

# No probe but the first one falls into the time of a measurement.
_OPTIONS = {'interval': '3600', 'ttl': '86400', 'startup_wait': '10',
            'sharing': 'process'}


def bare_app(environ: wsgi.WSGIEnvironment,
             start_response: wsgi.StartResponse) -> Iterable[bytes]:
    """The least that a WSGI callable can do."""
    start_response('200 OK', [('Content-Type', 'text/plain'),
                              ('Content-Length', '2')])
    return [b'OK']


def bare(directory: pathlib.Path) -> wsgi.WSGIApplication:
    return bare_app


def ours(directory: pathlib.Path) -> wsgi.WSGIApplication:
    return healthcheck.Healthcheck(bare_app, {
        'backends': 'database', **_database(directory), **_OPTIONS})


def ours_shared(directory: pathlib.Path) -> wsgi.WSGIApplication:
    """All workers answer from the report of one."""
    return healthcheck.Healthcheck(bare_app, {
        'backends': 'database', **_database(directory), **_OPTIONS,
        'sharing': 'host', 'state_path': str(directory)})


def ours_in_fleet(directory: pathlib.Path) -> wsgi.WSGIApplication:
    """The same, and the host takes part in a fleet.

    Its store is away: no request asks it for anything.
    """
    apart = directory / 'fleet'
    apart.mkdir(mode=0o700, exist_ok=True)
    return healthcheck.Healthcheck(bare_app, {
        'backends': 'database', **_database(directory), **_OPTIONS,
        'sharing': 'host', 'state_path': str(apart),
        'fleet_url': 'redis://127.0.0.1:9', 'fleet_name': 'benchmark'})


def ours_without_evidence(directory: pathlib.Path) -> wsgi.WSGIApplication:
    return healthcheck.Healthcheck(bare_app, {
        'backends': 'database', **_database(directory), **_OPTIONS,
        'evidence': 'false'})


def ours_with_file(directory: pathlib.Path) -> wsgi.WSGIApplication:
    return healthcheck.Healthcheck(bare_app, {
        'backends': 'database, disable_by_file', **_file(directory),
        **_database(directory), **_OPTIONS})


def oslo(directory: pathlib.Path) -> wsgi.WSGIApplication:
    """oslo.middleware's own, as an app, as it is since release 8."""
    # It needs to be told of cfg.CONF, and writes its options there.
    cfg.CONF([], project='benchmarks', default_config_files=[])
    return oslo_middleware.Healthcheck.app_factory(
        {}, backends='disable_by_file', **_file(directory))


def oslo_filter(directory: pathlib.Path) -> wsgi.WSGIApplication:
    """A filter that does nothing, made the way oslo.middleware's are."""
    return base.Middleware(bare_app)


MAKERS: dict[str, Maker] = {
    'bare': bare, 'ours': ours, 'ours_shared': ours_shared,
    'ours_in_fleet': ours_in_fleet, 'ours_with_file': ours_with_file,
    'ours_without_evidence': ours_without_evidence,
    'oslo': oslo, 'oslo_filter': oslo_filter}


def _database(directory: pathlib.Path) -> dict[str, str]:
    database = directory / 'benchmark.db'
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute('CREATE TABLE IF NOT EXISTS t (id INTEGER)')
    return {'database_connection': f'sqlite:///{database}'}


def _file(directory: pathlib.Path) -> dict[str, str]:
    return {'disable_by_file_path': str(directory / 'drain')}
