# SPDX-License-Identifier: Apache-2.0

"""Fleets of every kind, as a strategy and one by one."""

from __future__ import annotations

from hypothesis import strategies as st

from healthcheck.admin.views import fleet as fleet_view
from healthcheck.reports import fleet
from healthcheck.reports import report
from tests.unit import documents

PASS, WARN, FAIL = report.Status
NOW = documents.NOW
TTL = 30.0

_texts = st.text(max_size=20)
_names = st.sampled_from(['node1', 'node2', 'node3', 'node\x1b[2J', '<b>'])
_times = st.none() | st.floats()
_checks = st.builds(
    fleet.NodeCheck, name=st.sampled_from(['database', '<i>']),
    status=st.none() | st.sampled_from(report.Status), reason=_texts,
    target=st.sampled_from(['', 'aa', 'bb']), critical=st.booleans(),
    failing=st.booleans(), since=_times, down=st.lists(_texts).map(tuple))
_records = st.builds(
    fleet.NodeRecord, node=_names, version=_texts, sequence=st.integers(),
    beat=st.floats(0.1, 10), state=st.sampled_from(
        [fleet.IN, fleet.WARNS, fleet.HELD, fleet.DRAINED, fleet.OUT]),
    reason=_texts, since=_times,
    checks=st.lists(_checks, max_size=3).map(tuple))
_views = st.builds(
    fleet.FleetView, group=_texts, node=st.just('node1'),
    read_at=st.none() | st.floats(0, 2 * NOW.now), trouble=_texts,
    nodes=st.lists(st.builds(
        fleet.NodeSeen, record=_records, changed_at=st.floats(0, NOW.now),
        fresh=st.booleans()), max_size=5).map(tuple))
known = st.builds(
    fleet_view.KnownFleet, group=_texts, node=st.just('node1'),
    ttl=st.floats(1, 100), view=st.none() | _views)


def a_check(failing: bool = False, name: str = 'database',
            target: str = 'here', **more: object) -> fleet.NodeCheck:
    """One check of a node."""
    given = {'status': FAIL if failing else PASS,
             'reason': 'NO ANSWER' if failing else 'OK', **more}
    return fleet.NodeCheck(name, target=target, failing=failing,
                           **given)  # type: ignore[arg-type]


def a_node(name: str, state: str = fleet.IN, *checks: fleet.NodeCheck,
           reason: str = '', age: float = 1.0, fresh: bool = True,
           since: float | None = 60.0) -> fleet.NodeSeen:
    """One node, whose record is ``age`` seconds old."""
    return fleet.NodeSeen(
        fleet.NodeRecord(name, '1.2.3', 7, 2.0, state, reason,
                         None if since is None else NOW.time - since,
                         checks or (a_check(state == fleet.OUT),)),
        NOW.now - age, fresh)


def a_fleet(*nodes: fleet.NodeSeen, read: float | None = 0.5,
            trouble: str = '') -> fleet_view.KnownFleet:
    """A fleet as node1 knows it, which read the store so long ago."""
    return fleet_view.KnownFleet('nova', 'node1', TTL, fleet.FleetView(
        'nova', 'node1', None if read is None else NOW.now - read, trouble,
        nodes))


def a_document(*nodes: fleet.NodeSeen, **more: object,
               ) -> fleet_view.Document:
    return fleet_view.document(
        a_fleet(*nodes, **more),  # type: ignore[arg-type]
        documents.ANSWERING, NOW)


ODD = (a_node('node1'), a_node('node2'),
       a_node('node3', fleet.OUT, reason='DATABASE: NO ANSWER'))
"""Three nodes, of which one is out alone."""
