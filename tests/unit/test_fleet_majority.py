# SPDX-License-Identifier: Apache-2.0

"""Who stays in when a shared target fails: whole fleets in simulated time."""

from __future__ import annotations

import dataclasses
import math

from hypothesis import example
from hypothesis import given
from hypothesis import HealthCheck
from hypothesis import Phase
from hypothesis import settings
from hypothesis import strategies as st
import pytest

from healthcheck.fleet import majority
from healthcheck.fleet import member as member_module
from healthcheck.fleet import members
from healthcheck.fleet import pace
from healthcheck.probing import policy as policy_module
from healthcheck.reports import fleet
from healthcheck.reports import report
from healthcheck.targets import failures
from tests.unit import fleets

Status = report.Status
POLICY = policy_module.Policy()
RELEASE = POLICY.fall * POLICY.retry_interval

# Until every node has seen each other node's record change.
SETTLED = 30.0

# To read the records and to write one, each as late as allowed.
NEWS = 2 * (pace.LOOK + pace.BEAT)

# From a fault of the store to what all know: attempts are seldom then, and a
# record counts from its first change.
KNOWN = member_module.LONGEST * 1.5 * 2 + 2 * NEWS + RELEASE

# A fleet is too much to shrink: the seed says all.
few = settings(max_examples=6, deadline=None, phases=[
    Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow])
seeds = st.integers(0, 2 ** 32)
faults = st.sampled_from([fleets.REFUSED, fleets.HANGS])


def settled(nodes, seed=0, quorum='100%', policy=POLICY):
    made = fleets.Fleet(nodes, policy, seed=seed, quorum=quorum)
    made.go_on(SETTLED)
    assert [node.status for node in made.nodes] == [Status.PASS] * nodes
    return made


def out(made, since):
    return [node.name for node in made.nodes if node.out(since)]


@few
@given(nodes=st.integers(2, 7), seed=seeds, wait=st.floats(0, 12),
       fault=st.one_of(faults, st.just(fleets.NEVER)))
@example(nodes=7, seed=120616703, wait=1.5, fault=fleets.HANGS)
def test_all_stay_when_all_fail(nodes, seed, wait, fault):
    """No node is out at any moment, although each probes in its own time."""
    made = settled(nodes, seed)
    made.go_on(wait)
    begun = made.now
    made.database(fault)
    made.go_on(90)
    assert out(made, begun) == []
    for node in made.nodes:
        assert node.lines[0].endswith(f', ON {nodes} OF {nodes} NODES)')
        assert node.lines[0].startswith('OK (DATABASE: ')
    if fault is fleets.NEVER:
        return
    made.database(fleets.UP)
    made.go_on(POLICY.recovery)
    assert out(made, begun) == []
    assert {node.status for node in made.nodes} == {Status.PASS}
    assert not any(node.held for node in made.nodes)


@few
@given(nodes=st.integers(2, 7), seed=seeds, fault=faults)
def test_one_that_fails_alone_leaves(nodes, seed, fault):
    made = settled(nodes, seed)
    begun, one = made.now, made.nodes[0]
    one.database.state = fault
    made.go_on(POLICY.detection)
    assert out(made, begun) == ['n0']
    one.database.state = fleets.UP
    made.go_on(POLICY.recovery)
    assert out(made, made.now) == []


def test_others_do_not_go_on_probing_for_one_that_fails_alone():
    made = settled(3)
    made.nodes[0].database.state = fleets.REFUSED
    made.go_on(20)
    before = [len(node.database.started) for node in made.nodes]
    made.go_on(100)
    for node, probes in zip(made.nodes, before):
        assert len(node.database.started) - probes <= 11


def test_a_failure_is_not_confirmed_sooner_because_others_pass_again():
    """Two probes decide, and they are apart."""
    made = settled(3)
    one, two, _ = made.nodes
    for node in (one, two):
        node.database.state = fleets.REFUSED
        node.scheduler.refresh()
        node.wake(made.now)
    made.go_on(1.3)
    two.database.state = fleets.UP
    two.scheduler.refresh()
    two.wake(made.now)
    before = len(one.database.started)
    made.go_on(0.65)
    assert len(one.database.started) == before


@few
@given(nodes=st.integers(3, 7), seed=seeds, fault=faults)
def test_one_that_passes_again_releases_all(nodes, seed, fault):
    made = settled(nodes, seed)
    made.database(fault)
    made.go_on(60)
    made.nodes[0].database.state = fleets.UP
    made.go_on(POLICY.recovery + NEWS + RELEASE)
    assert out(made, made.now) == [node.name for node in made.nodes[1:]]
    assert made.nodes[0].status is Status.PASS


@pytest.mark.parametrize('quorum, stays', [
    ('50%', True), ('2', True), ('3', False), ('75%', False)])
def test_a_smaller_quorum(quorum, stays):
    made = settled(4, quorum=quorum)
    for node in made.nodes[:3]:
        node.database.state = fleets.REFUSED
    made.go_on(60)
    assert out(made, made.now) == ([] if stays else ['n0', 'n1', 'n2'])
    if stays:
        assert made.nodes[0].lines == [
            'OK (DATABASE: CONNECTION REFUSED, ON 3 OF 4 NODES)']


