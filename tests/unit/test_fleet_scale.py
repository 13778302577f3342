# SPDX-License-Identifier: Apache-2.0

"""What a fleet asks of its store and of its nodes when it is large."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st
import pytest

from healthcheck.fleet import member as member_module
from healthcheck.fleet import members
from healthcheck.fleet import pace
from healthcheck.fleet import thread as thread_module
from healthcheck.probing import policy as policy_module
from healthcheck.reports import fleet
from healthcheck.reports import report
from tests.unit import fleets

POLICY = policy_module.Policy()
CHECK = fleet.NodeCheck('database', fleet.Status.PASS, 'OK', 'c4e1')


def record(sequence=1, checks=(CHECK,), scans=(), beat=2.0):
    return fleet.NodeRecord('n1', '1.0.0', sequence, beat, fleet.IN,
                            checks=checks, scans=scans)


@pytest.mark.parametrize('nodes', [2, 10, 71, 100, 300, 380])
def test_a_fleet_keeps_to_its_budget(nodes):
    assert nodes ** 2 / pace.look(nodes, POLICY) <= pace.READS
    assert nodes / pace.beat(nodes, POLICY) <= pace.WRITES


@pytest.mark.parametrize('nodes', [2, 100, 1000, 10_000])
@pytest.mark.parametrize('ttl', [5.0, 30.0, 300.0])
def test_a_view_never_gets_too_old_between_two_reads(nodes, ttl):
    policy = dataclasses.replace(POLICY, ttl=ttl, interval=ttl / 3)
    assert pace.look(nodes, policy) <= ttl / 2
    assert pace.beat(nodes, policy) <= ttl / 3


changed = st.builds(
    record, st.integers(1, 3), st.sampled_from([(), (CHECK,), (
        dataclasses.replace(CHECK, failing=True),)]),
    st.sampled_from([(), (fleet.Scan('k', 1.0, 'v'),),
                     (fleet.Scan('k', 2.0, 'v'),)]),
    st.sampled_from([2.0, 5.0]))


@given(changed, changed)
def test_a_record_reads_the_same_after_any_other(one, other):
    before = members.Heard(members.dump(one), one, 0.0)
    assert members.load(members.dump(other), before) == other


def test_what_is_the_same_is_not_read_again(monkeypatch):
    one = record(scans=(fleet.Scan('k', 1.0, 'v'),))
    before = members.Heard(members.dump(one), one, 0.0)
    read = []
    load = members.codec.load
    monkeypatch.setattr(members.codec, 'load', lambda kind, data: (
        read.append(data), load(kind, data))[1])
    members.load(members.dump(dataclasses.replace(one, sequence=2)), before)
    assert read == [b'{"sequence":2,"beat":2.0}']


@pytest.mark.parametrize('number, value', [
    (4000, 'x' * 100), (3, 'x' * members.LARGEST)])
def test_scans_never_make_a_record_too_large_to_be_read(number, value):
    scans = tuple(fleet.Scan(f'{key}', 1.0, value) for key in range(number))
    data = members.dump(record(scans=scans))
    found = members.load(data).scans
    assert found == scans[:len(found)]
    assert len(data) <= members.LARGEST
    # No more is left out than has to be.
    assert len(data) > 0.99 * members.LARGEST or len(value) > len(data)


def test_a_small_record_has_all_its_scans():
    scans = (fleet.Scan('k', 1.0, 'v'), fleet.Scan('l', 2.0, 'w'))
    assert members.load(members.dump(record(scans=scans))).scans == scans


class Member:
    """Counts how often its view is made."""

    holds: tuple[report.HeldCheck, ...] = ()

    def __init__(self, nodes, step):
        self.nodes = nodes
        self.step = step
        self.views = 0

    def begin(self, *args):
        pass

    def others_differ(self):
        return frozenset()

    @property
    def view(self):
        self.views += 1
        return fleet.FleetView('nova', 'n1', None, '', (None,) * self.nodes)


@pytest.mark.parametrize('nodes, views', [(3, 20), (100, 10), (1000, 2)])
def test_pages_of_a_large_fleet_are_made_less_often(nodes, views):
    clock = fleets.Fleet(0, POLICY)

    def step(own):
        clock.now += 0.5
        if member.steps == 20:
            running.stop()
        member.steps += 1
        return clock.now
    member = Member(nodes, step)
    member.steps = 1
    running = thread_module.FleetThread(lambda: member, lambda: clock.now)
    running.took(report.Report(()))
    running.lead()
    running._thread.join(60)
    assert member.views in (views, views - 1)


def test_a_record_that_is_gone_counts_as_long_as_one_that_stays():
    others = members.Members('n2')
    for now in (1.0, 2.0):
        others.took({'n1': members.dump(record(int(now)))}, now)
    others.took({}, 2.0 + members.MISSED * 2.0)
    assert [one.record.node for one in others.fresh(1.0)] == ['n1']
    others.took({}, 2.1 + members.MISSED * 2.0)
    assert not others.heard


def test_a_record_that_comes_back_counts_at_once():
    others = members.Members('n2')
    for now in (1.0, 2.0):
        others.took({'n1': members.dump(record(int(now)))}, now)
    others.took({}, 3.0)
    others.took({'n1': members.dump(record(4))}, 4.0)
    one, = others.fresh(0.0)
    assert one.changed_at == 4.0


@pytest.mark.parametrize('nodes', [10, 30])
def test_a_store_that_is_restarted_empty_takes_no_node_out(nodes):
    made = fleets.Fleet(nodes, POLICY)
    made.go_on(45)
    made.database(fleets.REFUSED)
    made.go_on(20)
    begun = made.now
    made.records.away = True
    made.go_on(1)
    made.records.empty()
    made.records.away = False
    made.go_on(30)
    assert not [node.name for node in made.nodes if node.out(begun)]
    assert len(made.records.keys) == nodes


def test_one_of_many_is_out_as_soon_as_alone():
    made = fleets.Fleet(30, POLICY)
    made.go_on(45)
    node = made.nodes[0]
    begun = made.now
    node.database.state = fleets.REFUSED
    made.go_on(POLICY.detection)
    assert node.out(begun)
    assert not any(one.out(begun) for one in made.nodes[1:])


def test_signs_of_life_come_within_a_third_of_a_lease():
    made = fleets.Fleet(30, POLICY)
    made.go_on(30)
    for _ in range(2 * member_module.LEASE):
        made.go_on(1)
        assert len(made.records.read()) == 30
