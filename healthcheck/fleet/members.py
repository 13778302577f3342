# SPDX-License-Identifier: Apache-2.0

"""The other nodes of a fleet: their last records, and how old these are.

The age of a record is the time since its sequence number changed, by this
node's monotonic clock. So no clock of another host counts. A record that is
seen for the first time may be any age, so it counts from its first change.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import math

from healthcheck.host import codec
from healthcheck.reports import fleet
from healthcheck.reports import lines

LARGEST = 2 ** 18
"""Bytes. A larger record is not read. etcd takes 1.5 MiB, ZooKeeper 1 MiB."""

LONGEST = 60.0
"""Seconds. What a record promises beyond that does not count."""

MISSED = 3
"""Number of records that a node may miss before it no longer counts."""

_NAME, _TEXT = 200, 300
_STATES = frozenset((fleet.IN, fleet.WARNS, fleet.HELD, fleet.DRAINED,
                     fleet.OUT))

NodeRecord = fleet.NodeRecord


@dataclasses.dataclass(frozen=True, slots=True)
class _Head:
    """What is new in each record."""

    sequence: int
    beat: float


@dataclasses.dataclass(frozen=True, slots=True)
class _Tail:
    """What is large."""

    scans: tuple[fleet.Scan, ...]


def dump(record: NodeRecord) -> bytes:
    """A record as three lines: most of the time, only the first is new.

    It has as many of the scans as the others would read.
    """
    scans = record.scans
    first = codec.dump(_Head(record.sequence, record.beat))
    body = codec.dump(dataclasses.replace(record, sequence=0, beat=0.0,
                                          scans=()))
    room = LARGEST - len(first) - len(body) - 2
    while len(last := codec.dump(_Tail(scans))) > room and scans:
        scans = scans[:min(len(scans) - 1, len(scans) * room // len(last))]
    return b'\n'.join((first, body, last))


def load(data: bytes, before: Heard | None = None) -> NodeRecord:
    """A record of another node, with its text made safe for pages and logs.

    :param before: of the same node; what is equal is not read again
    :raises ValueError: if it is none
    """
    if len(data) > LARGEST:
        raise ValueError('too large')
    first, body, last = data.split(b'\n')
    head = codec.load(_Head, first)
    if head.beat <= 0:
        raise ValueError('not the time until a next record')
    if before is None:
        found, scans = _body(body), _scans(last)
    else:
        _, old_body, old_last = before.data.split(b'\n')
        found = before.record if old_body == body else _body(body)
        scans = before.record.scans if old_last == last else _scans(last)
    return dataclasses.replace(found, sequence=head.sequence,
                               beat=min(head.beat, LONGEST), scans=scans)


def _scans(data: bytes) -> tuple[fleet.Scan, ...]:
    return codec.load(_Tail, data).scans


def _body(data: bytes) -> NodeRecord:
    found = codec.load(NodeRecord, data)
    if found.state not in _STATES:
        raise ValueError('not a state of a node')
    return dataclasses.replace(
        found, node=lines.one(found.node, _NAME),
        version=lines.one(found.version, _NAME),
        reason=lines.one(found.reason, _TEXT),
        checks=tuple(dataclasses.replace(
            one, name=lines.one(one.name, _NAME),
            reason=lines.one(one.reason, _TEXT),
            down=tuple(lines.one(name, _NAME) for name in one.down))
            for one in found.checks))


@dataclasses.dataclass(frozen=True, slots=True)
class Heard:
    """The last record of a node.

    :param data: as it was read
    :param changed_at: when it last changed, in monotonic seconds; -inf if it
        was only seen once
    """

    data: bytes
    record: NodeRecord
    changed_at: float


class Members:
    """What the store says of the other nodes.

    :param node: this one; records of its own host do not count
    :ivar read_at: when the store last answered, in monotonic seconds
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._seen: dict[str, Heard] = {}
        self.read_at = -math.inf

    def took(self, found: Mapping[str, bytes], now: float) -> None:
        """Take all records of the store.

        One that is gone counts until it would have missed too many. A store
        that was restarted empty gets them back one by one.
        """
        gone = {key: one for key, one in self._seen.items()
                if key not in found
                and now - one.changed_at <= MISSED * one.record.beat}
        self._seen = gone | dict(self._read(found, now))
        self.read_at = now

    def _read(self, found: Mapping[str, bytes],
              now: float) -> Iterator[tuple[str, Heard]]:
        for key, data in sorted(found.items()):
            before = self._seen.get(key)
            if before is not None and before.data == data:
                yield key, before
                continue
            try:
                record = load(data, before)
            except ValueError:
                continue  # torn, forged, or of another release
            if record.node == self._node:
                continue
            changed_at = -math.inf
            if before is not None:
                changed_at = (
                    now if before.record.sequence != record.sequence
                    else before.changed_at)
            yield key, Heard(data, record, changed_at)

    @property
    def heard(self) -> list[Heard]:
        """Of all other nodes, fresh or not."""
        return list(self._seen.values())

    def is_fresh(self, one: Heard, slack: float) -> bool:
        """Whether a record was recent enough when the store last answered.

        :param slack: seconds between two reads of the store
        """
        return (self.read_at - one.changed_at
                <= MISSED * one.record.beat + slack)

    def fresh(self, slack: float) -> list[Heard]:
        """The records that count."""
        return [one for one in self._seen.values()
                if self.is_fresh(one, slack)]
