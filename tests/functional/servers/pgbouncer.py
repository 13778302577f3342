# SPDX-License-Identifier: Apache-2.0

"""A private PgBouncer."""

from __future__ import annotations

import contextlib

import psycopg2

from tests.functional.servers import process

ADMIN = 'zadmin7'


class PgBouncer(process.Server):
    """A pooler in front of one database.

    :param port: of the PostgreSQL server
    :param name: of the database
    :param user: who may use it, with ``password``
    :param settings: of its section ``[pgbouncer]``
    """

    name = 'pgbouncer'

    def __init__(self, port: int, name: str, user: str, password: str,
                 **settings: object) -> None:
        super().__init__()
        self._database = f'{name} = host=127.0.0.1 port={port}'
        self._users = {user: password, ADMIN: ADMIN}
        self._settings = settings

    def prepare(self) -> None:
        users = self.directory / 'users'
        users.write_text(''.join(
            f'"{name}" "{password}"\n'
            for name, password in self._users.items()))
        settings = {'listen_addr': self.host, 'listen_port': self.port,
                    'unix_socket_dir': self.directory,
                    'auth_type': 'plain', 'auth_file': users,
                    'admin_users': ADMIN, 'pool_mode': 'transaction',
                    'server_login_retry': 1, **self._settings}
        (self.directory / 'pgbouncer.ini').write_text('\n'.join([
            '[databases]', self._database, '[pgbouncer]',
            *(f'{key} = {value}' for key, value in settings.items()), '']))

    def command(self) -> list[str]:
        return [process.find_binary('pgbouncer', 'pgbouncer'),
                str(self.directory / 'pgbouncer.ini')]

    def ready(self) -> bool:
        try:
            self.tell('SHOW VERSION')
        except psycopg2.Error:
            return False
        return True

    def tell(self, command: str) -> None:
        """Give a command to its console."""
        with contextlib.closing(psycopg2.connect(
                host=self.host, port=self.port, user=ADMIN, password=ADMIN,
                dbname='pgbouncer', connect_timeout=10)) as console:
            console.autocommit = True
            with console.cursor() as cursor:
                cursor.execute(command)
