# SPDX-License-Identifier: Apache-2.0

"""Counts the services that are up, by their own rules, in one statement.

The database counts, so a handful of rows comes back, however many services
are registered. ``service_tables.py`` has the tables and rules,
``counting.py`` has the statement.

Two clocks can be wrong. A heartbeat is written with the clock of the host
that runs a conductor (Nova), the service (Cinder) or a server (Neutron). It
is normally judged by the database's clock, so a wrong clock of this host does
no harm. But no service writes with the database's clock: if that is wrong,
every healthy service would look down. So the statement counts by both clocks;
this host's time is that of sending the statement. If the clocks differ by
more than half of the service's down time, the clock that more heartbeats are
close to is used, because they are written with that one. Below half, no
service that beats is down by either clock, because services beat at least
twice in the down time. The caller reports the skew. While it lasts, a service
that dies may be found down late, or be up again for a moment when the slower
clock reaches its last heartbeat.

Heartbeats are compared as stored, with a limit in microseconds, as the
services do. Their columns hold whole seconds, rounded or cut off by the
database. So a service is up for at most half a second more, or a second less,
than its own clock would say. The service's own list has the same error: it
differs from this count only in the moment of asking.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
import dataclasses
import datetime
import math
import time

import sqlalchemy

from healthcheck.plugins import counting
from healthcheck.plugins import service_tables
from healthcheck.targets import statements

# Resolution of the coarsest database clock, in seconds.
_RESOLUTION = 0.001


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """The number of services of one binary; each is counted once.

    A disabled service counts as disabled only. Of the others, one that is
    forced down counts as forced down only. The rest are up or down.
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
        host's (below 0: behind it), less what the round trip may account
        for; 0 if that explains it all
    :param skewed: whether the clocks differ so much that services that are
        up may look down
    :param by_host: whether services were judged by this host's clock,
        because they write with that one
    """

    kinds: tuple[Kind, ...]
    skew: float = 0.0
    skewed: bool = False
    by_host: bool = False

    def kind(self, binary: str) -> Kind:
        """The services of a binary; all 0 if there are none."""
        for kind in self.kinds:
            if kind.binary == binary:
                return kind
        return Kind(binary)


def count(connection: sqlalchemy.Connection, table: service_tables.Table,
          down_time: float, *,
          wall_clock: Callable[[], float] = time.time) -> Found:
    """Count services and read the database's clock in one statement.

    This begins a transaction if there is none. The caller has to end it, or
    later statements would see the same rows.

    :param down_time: seconds without a heartbeat after which a service is
        down, not below 0; see :meth:`service_tables.Table.down_time`
    :param wall_clock: this host's, in seconds since the epoch
    :raises sqlalchemy.exc.SQLAlchemyError: if the statement fails
    """
    statements.begin(connection)
    before = wall_clock()
    groups = [counting.tally(row) for row in statements.rows(
        connection, counting.statement(
            table, connection.dialect, down_time, _utc(before)))]
    skew = _skew(groups[0].now if groups else None, before, wall_clock())
    groups = [group for group in groups
              if group.services and group.kind not in table.left_out]
    skewed = abs(skew) > down_time / 2
    by_host = skewed and (
        sum(group.host_fresh - group.host_ahead for group in groups)
        > sum(group.database_fresh - group.database_ahead
              for group in groups))
    return Found(_fold(groups, by_host, table.future_is_up), skew, skewed,
                 by_host)


def _fold(groups: Iterable[counting.Tally], by_host: bool,
          future_is_up: bool) -> tuple[Kind, ...]:
    """Turn groups into kinds; a flag that is NULL counts as false."""
    kinds: dict[str, dict[str, int]] = {}
    for group in groups:
        up, ahead = ((group.host_fresh, group.host_ahead) if by_host else
                     (group.database_fresh, group.database_ahead))
        if not future_is_up:
            up -= ahead
        if group.is_disabled:
            counts = {'disabled': group.services}
        elif group.is_forced_down:
            counts = {'forced_down': group.services}
        else:
            counts = {'up': up, 'down': group.services - up}
        kind = kinds.setdefault(group.kind or '', {})
        for state, number in counts.items():
            kind[state] = kind.get(state, 0) + number
    return tuple(Kind(binary, **kinds[binary]) for binary in sorted(kinds))


def _skew(answer: datetime.datetime | str | None, before: float,
          after: float) -> float:
    """Seconds by which the database's clock is ahead; see :class:`Found`.

    The host's time is that of the middle of the round trip. The database may
    have read its clock at any time during it.
    """
    if answer is None:
        return 0.0
    database = (answer if isinstance(answer, datetime.datetime)
                else datetime.datetime.fromisoformat(answer))
    ahead = (database - _utc((before + after) / 2)).total_seconds()
    beyond = abs(ahead) - abs(after - before) / 2 - _RESOLUTION
    return math.copysign(beyond, ahead) if beyond > 0 else 0.0


def _utc(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(
        seconds, datetime.timezone.utc).replace(tzinfo=None)
