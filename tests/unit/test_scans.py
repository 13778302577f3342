# SPDX-License-Identifier: Apache-2.0

"""Who makes which scan, and whose results are taken."""

import collections
import dataclasses

import hypothesis
from hypothesis import strategies
import pytest

from benchmarks import scans as simulation
from healthcheck.fleet import joining
from healthcheck.fleet import majority
from healthcheck.fleet import member
from healthcheck.fleet import members
from healthcheck.fleet import scans
from healthcheck.probing import policy as policy_module
from healthcheck.reports import fleet

PATIENCE = 20.0
NOW = 1000.0
VALUE = 'x' * 200

KEYS = strategies.text(max_size=20)
NODES = strategies.sets(strategies.text(max_size=20), min_size=1,
                        max_size=20)

SOME = [f'api{number}' for number in range(10)]


def subject(key, check='services', target='cells'):
    return scans.Subject(check, target, key)


def record(node, *found, check='services', target='cells'):
    return fleet.NodeRecord(
        node, '1.0', 1, 2.0, fleet.IN, '', None,
        (fleet.NodeCheck(check, None, 'OK', target),), found)


def heard(*records, at=NOW):
    return [members.Heard(b'', one, at) for one in records]


def keys(node, nodes=SOME, *, owned):
    """Keys of scans that a node owns, or not."""
    return (key for number in range(10**6)
            if (node in scans.owners(key := str(number), nodes)) is owned)


@pytest.fixture
def mine():
    """The scans of one node of SOME, which knows all others."""
    made = scans.Scans(SOME[0], PATIENCE)
    made.took(heard(*map(record, SOME[1:])))
    return made


class TestOwners:

    @hypothesis.given(KEYS, NODES)
    def test_two_of_all(self, key, nodes):
        found = scans.owners(key, nodes)
        assert len(set(found)) == min(2, len(nodes))
        assert set(found) <= nodes

    @hypothesis.given(KEYS, NODES, strategies.randoms())
    def test_all_nodes_find_the_same(self, key, nodes, random):
        another = list(nodes)
        random.shuffle(another)
        assert scans.owners(key, another) == scans.owners(key, nodes)

    @hypothesis.given(KEYS, NODES, strategies.data())
    def test_one_that_goes_changes_only_what_it_owned(self, key, nodes,
                                                      data):
        gone = data.draw(strategies.sampled_from(sorted(nodes)))
        before = scans.owners(key, nodes)
        after = scans.owners(key, nodes - {gone})
        if gone in before:
            assert set(before) - {gone} <= set(after)
        else:
            assert after == before

    def test_each_node_has_its_part(self):
        parts = collections.Counter(
            node for key in range(2000)
            for node in scans.owners(str(key), SOME))
        assert min(parts.values()) > 320 and max(parts.values()) < 480