@few
@given(seed=seeds, fault=faults, also_the_store=st.booleans())
def test_one_that_is_cut_off_is_never_held(seed, fault, also_the_store):
    """The others pass, whatever this node knows of them."""
    made = settled(3, seed)
    one = made.nodes[0]
    one.database.state, one.store.cut = fault, also_the_store
    begun = made.now
    while made.now < begun + 90:
        made.go_on(0.5)
        assert not one.held
    assert out(made, begun) == ['n0']


@few
@given(seed=seeds, wait=st.floats(0, 5))
def test_without_the_store_each_soon_judges_alone(seed, wait):
    made = settled(3, seed)
    made.database(fleets.REFUSED)
    made.go_on(30 + wait)
    made.records.away = True
    begun = made.now
    made.go_on(POLICY.ttl - 4 * pace.LOOK)
    assert out(made, begun) == []
    made.go_on(5 * pace.LOOK)
    assert out(made, made.now) == ['n0', 'n1', 'n2']
    made.go_on(1.5 * member_module.LONGEST)
    assert [node.member.holds for node in made.nodes] == [()] * 3
    made.records.away = False
    made.go_on(member_module.LONGEST * 1.5 + NEWS)
    assert out(made, made.now) == []


def test_the_store_restarts_empty():
    made = settled(3)
    made.database(fleets.REFUSED)
    made.go_on(30)
    begun = made.now
    made.records.empty()
    made.go_on(60)
    assert out(made, begun) == []


def test_drained_nodes_do_not_count():
    made = settled(3)
    for node in made.nodes[1:]:
        node.drained = 'DRAINED'
    made.go_on(NEWS)
    made.database(fleets.REFUSED)
    made.go_on(60)
    assert made.nodes[0].status is Status.FAIL
    made.nodes[1].drained = ''
    made.go_on(NEWS)
    assert made.nodes[0].lines == [
        'OK (DATABASE: CONNECTION REFUSED, ON 2 OF 2 NODES)']


def test_one_that_never_passed_is_not_held():
    made = fleets.Fleet(3, POLICY)
    made.nodes[0].database.state = fleets.REFUSED
    made.go_on(SETTLED)
    made.database(fleets.REFUSED)
    made.go_on(60)
    assert out(made, made.now) == ['n0']


def test_a_node_that_died_does_not_count_for_long():
    """Its last record says that it passes."""
    made = settled(3)
    dead = made.nodes[2]
    dead.wake = lambda at: None
    dead.member.step = lambda own: math.inf
    made.database(fleets.REFUSED)
    made.go_on(members.MISSED * pace.BEAT + NEWS)
    assert out(made, made.now)[:2] == []
    assert made.nodes[0].lines == [
        'OK (DATABASE: CONNECTION REFUSED, ON 2 OF 2 NODES)']


def a_record(node='other', failing=True, status=Status.FAIL, **changed):
    check = fleet.NodeCheck('database', status, 'NO ANSWER', 'target',
                            failing=failing)
    return fleet.NodeRecord(**{
        'node': node, 'version': '1', 'sequence': 1, 'beat': 2.0,
        'state': fleet.OUT, 'checks': (check,), **changed})


MINE = a_record().checks[0]


@pytest.mark.parametrize('others, votes', [
    ([], (0, 0)),
    ([a_record()], (1, 1)),
    ([a_record(), a_record('b', False, Status.PASS)], (1, 2)),
    # Its first failure is not confirmed yet.
    ([a_record(status=Status.WARN)], (1, 1)),
    ([a_record(failing=False, status=Status.WARN)], (0, 1)),
    # It knows nothing: its result is stale.
    ([a_record(failing=False, status=None)], (0, 0)),
    ([a_record(state=fleet.DRAINED)], (0, 0)),
    # Two services of a host are one node.
    ([a_record(), a_record()], (1, 1)),
    ([a_record(), a_record(failing=False, status=Status.PASS)], (0, 1)),
    ([a_record(failing=False, status=Status.PASS), a_record()], (0, 1)),
    ([a_record(checks=())], (0, 0)),
    *(([a_record(checks=(dataclasses.replace(MINE, **other),))], (0, 0))
      for other in ({'target': 'another'}, {'name': 'other'},
                    {'reason': failures.BAD_URL})),
])
def test_votes(others, votes):
    assert majority.votes(MINE, others) == majority.Votes(*votes)


@pytest.mark.parametrize('changed', [
    {'failing': False}, {'critical': False}, {'target': ''},
    {'reason': failures.BAD_URL}, {'name': 'never passed'}])
def test_what_is_never_held(changed):
    mine = dataclasses.replace(MINE, **changed)
    others = [a_record(checks=(dataclasses.replace(
        mine, failing=True, critical=True, reason='NO ANSWER'),))]
    made = majority.Majority(majority.quorum('100%'), 4)
    assert made.judge(frozenset(['database']), [mine], others, 0) == {}
    assert made.judge(frozenset(['database']), [MINE], [a_record()], 0)


