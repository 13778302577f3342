# SPDX-License-Identifier: Apache-2.0

"""A database, and an account in it, on one of the servers of the bench."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import dataclasses
from typing import Any

import pytest

from tests.functional import servers
from tests.functional import service

# Everything that means something in a URL; each piece can be told from all
# else that is ever printed.
PASSWORD = 'Zq1x@Xv2k/Kw3j%41Jb4h:Hn5t#Yt6z,Rd7w;Mc8p?Lf9s&Gp2v=Dj7q Wb3m$Vk5n'

DRIVERS = ('mysql+pymysql', 'mysql+mysqldb',
           'postgresql+psycopg2', 'postgresql+psycopg')


@dataclasses.dataclass(frozen=True)
class Database:
    """Where a service keeps its data."""

    server: Any
    driver: str
    user: str = 'zuser7'
    password: str = PASSWORD
    name: str = 'zschema7'

    def url(self, port: int | None = None, host: str = '127.0.0.1') -> str:
        url: str = self.server.url(self.user, self.password, self.name,
                                   self.driver, port)
        return url.replace('@127.0.0.1:', f'@{host}:')

    def service(self, port: int | None = None, host: str = '127.0.0.1',
                **options: Any) -> service.Service:
        """A service that uses this database, perhaps through a relay."""
        return service.Service(
            'database', database_connection=self.url(port, host), **options)

    def relay(self) -> servers.Relay:
        return servers.Relay(self.server.host, self.server.port)

    def connections(self) -> int:
        connections: int = self.server.connections(self.user)
        return connections

    def create(self) -> None:
        self.server.create_database(self.name)
        self.server.create_user(self.user, self.password, self.name)

    def drop(self) -> None:
        self.server.drop_database(self.name)
        self.server.drop_user(self.user)


@contextlib.contextmanager
def on(server: Any, driver: str) -> Iterator[Database]:
    """A database that is there for the time of a test."""
    database = Database(server, driver)
    database.drop()
    database.create()
    try:
        yield database
    finally:
        server.heal()
        database.drop()


def requested(request: pytest.FixtureRequest) -> Iterator[Database]:
    """The body of a fixture whose parameter is a driver."""
    name = request.param.partition('+')[0]
    server = request.getfixturevalue(
        {'mysql': 'mariadb'}.get(name, name))
    with on(server, request.param) as database:
        yield database
