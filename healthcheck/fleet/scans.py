# SPDX-License-Identifier: Apache-2.0

"""Expensive statements whose answers are the same on every node.

Two nodes of the fleet make each scan, and the others take their results. The
owners are found by rendezvous hashing (Thaler and Ravishankar, 1998): each
node ranks all nodes for each scan and finds the same two, and a node that
goes changes only the scans that it owned.

A result from another node never decides alone that something is wrong: the
caller then scans for itself. Only owners publish what they find. If both of
them cannot scan, each of the others does it for itself, as without a fleet.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
import hashlib
import threading

from healthcheck.fleet import members
from healthcheck.host import codec
from healthcheck.reports import fleet

OWNERS = 2
"""Nodes that make each scan. If one of them goes, no other has to wait."""

ROOM = members.LARGEST * 3 // 4
"""Bytes that the scans of a record take at most. The others are not
published, and each node makes them for itself."""


@dataclasses.dataclass(frozen=True, slots=True)
class Subject:
    """What a scan is about.

    :param check: the name of the check that needs it
    :param target: a digest of what the check looks at. The nodes whose checks
        have this name and this target make the scan.
    :param key: a digest, equal on all nodes that would ask the same
    """

    check: str
    target: str
    key: str


@dataclasses.dataclass(frozen=True, slots=True)
class Taken:
    """A result from another node.

    :param at: when it was found, in monotonic seconds of this node. It may
        look younger than it is, by the time between two reads of the store.
    """

    node: str
    at: float
    value: str


Nodes = Mapping[tuple[str, str], Collection[str]]
"""The names of other nodes, by the name and the target of a check."""


def owners(key: str, nodes: Collection[str]) -> Sequence[str]:
    """The nodes that make a scan, by the names of all nodes."""
    return sorted(nodes, key=lambda node: hashlib.blake2b(
        f'{key} {node}'.encode(errors='surrogateescape')).digest())[:OWNERS]


class Scans:
    """Results of scans, this node's own and those of others.

    Visits use it in threads of their own. The lock is only held for a
    look-up, never during a scan.

    :param node: the name of this one
    :param patience: seconds after which another node's result is too old
    """

    def __init__(self, node: str, patience: float) -> None:
        self._node = node
        self._patience = patience
        self._lock = threading.Lock()
        self._own: dict[Subject, tuple[float, str]] = {}
        self._taken: dict[str, Taken] = {}
        self._follow({})

    def take(self, subject: Subject, now: float) -> Taken | None:
        """Another node's result; None if this node has to scan.

        It is never older than this node's own last result.
        """
        oldest = now - self._patience
        with self._lock:
            taken, own = self._taken.get(subject.key), self._own.get(subject)
        if own is not None:
            oldest = max(oldest, own[0])
        if taken is None or taken.at < oldest or self._is_owner(subject):
            return None
        return taken

    def put(self, subject: Subject, value: str, now: float) -> None:
        """Keep a result of this node, for the others.

        :param now: when the scan began, in monotonic seconds
        """
        with self._lock:
            self._own[subject] = now, value

    def own(self, now: float) -> tuple[fleet.Scan, ...]:
        """What to tell the others; results that are too old are dropped."""
        with self._lock:
            self._own = {subject: kept for subject, kept in self._own.items()
                         if now - kept[0] <= self._patience}
            own = list(self._own.items())
        found, room = [], ROOM
        for subject, (at, value) in own:
            if self._is_wanted(subject):
                scan = fleet.Scan(subject.key, round(max(0.0, now - at), 2),
                                  value)
                room -= len(codec.dump(scan)) + 1  # and a comma
                if room < 0:
                    break
                found.append(scan)
        return tuple(found)

    def took(self, fresh: Sequence[members.Heard]) -> None:
        """Take the results in the records of the other nodes."""
        nodes, taken = dict[tuple[str, str], set[str]](), dict[str, Taken]()
        for one in fresh:
            record = one.record
            for check in record.checks:
                nodes.setdefault((check.name, check.target),
                                 set()).add(record.node)
            for scan in record.scans:
                at = one.changed_at - max(0.0, scan.age)
                before = taken.get(scan.key)
                if before is None or before.at < at:
                    taken[scan.key] = Taken(record.node, at, scan.value)
        if nodes != self._nodes:
            self._follow(nodes)
        with self._lock:
            self._taken = taken

    def _follow(self, nodes: Nodes) -> None:
        self._nodes = nodes
        # A visit to each cell asks, and so does each record: for 1,000 cells
        # and 100 nodes, ranking them takes 60 ms.
        self._is_owner = functools.cache(
            lambda subject: self._node in owners(
                subject.key, {self._node, *_others(nodes, subject)}))

    def _is_wanted(self, subject: Subject) -> bool:
        """Whether there are nodes that take it from this one."""
        return (len(_others(self._nodes, subject)) >= OWNERS
                and self._is_owner(subject))


def _others(nodes: Nodes, subject: Subject) -> Collection[str]:
    return nodes.get((subject.check, subject.target), ())
