# SPDX-License-Identifier: Apache-2.0

"""When which backend is visited, in time that a test owns."""

import collections
import itertools
import random

from hypothesis import settings
from hypothesis import stateful
from hypothesis import strategies as st
import pytest

from healthcheck.cells import cell
from healthcheck.cells import mappings
from healthcheck.cells import rota
from healthcheck.cells import turns
from healthcheck.probing import check
from healthcheck.probing import guard
from healthcheck.reports import report
from tests.unit import world

Status = report.Status

POLICY = check.Policy()


class Place:
    """A cell, as far as a rota knows one."""

    def __init__(self, is_cell0=False):
        self.mapping = mappings.Mapping(
            mappings.CELL0 if is_cell0 else 'uuid', '', '', '', False)
        self.backends = []


class City(world.Timeline):
    """A rota, and visits that take as long as a test says.

    A behaviour is what ``world.Backend`` has: from the time at which a visit
    starts to its result and how long it takes, None for ever.

    :ivar visits: of each backend, when they began
    """

    def __init__(self, workers=16, policy=POLICY, seed=1):
        super().__init__()
        self.policy = policy
        self.uniform = random.Random(seed).uniform
        self.rota = rota.Rota(workers, self._visit, lambda: self.now,
                              lambda: 1e9 + self.now, self.uniform)
        self.workers = workers
        self.behaviours = {}
        self.visits = collections.defaultdict(list)
        self.judged = collections.defaultdict(list)
        self.suspects_at_most = 0
        self.going_on = {}
        self._suspects = set()

    def backend(self, behaviour, place=None, label='b'):
        made = cell.Backend(label, None, self.policy, place or Place())
        made.cell.backends.append(made)
        made.check._uniform = self.uniform
        self.behaviours[made] = behaviour
        return made

    def cell(self, behaviour):
        place = Place()
        return [self.backend(behaviour, place, label) for label in 'dq']

    def step(self):
        for backend in self.rota.step(lambda one: ('LATE', 'so late')):
            self.judged[backend].append(self.now)
        return self.rota.wakes_at

    def _visit(self, backend):
        assert backend.place not in self.going_on
        self.going_on[backend.place] = backend
        assert len(self.going_on) <= self.workers
        if backend.suspect:
            self._suspects.add(backend)
        self.suspects_at_most = max(self.suspects_at_most,
                                    len(self._suspects))
        self.visits[backend].append(self.now)
        result, took = self.behaviours[backend](self.now)
        if took is not None:
            self.at(self.now + took, lambda: self.finish(backend, result))

    def finish(self, backend, result):
        del self.going_on[backend.place]
        self._suspects.discard(backend)
        return self.rota.finished(backend, result, self.now)


def well(now):
    return world.OK, 0.02


def refused(now):
    return world.REFUSED, 0.02


def frozen(now):
    """A driver that comes back by itself, at its bound."""
    return world.REFUSED, 4.0


def late(now):
    return world.OK, 10.0


def never(now):
    return world.OK, None


def gaps(times, after=0.0):
    times = [time for time in times if time >= after]
    return [late - early for early, late in itertools.pairwise(times)]


def test_each_is_visited_once_an_interval():
    city = City()
    many = [city.backend(well) for _ in range(200)]
    city.rota.add(many)
    city.run(100)
    for one in many:
        assert max(gaps(city.visits[one])) <= 11.0 + 0.2
        assert min(gaps(city.visits[one])[1:]) >= 9.0 - 0.2


def test_the_first_round_begins_at_once_and_all_others_are_spread():
    city = City()
    city.rota.add([city.backend(well) for _ in range(1000)])
    city.run(60)
    times = sorted(itertools.chain(*city.visits.values()))
    # 1000 of 0.02 s each, 8 at once.
    assert len(times) > 1000 and times[999] <= 2.6
    tenths = collections.Counter(int(time) for time in times)
    assert all(50 <= tenths[second] <= 150 for second in range(20, 60))


