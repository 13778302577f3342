# SPDX-License-Identifier: Apache-2.0

"""PostgreSQL and its poolers, with psycopg2 or psycopg 3."""

from __future__ import annotations

import math
from typing import Any

import sqlalchemy

from healthcheck.probing import evidence
from healthcheck.reports import report
from healthcheck.targets import dialects
from healthcheck.targets import failures
from healthcheck.targets import statements

Result = report.Result


class PostgreSQL(dialects.Dialect):
    """With psycopg2, psycopg 3 or another driver."""

    # https://www.postgresql.org/docs/current/errcodes-appendix.html
    codes = {
        '25006': dialects.READ_ONLY,
        '25P03': failures.CONNECTION_LOST,  # idle in a transaction
        '25P04': failures.CONNECTION_LOST,  # transaction_timeout
        '28000': failures.LOGIN_REFUSED,
        '28P01': failures.LOGIN_REFUSED,
        '3D000': dialects.NO_SUCH_DATABASE,
        '42501': failures.PERMISSION_DENIED,
        '53300': failures.TOO_MANY_CONNECTIONS,
        '55P03': failures.NO_ANSWER,  # lock_timeout
        '57014': failures.NO_ANSWER,  # statement_timeout
        '57P01': failures.CONNECTION_LOST,  # an administrator's doing
        '57P02': failures.CONNECTION_LOST,  # another session has crashed
        '57P03': dialects.NOT_READY,
        '57P04': dialects.NO_SUCH_DATABASE,  # dropped
        '57P05': failures.CONNECTION_LOST,  # idle_session_timeout
        'XX001': dialects.CORRUPT,
        'XX002': dialects.CORRUPT,
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
        'is not currently accepting connections': dialects.NO_SUCH_DATABASE,
        'does not exist': dialects.NO_SUCH_DATABASE,
        'no such database': dialects.NO_SUCH_DATABASE,
        '" is disabled': dialects.NO_SUCH_DATABASE,
        'no pool configured': dialects.NO_SUCH_DATABASE,
        'not accepting connections': dialects.NOT_READY,
        'not yet accepting connections': dialects.NOT_READY,
        'recovery mode': dialects.NOT_READY,
        'starting up': dialects.NOT_READY,
        'cannot connect to server': dialects.NO_SERVER_BEHIND_PROXY,
        'server login failed': dialects.NO_SERVER_BEHIND_PROXY,
        'server login has been failing': dialects.NO_SERVER_BEHIND_PROXY,
        '(server down)': dialects.NO_SERVER_BEHIND_PROXY,
        'remote server': dialects.NO_SERVER_BEHIND_PROXY,
        'could not get connection from the pool':
            dialects.NO_SERVER_BEHIND_PROXY,
        'all backend nodes are down': dialects.NO_SERVER_BEHIND_PROXY,
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
            tolerance: dialects.Tolerance) -> Result:
        # With true it is SET LOCAL, for the statements that follow. Not a
        # start-up option, which PgBouncer refuses; it ends with the
        # transaction that begins here and that the target rolls back, so it
        # leaves nothing on a shared one. The driver sends BEGIN.
        statements.begin(connection)
        (_, recovery, read_only), = statements.rows(connection, (
            "SELECT set_config('statement_timeout', "
            f"'{int(self.bound * 1000)}', true), pg_is_in_recovery(), "
            "current_setting('transaction_read_only')"))
        if recovery and not tolerance.read_only:
            return Result.failed(
                dialects.IN_RECOVERY, 'pg_is_in_recovery() is true')
        if read_only == 'on' and not tolerance.read_only:
            return Result.failed(
                dialects.READ_ONLY, 'transaction_read_only is on')
        return Result.ok()

    def proved_at(self, seen: evidence.Seen,
                  tolerance: dialects.Tolerance) -> float:
        # One that is read-only, or recovers, refuses a write.
        return seen.answered_at if tolerance.read_only else seen.wrote_at

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
