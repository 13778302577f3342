# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Plugin ``database``: can the service work with its database?"""

from __future__ import annotations

import sqlalchemy
from sqlalchemy import engine
from sqlalchemy import exc as sa_exc
from sqlalchemy import pool

from healthcheck import config
from healthcheck import exceptions
from healthcheck.plugins import base
from healthcheck.plugins import connected
from healthcheck.plugins import dialects
from healthcheck import redact

# A driver's bounds end before the check's timeout does, so that the thread
# comes back by itself, and with a reason.
_BOUND = 0.8


class Database(connected.ConnectedPlugin):
    """Probes the service's database over one connection of its own.

    Not through the service's engine facade: its first connect holds a lock
    for up to 10 tries of 10 seconds.
    """

    name = 'database'

    def set_up(self) -> None:
        settings = self.settings
        option, url_text = self._find_url()
        self._redact = redact.Redactor(url_text)
        url = _parse(option, url_text)
        self._tolerance = dialects.Tolerance(
            read_only=settings.database_read_only_ok,
            galera_donor=settings.database_galera_donor_ok)
        self.bound = settings.timeout * _BOUND
        self._dialect = dialects.of(url, self.bound)
        try:
            self._sa_engine = sqlalchemy.create_engine(
                url, poolclass=pool.NullPool,
                connect_args=self._dialect.connect_args())
        except (ImportError, sa_exc.ArgumentError) as exc:
            raise exceptions.ConfigError([
                f'{option} asks for {url.drivername}: {self._redact(exc)} '
                f'(install the driver, for example with the extra [mysql] '
                f'or [postgresql] of openstack-healthcheck)']) from None
        self._connection: sqlalchemy.Connection | None = None

    @property
    def connected(self) -> bool:
        return self._connection is not None

    def ask(self) -> base.Result:
        missing = self._dialect.missing()
        if missing is not None:
            return missing
        if self._connection is None:
            self._connection = self._sa_engine.connect()
            self.wire.follow(self._dialect.descriptor(
                self._connection.connection.dbapi_connection))
        result = self._dialect.ask(self._connection, self._tolerance)
        if self._dialect.keeps_connection:
            # Ends what SQLAlchemy has begun by itself: nothing stays open
            # between two probes.
            self._connection.rollback()
        else:
            self.drop()
        return result

    def drop(self) -> None:
        connection, self._connection = self._connection, None
        self.wire.follow(None)
        if connection is not None:
            try:
                connection.invalidate()
                connection.close()
            except Exception:  # it is broken, that is why it goes
                pass

    def reason(self, exc: BaseException) -> str:
        return self._dialect.reason(exc)

    def describe(self, exc: BaseException) -> str:
        url = self._dialect.url
        where = f'{url.host or "localhost"}:{url.port}' if url.port else (
            url.host or url.database or '')
        cause = getattr(exc, 'orig', None) or exc
        return self._redact(f'{where}: {type(cause).__name__}: {cause}')

    def _find_url(self) -> tuple[str, str]:
        """(name of the option, URL), as oslo.db composes it.

        :raises exceptions.ConfigError: if none is set
        """
        own = self.settings.database_connection
        if own:
            return 'database_connection', own
        url = config.service_option(self.view, 'database', 'connection')
        if not url:
            raise exceptions.ConfigError([
                'database: there is no database to probe; set '
                '[database]connection of the service, or '
                'database_connection'])
        parameters = config.service_option(
            self.view, 'database', 'connection_parameters')
        if parameters:
            url += ('&' if '?' in url else '?') + parameters
        return '[database]connection', url


def _parse(option: str, text: str) -> engine.URL:
    """:raises exceptions.ConfigError: without the URL, which is secret."""
    try:
        url = engine.make_url(text)
    except (sa_exc.ArgumentError, ValueError):
        raise exceptions.ConfigError([
            f'{option}: not the URL of a database (allowed: '
            f'dialect+driver://user:password@host:port/name)']) from None
    if '@' in (url.host or '') or '@' in (url.database or '') and (
            url.get_backend_name() != 'sqlite'):
        raise exceptions.ConfigError([
            f'{option}: the password holds an @ that is not '
            f'percent-encoded (write %40)'])
    return url