def test_no_more_visits_than_workers_and_one_for_a_place():
    city = City(workers=4)
    for _ in range(20):
        city.rota.add(city.cell(lambda now: (world.OK, 0.3)))
    city.run(30)  # the city asserts
    assert all(len(times) >= 3 for times in city.visits.values())
    assert len(city.visits) == 40


def test_all_workers_are_used():
    city = City(workers=4)
    city.rota.add([city.backend(never) for _ in range(9)])
    city.run(0)
    assert len(city.going_on) == 4


def test_suspects_have_three_quarters_of_the_workers():
    city = City()
    city.rota.add([city.backend(frozen) for _ in range(100)])
    city.run(30)
    city.suspects_at_most = 0
    city.run(120)
    assert city.suspects_at_most == 12


def test_with_two_workers_suspects_have_one():
    city = City(workers=2)
    down = city.backend(refused)
    city.rota.add([down])
    city.run(30)
    assert down.check.status is Status.FAIL
    assert len(city.visits[down]) >= 3


class TestFrozen:
    """Fifty cells; healthy ones do not wait for the others."""

    def cells(self, city, behaviour, count):
        down = [city.cell(behaviour) for _ in range(count)]
        up = [city.cell(well) for _ in range(50 - count)]
        made = down + up
        random.Random(7).shuffle(made)
        for one in made:
            city.rota.add(one)
        return list(itertools.chain(*down)), list(itertools.chain(*up))

    def test_one_for_good_holds_one_worker(self):
        city = City()
        stuck_at = 50.0
        down, up = self.cells(city, lambda now: (
            world.OK, 0.02 if now < stuck_at else None), 1)
        city.run(300)
        assert [one.place for one in city.going_on.values()] == [
            down[0].place]
        begun = [one for one in down if city.visits[one][-1] >= stuck_at]
        assert len(begun) == 1  # and once
        assert begun[0].check.status is Status.FAIL
        assert begun[0].check.result.reason == 'LATE'
        for one in up:
            assert max(gaps(city.visits[one])) <= 11.0 + 0.2
            assert one.check.status is Status.PASS

    def test_one_for_good_is_judged_in_time_and_stays_fresh(self):
        city = City()
        stuck = city.backend(lambda now: (world.OK, 0.02 if now < 50
                                          else None))
        city.rota.add([stuck])
        city.run(50 + POLICY.detection)
        assert stuck.check.status is Status.FAIL
        city.run(500)
        assert len(city.visits[stuck]) == len(
            [time for time in city.visits[stuck] if time < 50]) + 1
        assert max(gaps(city.judged[stuck])) <= POLICY.freshness

    def test_a_quarter_that_times_out_each_time(self):
        city = City()
        down, up = self.cells(city, frozen, 13)
        city.run(300)
        for one in up:
            # The first round has to find out who is frozen.
            assert max(gaps(city.visits[one])) <= 12.0
            assert max(gaps(city.visits[one], 30)) <= 11.0 + 0.2
        for one in down:
            assert one.check.status is Status.FAIL
            assert max(gaps(city.visits[one], 30)) <= POLICY.ttl

    def test_a_quarter_that_begins_to_time_out(self):
        city = City()
        down, up = self.cells(city, lambda now: (
            frozen if now >= 50 else well)(now), 13)
        city.run(300)
        for one in up:
            assert max(gaps(city.visits[one])) <= 11.0 + 2.0
            assert one.check.status is Status.PASS

    @pytest.mark.parametrize('behaviour', [frozen, never])
    def test_all_of_sixty(self, behaviour):
        """With the default of cells_workers, and it has to be told in time.

        For good they hold a worker each; one is left to see the others.
        """
        city = City(workers=80)
        down = [city.cell(lambda now: (
            behaviour if now >= 50 else well)(now)) for _ in range(60)]
        for one in down:
            city.rota.add(one)
        city.run(50 + POLICY.detection + 1.0)
        for one in down:
            assert any(each.check.status is Status.FAIL for each in one)

    def test_a_tenth_of_a_thousand(self):
        city = City(workers=80)
        down = [city.cell(lambda now: (
            frozen if now >= 50 else well)(now)) for _ in range(100)]
        up = [city.cell(well) for _ in range(900)]
        for one in down + up:
            city.rota.add(one)
        city.run(150)
        for one in down:
            assert any(each.check.status is Status.FAIL for each in one)
        for one in itertools.chain(*up):
            assert max(gaps(city.visits[one], 20)) <= 20.0
            assert max(gaps(city.visits[one], 100)) <= 11.0 + 0.5


