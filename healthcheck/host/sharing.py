# SPDX-License-Identifier: Apache-2.0

"""One prober for a host: it publishes its report, and the others read it.

A reader takes no lock: the file is replaced whole, and a request only reads
its modification time. That is the monotonic clock's time at publication, so
it is new each time. The file also contains the exact time, and no report can
replace a younger one.

If the file system stores only whole seconds, two reports can have the same
modification time. If a report was read while a second one could still get the
same time, it is read again.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import time

from healthcheck.host import codec
from healthcheck.host import election
from healthcheck.host import group as group_module
from healthcheck.host import statefiles
from healthcheck.reports import fleet
from healthcheck.reports import report

Unusable = statefiles.Unusable

_FORMAT = 3

_NOT_ASKED = 0
"""The stamp of the request file when all requests are answered."""


@dataclasses.dataclass(frozen=True, slots=True)
class _FleetEnvelope:
    """What the prober knows of other nodes, in the same way."""

    format: int
    identity: str
    view: fleet.FleetView


@dataclasses.dataclass(frozen=True, slots=True)
class _Envelope:
    """A report, with what shows that it is meant for the reader."""

    format: int
    identity: str
    published_at: float
    report: report.Report


class Sharing:
    """One process's part in its group. Made in the process that uses it.

    :param clock: monotonic nanoseconds, the same for the whole host
    """

    def __init__(self, group: group_module.Group,
                 clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self.directory = statefiles.Directory(group.place,
                                              only_local=not group.told)
        self._identity = group.identity
        self._key = group.key
        self._election = election.Election(self.directory, self._key,
                                           group.lease, clock)
        self._brief = f'{self._key}.report'
        self._full = f'{self._key}.detail'
        self._ask = f'{self._key}.ask'
        self._fleet = f'{self._key}.fleet'
        self._written: tuple[int, int] | None = None
        self._seen: tuple[int, int] | None = None
        self._read_at = 0
        self._newest = 0.0
        self._rejected: Unusable | None = None
        self._shown: report.Report | None = None
        self._cleaned_at = 0

    def elect(self) -> bool:
        """Become the prober, if there is none.

        :raises Unusable: if nothing can be shared
        """
        if not self._election.run():
            return False
        self._shown = None
        try:
            self._clean_up()
            # So a full disk is found now, and not with the first report. If a
            # process has asked already, its request stays.
            self.directory.add(self._ask, bytes(4096), _NOT_ASKED,
                               self._through)
        except Unusable:
            self.resign()
            raise
        return True

    def beat(self) -> bool:
        """As the prober, give a sign of life; False if it is deposed.

        A deposed prober that wakes up may overwrite this one's report; that is
        corrected here.

        :raises Unusable: if that is not possible
        """
        if not self._election.beat():
            return False
        if self._shown is not None and (
                self.directory.version(self._brief) != self._written):
            self.publish(self._shown)
        if self._clock() - self._cleaned_at > election.FORGOTTEN:
            self._clean_up()
        return True

    def resign(self) -> None:
        """Let another process be the prober."""
        self._election.resign()

    def publish(self, published: report.Report) -> None:
        """As the prober, publish a report.

        :raises Unusable: if that is not possible
        """
        stamp = self._clock()
        for name, shown in ((self._full, published),
                            (self._brief, published.brief())):
            envelope = _Envelope(_FORMAT, self._identity, stamp / 1e9, shown)
            self._written = self.directory.write(
                name, codec.dump(envelope), stamp, self._through)
        self._seen, self._read_at = self._written, self._clock()
        self._newest = stamp / 1e9
        self._shown = published

    def look(self) -> report.Report | None:
        """The report, if it is a new one.

        A request costs only this: one system call.

        :raises Unusable: if there is one that cannot be used
        """
        version = self.directory.version(self._brief)
        if version is None:
            self.directory.follow()
            return None
        if version == self._seen and self._is_settled(version[0]):
            if self._rejected is not None:
                raise self._rejected
            return None
        now = self._clock()
        try:
            found = self._read(self._brief)
            self._rejected = None
        except Unusable as exc:
            self._rejected = exc
            raise
        finally:
            self._seen, self._read_at = version, now
        if found is None or found.published_at <= self._newest:
            return None
        self._newest = found.published_at
        return found.report

    def last(self) -> report.Report | None:
        """The last report, with all that admins see.

        :raises Unusable: if there is one that cannot be used
        """
        found = self._read(self._full)
        return None if found is None else found.report

    def publish_fleet(self, view: fleet.FleetView) -> None:
        """As the prober, publish what it knows of other nodes.

        :raises Unusable: if that is not possible
        """
        self.directory.write(self._fleet, codec.dump(_FleetEnvelope(
            _FORMAT, self._identity, view)), self._clock(), self._through)

    def fleet(self) -> fleet.FleetView | None:
        """What the prober knows of other nodes; None if nothing yet.

        :raises Unusable: if there is something that cannot be used
        """
        found = self.directory.read(self._fleet)
        if found is None:
            return None
        try:
            envelope = codec.load(_FleetEnvelope, found[0])
        except ValueError:
            return None  # of another release
        return (envelope.view if (envelope.format, envelope.identity) == (
            _FORMAT, self._identity) else None)

    def ask(self) -> None:
        """Ask the prober, whichever process that is, to probe now.

        :raises Unusable: if it cannot be asked
        """
        self.directory.touch(self._ask, self._clock())

    def asked(self) -> bool:
        """As the prober, whether a round was requested since the last call.

        :raises Unusable: if that cannot be recorded
        """
        asked_at = self.directory.stamp(self._ask)
        if asked_at == _NOT_ASKED:
            return False
        # A later request is seen the next time. An earlier one is served by
        # the round that begins when this returns.
        self.directory.touch(self._ask, _NOT_ASKED)
        if not self._election.beat():
            self.directory.touch(self._ask, asked_at)  # for the next prober
            return False
        return True

    def _clean_up(self) -> None:
        self._cleaned_at = self._clock()
        self._election.clean_up()

    def _is_settled(self, stamp: int) -> bool:
        """Whether nothing newer can have the same stamp."""
        return self._read_at >= stamp + self.directory.resolution

    @property
    def _through(self) -> str:
        return f'{self._key}.{self._election.generation}.tmp'

    def _read(self, name: str) -> _Envelope | None:
        found = self.directory.read(name)
        if found is None:
            return None
        path = self.directory.join(name)
        try:
            envelope = codec.load(_Envelope, found[0])
        except ValueError:
            raise Unusable(f'{path}: not a report of this release') from None
        if envelope.format != _FORMAT:
            raise Unusable(f'{path}: of format {envelope.format}, and not '
                           f'{_FORMAT}')
        if envelope.identity != self._identity:
            raise Unusable(f'{path}: of another service')
        if envelope.published_at > self._clock() / 1e9:
            raise Unusable(f'{path}: from the future')
        return envelope
