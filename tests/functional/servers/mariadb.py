# SPDX-License-Identifier: Apache-2.0

"""A private MariaDB."""

from __future__ import annotations

import threading
from typing import Any
from urllib import parse

import pymysql

from tests.functional.servers import process


class MariaDB(process.Server):
    """A MariaDB server with an empty data directory."""

    name = 'mariadb'

    def __init__(self, max_connections: int = 100) -> None:
        super().__init__()
        self.data = self.directory / 'data'
        self.socket = self.directory / 'socket'
        self.max_connections = max_connections
        self._connection: pymysql.Connection[Any] | None = None
        self._lock = threading.Lock()

    def prepare(self) -> None:
        program = process.find_binary('mariadb-install-db',
                                      'mariadb-server-core')
        self.run([program, '--no-defaults', f'--datadir={self.data}',
                  '--auth-root-authentication-method=normal',
                  '--skip-test-db', '--skip-name-resolve',
                  '--innodb-flush-method=nosync',
                  '--innodb-log-file-size=4M',
                  '--innodb-data-file-path=ibdata1:4M:autoextend',
                  f'--tmpdir={self.directory}'])

    def command(self) -> list[str]:
        program = process.find_binary('mariadbd', 'mariadb-server-core')
        return [program, '--no-defaults', f'--datadir={self.data}',
                f'--tmpdir={self.directory}',
                f'--socket={self.socket}', f'--pid-file={self.data}/pid',
                f'--bind-address={self.host}', f'--port={self.port}',
                f'--max-connections={self.max_connections}',
                '--skip-name-resolve', '--skip-log-bin',
                # Survive a kill, but not a power cut.
                '--innodb-flush-method=nosync',
                '--innodb-flush-log-at-trx-commit=2',
                '--innodb-log-file-size=4M',
                '--innodb-data-file-path=ibdata1:4M:autoextend',
                '--innodb-buffer-pool-size=16M',
                '--key-buffer-size=1M', '--aria-pagecache-buffer-size=8M',
                '--innodb-fast-shutdown=2',
                '--performance-schema=off']

    def ready(self) -> bool:
        try:
            return self.sql('SELECT 1') == [(1,)]
        except (pymysql.MySQLError, OSError):
            return False

    def disconnect(self) -> None:
        with self._lock:
            self._forget()

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Execute one statement as root; return its rows.

        All statements share one connection, so that the bench adds nothing
        to the count of connections a test looks at.
        """
        with self._lock:
            if self._connection is None:
                self._connection = pymysql.connect(
                    host=self.host, port=self.port, user='root',
                    autocommit=True, connect_timeout=10, read_timeout=60)
            try:
                with self._connection.cursor() as cursor:
                    cursor.execute(statement, values or None)
                    return list(cursor.fetchall())
            except (pymysql.OperationalError, pymysql.InterfaceError):
                # Lost, for all we know: the next statement connects again.
                self._forget()
                raise

    def create_database(self, name: str) -> None:
        self.sql(f'CREATE DATABASE `{name}`')

    def create_user(self, user: str, password: str, database: str) -> None:
        """Create a user that may do anything in one database."""
        self.sql(f"CREATE USER `{user}`@'%%' IDENTIFIED BY %s", password)
        self.sql(f"GRANT ALL ON `{database}`.* TO `{user}`@'%'")

    def set_password(self, user: str, password: str) -> None:
        self.sql(f"SET PASSWORD FOR `{user}`@'%%' = PASSWORD(%s)", password)

    def drop_user(self, user: str) -> None:
        self.sql(f"DROP USER IF EXISTS `{user}`@'%'")

    def drop_database(self, name: str) -> None:
        self.sql(f'DROP DATABASE IF EXISTS `{name}`')

    def connections(self, user: str) -> int:
        """Return how many connections the user has open."""
        return int(self.sql(
            'SELECT COUNT(*) FROM information_schema.processlist'
            ' WHERE user = %s', user)[0][0])

    def disconnect_user(self, user: str) -> None:
        """Have the server close every connection of the user."""
        self.sql(f'KILL USER `{user}`')

    def status(self, name: str) -> int:
        """Return a counter of SHOW GLOBAL STATUS."""
        return int(self.status_text(name))

    def status_text(self, name: str) -> str:
        return str(self.sql('SHOW GLOBAL STATUS LIKE %s', name)[0][1])

    def questions(self) -> int:
        """Return how many statements anyone but the bench has sent."""
        return int(self.sql(
            'SELECT total.variable_value - own.variable_value'
            ' FROM information_schema.global_status AS total'
            ' JOIN information_schema.session_status AS own'
            ' USING (variable_name)'
            " WHERE variable_name = 'QUESTIONS'")[0][0])

    def url(self, user: str, password: str, database: str,
            driver: str = 'mysql+pymysql', port: int | None = None) -> str:
        """Return an SQLAlchemy URL of this server, or of a relay's port."""
        return (f'{driver}://{parse.quote(user, safe="")}'
                f':{parse.quote(password, safe="")}'
                f'@{self.host}:{port or self.port}/{database}')

    def _forget(self) -> None:
        if self._connection is not None:
            # Without a goodbye: a frozen server would never answer it.
            self._connection._force_close()  # type: ignore[attr-defined]
            self._connection = None