class TestTurns:
    """Who comes first when there are not enough workers."""

    def test_what_nothing_goes_without_comes_first(self):
        city = City(workers=4)
        many = [city.backend(well) for _ in range(50)]
        cell0 = city.backend(well, Place(is_cell0=True))
        api = cell.Backend('API', None, POLICY, None)
        city.behaviours[api] = well
        city.rota.add([*many, cell0, api])
        city.run(0)
        assert list(city.visits) == [cell0, api, *many[:2]]

    def test_what_is_to_be_confirmed_comes_before_what_is_down(self):
        line = turns.Turns(8)
        city = City()
        down, first = city.backend(refused), city.backend(refused)
        healthy = city.backend(well)
        for one, failures in ((down, 2), (first, 1)):
            for _ in range(failures):
                one.check.started(0.0)
                one.check.finished(world.REFUSED, 0.1, 0.1)
        for one in (down, first, healthy):
            line.put(one)
        assert [line.take(0.0) for _ in range(4)] == [
            healthy, first, down, None]

    def test_the_other_half_of_a_suspect_is_one(self):
        city = City()
        database, queue = city.cell(well)
        assert not queue.suspect
        database.check.started(0.0)
        database.check.finished(world.REFUSED, 0.1, 0.1)
        assert queue.suspect

    def test_few_are_begun_at_once(self):
        """A thousand that answer must not keep requests from their turn."""
        city = City(workers=80)
        city.rota.add([city.backend(lambda now: (world.OK, 0.03))
                       for _ in range(100)])
        city.run(0)
        assert len(city.going_on) == turns.AT_ONCE
        city.run(0.02)
        assert len(city.going_on) == turns.AT_ONCE

    def test_who_waits_for_its_backend_keeps_nobody(self):
        city = City(workers=80)
        city.rota.add([city.backend(frozen) for _ in range(100)])
        city.run(turns.LASTS + 0.001)
        assert len(city.going_on) == 2 * turns.AT_ONCE
        city.run(1.0)
        assert len(city.going_on) == 80


@pytest.mark.parametrize('seed', range(20))
@pytest.mark.parametrize('behaviour', [refused, frozen, late, never])
def test_a_fault_is_found_within_the_formula(behaviour, seed):
    city = City(seed=seed)
    fault_at = city.uniform(20, 40)
    one = city.backend(
        lambda now: (behaviour if now >= fault_at else well)(now))
    city.rota.add([one] + [city.backend(well) for _ in range(10)])
    city.run(fault_at + POLICY.detection + 1e-6)
    assert one.check.status is Status.FAIL


def test_a_first_failure_is_looked_into_at_once():
    """Spreading is for those of which enough is known."""
    city = City()
    many = [city.backend(refused) for _ in range(8)]
    city.rota.add(many)
    city.run(2.1)
    assert all(one.check.status is Status.FAIL for one in many)
    city.run(100)
    assert len({city.visits[one][-1] for one in many}) == 8


def test_hurry_visits_all_once_more_and_spreads_them_again():
    city = City()
    many = [city.backend(well) for _ in range(1000)]
    city.rota.add(many)
    city.run(50)
    city.rota.hurry()
    city.run(53)
    assert all(city.visits[one][-1] >= 50 for one in many)
    assert sum(time >= 50 for times in city.visits.values()
               for time in times) <= 1000 * 1.2
    city.run(100)
    tenths = collections.Counter(
        int(time) for times in city.visits.values() for time in times)
    assert all(50 <= tenths[second] <= 150 for second in range(55, 100))


