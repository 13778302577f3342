# SPDX-License-Identifier: Apache-2.0

"""The content of a drain's file, and whether the drain has ended.

The end is kept on two clocks. Until the host restarts, the time since its
start decides, because that clock cannot be set. After a restart, the time of
day decides.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import math
import time

from healthcheck.config import redact
from healthcheck.host import codec
from healthcheck.host import group
from healthcheck.reports import drain
from healthcheck.reports import lines

_FORMAT = 1

# Characters of a reason, and of a name.
_REASON, _BY = 200, 100

# An operator may paste a URL.
_REDACT = redact.Redactor()

_YEAR_9999 = 253_370_764_800.0
"""Later times cannot be formatted as a date."""


def boot_time() -> float:
    """Seconds since the host started, including suspension."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def clock_id() -> str:
    """Identifies the clock of :func:`boot_time`; empty if unknown."""
    return group.clock_id() if group.boot_id() else ''


@dataclasses.dataclass(frozen=True, slots=True)
class Clocks:
    """The clocks of a process.

    :param boot: see :func:`boot_time`
    :param boot_id: see :func:`clock_id`
    :param wall: in seconds since the epoch
    """

    boot: Callable[[], float] = boot_time
    boot_id: Callable[[], str] = clock_id
    wall: Callable[[], float] = time.time


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """One drain, as stored.

    :param reason: one line
    :param by: one line, the user who began it
    :param since: in seconds since the epoch
    :param until: in seconds since the epoch; None without an end
    :param clock: identifies the clock of ``ends_at``; empty if unknown
    :param ends_at: the end, in seconds of that clock
    """

    format: int
    reason: str
    by: str
    since: float
    until: float | None
    clock: str
    ends_at: float | None

    @classmethod
    def begun(cls, reason: str, by: str, seconds: float | None,
              clocks: Clocks) -> Record:
        """A drain that begins now.

        :param reason: any text
        :param by: any text
        :param seconds: until it ends by itself; None: it does not
        """
        now = clocks.wall()
        until = ends_at = None
        if seconds is not None:
            until, ends_at = now + seconds, clocks.boot() + seconds
        return cls(_FORMAT, one_line(reason, _REASON), one_line(by, _BY),
                   now, until, clocks.boot_id(), ends_at)

    @classmethod
    def unknown(cls, since: float) -> Record:
        """A drain whose file cannot be read.

        :param since: the file's modification time
        """
        return cls(_FORMAT, '', '', min(max(since, 0.0), _YEAR_9999 - 1),
                   None, '', None)

    @classmethod
    def load(cls, data: bytes) -> Record:
        """:raises ValueError: if ``data`` does not come from :meth:`dump`"""
        found = codec.load(cls, data)
        if found.format != _FORMAT:
            raise ValueError(f'of format {found.format}')
        if not 0 <= found.since <= (found.until or found.since) < _YEAR_9999:
            raise ValueError('no such times')
        # The writer bounds them, but the file may come from an editor.
        return dataclasses.replace(found,
                                   reason=one_line(found.reason, _REASON),
                                   by=one_line(found.by, _BY))

    def dump(self) -> bytes:
        return codec.dump(self)

    def left(self, clocks: Clocks) -> float:
        """Seconds until it ends; infinite without an end."""
        if self.until is None:
            return math.inf
        if (self.clock and self.ends_at is not None
                and self.clock == clocks.boot_id()):
            return self.ends_at - clocks.boot()
        # Written before the host started, or in another container.
        return self.until - clocks.wall()

    def holds(self, left: float) -> bool:
        """Whether the drain is in force, with that many seconds left.

        A clock may be far behind when a host starts. The upper bound keeps
        it from draining for years.
        """
        return 0 < left and (self.until is None
                             or left <= 2 * (self.until - self.since))

    def shown(self, scope: str) -> drain.Drain:
        """:param scope: ``service`` or ``host``"""
        return drain.Drain(scope, self.reason, self.by, self.since,
                           self.until)


def one_line(text: str, most: int) -> str:
    """Free text as one printable line, without what looks like passwords.

    :param most: characters
    """
    return lines.one(_REDACT(text), most)
