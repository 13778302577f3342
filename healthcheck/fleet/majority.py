# SPDX-License-Identifier: Apache-2.0

"""Which failing checks may stay, because other nodes fail them, too.

One node that passes a check is enough to take out all that fail it, unless
``fleet_quorum`` asks for less. Nothing here fails a check.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import math

from healthcheck.answers import holding
from healthcheck.reports import fleet

NodeCheck = fleet.NodeCheck
NodeRecord = fleet.NodeRecord

Quorum = Callable[[int], int]
"""Of a number of other nodes, how many have to fail."""


def quorum(text: str) -> Quorum:
    """The quorum of option ``fleet_quorum``, a number or a percentage."""
    number = text.rstrip('%')
    if number != text:
        return lambda others: max(1, math.ceil(int(number) * others / 100))
    return lambda others: max(1, int(number))


@dataclasses.dataclass(frozen=True, slots=True)
class Votes:
    """How many nodes fail a check. This node is not counted.

    :param failing: nodes that fail it
    :param others: nodes that have it
    """

    failing: int
    others: int


def votes(check: NodeCheck, others: Sequence[NodeRecord]) -> Votes:
    """Count the nodes that look at the same target and are not drained.

    A node may have several records, one for each of its services. It fails
    the check if all of these do. A fault of its own says nothing about the
    target.
    """
    fails: dict[str, bool] = {}
    for record in others:
        found = None if record.drained else record.check(check)
        if found is None or (found.reason in holding.OWN if found.failing
                             else found.status is None):
            continue
        fails[record.node] = fails.get(record.node, True) and found.failing
    return Votes(sum(fails.values()), len(fails))


class Majority:
    """Keeps the checks that are held. Used by one thread.

    :param needed: of the other nodes
    :param release: seconds for which too few of the others fail before a
        held check takes the node out
    """

    def __init__(self, needed: Quorum, release: float) -> None:
        self._needed = needed
        self._release = release
        self._notes: dict[str, str] = {}
        self._lost_at: dict[str, float] = {}

    def restore(self, notes: Mapping[str, str]) -> None:
        """Go on from what another process of this node held."""
        self._notes, self._lost_at = dict(notes), {}

    def judge(self, passed: frozenset[str], own: Sequence[NodeCheck],
              others: Sequence[NodeRecord] | None,
              now: float) -> Mapping[str, str]:
        """The checks that are held, each with the note for its line.

        A check that begins to fail is held before it has failed for good, so
        it never takes the node out.

        :param passed: the checks that this node has passed once
        :param own: this node's checks
        :param others: fresh records of the other nodes; None if it is not
            known what they see
        """
        before, self._notes = self._notes, {}
        for check in own if others is not None else ():
            if (check.failing and check.critical and check.target
                    and check.name in passed
                    and check.reason not in holding.OWN):
                note = self._note(check, others or (), now,
                                  before.get(check.name))
                if note is not None:
                    self._notes[check.name] = note
        self._lost_at = {name: at for name, at in self._lost_at.items()
                         if name in self._notes}
        return dict(self._notes)

    def _note(self, check: NodeCheck, others: Sequence[NodeRecord],
              now: float, before: str | None) -> str | None:
        found = votes(check, others)
        if found.others and found.failing >= self._needed(found.others):
            self._lost_at.pop(check.name, None)
            return holding.as_one_of(found.failing + 1, found.others + 1)
        if before is None or now - self._lost_at.setdefault(
                check.name, now) >= self._release:
            return None
        return before
