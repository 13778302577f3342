# SPDX-License-Identifier: Apache-2.0

"""The statement that counts services and reads the database's clock.

SQLAlchemy makes its text once for each table and dialect. The limits are
filled in here: with SQLAlchemy, that would take longer than the driver needs
for the whole statement.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
import datetime
import json
from typing import Any, NamedTuple

import sqlalchemy
from sqlalchemy import engine
from sqlalchemy import sql

from healthcheck.plugins import service_tables

# The time, and the time plus or minus some seconds. It is in UTC, whatever
# the time zone of the server or session, and the current time, not that of
# the start of the transaction.
_MYSQL = 'UTC_TIMESTAMP(6)', 'clock.now {sign} INTERVAL {{seconds}} SECOND'
_CLOCKS: Mapping[str, tuple[str, str]] = {
    'mysql': _MYSQL, 'mariadb': _MYSQL,
    'postgresql': ("timezone('utc', clock_timestamp())",
                   "clock.now {sign} INTERVAL '{{seconds}} seconds'"),
    # SQLite compares texts, and SQLAlchemy stores six digits.
    'sqlite': ("strftime('%Y-%m-%d %H:%M:%f', 'now')",
               "strftime('%Y-%m-%d %H:%M:%f000', clock.now, "
               "'{sign}{{seconds}} seconds')"),
}

# PyMySQL needs as much processor time for ten columns as for a whole statement
# that returns one. Of the other drivers most are written in C.
_PACKED = 'mysql', 'mariadb'

_templates: dict[tuple[service_tables.Table, str], str] = {}


class Tally(NamedTuple):
    """The number of services with the same binary and flags.

    :param kind: their binary
    :param services: their number; 0 in the one group of an empty table
    :param database_fresh: number with a heartbeat that is not too old, by
        the database's clock
    :param database_ahead: number of these with one too far in the future
    :param host_fresh: the same by the host's clock
    :param host_ahead: the same by the host's clock
    :param now: the time by the database's clock, in UTC; a text from SQLite
        and MySQL; None if the statement cannot read this database's clock
    """

    kind: str | None
    is_disabled: bool | int | None
    is_forced_down: bool | int | None
    services: int
    database_fresh: int
    database_ahead: int
    host_fresh: int
    host_ahead: int
    now: datetime.datetime | str | None


def statement(table: service_tables.Table, dialect: engine.Dialect,
              down_time: float, host: datetime.datetime) -> str:
    """The statement for a table; :func:`tally` reads its rows.

    If it can read the database's clock, it returns at least one row.

    :param down_time: seconds without a heartbeat after which a service is
        down
    :param host: the time by this host's clock, in UTC
    """
    key = table, dialect.name
    template = _templates.get(key)
    if template is None:
        template = _templates[key] = str(_select(
            table, _CLOCKS.get(dialect.name),
            packed=dialect.name in _PACKED).compile(
                dialect=dialect, compile_kwargs={'literal_binds': True}))
    allowed = datetime.timedelta(seconds=down_time)
    return template.format(
        seconds=f'{down_time:.6f}', host_low=_written(host - allowed),
        host_high=_written(host + allowed))


def tally(row: Sequence[Any]) -> Tally:
    """What a row of the statement says."""
    return Tally(*(json.loads(row[0]) if len(row) == 1 else row))


def _select(table: service_tables.Table, clock: tuple[str, str] | None, *,
            packed: bool) -> sql.Select[Any]:
    """The statement, with braces for ``str.format`` in place of limits.

    :param packed: whether a row is one column, an array in JSON
    """
    literal = sqlalchemy.literal_column
    of_host: Any = literal("'{host_low}'"), literal("'{host_high}'")
    limits = [of_host, of_host]
    rows: sql.FromClause = table.rows
    now: sql.ColumnElement[Any] = sqlalchemy.null()
    live = sqlalchemy.true() if table.live is None else table.live
    if clock is not None:
        time, limit = clock
        asked = sqlalchemy.select(literal(time).label('now')).subquery('clock')
        now = sqlalchemy.func.max(asked.c.now)
        limits[0] = (literal(limit.format(sign='-')),
                     literal(limit.format(sign='+')))
        # The time is read once, and an empty table returns it too.
        rows = asked.outerjoin(rows, live)
    counts: list[Any] = [sqlalchemy.func.count(sqlalchemy.case(
        (condition, literal('1'))))
        for low, high in limits
        for condition in (table.heartbeat >= low, table.heartbeat > high)]
    groups: list[Any] = [table.binary, table.disabled]
    forced_down: sql.ColumnElement[bool] = sqlalchemy.false()
    if table.forced_down is not None:
        forced_down = table.forced_down
        groups.append(forced_down)
    columns = [table.binary, table.disabled, forced_down,
               sqlalchemy.func.count(table.rows.c.id), *counts, now]
    if packed:
        columns = [sqlalchemy.func.json_array(*columns)]
    made: sql.Select[Any] = sqlalchemy.select(*columns).select_from(
        rows).group_by(*groups)
    return made if clock is not None else made.where(live)


def _written(time: datetime.datetime) -> str:
    return time.isoformat(' ', 'microseconds')
