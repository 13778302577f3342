# SPDX-License-Identifier: Apache-2.0

"""A private PostgreSQL."""

from __future__ import annotations

import glob
import pathlib
import re
import signal
import subprocess
import threading
from typing import Any
from urllib import parse

import psycopg2
import psycopg2.extensions

from tests.functional.servers import process

DIRECTORIES = ('/usr/lib/postgresql/*/bin', '/usr/pgsql-*/bin')


class PostgreSQL(process.Server):
    """A PostgreSQL server with an empty cluster.

    TCP asks for a password, the UNIX socket does not. The server logs every
    login and every statement, so that they can be counted exactly; its own
    statistics lag behind by up to ten seconds.
    """

    name = 'postgresql'
    # "Fast" shutdown: do not wait for clients to leave.
    stop_signal = signal.SIGINT

    def __init__(self, max_connections: int = 50) -> None:
        super().__init__()
        self.data = self.directory / 'data'
        self.max_connections = max_connections
        self.hot_standby = True
        self._connection: psycopg2.extensions.connection | None = None
        self._lock = threading.Lock()

    @staticmethod
    def _binary(name: str) -> str:
        directories = [directory for pattern in DIRECTORIES
                       for directory in sorted(glob.glob(pattern))[::-1]]
        return process.find_binary(name, 'postgresql', *directories)

    def prepare(self) -> None:
        self.run([self._binary('initdb'), f'--pgdata={self.data}',
                  '--username=postgres', '--no-sync', '--encoding=UTF8',
                  '--no-locale', '--auth-local=trust',
                  '--auth-host=scram-sha-256'])

    def command(self) -> list[str]:
        settings = {'listen_addresses': self.host, 'port': self.port,
                    'unix_socket_directories': self.directory,
                    'max_connections': self.max_connections,
                    # Survive a kill, but not a power cut.
                    'fsync': 'off',
                    'full_page_writes': 'off', 'shared_buffers': '8MB',
                    'autovacuum': 'off',
                    'hot_standby': 'on' if self.hot_standby else 'off',
                    'max_wal_senders': 0, 'wal_level': 'replica',
                    # Leave nothing in /dev/shm after a crash.
                    'dynamic_shared_memory_type': 'mmap',
                    'log_statement': 'all', 'log_connections': 'on',
                    'log_line_prefix': '%m user=%u '}
        return [self._binary('postgres'), '-D', str(self.data),
                *(f'--{key}={value}' for key, value in settings.items())]

    def ready(self) -> bool:
        try:
            return self.sql('SELECT 1') == [(1,)]
        except psycopg2.Error as exc:
            return not self.hot_standby and (
                'Hot standby mode is disabled' in str(exc))

    def disconnect(self) -> None:
        with self._lock:
            self._forget()

    def close(self) -> None:
        self.stop()
        remove_shared_memory(self.data)
        super().close()

    def heal(self) -> None:
        self.thaw()
        if not self.hot_standby:
            self.stop()
            self.hot_standby = True
            self.start()
        if self.running and self.ready() and self.in_recovery:
            self.promote()
        super().heal()

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Execute one statement as the superuser; return its rows.

        All statements share one connection, kept out of every count.
        """
        with self._lock:
            if self._connection is None or self._connection.closed:
                self._connection = psycopg2.connect(
                    host=str(self.directory), port=self.port,
                    user='postgres', dbname='postgres', connect_timeout=10)
                self._connection.autocommit = True
            try:
                with self._connection.cursor() as cursor:
                    cursor.execute(statement, values or None)
                    return cursor.fetchall() if cursor.description else []
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                # Lost, for all we know: the next statement connects again.
                self._forget()
                raise

    def create_database(self, name: str) -> None:
        self.sql(f'CREATE DATABASE "{name}"')

    def create_user(self, user: str, password: str, database: str) -> None:
        """Create a user that may do anything in one database."""
        self.sql(f'CREATE USER "{user}" PASSWORD %s', password)
        self.sql(f'ALTER DATABASE "{database}" OWNER TO "{user}"')

    def set_password(self, user: str, password: str) -> None:
        self.sql(f'ALTER USER "{user}" PASSWORD %s', password)

    def drop_user(self, user: str) -> None:
        self.sql(f'DROP USER IF EXISTS "{user}"')

    def drop_database(self, name: str) -> None:
        self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def connections(self, user: str) -> int:
        """Return how many connections the user has open."""
        return int(self.sql('SELECT COUNT(*) FROM pg_stat_activity'
                            ' WHERE usename = %s', user)[0][0])

    def disconnect_user(self, user: str) -> None:
        """Have the server close every connection of the user."""
        self.sql('SELECT pg_terminate_backend(pid) FROM pg_stat_activity'
                 ' WHERE usename = %s', user)

    def logins(self, user: str) -> int:
        """Return how often the user has ever logged in."""
        return self._logged(user, 'connection authorized:')

    def statements(self, user: str) -> int:
        """Return how many statements the user has ever sent."""
        return self._logged(user, '(?:statement|execute [^:]*):')

    def set_read_only(self, database: str, read_only: bool) -> None:
        """Make new sessions of a database read-only, or no more so."""
        self.sql(f'ALTER DATABASE "{database}"'
                 ' SET default_transaction_read_only = %s',
                 'on' if read_only else 'off')

    @property
    def in_recovery(self) -> bool:
        return self.sql('SELECT pg_is_in_recovery()') == [(True,)]

    def standby(self, hot: bool = True) -> None:
        """Restart as a standby.

        :param hot: whether it answers, without taking writes
        """
        self.stop()
        self.hot_standby = hot
        (self.data / 'standby.signal').touch()
        self.start()

    def promote(self) -> None:
        """Turn a standby into a primary, its clients connected."""
        self.sql('SELECT pg_promote()')

    def url(self, user: str, password: str, database: str,
            driver: str = 'postgresql+psycopg2',
            port: int | None = None) -> str:
        """Return an SQLAlchemy URL of this server, or of a relay's port."""
        return (f'{driver}://{parse.quote(user, safe="")}'
                f':{parse.quote(password, safe="")}'
                f'@{self.host}:{port or self.port}/{database}')

    def _logged(self, user: str, what: str) -> int:
        line = re.compile(rf'^\S+ \S+ \S+ user={re.escape(user)} LOG:  {what}',
                          re.MULTILINE)
        return len(line.findall(self.log.read_text(errors='replace')))

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def remove_shared_memory(data: pathlib.Path) -> None:
    """Remove the memory segment that a crashed server has left behind."""
    try:
        # A server that shut down properly has removed this file too.
        lines = (data / 'postmaster.pid').read_text().splitlines()
    except FileNotFoundError:
        return
    # Killed early in its start, it had no time to note the segment down.
    if len(lines) > 6:
        segment = lines[6].split()[1]
        subprocess.run(['ipcrm', '-m', segment], check=True)
