# SPDX-License-Identifier: Apache-2.0

"""Who is up, by the services' own rules, in one grouped statement.

The database counts; a handful of rows comes back, however many services are
registered. The tables, and whose rule holds for which, are in
``service_tables.py``, the statement is in ``counting.py``.

Two clocks can be wrong. A heartbeat is written with the clock of the host
that runs a conductor (Nova), the service (Cinder) or a server (Neutron). It
is judged by the database's clock and not by ours, so that a clock of ours
that is off does no harm. But then one of the database's that is off would
make every service look down that in fact is well: no service writes with
it. So the statement counts by both clocks, by ours
as of when it is sent, and where they differ by more
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
from collections.abc import Iterable
import dataclasses
import datetime
import math
import time

import sqlalchemy

from healthcheck.plugins import counting
from healthcheck.plugins import service_tables
from healthcheck.targets import statements

# Of the coarsest clock of a database, in seconds.
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
    """Count who is up, in one statement that asks for the time, too.

    Begins a transaction, unless the connection is in one, and leaves it to
    the caller to end: one that stayed open would go on showing the same
    rows. In it, the statement sees what was there when it began.

    :param down_time: seconds without a heartbeat after which a service is
        down, not below 0; see :meth:`service_tables.Table.down_time`
    :param wall_clock: this host's, in seconds since the epoch
    :raises sqlalchemy.exc.SQLAlchemyError: if the database does not do it
    """
    statements.begin(connection)
    before = wall_clock()
    groups = [counting.Tally(*row) for row in statements.rows(
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
    """Groups to kinds; a flag that is NULL is as good as one that is not."""
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

    The host's is that of the middle of the way there and back; the database
    has looked at its own at any time in between.
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