@pytest.mark.parametrize('text, others, needed', [
    ('100%', 7, 7), ('50%', 7, 4), ('1%', 7, 1), ('3', 7, 3), ('9', 7, 9)])
def test_the_quorum(text, others, needed):
    assert majority.quorum(text)(others) == needed


def test_it_is_kept_for_a_moment_when_too_few_fail():
    made = majority.Majority(majority.quorum('100%'), 4)
    well = a_record(failing=False, status=Status.PASS)
    passed = frozenset(['database'])
    kept = {'database': ', ON 2 OF 2 NODES'}
    assert made.judge(passed, [MINE], [a_record()], 0) == kept
    assert made.judge(passed, [MINE], [well], 1) == kept
    assert made.judge(passed, [MINE], [well], 4.9) == kept
    assert made.judge(passed, [MINE], [a_record()], 4.95) == kept
    assert made.judge(passed, [MINE], [well], 5) == kept
    assert made.judge(passed, [MINE], [well], 9) == {}
    assert made.judge(passed, [MINE], [well], 10) == {}
    # What nobody knows holds nothing, not even for a moment.
    assert made.judge(passed, [MINE], [a_record()], 11) == kept
    assert made.judge(passed, [MINE], None, 12) == {}


def forged(draw):
    """A record as somebody who can write to the store might write it."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=60))
    return members.dump(a_record(
        draw(st.sampled_from(['n0', 'n1', 'nobody', ''])),
        sequence=draw(st.integers(0, 2 ** 60)), beat=draw(st.floats(
            0.01, 1e9)), state=draw(st.sampled_from(['in', 'out', 'held'])),
        checks=(dataclasses.replace(
            MINE, target=draw(st.sampled_from(['', 'x'])),
            failing=draw(st.booleans()), status=draw(st.sampled_from(
                [None, *Status]))),)))


@few
@given(seed=seeds, data=st.data())
def test_no_record_takes_a_healthy_node_out(seed, data):
    made = settled(2, seed)
    target = made.nodes[0].found.checks[0].target
    begun = made.now
    for _ in range(30):
        for key in data.draw(st.sets(st.sampled_from(
                ['n0', 'n1', 'a', 'b']))):
            made.records.write(key, forged(data.draw).replace(
                b'"target":"x"', b'"target":"%s"' % target.encode()))
        made.go_on(1.0)
    assert out(made, begun) == []
    assert {node.status for node in made.nodes} == {Status.PASS}
    # It sets off a probe a second at most, and fewer when they find nothing.
    assert all(len([at for at in node.database.started if at > begun]) <= 30
               for node in made.nodes)


class History:
    """What has happened to a node, by which it may be held or not."""

    def __init__(self, node):
        self.node = node
        self.well_since = None

    def note(self, now):
        found = self.node.found
        if found is None or self.node.drained or self.node.store.cut or (
                found.checks[0].status is not Status.PASS):
            self.well_since = None
        elif self.well_since is None:
            self.well_since = now


EVENTS = st.tuples(
    st.sampled_from(['refused', 'hangs', 'up', 'up', 'drain', 'resume',
                     'cut', 'heal', 'away', 'back', 'empty', 'all']),
    st.integers(0, 3), st.floats(0.1, 15))


def happen(made, what, number):
    node = made.nodes[number % len(made.nodes)]
    if what in ('refused', 'hangs', 'up'):
        node.database.state = getattr(fleets, what.upper())
    elif what == 'all':
        made.database(fleets.REFUSED)
    elif what in ('drain', 'resume'):
        node.drained = 'DRAINED' if what == 'drain' else ''
    elif what in ('cut', 'heal'):
        node.store.cut = what == 'cut'
    elif what in ('away', 'back'):
        made.records.away = what == 'away'
    else:
        made.records.empty()


@settings(few, max_examples=15)
@given(nodes=st.integers(2, 4), seed=seeds,
       events=st.lists(EVENTS, min_size=5, max_size=25))
def test_whatever_happens(nodes, seed, events):
    """A hold rests on what was read lately, and ends when others pass."""
    made = settled(nodes, seed)
    past = {node: History(node) for node in made.nodes}
    back_at = made.now
    for what, number, seconds in [*events, ('back', 0, 60.0)]:
        happen(made, what, number)
        if made.records.away:
            back_at = math.inf
        elif back_at == math.inf or what == 'empty':
            back_at = made.now
        until = made.now + seconds
        while made.now < until:
            made.go_on(0.25)
            for node in made.nodes:
                past[node].note(made.now)
            for node in made.nodes:
                if not node.held:
                    continue
                assert node.found.checks[0].fails > 0 or (
                    node.found.checks[0].status is Status.FAIL)
                assert made.now - node.store.reached_at <= POLICY.ttl
                # Another node has passed for long enough, and both reached
                # the store: that is known by now.
                for other in made.nodes:
                    since = past[other].well_since
                    assert (other is node or since is None
                            or node.store.cut or made.now - max(
                                since, back_at) <= KNOWN), (
                                    node.name, other.name)
