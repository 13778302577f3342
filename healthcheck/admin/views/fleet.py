# SPDX-License-Identifier: Apache-2.0

"""The document on a fleet, for admins: what one node knows of all.

The prober of this node keeps what it knows in a file, and any worker reads
it. So freshness is judged again here: a node that counted when the store was
read does not count when that was longer ago than ``ttl``.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any, TYPE_CHECKING

from healthcheck.admin.views import timeline
from healthcheck.answers import render
from healthcheck.reports import fleet
from healthcheck.reports import report

if TYPE_CHECKING:
    from healthcheck import engine
    from healthcheck.fleet import member

Document = dict[str, Any]
Moment = timeline.Moment

STATES = (fleet.OUT, fleet.HELD, fleet.UNKNOWN, fleet.DRAINED, fleet.WARNS,
          fleet.IN)
"""The states of a node, in the order that an admin wants to see."""

NO_RECORD = 'THE STORE HAS NO RECORD OF IT'
OLD_RECORD = 'ITS RECORD IS TOO OLD'
FIRST_RECORD = 'ITS RECORD HAS NOT CHANGED YET'

EVERYWHERE, SOME, ONE, NOWHERE = 'everywhere', 'some', 'one', 'nowhere'
"""On which of its nodes a check fails."""

_SPREADS = (ONE, SOME, EVERYWHERE, NOWHERE)


@dataclasses.dataclass(frozen=True, slots=True)
class KnownFleet:
    """The data for one answer.

    :param group: the name of the fleet
    :param node: the one that answers
    :param ttl: seconds after which what the store said counts no more
    :param view: what the prober of this node knows; None if nothing yet
    """

    group: str
    node: str
    ttl: float
    view: fleet.FleetView | None

    @classmethod
    def of(cls, membership: member.Membership | None,
           running: engine.Engine) -> KnownFleet | None:
        """What this process can read; None if the node is in no fleet."""
        return None if membership is None else cls(
            membership.group, membership.node, membership.policy.ttl,
            running.fleet())

    def read_at(self, now: float) -> float | None:
        """When the store last answered; None if it has not."""
        at = None if self.view is None else self.view.read_at
        # A file from before the host restarted has times of another clock.
        return at if at is not None and at <= now else None

    def usable(self, now: float) -> bool:
        """Whether the store can be used now."""
        return (self.view is not None and not self.view.trouble
                and self._current(now))

    def state(self, seen: fleet.NodeSeen, now: float) -> str:
        """The state of a node, judged now."""
        return (seen.record.state if seen.fresh and self._current(now)
                else fleet.UNKNOWN)

    def states(self, now: float) -> dict[str, int]:
        """The number of nodes in each state."""
        found = dict.fromkeys(STATES, 0)
        for seen in self.nodes:
            found[self.state(seen, now)] += 1
        found[fleet.UNKNOWN] += self.is_missing
        return found

    @property
    def nodes(self) -> Sequence[fleet.NodeSeen]:
        return () if self.view is None else self.view.nodes

    @property
    def is_missing(self) -> bool:
        """Whether the store has no record of this node."""
        return self.view is not None and all(
            seen.record.node != self.node for seen in self.nodes)

    def _current(self, now: float) -> bool:
        at = self.read_at(now)
        return at is not None and now - at <= self.ttl


def summary(known: KnownFleet, moment: Moment) -> Document:
    """What the document on this node says of its fleet."""
    return {'group': known.group, 'node': known.node,
            'store': _store(known, moment),
            'read': moment.since(known.read_at(moment.now)),
            'states': known.states(moment.now)}


def document(known: KnownFleet, answering: Document,
             moment: Moment) -> Document:
    """The document, judged now.

    :param answering: the process that answers, as detail.name() returns it
    """
    fresh = [seen.record for seen in known.nodes
             if known.state(seen, moment.now) != fleet.UNKNOWN]
    checks = _checks(fresh, moment)
    odd = _odd(checks)
    rows = [_node(seen, known, odd.get(seen.record.node, []), moment)
            for seen in known.nodes]
    if known.is_missing:
        rows.append(_without_record(known))
    rows.sort(key=lambda row: (not row['odd'], STATES.index(row['state']),
                               row['node']))
    about = summary(known, moment)
    return {'status': _status(about).word,
            **about,
            'time': render.timestamp(moment.time),
            'answered_by': answering,
            'ttl_seconds': known.ttl,
            'nodes': rows,
            'checks': checks}


def _store(known: KnownFleet, moment: Moment) -> Document:
    return {'usable': known.usable(moment.now),
            'trouble': '' if known.view is None else known.view.trouble}


def _status(about: Document) -> report.Status:
    states: Mapping[str, int] = about['states']
    if states[fleet.OUT]:
        return report.Status.FAIL
    well = about['store']['usable'] and states[fleet.IN] == sum(
        states.values())
    return report.Status.PASS if well else report.Status.WARN


def _node(seen: fleet.NodeSeen, known: KnownFleet, odd: Sequence[str],
          moment: Moment) -> Document:
    record = seen.record
    state = known.state(seen, moment.now)
    is_known = state != fleet.UNKNOWN
    reason = record.reason or report.OK
    if not is_known:
        reason = (f'{OLD_RECORD}; it was {record.state}' if seen.changed_at
                  else FIRST_RECORD)
    return {
        'node': record.node,
        'this': record.node == known.node,
        'state': state,
        'reason': reason,
        'odd': odd if is_known else [],
        'since': _past(record.since, moment) if is_known else None,
        'version': record.version,
        # Of a record that was seen once, the age is not known.
        'record': moment.since(seen.changed_at or None),
        'checks': [_check(check, moment) for check in record.checks]}


def _without_record(known: KnownFleet) -> Document:
    return {'node': known.node, 'this': True, 'state': fleet.UNKNOWN,
            'reason': NO_RECORD, 'odd': [], 'since': None, 'version': None,
            'record': None, 'checks': []}


def _check(check: fleet.NodeCheck, moment: Moment) -> Document:
    return {'name': check.name,
            'status': None if check.status is None else check.status.word,
            'reason': check.reason,
            'failing': check.failing,
            'critical': check.critical,
            'target': check.target,
            'since': _past(check.since, moment),
            'down': list(check.down)}


def _checks(records: Sequence[fleet.NodeRecord],
            moment: Moment) -> list[Document]:
    """The shared checks: those that fail on few of their nodes come first."""
    found: dict[tuple[str, str], dict[str, list[fleet.NodeCheck]]] = {}
    for record in records:
        for check in record.checks:
            if check.target and (check.failing or check.status is not None):
                nodes = found.setdefault((check.name, check.target), {})
                nodes.setdefault(record.node, []).append(check)
    most = {name: max(len(nodes) for (other, _), nodes in found.items()
                      if other == name) for name, _ in found}
    rows = [_shared(name, target, nodes, len(nodes) < most[name], moment)
            for (name, target), nodes in found.items()]
    return sorted(rows, key=lambda row: (
        _SPREADS.index(row['spread']), not row['other_target'],
        row['failing'], row['name'], row['target']))


def _shared(name: str, target: str,
            nodes: Mapping[str, Sequence[fleet.NodeCheck]],
            other_target: bool, moment: Moment) -> Document:
    # As for majority.votes: each of a node's services has to fail it.
    fails = sorted(node for node, found in nodes.items()
                   if all(one.failing for one in found))
    passes = sorted(nodes.keys() - fails)
    began = [one.since for node in fails for one in nodes[node]
             if one.since is not None]
    return {
        'name': name, 'target': target, 'spread': _spread(fails, passes),
        'failing': len(fails), 'nodes': len(nodes),
        'failing_on': fails, 'passing_on': passes,
        'reasons': sorted({one.reason for node in fails
                           for one in nodes[node]}),
        'since': _past(min(began, default=None), moment),
        # Most nodes that have this check look elsewhere.
        'other_target': other_target}


def _spread(fails: Sequence[str], passes: Sequence[str]) -> str:
    if not fails:
        return NOWHERE
    if not passes:
        return EVERYWHERE
    return ONE if len(fails) == 1 else SOME


def _odd(checks: Iterable[Document]) -> dict[str, list[str]]:
    """The nodes that differ from most of the others, and in which checks."""
    found = dict[str, list[str]]()
    for check in checks:
        fails, passes = check['failing_on'], check['passing_on']
        if len(fails) != len(passes):
            for node in min(fails, passes, key=len):
                found.setdefault(node, []).append(check['name'])
    return found


def _past(time: float | None, moment: Moment) -> Document | None:
    """A time that another node has told; None if it is no time."""
    try:
        return moment.past(time)
    except (ValueError, OverflowError, OSError):
        return None
