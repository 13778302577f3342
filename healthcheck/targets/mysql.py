# SPDX-License-Identifier: Apache-2.0

"""MySQL, MariaDB, Percona XtraDB and Galera clusters."""

from __future__ import annotations

from collections.abc import Mapping
import math
from typing import Any

import sqlalchemy

from healthcheck.probing import evidence
from healthcheck.reports import report
from healthcheck.targets import dialects
from healthcheck.targets import failures
from healthcheck.targets import mysql_faults
from healthcheck.targets import statements

Result = report.Result

# Only values that are not the usual ones: PyMySQL is slow at reading rows.
# innodb_read_only always comes, so that no row means: the schema is gone.
_VARIABLES = (
    "SHOW GLOBAL VARIABLES WHERE (Variable_name = 'innodb_read_only' OR "
    "Variable_name IN ('read_only', 'super_read_only', 'wsrep_on', "
    "'wsrep_provider', 'wsrep_desync', 'wsrep_reject_queries', "
    "'pxc_maint_mode') AND Value NOT IN ('OFF', '0', 'NONE', ''))")


class MySQL(dialects.Dialect):
    """With PyMySQL, mysqlclient or another driver."""

    _writes_show_less = False

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
            tolerance: dialects.Tolerance) -> Result:
        variables = self._variables(connection)
        galera = variables.get('wsrep_on') == 'ON' and variables.get(
            'wsrep_provider', 'none') not in ('', 'none')
        # A node that lags behind takes writes, and so does one of Percona's
        # that an operator wants to have out.
        self._writes_show_less = galera and (
            not tolerance.galera_donor or 'pxc_maint_mode' in variables)
        if galera:
            result = self._ask_galera(connection, variables, tolerance)
            if result.status is not report.Status.PASS:
                return result
        if not tolerance.read_only:
            for name in ('read_only', 'super_read_only', 'innodb_read_only'):
                if variables.get(name, 'OFF') not in ('OFF', '0'):
                    return Result.failed(
                        dialects.READ_ONLY, f'{name} is {variables[name]}')
        return Result.ok()

    def proved_at(self, seen: evidence.Seen,
                  tolerance: dialects.Tolerance) -> float:
        # A server that is read-only answers reads, and refuses a write.
        if self._writes_show_less:
            return -math.inf
        return seen.answered_at if tolerance.read_only else seen.wrote_at

    def _variables(self, connection: sqlalchemy.Connection,
                   ) -> dict[str, str]:
        """Those that tell whether the server takes writes.

        SHOW, and not SELECT: a proxy that splits reads and writes may send
        a SELECT to a replica, which is read-only for good, and ProxySQL ties
        a client that reads @@variables to one server.

        :raises sqlalchemy.exc.DBAPIError: also if the schema is gone
        """
        # SHOW needs no schema, and would not miss one that is gone.
        name = self.url.database
        variables: dict[str, str] = {}
        if name and getattr(connection.dialect, 'is_mariadb', False):
            # In one statement where it is known to work. There it begins no
            # transaction in the server.
            text = name.replace('\\', r'\\').replace("'", "''")
            variables = _pairs(connection, (
                f'{_VARIABLES} AND EXISTS (SELECT 1 FROM information_schema'
                f".schemata WHERE schema_name = '{text}')"))
        if name and not variables:
            # The server knows why it is not there. It may also know the
            # schema by another spelling, or not list it.
            quoted = name.replace('`', '``').replace('%', '%%')
            connection.exec_driver_sql(f'USE `{quoted}`')
        return variables or _pairs(connection, _VARIABLES)

    def _ask_galera(self, connection: sqlalchemy.Connection,
                    variables: Mapping[str, str],
                    tolerance: dialects.Tolerance) -> Result:
        # A node that has lost its cluster answers SELECT 1, and SHOW, and
        # refuses the work. So does one that was told to refuse it.
        status = _pairs(connection, (
            "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_ready', "
            "'wsrep_local_state', 'wsrep_cluster_status')"))
        if status.get('wsrep_ready') != 'ON':
            return Result.failed(
                dialects.NOT_READY, 'wsrep_ready is {}, cluster is {}'.format(
                    status.get('wsrep_ready'),
                    status.get('wsrep_cluster_status')))
        # An operator takes the node out, on Percona's with the second one.
        for name, normal in (('wsrep_reject_queries', 'NONE'),
                             ('pxc_maint_mode', 'DISABLED')):
            if variables.get(name, normal).upper() != normal:
                return Result.failed(
                    dialects.NOT_READY, f'{name} is {variables[name]}')
        state = status.get('wsrep_local_state')
        desynced = variables.get('wsrep_desync') == 'ON'
        if tolerance.galera_donor and state in ('2', '4'):
            return Result.ok()
        if state == '4' and not desynced:
            return Result.ok()
        why = 'wsrep_desync is ON' if desynced else 'a donor'
        return Result.failed(
            dialects.NOT_SYNCED, f'wsrep_local_state is {state}, synced is 4'
            + (f', {why} (see database_galera_donor_ok)'
               if desynced or state == '2' else ''))

    def reason(self, exc: BaseException) -> str:
        # The network's first: PyMySQL wraps what the system says in 2003.
        return (failures.network_reason(exc)
                or mysql_faults.reason(exc)
                or failures.FAILED)


def _pairs(connection: sqlalchemy.Connection, statement: str,
           ) -> dict[str, str]:
    return {str(name).lower(): str(value)
            for name, value in statements.rows(connection, statement)}
