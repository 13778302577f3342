# SPDX-License-Identifier: Apache-2.0

"""Plugin ``database``: a file of SQLite."""

from __future__ import annotations

import os
import pathlib
import signal
import sqlite3
import threading
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import engine
from sqlalchemy import pool

from healthcheck.targets import database_target
from healthcheck.targets import dialects
from healthcheck.targets import sqlite
from tests.functional import service as service_module


def service(path: pathlib.Path, **options: Any) -> service_module.Service:
    return service_module.Service(
        'database', database_connection=f'sqlite:///{path}', **options)


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    # What has a meaning in a URI is a letter in the name of a file.
    path = tmp_path / 'z#schema 7.sqlite'
    with sqlite3.connect(path) as connection:
        connection.execute('CREATE TABLE things (name TEXT)')
    connection.close()
    return path


@pytest.mark.parametrize('before', ['a probe', 'it is opened'])
def test_moved_away(path: pathlib.Path, before: str,
                    monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe makes no empty file, which would pass from then on."""
    if before == 'it is opened':  # it was still there when it was looked for
        monkeypatch.setattr(sqlite.SQLite, 'missing', lambda dialect: None)
    aside = path.with_suffix('.aside')
    with service(path) as asked:
        asked.passes()
        path.rename(aside)
        asked.fails('DATABASE: NO SUCH DATABASE')
        assert not path.exists()
        aside.rename(path)
        asked.passes()
        asked.answers_at_once()


def test_moved_away_during_a_probe(path: pathlib.Path) -> None:
    """It is not there, and not one that cannot be written to."""
    url = engine.make_url(f'sqlite:///{path}')
    made = sqlalchemy.create_engine(url, poolclass=pool.NullPool)
    with made.connect() as connection:
        path.rename(path.with_suffix('.aside'))
        found = dialects.of(url, 1.0).ask(connection, dialects.Tolerance())
    assert found.reason == dialects.NO_SUCH_DATABASE


def test_not_a_database(path: pathlib.Path) -> None:
    content = path.read_bytes()
    with service(path) as asked:
        asked.passes()
        path.write_bytes(b'not a database, but long enough to be one' * 99)
        asked.fails('DATABASE: CORRUPT')
        path.write_bytes(content)
        asked.passes()


def test_locked(path: pathlib.Path) -> None:
    with service(path) as asked:
        asked.passes()
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute('BEGIN EXCLUSIVE')
        asked.fails('DATABASE: NO ANSWER')
        connection.execute('ROLLBACK')
        connection.close()
        asked.passes()
        asked.answers_at_once()


def test_read_only(path: pathlib.Path,
                   monkeypatch: pytest.MonkeyPatch) -> None:
    # root may write to any file, and tests may be run by root.
    monkeypatch.setattr(os, 'access', lambda path, mode: bool(
        os.stat(path).st_mode & 0o200))
    with service(path) as asked, service(
            path, database_read_only_ok=True) as tolerant:
        asked.passes()
        path.chmod(0o400)
        asked.fails('DATABASE: READ ONLY')
        tolerant.passes()
        path.chmod(0o600)
        asked.passes()


def test_in_memory() -> None:
    with service_module.Service(
            'database', database_connection='sqlite://') as asked:
        asked.passes()


def test_children_of_a_fork_can_use_sqlite(path: pathlib.Path) -> None:
    """No fork leaves a lock of SQLite, held by a visit, to the child.

    28 of 100 children hung before forks waited for visits.
    """
    over = threading.Event()

    def visit() -> None:
        target = database_target.DatabaseTarget(
            f'sqlite:///{path}', option='o', bound=4,
            tolerance=dialects.Tolerance())
        while not over.is_set():
            target.probe()

    threads = [threading.Thread(target=visit) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(100):
            child = os.fork()
            if not child:
                signal.alarm(30)  # for one that hangs
                with sqlite3.connect(path) as connection:
                    connection.execute('SELECT * FROM things').fetchall()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        over.set()
        for thread in threads:
            thread.join()
