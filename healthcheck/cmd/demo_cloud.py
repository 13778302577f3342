# SPDX-License-Identifier: Apache-2.0

"""A Nova of SQLite files for the demonstration, whose cells have bad days.

The checks that look at it are the real ones, and so are its faults: another
process holds a database's lock, or its file is gone. All that is simulated is
what runs in the cells.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import datetime
import pathlib
import select
import shlex
import sqlite3
import sys
import time
from urllib import error
from urllib import parse
from urllib import request

from healthcheck.cells import mappings
from healthcheck.probing import daemons

DATABASE = 'demo.db'
API_DATABASE = 'nova_api.db'
CELLS = ('cell1', 'cell2', 'cell3')

MINUTE = 60.0
"""Seconds after which the faults begin again."""

_AWAY = '.away'
_BEAT = 5.0
_POLL = 2.0
# The database is free for long enough that a statement which waits for it,
# and looks every 0.1 s, gets it before the end of its patience.
_HELD = 1.0
_FREE = 0.12

_SERVICES = (('nova-conductor', 2), ('nova-compute', 4))


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """What befalls a cell each minute, in seconds of the minute."""

    cell: str
    begins: float
    ends: float
    what: str

    def is_on(self, at: float) -> bool:
        return self.begins <= at % MINUTE < self.ends


SLOW = Fault('cell2', 8, 23, 'is slow: another process locks it')
LOST = Fault('cell3', 30, 48, 'is away: its file is renamed')
FAULTS = (SLOW, LOST)


def database_of(cell: str) -> str:
    """The name of the file of a cell's database."""
    return f'nova_{cell}.db'


def make(directory: pathlib.Path) -> None:
    """Make all databases that are not there yet."""
    for name in (DATABASE, API_DATABASE,
                 *map(database_of, ('cell0', *CELLS))):
        _bring_back(directory / name)
    _run(directory / DATABASE, 'CREATE TABLE IF NOT EXISTS demo (id INTEGER)')
    api = directory / API_DATABASE
    _run(api, 'CREATE TABLE IF NOT EXISTS cell_mappings (id INTEGER, '
         'uuid TEXT UNIQUE, name TEXT, transport_url TEXT, '
         'database_connection TEXT, disabled BOOLEAN)')
    for number, cell in enumerate(('cell0', *CELLS)):
        path = directory / database_of(cell)
        uuid = (mappings.CELL0 if number == 0 else
                f'{number:08}-0000-0000-0000-000000000000')
        _run(api, 'INSERT OR REPLACE INTO cell_mappings '
             'VALUES (?, ?, ?, ?, ?, 0)', number, uuid, cell,
             'kombu+memory://' if number else 'none:///', _url_of(path))
        _run(path, 'CREATE TABLE IF NOT EXISTS services (id INTEGER, '
             'host TEXT, "binary" TEXT, disabled BOOLEAN, '
             'forced_down BOOLEAN, deleted INTEGER, last_seen_up DATETIME, '
             'created_at DATETIME, UNIQUE (host, "binary"))')
    beat(directory)


def beat(directory: pathlib.Path) -> None:
    """Have each service in the cells report; none of a lost database's."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime(
        '%Y-%m-%d %H:%M:%S.%f')
    kinds = {cell: _SERVICES for cell in CELLS}
    for cell, services in {'cell0': (('nova-scheduler', 2),),
                           **kinds}.items():
        with contextlib.suppress(sqlite3.OperationalError), _opened(
                directory / database_of(cell), 'rw') as connection:
            connection.executemany(
                'INSERT OR REPLACE INTO services '
                'VALUES (?, ?, ?, 0, 0, 0, ?, ?)',
                [(number, f'{cell}-host{number}', binary, now, now)
                 for binary, count in services
                 for number in range(1, count + 1)])


def play(directory: pathlib.Path, pause: Callable[[float], bool],
         clock: Callable[[], float] = time.monotonic) -> None:
    """Let services report and faults come and go, until the end.

    :param pause: waits so many seconds; whether it is the end
    """
    began = clock()
    beaten = began
    lost = directory / database_of(LOST.cell)
    try:
        while True:
            now = clock()
            if now - beaten >= _BEAT:
                beat(directory)
                beaten = now
            if LOST.is_on(now - began):
                _take_away(lost)
            else:
                _bring_back(lost)
            if SLOW.is_on(now - began) and _hold(
                    directory / database_of(SLOW.cell), pause):
                return
            if pause(_FREE):
                return
    finally:
        _bring_back(lost)


def _hold(path: pathlib.Path, pause: Callable[[float], bool]) -> bool:
    """Lock a database for a moment; whether it is the end."""
    with contextlib.suppress(sqlite3.OperationalError), _opened(
            path, 'rw') as connection:
        connection.execute('BEGIN EXCLUSIVE')
        return pause(_HELD)
    return False


def _take_away(path: pathlib.Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.rename(f'{path}{_AWAY}')


def _bring_back(path: pathlib.Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        pathlib.Path(f'{path}{_AWAY}').rename(path)


def moves(path: pathlib.Path) -> tuple[str, str]:
    """The commands that break and repair a database."""
    here, away = (shlex.quote(text) for text in (str(path), f'{path}{_AWAY}'))
    return f'mv {here} {away}', f'mv {away} {here}'


def _run(path: pathlib.Path, statement: str, *values: object) -> None:
    with _opened(path, 'rwc') as connection:
        connection.execute(statement, values)


@contextlib.contextmanager
def _opened(path: pathlib.Path, mode: str) -> Iterator[sqlite3.Connection]:
    """A connection, committed at the end; ``rw`` makes no file."""
    name = f'file:{parse.quote(str(path))}?mode={mode}'
    with contextlib.closing(sqlite3.connect(
            name, uri=True, timeout=0.5)) as connection, connection:
        yield connection


def _url_of(path: pathlib.Path) -> str:
    # Nova's mappings are templates, and SQLAlchemy's URLs have ? for options.
    return f'sqlite:///{path}'


def _poll(url: str) -> None:
    """Ask as a balancer does, so that there is something to see at once."""
    while True:
        with contextlib.suppress(error.URLError, OSError):
            request.urlopen(url, timeout=_POLL).close()
        time.sleep(_POLL)


def main() -> None:
    """Run until standard input ends: the demonstration has ended."""
    directory, url = sys.argv[1:]
    daemons.start(_poll, 'poll', url)
    play(pathlib.Path(directory), lambda seconds: bool(
        select.select([sys.stdin], [], [], seconds)[0]))


if __name__ == '__main__':
    main()
