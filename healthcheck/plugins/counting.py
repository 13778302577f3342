# SPDX-License-Identifier: Apache-2.0

"""The statement that counts services, and asks for the time with it.

Its text is made once for each table and kind of database. SQLAlchemy knows
how each writes it; to have it fill in the limits too would take longer than
the driver does for the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
import datetime
from typing import Any, NamedTuple

import sqlalchemy
from sqlalchemy import engine
from sqlalchemy import sql

from healthcheck.plugins import service_tables

# The time, and the time plus or minus some seconds. It is in UTC whatever
# time zone the server or the session has, and as it is now, not as it was
# when the transaction began.
_MYSQL = 'UTC_TIMESTAMP(6)', 'clock.now {sign} INTERVAL {{seconds}} SECOND'
_CLOCKS: Mapping[str, tuple[str, str]] = {
    'mysql': _MYSQL, 'mariadb': _MYSQL,
    'postgresql': ("timezone('utc', clock_timestamp())",
                   "clock.now {sign} INTERVAL '{{seconds}} seconds'"),
    # It compares texts, and SQLAlchemy stores six digits.
    'sqlite': ("strftime('%Y-%m-%d %H:%M:%f', 'now')",
               "strftime('%Y-%m-%d %H:%M:%f000', clock.now, "
               "'{sign}{{seconds}} seconds')"),
}

_templates: dict[tuple[service_tables.Table, str], str] = {}


class Tally(NamedTuple):
    """Services that have the binary and the flags in common.

    :param kind: their binary
    :param services: how many there are; 0 in the one group of an empty table
    :param database_fresh: how many have a heartbeat that is not too old, by
        the clock of the database
    :param database_ahead: of these, how many have one too far in the future
    :param host_fresh: the same by the clock of the host
    :param now: the time by the database's clock, in UTC; as text from
        SQLite, and None from a database whose clock is not known here
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
    """One whose rows are groups; there is one at least if the time is known.

    :param down_time: seconds without a heartbeat after which one is down
    :param host: the time by this host's clock, in UTC
    """
    key = table, dialect.name
    template = _templates.get(key)
    if template is None:
        template = _templates[key] = str(_select(
            table, _CLOCKS.get(dialect.name)).compile(
                dialect=dialect, compile_kwargs={'literal_binds': True}))
    allowed = datetime.timedelta(seconds=down_time)
    return template.format(
        seconds=f'{down_time:.6f}', host_low=_written(host - allowed),
        host_high=_written(host + allowed))


def _select(table: service_tables.Table,
            clock: tuple[str, str] | None) -> sql.Select[Any]:
    """With braces where ``str.format`` puts the limits."""
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
        # The time is asked for once; and it comes with an empty table too.
        rows = asked.outerjoin(rows, live)
    columns: list[Any] = [sqlalchemy.func.count(sqlalchemy.case(
        (condition, literal('1'))))
        for low, high in limits
        for condition in (table.heartbeat >= low, table.heartbeat > high)]
    groups: list[Any] = [table.binary, table.disabled]
    forced_down: sql.ColumnElement[bool] = sqlalchemy.false()
    if table.forced_down is not None:
        forced_down = table.forced_down
        groups.append(forced_down)
    made: sql.Select[Any] = sqlalchemy.select(
        table.binary, table.disabled, forced_down,
        sqlalchemy.func.count(table.rows.c.id), *columns, now,
    ).select_from(rows).group_by(*groups)
    return made if clock is not None else made.where(live)


def _written(time: datetime.datetime) -> str:
    return time.isoformat(' ', 'microseconds')
