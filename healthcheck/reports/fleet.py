# SPDX-License-Identifier: Apache-2.0

"""What the nodes of a fleet know of each other: frozen data, no I/O.

A :class:`NodeRecord` is what a node tells the others. A :class:`FleetView` is
what one node knows of all, for its admins.
"""

from __future__ import annotations

import dataclasses

from healthcheck.reports import status as status_module

IN, WARNS, HELD, DRAINED, OUT, UNKNOWN = (
    'in', 'warns', 'held', 'drained', 'out', 'unknown')
"""States of a node: it takes traffic; the same with a warning; it would be out
but for the others; an operator has taken it out; it has failed; its record is
too old."""

Status = status_module.Status


@dataclasses.dataclass(frozen=True, slots=True)
class NodeCheck:
    """One check of a node.

    :param status: None if its result is stale
    :param reason: the one that anonymous callers see
    :param target: a digest, equal on all nodes that look at the same; empty
        if only this node looks at it
    :param failing: whether its last probe failed
    :param since: when its status began, in seconds since the epoch
    :param down: the first of its components that fail, by name
    """

    name: str
    status: Status | None
    reason: str
    target: str = ''
    critical: bool = True
    failing: bool = False
    since: float | None = None
    down: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Scan:
    """The result of an expensive statement, for nodes that save it.

    :param key: a digest, equal on all nodes that would ask the same
    :param age: of the result when the record was written, in seconds
    :param value: text of the plugin that asks
    """

    key: str
    age: float
    value: str


@dataclasses.dataclass(frozen=True, slots=True)
class NodeRecord:
    """What a node tells the others.

    :param node: the name of the host
    :param sequence: different in each record that it writes
    :param beat: seconds until the next one, at most
    :param state: one of the words above
    :param since: when this state began, in seconds since the epoch
    """

    node: str
    version: str
    sequence: int
    beat: float
    state: str
    reason: str = ''
    since: float | None = None
    checks: tuple[NodeCheck, ...] = ()
    scans: tuple[Scan, ...] = ()

    @property
    def drained(self) -> bool:
        return self.state == DRAINED

    def check(self, of: NodeCheck) -> NodeCheck | None:
        """Its check of the same target; None if it has none."""
        return next((one for one in self.checks if one.target
                     and (one.name, one.target) == (of.name, of.target)),
                    None)


@dataclasses.dataclass(frozen=True, slots=True)
class NodeSeen:
    """A node, as another one sees it.

    :param record: without its scans
    :param changed_at: when that last changed, in monotonic seconds
    :param fresh: whether it is recent enough to count
    """

    record: NodeRecord
    changed_at: float
    fresh: bool


@dataclasses.dataclass(frozen=True, slots=True)
class FleetView:
    """What one node knows of all.

    :param group: the name of the fleet
    :param node: the one that knows it
    :param read_at: when the store last answered, in monotonic seconds; None
        if it never has
    :param trouble: why the store cannot be used now; empty if it can
    :param nodes: all of them, in the order of their names
    """

    group: str
    node: str
    read_at: float | None
    trouble: str
    nodes: tuple[NodeSeen, ...]