class TestTake:

    def test_an_owner_scans(self, mine):
        key = next(keys(SOME[0], owned=True))
        mine.took(heard(*(record(node, fleet.Scan(key, 1.0, VALUE))
                          for node in SOME[1:])))
        assert mine.take(subject(key), NOW) is None

    def test_the_others_take_the_latest(self, mine):
        key = next(keys(SOME[0], owned=False))
        assert mine.take(subject(key), NOW) is None
        first, second = (
            record(SOME[1], fleet.Scan(key, 7.0, 'older')),
            record(SOME[2], fleet.Scan(key, 3.0, 'younger')))
        for order in ((first, second), (second, first)):
            mine.took(heard(*order, *map(record, SOME[3:]), at=NOW - 1))
            assert mine.take(subject(key), NOW) == scans.Taken(
                SOME[2], NOW - 4.0, 'younger')

    def test_an_age_below_zero_is_none(self, mine):
        key = next(keys(SOME[0], owned=False))
        mine.took(heard(record(SOME[1], fleet.Scan(key, -99.0, VALUE)),
                        *map(record, SOME[2:])))
        assert mine.take(subject(key), NOW).at == NOW

    def test_one_that_is_too_old(self, mine):
        key = next(keys(SOME[0], owned=False))
        mine.took(heard(record(SOME[1], fleet.Scan(key, 5.0, VALUE)),
                        *map(record, SOME[2:])))
        assert mine.take(subject(key), NOW + PATIENCE - 5.0) is not None
        assert mine.take(subject(key), NOW + PATIENCE - 4.9) is None

    def test_one_that_is_older_than_this_nodes_own(self, mine):
        """Or a failure that this node has seen would be undone."""
        key = next(keys(SOME[0], owned=False))
        mine.took(heard(record(SOME[1], fleet.Scan(key, 5.0, VALUE)),
                        *map(record, SOME[2:])))
        mine.put(subject(key), 'own', NOW - 4.0)
        assert mine.take(subject(key), NOW) is None
        mine.took(heard(record(SOME[1], fleet.Scan(key, 3.0, VALUE)),
                        *map(record, SOME[2:])))
        assert mine.take(subject(key), NOW).at == NOW - 3.0

    def test_a_node_that_is_gone_tells_nothing(self, mine):
        key = next(keys(SOME[0], owned=False))
        mine.took(heard(record(SOME[1], fleet.Scan(key, 5.0, VALUE)),
                        *map(record, SOME[2:])))
        mine.took(heard(*map(record, SOME[2:])))
        assert mine.take(subject(key), NOW) is None

    def test_a_node_inherits_from_one_that_goes(self, mine):
        first, second = SOME[1:3]
        key = next(key for key in keys(SOME[0], owned=False)
                   if set(scans.owners(key, SOME)) == {first, second}
                   and SOME[0] in scans.owners(key, [
                       node for node in SOME if node != first]))
        scan = fleet.Scan(key, 1.0, VALUE)
        mine.took(heard(record(first), record(second, scan),
                        *map(record, SOME[3:])))
        assert mine.take(subject(key), NOW) is not None
        mine.took(heard(record(second, scan), *map(record, SOME[3:])))
        assert mine.take(subject(key), NOW) is None
        mine.took(heard(record(first), record(second, scan),
                        *map(record, SOME[3:])))
        assert mine.take(subject(key), NOW) is not None

    @pytest.mark.parametrize('other', [
        {'check': 'cells'}, {'target': 'others'}, {'target': ''}])
    def test_only_nodes_that_have_the_check_can_own_it(self, other):
        mine = scans.Scans(SOME[0], PATIENCE)
        key = next(keys(SOME[0], owned=False))
        mine.took(heard(
            record(SOME[1], fleet.Scan(key, 1.0, VALUE)),
            *(record(node, **other) for node in SOME[2:])))
        assert mine.take(subject(key), NOW) is None
        mine.took(heard(record(SOME[1], fleet.Scan(key, 1.0, VALUE)),
                        *map(record, SOME[2:])))
        assert mine.take(subject(key), NOW) is not None


class TestOwn:

    def test_what_it_owns_is_published(self, mine):
        owned, another = (next(keys(SOME[0], owned=owned))
                          for owned in (True, False))
        for key in (owned, another):
            mine.put(subject(key), VALUE, NOW - 1.234)
        assert mine.own(NOW) == (fleet.Scan(owned, 1.23, VALUE),)

    def test_once_for_each_scan(self, mine):
        key = next(keys(SOME[0], owned=True))
        mine.put(subject(key), 'older', NOW - 3)
        mine.put(subject(key), 'younger', NOW - 2)
        assert mine.own(NOW) == (fleet.Scan(key, 2.0, 'younger'),)

    def test_nothing_without_a_node_that_takes_it(self):
        mine = scans.Scans(SOME[0], PATIENCE)
        mine.put(subject('1'), VALUE, NOW)
        assert mine.own(NOW) == ()
        mine.took(heard(record(SOME[1])))
        assert mine.own(NOW) == ()
        mine.took(heard(record(SOME[1]), record(SOME[2], target='other')))
        assert mine.own(NOW) == ()

    def test_nothing_that_is_too_old(self, mine):
        key = next(keys(SOME[0], owned=True))
        mine.put(subject(key), VALUE, NOW)
        assert len(mine.own(NOW + PATIENCE)) == 1
        assert mine.own(NOW + PATIENCE + 0.1) == ()
        assert mine.own(NOW) == ()  # it is forgotten

    def test_an_age_is_never_below_zero(self, mine):
        key = next(keys(SOME[0], owned=True))
        mine.put(subject(key), VALUE, NOW + 1)
        assert mine.own(NOW)[0].age == 0.0

    @pytest.mark.parametrize('cells, all_told', [(700, True), (3000, False)])
    @pytest.mark.parametrize('value', [VALUE, '"é' * 40],
                             ids=['plain', 'escaped'])
    def test_a_record_is_never_too_large(self, cells, all_told, value):
        mine = scans.Scans(SOME[0], PATIENCE)
        mine.took(heard(*map(record, SOME[1:3])))
        owned = 0
        for number in range(cells):
            key = f'{number:016x}'
            owned += SOME[0] in scans.owners(key, SOME[:3])
            mine.put(subject(key), value, NOW)
        told = mine.own(NOW)
        assert (len(told) == owned) is all_told
        written = members.dump(record(SOME[0], *told))
        assert members.load(written).scans == told
        if not all_told:
            assert scans.ROOM < len(written) + 1000 < scans.ROOM * 1.01


