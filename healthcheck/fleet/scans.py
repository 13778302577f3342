# SPDX-License-Identifier: Apache-2.0

"""Expensive statements whose answers are the same on every node.

Two nodes of the fleet make each scan, and the others take their results. The
owners are found by rendezvous hashing (Thaler and Ravishankar, 1998): each
node ranks all nodes for each scan and finds the same two, and a node that
goes changes only the scans that it owned.

A result from another node never decides alone that something is wrong: the
caller then scans for itself.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Sequence
import dataclasses
import hashlib
import threading

from healthcheck.fleet import members
from healthcheck.reports import fleet

OWNERS = 2
"""Nodes that make each scan. If one of them goes, no other has to wait."""

_KEPT = 5000
"""Scans in one record at most."""


@dataclasses.dataclass(frozen=True, slots=True)
class Taken:
    """A result from another node.

    :param at: when it was found, in monotonic seconds of this node
    """

    node: str
    at: float
    value: str


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
        self._own: dict[str, tuple[float, str]] = {}
        self._nodes: dict[str, set[str]] = {}
        self._taken: dict[str, Taken] = {}

    def take(self, target: str, key: str, now: float) -> Taken | None:
        """Another node's result; None if this node has to scan.

        :param target: a digest of what the check looks at; a node whose
            checks have it can be an owner
        """
        with self._lock:
            taken = self._taken.get(key)
            nodes = {self._node, *self._nodes.get(target, ())}
        if (taken is None or now - taken.at > self._patience
                or self._node in owners(key, nodes)):
            return None
        return taken

    def put(self, key: str, value: str, now: float) -> None:
        """Keep a result of this node, for the others."""
        with self._lock:
            self._own[key] = now, value

    def own(self, now: float) -> tuple[fleet.Scan, ...]:
        """What to tell the others; results that are too old are dropped."""
        with self._lock:
            self._own = {key: kept for key, kept in self._own.items()
                         if now - kept[0] <= self._patience}
            found = list(self._own.items())[:_KEPT]
        return tuple(fleet.Scan(key, max(0.0, now - at), value)
                     for key, (at, value) in found)

    def took(self, fresh: Sequence[members.Heard]) -> None:
        """Take the results in the records of the other nodes."""
        nodes, taken = dict[str, set[str]](), dict[str, Taken]()
        for one in fresh:
            record = one.record
            for check in record.checks:
                nodes.setdefault(check.target, set()).add(record.node)
            for scan in record.scans:
                at = one.changed_at - max(0.0, scan.age)
                before = taken.get(scan.key)
                if before is None or before.at < at:
                    taken[scan.key] = Taken(record.node, at, scan.value)
        with self._lock:
            self._nodes, self._taken = nodes, taken
