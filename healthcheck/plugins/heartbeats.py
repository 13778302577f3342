# SPDX-License-Identifier: Apache-2.0

"""Who is up, by the services' own rules, in one grouped statement.

The database counts; a handful of rows comes back, however many services are
registered. The tables, and whose rule holds for which, are in
``service_tables.py``.

Two clocks can be wrong. A heartbeat is written with the clock of the host
that runs a conductor (Nova), the service (Cinder) or a server (Neutron). It
is judged by the database's clock and not by ours, so that a clock of ours
that is off does no harm. But then one of the database's that is off would
make every service look down that in fact is well: no service writes with
it. So the statement counts by both clocks, and where they differ by more
than half of the time after which a service is down, the clock is taken that
more heartbeats are near to, for that is the one they are written with. Half,
because services beat at least twice in that time: below it, no service that
beats is down by either clock. The caller reports the skew: while it lasts,
services that die may be found down late, or be up once more for a moment when
the slower clock comes to their last heartbeats.

The time of a heartbeat is compared as it is stored, with a limit that has
microseconds, as the services do. Their columns hold whole seconds, rounded or
cut off by the database: a service is up for at most half a second more or a
second less than its own clock would say, and so it is in the service's own
list. What differs from that list is the moment of asking alone.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import datetime
import math
import time

import sqlalchemy

from healthcheck.plugins import service_tables

# Each gives the time in UTC whatever time zone the server or the session
# has, as it is now and not as it was when the transaction began.
_CLOCKS: Mapping[str, str] = {
    'mysql': 'SELECT UTC_TIMESTAMP(6)',
    'mariadb': 'SELECT UTC_TIMESTAMP(6)',
    'postgresql': "SELECT timezone('utc', clock_timestamp())",
    'sqlite': "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')",
}
# Of the coarsest of them, in seconds.
_RESOLUTION = 0.001


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """How many services of one binary there are; each is counted once.

    One that is disabled is just that, up or not and forced down or not. Of
    the others, one that is forced down is just that. What remains is up or
    down.
    """

    binary: str
    up: int = 0
    down: int = 0
    disabled: int = 0
    forced_down: int = 0

    @property
    def enabled(self) -> int:
        return self.up + self.down + self.forced_down

    @property
    def total(self) -> int:
        return self.enabled + self.disabled


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """What one visit to a table found.

    :param kinds: in the order of their names
    :param skew: seconds by which the database's clock is ahead of this
        host's (below 0: behind it), less what the way there and back may
        account for; 0 when that explains it all
    :param skewed: whether the clocks differ so much that services may be
        taken for down that are up
    :param by_host: whether they were judged by this host's clock, because
        that is the one they write with
    """

    kinds: tuple[Kind, ...]
    skew: float = 0.0
    skewed: bool = False
    by_host: bool = False

    def kind(self, binary: str) -> Kind:
        """The services of a binary, if there is none too."""
        for kind in self.kinds:
            if kind.binary == binary:
                return kind
        return Kind(binary)


def count(connection: sqlalchemy.Connection, table: service_tables.Table,
          down_time: float, *,
          wall_clock: Callable[[], float] = time.time) -> Found:
    """Count who is up: a question for the time, and one statement.

    Begins a transaction, unless the connection is in one, and leaves it to
    the caller to end: one that stayed open would go on showing the same
    rows. In it, the statement sees what was there when it began.

    :param down_time: seconds without a heartbeat after which a service is
        down, not below 0; see :meth:`service_tables.Table.down_time`
    :param wall_clock: this host's, in seconds since the epoch
    :raises sqlalchemy.exc.SQLAlchemyError: if the database does not do it
    """
    nows, skew = _look_at_clocks(connection, wall_clock)
    allowed = datetime.timedelta(seconds=down_time)
    limits = {}
    for clock, now in nows.items():
        limits[f'{clock}_low'] = now - allowed
        limits[f'{clock}_high'] = now + allowed
    rows = [row for row in
            connection.execute(table.statement, limits).mappings()
            if row['kind'] not in table.left_out]
    skewed = abs(skew) > down_time / 2
    near = {clock: sum(row[f'{clock}_fresh'] - row[f'{clock}_ahead']
                       for row in rows) for clock in nows}
    by_host = skewed and near['host'] > near['database']
    return Found(_fold(rows, 'host' if by_host else 'database',
                       table.future_is_up), skew, skewed, by_host)


def _fold(rows: list[sqlalchemy.RowMapping], clock: str,
          future_is_up: bool) -> tuple[Kind, ...]:
    """Groups to kinds; a flag that is NULL is as good as one that is not."""
    kinds: dict[str, dict[str, int]] = {}
    for row in rows:
        services, up = row['services'], row[f'{clock}_fresh']
        if not future_is_up:
            up -= row[f'{clock}_ahead']
        if row['is_disabled']:
            counts = {'disabled': services}
        elif row['is_forced_down']:
            counts = {'forced_down': services}
        else:
            counts = {'up': up, 'down': services - up}
        kind = kinds.setdefault(row['kind'] or '', {})
        for state, number in counts.items():
            kind[state] = kind.get(state, 0) + number
    return tuple(Kind(binary, **kinds[binary]) for binary in sorted(kinds))


def _look_at_clocks(
    connection: sqlalchemy.Connection, wall_clock: Callable[[], float],
) -> tuple[dict[str, datetime.datetime], float]:
    """The time in UTC by the database's and the host's clock, and the skew.

    The host's is that of the middle of the way there and back; the database
    has looked at its own at any time in between. A database whose question
    for the time is not known here goes by the host's.
    """
    question = _CLOCKS.get(connection.dialect.name)
    before = wall_clock()
    answer = (None if question is None else
              connection.exec_driver_sql(question).scalar_one())
    after = wall_clock()
    host = datetime.datetime.fromtimestamp(
        (before + after) / 2, datetime.timezone.utc).replace(tzinfo=None)
    if answer is None:
        return {'database': host, 'host': host}, 0.0
    database = (answer if isinstance(answer, datetime.datetime)
                else datetime.datetime.fromisoformat(answer))
    ahead = (database - host).total_seconds()
    beyond = abs(ahead) - abs(after - before) / 2 - _RESOLUTION
    return ({'database': database, 'host': host},
            math.copysign(beyond, ahead) if beyond > 0 else 0.0)
