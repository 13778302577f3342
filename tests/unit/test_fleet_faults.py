# SPDX-License-Identifier: Apache-2.0

"""Faults of fleets that real servers have shown."""

import pytest

from healthcheck.fleet import majority
from healthcheck.fleet import member
from healthcheck.fleet import members
from healthcheck.fleet import scans
from healthcheck.host import group as group_module
from healthcheck.host import hostprober
from healthcheck.probing import policy as policy_module
from healthcheck.probing import simulated
from healthcheck.reports import fleet
from healthcheck.reports import history
from healthcheck.reports import report

POLICY = policy_module.Policy()
RELEASE = POLICY.fall * POLICY.retry_interval


class Store:
    """A store that a test owns."""

    def __init__(self):
        self.records = {}
        self.away = False
        self.calls = []

    def write(self, record):
        self._answer()
        self.calls.append('write')

    def beat(self):
        self._answer()
        self.calls.append('beat')

    def read(self):
        self._answer()
        return dict(self.records)

    def _answer(self):
        if self.away:
            raise member.StoreAway('away')


@pytest.fixture
def clock():
    return simulated.Clock()


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def node(store, clock):
    return member.Member(
        member.Membership('nova', 'one', '1', POLICY, True,
                          majority.quorum('100%')),
        store, scans.Scans('one', 10.0), lambda: '', clock=clock,
        wall_clock=lambda: 0.0, uniform=lambda low, high: low)


def own(now, status=report.Status.FAIL):
    """A report of a node that has lost its database."""
    return report.Report((report.CheckReport(
        'database', status, 'DATABASE: NO ANSWER', '', now, POLICY.ttl, 0.0,
        shared=True, target='d1', fails=int(status is not report.Status.PASS),
        history=history.History(last_passed=1.0)),))


def record(sequence, failing=True):
    """A record of another node."""
    return members.dump(fleet.NodeRecord(
        'two', '1', sequence, 2.0, fleet.OUT if failing else fleet.IN,
        checks=(fleet.NodeCheck(
            'database', report.Status.FAIL if failing else report.Status.PASS,
            'DATABASE: NO ANSWER', 'd1', True, failing),)))


def look(node, clock, found):
    due = node.step(found)
    clock.now += 1
    return due


def test_while_the_store_is_away_the_last_record_is_shown(node, store, clock):
    """It is what the others know of this node."""
    look(node, clock, own(clock.now))
    wrote_at, store.away = clock.now - 1, True
    for _ in range(5):
        look(node, clock, own(clock.now))
    assert node.view.trouble == 'away'
    (seen,) = node.view.nodes
    assert (seen.record.node, seen.changed_at) == ('one', wrote_at)


def test_a_store_that_comes_back_may_have_forgotten_this_node(
        node, store, clock):
    look(node, clock, own(clock.now))
    store.away = True
    look(node, clock, own(clock.now))
    store.away = False
    store.calls.clear()
    look(node, clock, own(clock.now))
    assert store.calls == ['beat', 'write']


def held(until):
    return (report.HeldCheck('database', ', ON 2 OF 2 NODES', until),)


def test_a_prober_that_takes_over_goes_on_holding(node, store, clock):
    """It was out for seconds, until it had seen the others' records change."""
    store.records = {'two': record(1)}
    node.begin(held(clock.now + 20))
    look(node, clock, own(clock.now))
    assert node.holds
    store.records = {'two': record(2)}
    for _ in range(int(RELEASE) + 2):
        look(node, clock, own(clock.now))
        assert node.holds
    assert node.view.nodes[1].fresh


def test_what_a_dead_prober_held_ends(node, store, clock):
    node.begin(held(clock.now + 20))
    for number in range(int(RELEASE) + 2):
        store.records = {'two': record(number, failing=False)}
        look(node, clock, own(clock.now))
    assert not node.holds


def test_what_was_held_long_ago_is_not_held_again(node, store, clock):
    node.begin(held(clock.now - 1))
    look(node, clock, own(clock.now))
    assert not node.holds


def test_a_failure_is_not_confirmed_sooner_because_others_pass(
        node, store, clock):
    """They need the time to find the same."""
    warns = own(clock.now, report.Status.WARN)
    store.records = {'two': record(1, failing=False)}
    look(node, clock, warns)
    store.records = {'two': record(2, failing=False)}
    look(node, clock, warns)
    assert not node.others_differ()
    for sequence, failing in ((3, True), (4, False)):
        assert not node.others_differ()
        store.records = {'two': record(sequence, failing)}
        look(node, clock, own(clock.now))
    assert node.others_differ() == {'database'}


def test_the_others_are_heard_before_a_failure_is_confirmed(
        node, store, clock):
    """The news go there and back within half of the time."""
    store.records = {'two': record(1, failing=False)}
    passes = look(node, clock, own(clock.now, report.Status.PASS))
    there = passes - (clock.now - 1)
    fails = look(node, clock, own(clock.now, report.Status.WARN))
    back = fails - (clock.now - 1)
    assert 0 < back < there and there + back < POLICY.retry_interval / 2


class Fleet:
    """What a prober leaves to a thread."""

    def __init__(self):
        self.holds = ()

    def lead(self, holds):
        self.holds = holds

    def rest(self):
        self.holds = ()

    stop = rest

    def took(self, found):
        """Left alone."""

    def others_differ(self):
        return ()

    def view(self):
        return None


class Scheduler:

    def __init__(self, publish):
        self.publish = publish

    def run(self, go_on, every):
        self.act()

    def restore(self, last):
        """Left alone."""

    close = stop = lambda self: None


def test_it_is_told_what_was_held(tmp_path, clock):
    def prober(act):
        shown = []

        def make(publish):
            made.append(Scheduler(publish))
            made[-1].act = lambda: act(made[-1])
            return made[-1]
        made = []
        one = hostprober.HostProber(
            group_module.Group(str(tmp_path), 'a' * 64,
                               hostprober.lease(POLICY)),
            POLICY, make, shown.append, lambda: int(clock() * 1e9),
            fleet=Fleet())
        return one, shown

    def first(scheduler):
        one._fleet.holds = held(clock.now + 20)
        scheduler.publish(own(clock.now))
        one.stop()

    def second(scheduler):
        scheduler.publish(own(clock.now))
        other.stop()
    one, shown = prober(first)
    one.run()
    assert shown[0].holds
    other, shown = prober(second)
    other.run()
    assert shown[0].holds == held(clock.now + 20)