def test_what_is_taken_holds_until_the_next_visit():
    policy = policy_module.Policy()
    made = joining.Joining('', member.Membership(
        'nova', SOME[0], '1.0', policy, False,
        majority.quorum('1'))).make_scans()
    key = next(keys(SOME[0], owned=False))
    made.took(heard(record(SOME[1], fleet.Scan(key, 0.0, VALUE)),
                    *map(record, SOME[2:])))
    oldest = policy.ttl - policy.freshness
    assert made.take(subject(key), NOW + oldest) is not None
    assert made.take(subject(key), NOW + oldest + 0.1) is None


class TestFleet:
    """Ten hosts and six cells in simulated time."""

    @pytest.fixture
    def ten(self):
        made = simulation.Fleet(10, 6)
        made.run(4)
        return made

    def each(self, ten, since):
        """How often each cell was scanned since then."""
        found = collections.Counter(ten.scanned(since))
        return [found[cell] for cell in ten.cells]

    def test_two_hosts_scan_each_cell(self, ten):
        since = ten.run(5)
        assert all(8 <= scanned <= 12 for scanned in self.each(ten, since))
        policy = ten.policy
        assert 0 < max(host.oldest for host in ten.hosts) <= (
            policy.ttl - policy.freshness)

    def test_a_host_that_dies(self, ten):
        """Each cell has an owner all the time, and soon two again."""
        owner = max(ten.hosts, key=lambda host: len(host.scanned))
        owner.alive = False
        ten.records.forget(owner.name)
        for host in ten.hosts:
            host.oldest = 0.0
        since = ten.run(2)
        assert all(1 <= scanned <= 6 for scanned in self.each(ten, since))
        since = ten.run(5)
        assert all(8 <= scanned <= 12 for scanned in self.each(ten, since))

    def test_a_host_that_dies_leaves_its_record(self, ten):
        owner = max(ten.hosts, key=lambda host: len(host.scanned))
        owner.alive = False
        ten.records.keep(owner.name)
        ten.run(2)
        since = ten.run(5)
        assert all(8 <= scanned <= 12 for scanned in self.each(ten, since))

    def test_without_a_store_every_host_scans(self, ten):
        ten.records.away = True
        ten.run(2)
        since = ten.run(4)
        assert all(36 <= scanned <= 44 for scanned in self.each(ten, since))
        ten.records.away = False
        ten.run(2)
        since = ten.run(5)
        assert all(8 <= scanned <= 12 for scanned in self.each(ten, since))

    def test_they_need_not_be_started_together(self, ten):
        ten.hosts.append(simulation.Host(ten, 'api-late.example.org'))
        ten.run(2)
        since = ten.run(5)
        assert all(8 <= scanned <= 12 for scanned in self.each(ten, since))


def test_the_benchmark_says_what_a_fleet_needs():
    found = simulation.measure(3, 2, intervals=2)
    assert dataclasses.astuple(found)[:2] == (3, 2)
    assert 1.5 <= found.ratio <= 2.5
    assert found.oldest > 0 and found.largest > 300