def test_hurry_visits_again_whom_it_finds_being_visited():
    city = City()
    one = city.backend(lambda now: (world.OK, 1.0))
    city.rota.add([one])
    city.run(0.5)
    city.rota.hurry()
    city.run(5)
    assert city.visits[one] == [0.0, 1.0]


def test_hurry_does_not_visit_twice_whom_it_finds_waiting():
    city = City(workers=2)
    slow = city.backend(lambda now: (world.OK, 1.0))
    parked = city.backend(well, slow.place)
    city.rota.add([slow, parked, city.backend(lambda now: (world.OK, 1.0))])
    queued = city.backend(well)
    city.rota.add([queued])
    city.run(0.5)
    assert not city.visits[parked] and not city.visits[queued]
    city.rota.hurry()
    city.run(1.5)
    assert city.visits[parked] == city.visits[queued] == [1.0]


class TestRemoved:

    def test_while_planned(self):
        city = City()
        one = city.backend(well)
        city.rota.add([one])
        city.run(5)
        before = len(city.visits[one])
        assert city.rota.remove([one]) == [one]
        city.run(50)
        assert len(city.visits[one]) == before

    @pytest.mark.parametrize('behaviour', [well, refused])
    def test_while_queued(self, behaviour):
        city = City(workers=2)
        busy = [city.backend(lambda now: (world.OK, 4.0))
                for _ in range(2)]
        one = city.backend(behaviour)
        city.rota.add([one])
        city.run(1.0)
        before = len(city.visits[one])
        city.rota.add(busy)
        city.run(1.0)
        city.rota.hurry()
        city.run(1.5)
        assert city.rota.remove([one]) == [one]
        city.run(50)
        assert len(city.visits[one]) == before

    def test_while_parked(self):
        city = City()
        first, second = city.cell(lambda now: (world.OK, 2.0))
        city.rota.add([first, second])
        city.run(1)
        assert city.rota.remove([second]) == [second]
        city.run(50)
        assert not city.visits[second]
        assert max(gaps(city.visits[first])) < 12

    def test_while_visited(self):
        city = City()
        first, second = city.cell(lambda now: (world.OK, 2.0))
        city.rota.add([first, second])
        city.run(1)
        assert city.rota.remove([first]) == []
        city.run(1.5)
        assert not city.visits[second]  # nobody is sent beside the visit
        assert city.finish(first, world.OK) is False
        city.behaviours[first] = None
        city._events.clear()
        city.run(50)
        assert len(city.visits[first]) == 1
        assert max(gaps(city.visits[second])) < 12

    def test_while_it_hangs(self):
        city = City()
        one = city.backend(never)
        city.rota.add([one])
        city.run(1)
        city.rota.remove([one])
        city.run(50)
        assert one not in city.judged


def test_time_in_which_nothing_ran_is_not_held_against_anybody():
    city = City()
    one, other = city.backend(never), city.backend(well)
    city.rota.add([one])
    city.run(1)
    city.now += 60  # the process was stopped
    city.rota.excuse(60)
    city.rota.add([other])
    city.run(64.9)
    assert one not in city.judged
    city.run(65.0)
    assert city.judged[one] == [65.0]


def test_waiting_for_a_turn_is_not_held_against_a_second_try():
    """One that was late once is to be judged at a fixed time, see Check.

    It has its whole timeout all the same, when its turn comes late.
    """
    city = City(workers=2, policy=check.Policy(fall=2, jitter=0.0))
    late = iter([6.0])
    one = city.backend(lambda now: (world.OK, next(late, 1.0)))
    other = city.backend(well, one.place)
    city.rota.add([one, other])
    city.behaviours[other] = lambda now: (world.OK, 6.5)
    city.run(12.4)
    assert len(city.visits[one]) == 1 and len(city.visits[other]) == 1
    city.run(14)
    assert len(city.visits[one]) == 2
    assert one.check.status is Status.PASS
    assert len(city.judged[one]) == 1


