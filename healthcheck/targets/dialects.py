# SPDX-License-Identifier: Apache-2.0

"""What differs between databases: bounds, the question, the reasons.

Each dialect is a set of plain functions on a connection and an exception;
what holds the connection is in ``database_target.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import math
import os
from typing import Any

import sqlalchemy
from sqlalchemy import engine

from healthcheck.config import settings as settings_module
from healthcheck.reports import report
from healthcheck.targets import failures
from healthcheck.targets import mysql_faults

NO_SUCH_DATABASE = mysql_faults.NO_SUCH_DATABASE
READ_ONLY = mysql_faults.READ_ONLY
IN_RECOVERY = 'IN RECOVERY'
NOT_READY = mysql_faults.NOT_READY
NOT_SYNCED = 'NOT SYNCED'
NO_SERVER_BEHIND_PROXY = mysql_faults.NO_SERVER_BEHIND_PROXY
CORRUPT = 'CORRUPT'

Result = report.Result


@dataclasses.dataclass(frozen=True, slots=True)
class Tolerance:
    """What the operator accepts; see the options of the same names."""

    read_only: bool = False
    galera_donor: bool = False

    @classmethod
    def of(cls, settings: settings_module.Settings) -> Tolerance:
        """That of group ``[healthcheck]``, whose values these are."""
        return cls(settings.database_read_only_ok,
                   settings.database_galera_donor_ok)


class Dialect:
    """What is common: bounds are the driver's affair, and most ask alike.

    :param url: of the database
    :param bound: seconds that a connect, a read or a statement may take
    """

    phrases: Mapping[str, str] = {}
    keeps_connection = True

    def __init__(self, url: engine.URL, bound: float) -> None:
        self.url = url
        self.bound = bound

    def connect_args(self) -> dict[str, Any]:
        return {}

    def connect(self, *args: Any, **kwargs: Any) -> Any:
        """A connection of the driver's, or None to leave it to SQLAlchemy.

        Called with what the driver is to be given.
        """
        return None

    def refused(self, args: Mapping[str, Any]) -> str | None:
        """An option of the URL that the driver cannot use.

        For a driver that finds out as late as in a connect, and says so in
        words that do not help.

        :param args: what SQLAlchemy is to give to the driver
        """
        return None

    def missing(self) -> Result | None:
        """What can be told to be wrong without a connection."""
        return None

    def descriptor(self, raw: Any) -> int | None:
        """The socket of a connection whose reads the driver cannot bound."""
        return None

    def ask(self, connection: sqlalchemy.Connection,
            tolerance: Tolerance) -> Result:
        """Ask once, in the transaction that begins with the first statement.

        What bounds its statements also has to bound those that follow in
        that transaction.
        """
        connection.exec_driver_sql('SELECT 1').scalar()
        return Result.ok()

    def reason(self, exc: BaseException) -> str:
        return (failures.network_reason(exc)
                or failures.text_reason(exc, self.phrases)
                or failures.FAILED)

    def lost(self, exc: BaseException) -> bool:
        """Whether a connection that worked is gone.

        For what neither SQLAlchemy knows nor :meth:`reason` tells.
        """
        return False


class MySQL(Dialect):
    """MySQL, MariaDB, Percona XtraDB and Galera clusters."""

    def connect_args(self) -> dict[str, Any]:
        # PyMySQL's connect_timeout does not bound a server that accepts and
        # says nothing; read_timeout does. Both are set for both phases.
        if self.url.get_driver_name() == 'pymysql':
            return dict.fromkeys(
                ('connect_timeout', 'read_timeout', 'write_timeout'),
                self.bound)
        if self.url.get_driver_name() == 'mysqldb':
            return dict.fromkeys(
                ('connect_timeout', 'read_timeout', 'write_timeout'),
                math.ceil(self.bound))
        return {}

    def refused(self, args: Mapping[str, Any]) -> str | None:
        if self.url.get_driver_name() != 'pymysql':
            return None
        from healthcheck.targets import mysql_tls
        return mysql_tls.refused(args)

    def connect(self, *args: Any, **kwargs: Any) -> Any:
        if self.url.get_driver_name() != 'pymysql':
            return None
        # Where there is no PyMySQL, this cannot be imported.
        from healthcheck.targets import mysql_tls
        return mysql_tls.Connection(*args, **kwargs)

    def lost(self, exc: BaseException) -> bool:
        # CR_SSL_CONNECTION_ERROR: a fault of TLS during a connect, but
        # mysqlclient gives it for a connection that ended later, too.
        return any(link.args[:1] == (2026,) for link in failures.chain(exc))

    def ask(self, connection: sqlalchemy.Connection,
            tolerance: Tolerance) -> Result:
        if self.url.database:
            # SHOW needs no schema, and would not miss one that is gone.
            name = self.url.database.replace('`', '``').replace('%', '%%')
            connection.exec_driver_sql(f'USE `{name}`')
        variables = _pairs(connection, (
            "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('read_only', "
            "'super_read_only', 'innodb_read_only', 'wsrep_on', "
            "'wsrep_provider', 'wsrep_desync', 'wsrep_reject_queries', "
            "'pxc_maint_mode')"))
        if variables.get('wsrep_on') == 'ON' and variables.get(
                'wsrep_provider', 'none') not in ('', 'none'):
            result = self._ask_galera(connection, variables, tolerance)
            if result.status is not report.Status.PASS:
                return result
        if not tolerance.read_only:
            for name in ('read_only', 'super_read_only', 'innodb_read_only'):
                if variables.get(name, 'OFF') not in ('OFF', '0'):
                    return Result.failed(
                        READ_ONLY, f'{name} is {variables[name]}')
        return Result.ok()

    def _ask_galera(self, connection: sqlalchemy.Connection,
                    variables: Mapping[str, str],
                    tolerance: Tolerance) -> Result:
        # A node that has lost its cluster answers SELECT 1, and SHOW, and
        # refuses the work. So does one that was told to refuse it.
        status = _pairs(connection, (
            "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_ready', "
            "'wsrep_local_state', 'wsrep_cluster_status')"))
        if status.get('wsrep_ready') != 'ON':
            return Result.failed(NOT_READY, 'wsrep_ready is {}, cluster is {}'
                                 .format(status.get('wsrep_ready'),
                                         status.get('wsrep_cluster_status')))
        # An operator takes the node out, on Percona's with the second one.
        for name, normal in (('wsrep_reject_queries', 'NONE'),
                             ('pxc_maint_mode', 'DISABLED')):
            if variables.get(name, normal).upper() != normal:
                return Result.failed(NOT_READY, f'{name} is {variables[name]}')
        state = status.get('wsrep_local_state')
        desynced = variables.get('wsrep_desync') == 'ON'
        if tolerance.galera_donor and state in ('2', '4'):
            return Result.ok()
        if state == '4' and not desynced:
            return Result.ok()
        why = 'wsrep_desync is ON' if desynced else 'a donor'
        return Result.failed(
            NOT_SYNCED, f'wsrep_local_state is {state}, synced is 4'
            + (f', {why} (see database_galera_donor_ok)'
               if desynced or state == '2' else ''))

    def reason(self, exc: BaseException) -> str:
        # The network's first: PyMySQL wraps what the system says in 2003.
        return (failures.network_reason(exc)
                or mysql_faults.reason(exc)
                or failures.FAILED)


class PostgreSQL(Dialect):
    """PostgreSQL with psycopg2 or psycopg 3."""

    # https://www.postgresql.org/docs/current/errcodes-appendix.html
    codes = {
        '25006': READ_ONLY,
        '25P03': failures.CONNECTION_LOST,  # idle in a transaction
        '25P04': failures.CONNECTION_LOST,  # transaction_timeout
        '28000': failures.LOGIN_REFUSED,
        '28P01': failures.LOGIN_REFUSED,
        '3D000': NO_SUCH_DATABASE,
        '42501': failures.PERMISSION_DENIED,
        '53300': failures.TOO_MANY_CONNECTIONS,
        '55P03': failures.NO_ANSWER,  # lock_timeout
        '57014': failures.NO_ANSWER,  # statement_timeout
        '57P01': failures.CONNECTION_LOST,  # an administrator's doing
        '57P02': failures.CONNECTION_LOST,  # another session has crashed
        '57P03': NOT_READY,
        '57P04': NO_SUCH_DATABASE,  # dropped
        '57P05': failures.CONNECTION_LOST,  # idle_session_timeout
        'XX001': CORRUPT,
        'XX002': CORRUPT,
    }
    # What poolers give with a text of their own: PgBouncer the first for
    # all that it says, pgcat the second, Odyssey the others.
    vague_codes = frozenset({'08P01', '58000', '08000', '08001', '08003',
                             '08004', '08006'})
    # libpq has no code for what fails during a connect; these are its own
    # words, the server's, and those of the poolers PgBouncer, Odyssey, pgcat
    # and Pgpool-II. What a server has told a pooler comes first.
    phrases = {
        # Files of this host, before "no such file" and "does not exist".
        'certificate file "': failures.TLS_NOT_SET_UP,
        'private key file "': failures.TLS_NOT_SET_UP,
        'service file "': failures.BAD_URL,
        'definition of service "': failures.BAD_URL,
        'invalid connection option': failures.BAD_URL,
        'invalid sslmode value': failures.BAD_URL,
        'certificate verify failed': failures.CERTIFICATE_REFUSED,
        # Another CA of the same name.
        'signature failure': failures.CERTIFICATE_REFUSED,
        'does not match host name': failures.CERTIFICATE_REFUSED,
        'alert bad certificate': failures.CERTIFICATE_REFUSED,
        'alert certificate': failures.CERTIFICATE_REFUSED,
        'alert unknown ca': failures.CERTIFICATE_REFUSED,
        'requires a valid client certificate': failures.CERTIFICATE_REFUSED,
        'server does not support ssl': failures.TLS_FAILED,
        'alert handshake failure': failures.TLS_FAILED,
        'alert protocol version': failures.TLS_FAILED,
        'unsupported protocol': failures.TLS_FAILED,
        'connection refused': failures.CONNECTION_REFUSED,
        'no such file or directory': failures.CONNECTION_REFUSED,
        'could not translate host name': failures.UNKNOWN_HOST,
        'failed to resolve host': failures.UNKNOWN_HOST,
        'timeout expired': failures.NO_ANSWER,
        'connection timeout': failures.NO_ANSWER,
        'statement timeout': failures.NO_ANSWER,
        'authentication failed': failures.LOGIN_REFUSED,
        'no password supplied': failures.LOGIN_REFUSED,
        'no pg_hba.conf entry': failures.LOGIN_REFUSED,
        'pg_hba.conf rejects': failures.LOGIN_REFUSED,
        'is not permitted to log in': failures.LOGIN_REFUSED,
        'login rejected': failures.LOGIN_REFUSED,
        'no such user': failures.LOGIN_REFUSED,
        'too many client': failures.TOO_MANY_CONNECTIONS,
        'too many active clients': failures.TOO_MANY_CONNECTIONS,
        'too many connections': failures.TOO_MANY_CONNECTIONS,
        'no more connections allowed': failures.TOO_MANY_CONNECTIONS,
        'remaining connection slots': failures.TOO_MANY_CONNECTIONS,
        'permission denied': failures.PERMISSION_DENIED,
        'is not currently accepting connections': NO_SUCH_DATABASE,
        'does not exist': NO_SUCH_DATABASE,
        'no such database': NO_SUCH_DATABASE,
        '" is disabled': NO_SUCH_DATABASE,
        'no pool configured': NO_SUCH_DATABASE,
        'not accepting connections': NOT_READY,
        'not yet accepting connections': NOT_READY,
        'recovery mode': NOT_READY,
        'starting up': NOT_READY,
        'cannot connect to server': NO_SERVER_BEHIND_PROXY,
        'server login failed': NO_SERVER_BEHIND_PROXY,
        'server login has been failing': NO_SERVER_BEHIND_PROXY,
        '(server down)': NO_SERVER_BEHIND_PROXY,
        'remote server': NO_SERVER_BEHIND_PROXY,
        'could not get connection from the pool': NO_SERVER_BEHIND_PROXY,
        'all backend nodes are down': NO_SERVER_BEHIND_PROXY,
        'query_wait_timeout': failures.NO_ANSWER,
        'query timeout': failures.NO_ANSWER,
        'client_login_timeout': failures.NO_ANSWER,
        'shutting down': failures.CONNECTION_LOST,
        'terminating connection': failures.CONNECTION_LOST,
        'no route to host': failures.UNREACHABLE,
        'server closed the connection': failures.CONNECTION_LOST,
        'server conn crashed': failures.CONNECTION_LOST,
        'connection reset': failures.CONNECTION_LOST,
        'could not receive data': failures.CONNECTION_LOST,
        'eof detected': failures.CONNECTION_LOST,
        'closed unexpectedly': failures.CONNECTION_LOST,
        'unexpected eof': failures.CONNECTION_LOST,
    }
    _roles = 'role "'

    def connect_args(self) -> dict[str, Any]:
        if self.url.get_driver_name() not in ('psycopg2', 'psycopg'):
            return {}
        # libpq takes whole seconds, and one for two.
        args: dict[str, Any] = {
            'connect_timeout': max(2, math.floor(self.bound)),
            'application_name': 'healthcheck'}
        if self.url.get_driver_name() == 'psycopg':
            # No prepared statements: a pooler in between loses them.
            args['prepare_threshold'] = None
        return args

    def descriptor(self, raw: Any) -> int | None:
        # libpq has no bound on a read, and a server that froze enforces no
        # statement_timeout either.
        return int(raw.fileno()) if hasattr(raw, 'fileno') else None

    def ask(self, connection: sqlalchemy.Connection,
            tolerance: Tolerance) -> Result:
        # SET LOCAL and not a start-up option, which PgBouncer refuses; it
        # ends with the transaction that begins here and that the target
        # rolls back, so it leaves nothing on a shared one.
        connection.exec_driver_sql(
            f'SET LOCAL statement_timeout = {int(self.bound * 1000)}')
        recovery, read_only = connection.exec_driver_sql(
            "SELECT pg_is_in_recovery(), "
            "current_setting('transaction_read_only')").one()
        if recovery and not tolerance.read_only:
            return Result.failed(IN_RECOVERY, 'pg_is_in_recovery() is true')
        if read_only == 'on' and not tolerance.read_only:
            return Result.failed(READ_ONLY, 'transaction_read_only is on')
        return Result.ok()

    def reason(self, exc: BaseException) -> str:
        for link in failures.chain(exc):
            # psycopg 3 has the one, psycopg2 the other.
            code = getattr(link, 'sqlstate', None) or getattr(
                link, 'pgcode', None)
            if code and code not in self.vague_codes:
                return self.codes.get(code, failures.FAILED)
        for link in failures.chain(exc):
            if self._roles in str(link) and 'does not exist' in str(link):
                return failures.LOGIN_REFUSED
        return super().reason(exc)


class SQLite(Dialect):
    """SQLite, whose file must be there and be one.

    Opening a file that is missing would make it, and one that was moved
    away goes on answering to those who hold it open: so it is looked for,
    and opened, each time.
    """

    phrases = {'unable to open': NO_SUCH_DATABASE,
               'not a database': CORRUPT, 'malformed': CORRUPT,
               'readonly': READ_ONLY, 'locked': failures.NO_ANSWER}
    keeps_connection = False

    def connect_args(self) -> dict[str, Any]:
        return {'timeout': self.bound}

    def missing(self) -> Result | None:
        if self._path and not os.path.exists(self._path):
            return Result.failed(NO_SUCH_DATABASE,
                                 f'{self._path} does not exist')
        return None

    def ask(self, connection: sqlalchemy.Connection,
            tolerance: Tolerance) -> Result:
        connection.exec_driver_sql('SELECT 1 FROM sqlite_master').first()
        if self._path and not tolerance.read_only and not os.access(
                self._path, os.W_OK):
            # Perhaps it has just been moved away.
            return self.missing() or Result.failed(
                READ_ONLY, f'{self._path} cannot be written to')
        return Result.ok()

    @property
    def _path(self) -> str | None:
        """The file; None for a database in memory."""
        name = self.url.database
        if not name or name == ':memory:' or name.startswith('file:'):
            return None
        return name


_DIALECTS: dict[str, type[Dialect]] = {
    'mysql': MySQL, 'mariadb': MySQL, 'postgresql': PostgreSQL,
    'sqlite': SQLite}


def of(url: engine.URL, bound: float) -> Dialect:
    """The dialect for a URL; a plain one for a database we do not know."""
    return _DIALECTS.get(url.get_backend_name(), Dialect)(url, bound)


def _pairs(connection: sqlalchemy.Connection, statement: str,
           ) -> dict[str, str]:
    return {str(name).lower(): str(value)
            for name, value in connection.exec_driver_sql(statement)}
