# SPDX-License-Identifier: Apache-2.0

"""One database, and the connection that probes it."""

from __future__ import annotations

from collections.abc import Hashable
from collections.abc import Sequence

import sqlalchemy
from sqlalchemy import engine
from sqlalchemy import event
from sqlalchemy import exc as sa_exc
from sqlalchemy import pool

from healthcheck.config import redact
from healthcheck import exceptions
from healthcheck.probing import evidence
from healthcheck.probing import target as target_module
from healthcheck.reports import report
from healthcheck.targets import address
from healthcheck.targets import connected
from healthcheck.targets import dialects
from healthcheck.targets import failures

_EXTRAS = {'MySQLdb': 'mysqlclient', 'psycopg': 'postgresql3',
           'psycopg2': 'postgresql', 'pymysql': 'mysql'}
"""The extra of this package that brings a driver, by the driver's module."""


class DatabaseTarget(connected.Connected):
    """Probes a database over one connection of its own.

    It does not use the service's engine facade: the first connect there holds
    a lock for up to 10 tries of 10 seconds.

    :param url_text: the URL, as for SQLAlchemy
    :param option: the URL's option, for an error
    :param bound: seconds that a connect, a read or a statement may take
    :param tolerance: faults that are accepted
    :raises exceptions.ConfigError: without the URL, which is secret
    """

    def __init__(self, url_text: str, *, option: str, bound: float,
                 tolerance: dialects.Tolerance) -> None:
        super().__init__(bound)
        self.name = option
        self._tolerance = tolerance
        self._redact = redact.Redactor(url_text)
        self._connection: sqlalchemy.Connection | None = None
        url = _parse(option, url_text)
        self.hosts = frozenset() if 'unix_socket' in url.query else (
            frozenset(filter(None, (url.host or '').split(','))))
        self._key = ('database', url.render_as_string(hide_password=False))
        self.traffic = address.mark_of(url)
        self.place = address.place_of(url)
        self._dialect = dialects.of(url, bound)
        try:
            self._sa_engine = sqlalchemy.create_engine(
                url, poolclass=pool.NullPool,
                execution_options={address.PROBE: True},
                connect_args=self._dialect.connect_args())
            refused = self._dialect.refused(
                self._sa_engine.dialect.create_connect_args(url)[1])
        except ValueError:
            refused = _refused(url)
        except (ImportError, sa_exc.ArgumentError) as exc:
            if 'sqlalchemy.plugins' in str(exc):
                raise exceptions.ConfigError([
                    f'{option}: plugin= behind the ? of the URL asks for a '
                    f'plugin of SQLAlchemy, such as dbcounter of DevStack: '
                    f'{self._redact(exc)} (install the package that has it, '
                    f'or remove plugin= from the URL)']) from None
            raise exceptions.ConfigError([
                f'{option} asks for {url.drivername}: {self._redact(exc)} '
                f'({_way_to_install(exc)})']) from None
        if refused is not None:
            # Without its value, which may be secret.
            raise exceptions.ConfigError([
                f'{option}: {url.drivername} does not take the option '
                f'{refused} behind the ? of the URL, or not its value'])
        event.listen(
            self._sa_engine, 'do_connect',
            lambda dialect, record, args, kwargs: self._dialect.connect(
                *args, **kwargs))

    @property
    def key(self) -> Hashable:
        return self._key

    @property
    def connected(self) -> bool:
        return self._connection is not None

    def probe(self, questions: Sequence[target_module.Question] = (),
              ) -> target_module.Findings:
        with self._dialect.visit():
            return super().probe(questions)

    def ask(self) -> report.Result:
        missing = self._dialect.missing()
        if missing is not None:
            return missing
        if self._connection is None:
            self._connection = self._sa_engine.connect()
            self.wire.follow(self._dialect.descriptor(
                self._connection.connection.dbapi_connection))
        return self._dialect.ask(self._connection, self._tolerance)

    def proved_at(self, seen: evidence.Seen) -> float:
        return self._dialect.proved_at(seen, self._tolerance)

    def put(self, question: target_module.Question) -> target_module.Answer:
        return question.ask(self._connection)

    def rest(self) -> None:
        if self._connection is None:
            return
        if self._dialect.keeps_connection:
            # End the transaction that SQLAlchemy began by itself: none stays
            # open between two probes.
            self._connection.rollback()
        else:
            self.drop()

    def drop(self) -> None:
        connection, self._connection = self._connection, None
        self.wire.follow(None)
        if connection is not None:
            try:
                connection.invalidate()
                connection.close()
            except Exception:  # it is dropped because it is broken
                pass

    def reason(self, exc: BaseException) -> str:
        reason = self._dialect.reason(exc)
        if reason == failures.FAILED and _invalidated(exc):
            return failures.CONNECTION_LOST
        return reason

    def lost(self, exc: BaseException) -> bool:
        return (_invalidated(exc) or super().lost(exc)
                or self._dialect.lost(exc))

    def describe(self, exc: BaseException) -> str:
        url = self._dialect.url
        where = f'{url.host or "localhost"}:{url.port}' if url.port else (
            url.host or url.database or '')
        cause = getattr(exc, 'orig', None) or exc
        return self._redact(f'{where}: {type(cause).__name__}: {cause}')


def _invalidated(exc: BaseException) -> bool:
    """Whether SQLAlchemy considers the connection closed."""
    return any(getattr(link, 'connection_invalidated', False)
               for link in failures.chain(exc))


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
    if url.port is not None and not 0 < url.port < 65536:
        raise exceptions.ConfigError([
            f'{option}: the port of the URL is {url.port} (allowed: 1 to '
            f'65535)'])
    return url


def _refused(url: engine.URL) -> str:
    """The option of a URL for which SQLAlchemy raises ValueError."""
    dialect = url.get_dialect()()
    for name, value in url.query.items():
        try:
            dialect.create_connect_args(url.set(query={name: value}))
        except ValueError:
            return name
    return ', '.join(url.query)


def _way_to_install(exc: Exception) -> str:
    # The module, and not the URL: SQLAlchemy 2.1 has another default.
    extra = _EXTRAS.get(getattr(exc, 'name', None) or '')
    if extra is None:
        return 'install the driver'
    return f"pip install 'openstack-healthcheck[{extra}]'"