def test_a_target_that_cannot_say_why_is_late():
    class Target:
        def overdue(self):
            raise RuntimeError('rabbit://u:sesame@h')

    one = cell.Backend('b', Target(), POLICY, Place())
    assert guard.why_overdue(one.label, one.target.overdue) == (
        check.NO_ANSWER, '')


class Machine(stateful.RuleBasedStateMachine):
    """Any sequence of what can happen to a rota."""

    def __init__(self):
        super().__init__()
        self.city = City(workers=3)
        self.rota = self.city.rota
        self.known, self.removed = set(), set()
        self.places = [Place() for _ in range(6)]
        self.before = {}

    @stateful.rule(place=st.integers(0, 5), count=st.integers(1, 4))
    def add(self, place, count):
        made = [self.city.backend(never, self.places[place])
                for _ in range(count)]
        self.known.update(made)
        self.rota.add(made)

    @stateful.precondition(lambda self: self.known)
    @stateful.rule(data=st.data())
    def remove(self, data):
        one = data.draw(st.sampled_from(self.in_order()))
        self.known.discard(one)
        self.removed.add(one)
        self.before[one] = len(self.city.visits[one])
        visited = self.city.going_on.get(one.place) is one
        assert self.rota.remove([one]) == ([] if visited else [one])

    @stateful.precondition(lambda self: self.city.going_on)
    @stateful.rule(data=st.data(), result=st.sampled_from(
        [world.OK, world.REFUSED]))
    def finish(self, data, result):
        going_on = sorted(self.city.going_on.values(),
                          key=self.order_of)
        one = data.draw(st.sampled_from(going_on))
        assert self.city.finish(one, result) is (one in self.known)
        self.city.run(self.city.now)

    @stateful.rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds):
        self.city.run(self.city.now + seconds)

    @stateful.rule()
    def hurry(self):
        self.rota.hurry()

    @stateful.rule(seconds=st.floats(0.1, 20))
    def excuse(self, seconds):
        self.city.now += seconds
        self.rota.excuse(seconds)

    @stateful.invariant()
    def nobody_is_lost(self):
        planned = {backend for due_at, _, backend in self.rota._due
                   if due_at == backend.check.due_at}
        waiting = set(itertools.chain(*self.rota._turns._lines))
        parked = set(itertools.chain(*self.rota._parked.values()))
        visited = set(self.rota.visited.values())
        for one in self.known:
            assert one in planned | waiting | parked | visited
            if one in visited:
                assert one in planned  # or it would never be overdue
        for place in self.rota._parked:
            assert place in self.rota.visited

    @stateful.invariant()
    def the_rota_knows_who_is_visited(self):
        assert self.rota.visited == self.city.going_on
        assert len(self.rota.visited) <= 3

    @stateful.invariant()
    def two_suspects_of_three(self):
        assert len(self.city._suspects) <= 2

    @stateful.invariant()
    def who_was_removed_is_not_visited(self):
        for one in self.removed:
            assert len(self.city.visits[one]) == self.before[one]

    @stateful.invariant()
    def there_is_no_worker_too_many(self):
        """Whoever can be visited is, once time has passed."""
        self.city.run(self.city.now)
        if len(self.rota.visited) < 3:
            needed, well, *_ = self.rota._turns._lines
            assert not needed and not well

    def teardown(self):
        """In the end, everybody is visited."""
        for one in self.known | self.removed:
            self.city.behaviours[one] = well
        for one in list(self.city.going_on.values()):
            self.city.finish(one, world.OK)
        start = self.city.now
        self.city.run(start + 30)
        for one in self.known:
            assert self.city.visits[one][-1] >= start
            assert one.check.status is Status.PASS

    def order_of(self, backend):
        return list(self.city.behaviours).index(backend)

    def in_order(self):
        return sorted(self.known, key=self.order_of)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=40, stateful_step_count=30)
