# SPDX-License-Identifier: Apache-2.0

"""When which target is visited, in time that a test owns."""

import collections
import itertools
import random

from hypothesis import settings
from hypothesis import stateful
from hypothesis import strategies as st
import pytest

from healthcheck.probing import guard
from healthcheck.probing import policy as policy_module
from healthcheck.probing import probe
from healthcheck.probing import rota
from healthcheck.probing import state
from healthcheck.probing import target
from healthcheck.probing import turns
from healthcheck.probing import watched as watched_module
from healthcheck.reports import report
from tests.unit import world

Status = report.Status

POLICY = policy_module.Policy()


class Server(target.Target):
    """What is visited in a city.

    A behaviour is what ``world.Backend`` has: from the time at which a visit
    starts to its result and how long it takes, None for ever.

    :ivar visits: when they began
    :ivar cut: when it was asked why it is late
    """

    def __init__(self, city, behaviour, key=None):
        self.city = city
        self.behaviour = behaviour
        self.visits = []
        self.closed = []
        self.cut = []
        self._key = self if key is None else key

    @property
    def key(self):
        return self._key

    def probe(self, questions=()):
        raise NotImplementedError('a city knows what is found')

    def overdue(self):
        self.cut.append(self.city.now)
        return 'LATE', 'so late'

    def close(self):
        raise NotImplementedError('a city closes by itself')


class City(world.Timeline):
    """A rota, and visits that take as long as a test says.

    :ivar going_on: the visits, and whether each of them had to wait for a
        worker
    :ivar judged: of each probe, when it was found overdue or its visit ended
    :ivar again: keys of what has to be visited once more
    :ivar tours: how many targets each thread has visited in one go
    """

    def __init__(self, workers=16, policy=POLICY, seed=1):
        super().__init__()
        self.policy = policy
        self.uniform = random.Random(seed).uniform
        self.rota = rota.Rota(workers, policy, self._visit, self._close,
                              lambda: self.now, lambda: 1e9 + self.now,
                              self.uniform)
        self.workers = workers
        self.judged = collections.defaultdict(list)
        self.going_on = {}
        self.again = set()
        self.order = []
        self.tours = []
        self.suspects_at_most = 0
        self.suspects = set()

    def probe(self, behaviour, *, needed=False, key=None):
        """One that is not visited yet."""
        return probe.Probe(Server(self, behaviour, key), self.policy,
                           needed=needed)

    def add(self, *probes):
        for one in probes:
            self.rota.add(one)

    def added(self, behaviour, count=1, **kwargs):
        """So many that are visited."""
        made = [self.probe(behaviour, **kwargs) for _ in range(count)]
        self.add(*made)
        return made

    def step(self):
        for one in self.rota.step():
            self.judged[one].append(self.now)
        return self.rota.wakes_at

    def _visit(self, tour):
        for watched in tour:
            self._begin(watched)
        self.tours.append(len(tour))
        self._go_on(tour)

    def _go_on(self, tour):
        """One after the other, but none waits long for another one."""
        left = list(tour)

        def next_one():
            if left:
                self._make(left.pop(0), next_one)

        def late():
            for watched in left:
                del self.going_on[watched]
            self.rota.held_up(left)
            left.clear()
        self.at(self.now + turns.TOO_LONG, late)
        next_one()

    def _begin(self, watched):
        assert watched not in self.going_on
        assert watched.probes
        assert not watched.target.closed
        self.going_on[watched] = not watched.needed
        assert sum(self.going_on.values()) <= self.workers
        if watched.suspect and not watched.needed:
            self.suspects.add(watched)
        self.suspects_at_most = max(self.suspects_at_most,
                                    len(self.suspects))

    def _make(self, watched, then=lambda: None):
        server = watched.target
        server.visits.append(self.now)
        self.order.append(server)
        result, took = server.behaviour(self.now)
        began_at = self.now

        def over():
            watched.waited(began_at)
            self.finish(watched, result)
            then()
        if took is not None:
            self.at(self.now + took, over)

    def _close(self, watched):
        assert watched not in self.going_on
        watched.target.closed.append(self.now)

    def finish(self, watched, result):
        del self.going_on[watched]
        self.suspects.discard(watched)
        again = watched.key in self.again
        self.again.discard(watched.key)
        judged = self.rota.finished(watched, target.Findings(result),
                                    self.now, again)
        for one in judged:
            self.judged[one].append(self.now)
        return judged


def well(now):
    return world.OK, 0.02


def lasts(now):
    return world.OK, 1.0


def refused(now):
    return world.REFUSED, 0.02


def frozen(now):
    """A driver that comes back by itself, at its bound."""
    return world.REFUSED, 4.0


def late(now):
    return world.OK, 10.0


def never(now):
    return world.OK, None


def begins(behaviour, at):
    """One that passes until then."""
    return lambda now: (behaviour if now >= at else well)(now)


def visits(one):
    return one.target.visits


def gaps(times, after=0.0):
    times = [time for time in times if time >= after]
    return [late - early for early, late in itertools.pairwise(times)]


def seconds(many):
    """How many visits began in which second."""
    return collections.Counter(int(time) for one in many
                               for time in visits(one))


def test_each_is_visited_once_an_interval():
    city = City()
    many = city.added(well, 200)
    city.run(100)
    for one in many:
        assert max(gaps(visits(one))) <= 11.0 + 0.2
        assert min(gaps(visits(one))[1:]) >= 9.0 - 0.2


def test_the_first_round_begins_at_once_and_all_others_are_spread():
    city = City()
    many = city.added(well, 1000)
    city.run(60)
    times = sorted(itertools.chain(*map(visits, many)))
    # 1000 of 0.02 s each, 8 at once.
    assert len(times) > 1000 and times[999] <= 2.6
    found = seconds(many)
    assert all(50 <= found[second] <= 150 for second in range(20, 60))


def test_no_more_visits_than_workers_and_one_for_a_target():
    city = City(workers=4)
    many = [city.probe(lambda now: (world.OK, 0.3), key=number)
            for number in [*range(40)] * 2]
    city.add(*many)
    city.run(30)  # the city asserts
    assert all(len(visits(one)) >= 3 for one in many[:40])
    # Those that came later use the target that there was.
    assert not any(visits(one) for one in many[40:])
    assert all(one.state.status is Status.PASS for one in many)


def test_all_workers_are_used():
    city = City(workers=4)
    city.added(never, 9)
    city.run(0)
    assert len(city.going_on) == 4


def test_suspects_have_three_quarters_of_the_workers():
    city = City()
    city.added(frozen, 100)
    city.run(30)
    city.suspects_at_most = 0
    city.run(120)
    assert city.suspects_at_most == 12


def test_with_two_workers_suspects_have_one():
    city = City(workers=2)
    down, = city.added(refused)
    city.run(30)
    assert down.state.status is Status.FAIL
    assert len(visits(down)) >= 3


class TestFrozen:
    """A hundred targets; healthy ones do not wait for the others."""

    def targets(self, city, behaviour, count):
        down = [city.probe(behaviour) for _ in range(count)]
        up = [city.probe(well) for _ in range(100 - count)]
        made = down + up
        random.Random(7).shuffle(made)
        city.add(*made)
        return down, up

    def test_one_for_good_holds_one_worker(self):
        city = City()
        (stuck,), up = self.targets(city, begins(never, 50.0), 1)
        city.run(300)
        assert [one.target for one in city.going_on
                if one.target.visits[-1] < 299] == [stuck.target]
        assert len([at for at in visits(stuck) if at >= 50.0]) == 1
        assert stuck.state.status is Status.FAIL
        assert stuck.state.result.reason == 'LATE'
        for one in up:
            assert max(gaps(visits(one))) <= 11.0 + 0.2
            assert one.state.status is Status.PASS

    def test_one_for_good_is_judged_in_time_and_stays_fresh(self):
        city = City()
        stuck, = city.added(begins(never, 50))
        city.run(50 + POLICY.detection)
        assert stuck.state.status is Status.FAIL
        city.run(500)
        assert len([at for at in visits(stuck) if at >= 50]) == 1
        assert max(gaps(city.judged[stuck])) <= POLICY.freshness

    def test_a_quarter_that_times_out_each_time(self):
        city = City()
        down, up = self.targets(city, frozen, 25)
        city.run(300)
        for one in up:
            # The first round has to find out who is frozen.
            assert max(gaps(visits(one))) <= 14.0
            assert max(gaps(visits(one), 30)) <= 11.0 + 0.2
        for one in down:
            assert one.state.status is Status.FAIL
            assert max(gaps(visits(one), 30)) <= POLICY.ttl

    def test_a_quarter_that_begins_to_time_out(self):
        city = City()
        down, up = self.targets(city, begins(frozen, 50), 25)
        city.run(300)
        for one in up:
            assert max(gaps(visits(one))) <= 11.0 + 2.0
            assert one.state.status is Status.PASS

    @pytest.mark.parametrize('behaviours', [
        (frozen, frozen), (never, well)])
    def test_all_of_sixty(self, behaviours):
        """With the default of cells_workers, and it has to be told in time.

        For good they hold a worker each; one is left to see the others.
        """
        city = City(workers=80)
        down = [[city.added(begins(behaviour, 50))[0]
                 for behaviour in behaviours] for _ in range(60)]
        city.run(50 + POLICY.detection + 1.0)
        for one in down:
            assert any(each.state.status is Status.FAIL for each in one)

    def test_a_tenth_of_a_thousand(self):
        city = City(workers=80)
        down = [city.added(begins(frozen, 50), 2) for _ in range(100)]
        up = city.added(well, 1800)
        city.run(150)
        for one in down:
            assert any(each.state.status is Status.FAIL for each in one)
        for one in up:
            assert max(gaps(visits(one), 20)) <= 20.0
            assert max(gaps(visits(one), 100)) <= 11.0 + 0.5


class TestNeeded:
    """What requests cannot do without waits for nobody."""

    def test_is_visited_first(self):
        city = City(workers=2)
        many = city.added(well, 50)
        needed = city.added(well, 2, needed=True)
        city.run(0)
        assert city.order == [one.target for one in (*needed, *many[:2])]

    def test_is_visited_when_due_though_all_workers_hang(self):
        city = City(workers=4)
        city.added(never, 9)
        needed = city.added(well, 3, needed=True)
        city.run(100)
        assert len(city.going_on) == 4
        for one in needed:
            assert max(gaps(visits(one))) <= 11.0
            assert len(visits(one)) >= 9
        assert city.rota.needed == 3

    def test_all_of_them_at_a_time_beside_all_workers(self):
        city = City(workers=4)
        city.added(never, 9)
        city.added(never, 9, needed=True)
        city.run(0)
        assert len(city.going_on) == 4 + city.rota.needed == 13

    def test_a_target_is_needed_while_one_of_its_probes_is(self):
        city = City(workers=1)
        city.added(never)
        city.run(0)
        one, = city.added(well, key='k')
        other, = city.added(well, key='k', needed=True)
        assert city.rota.needed == 1
        city.run(20)
        assert len(visits(one)) >= 2
        city.rota.remove(other)
        assert city.rota.needed == 0
        before = len(visits(one))
        city.run(60)
        assert len(visits(one)) == before

    def test_what_waits_for_a_worker_and_is_needed_then_is_visited_once(
            self):
        city = City(workers=2)
        hung = city.added(lambda now: (world.OK, 4.0), 2)
        city.run(0.5)
        one, = city.added(well, key='k')
        city.run(1.0)
        assert not visits(one)
        city.added(well, key='k', needed=True)
        city.run(8.0)
        assert visits(one) == [1.0]
        assert all(len(visits(other)) == 1 for other in hung)

    def test_one_that_is_gone_holds_its_thread_until_it_comes_back(self):
        """Or another that is needed would have none."""
        city = City()
        one, = city.added(frozen, needed=True)
        city.run(1.0)
        city.rota.remove(one)
        assert city.rota.needed == 1
        city.run(5.0)
        assert city.rota.needed == 0

    def test_is_not_spread(self):
        """Its first regular visit comes an interval after the first one."""
        city = City(policy=policy_module.Policy(jitter=0.0))
        one, = city.added(well, needed=True)
        city.run(35)
        assert visits(one) == [0.0, 10.0, 20.0, 30.0]


class TestTurns:
    """Which comes first when there are not enough workers."""

    def watched(self, *failures):
        """One that has failed so often."""
        made = watched_module.Watched('k', Server(None, well))
        made.probes = [probe.Probe(made.target, POLICY) for _ in failures]
        for one, count in zip(made.probes, failures):
            for _ in range(count):
                one.state.started(0.0)
                one.state.finished(world.REFUSED, 0.1, 0.1)
        return made

    def test_what_is_to_be_confirmed_comes_before_what_is_down(self):
        line = turns.Turns(8)
        down, first, healthy = map(self.watched, (2, 1, 0))
        for one in (down, first, healthy):
            line.put(one)
        assert [line.take(0.0) for _ in range(4)] == [
            [healthy], [first], [down], []]

    def test_a_target_is_suspect_for_each_of_its_probes(self):
        assert not self.watched(0, 0).suspect
        assert self.watched(0, 1).suspect
        assert self.watched(0, 1).confirming
        assert self.watched(0, 2).suspect
        assert not self.watched(0, 2).confirming

    def test_few_are_begun_at_once(self):
        """A thousand that answer must not keep requests from their turn."""
        city = City(workers=80)
        city.added(lambda now: (world.OK, 0.03), 100)
        city.run(0)
        assert len(city.going_on) == turns.AT_ONCE
        city.run(0.02)
        assert len(city.going_on) == turns.AT_ONCE

    def test_what_waits_for_its_backend_keeps_nobody(self):
        city = City(workers=80)
        city.added(frozen, 100)
        city.run(turns.LASTS + 0.001)
        assert len(city.going_on) == 2 * turns.AT_ONCE
        city.run(1.0)
        assert len(city.going_on) == 80


@pytest.mark.parametrize('needed', [True, False])
@pytest.mark.parametrize('seed', range(20))
@pytest.mark.parametrize('behaviour', [refused, frozen, late, never])
def test_a_fault_is_found_within_the_formula(behaviour, seed, needed):
    city = City(seed=seed)
    fault_at = city.uniform(20, 40)
    one, = city.added(begins(behaviour, fault_at), needed=needed)
    city.added(well, 10)
    city.run(fault_at + POLICY.detection + 1e-6)
    assert one.state.status is Status.FAIL


def quick(now):
    return world.OK, 0.001


class TestTours:
    """Those that are quick are visited one after the other."""

    @pytest.mark.parametrize('seed', range(5))
    @pytest.mark.parametrize('behaviour', [refused, frozen, late, never])
    def test_all_that_fail_together_are_found(self, behaviour, seed):
        city = City(seed=seed)
        fault_at = city.uniform(20, 40)
        many = city.added(lambda now: (
            behaviour if now >= fault_at else quick)(now), 10)
        city.run(fault_at)
        assert max(city.tours) > 1
        city.run(fault_at + POLICY.detection + turns.TOO_LONG + 1e-6)
        assert all(one.state.status is Status.FAIL for one in many)

    @pytest.mark.parametrize('seed', range(5))
    def test_one_that_hangs_makes_no_other_late(self, seed):
        city = City(seed=seed)
        city.added(lambda now: (never if now >= 30.0 else quick)(now))
        many = city.added(quick, 200)
        city.run(100.0)
        gap = max(late - early for one in many
                  for early, late in itertools.pairwise(visits(one)[1:]))
        assert gap <= (POLICY.interval * (1 + POLICY.jitter)
                       + turns.TOO_LONG + 1e-6)


class TestFewWakeUps:
    """To wake up costs as much as a visit."""

    def test_nothing_wakes_up_for_a_deadline_that_was_kept(self):
        city = City()
        city.added(lambda now: (world.OK, 0.1), needed=True)
        city.run(0.2)
        # Not at 5.0, when the visit would have been overdue.
        assert city.rota.wakes_at > POLICY.timeout

    def test_those_that_can_wait_begin_together(self):
        city = City()
        servers = [one.target for one in city.added(
            lambda now: (world.OK, 2 * watched_module.QUICK), 200)]
        city.run(60.0)
        begun = [at for one in servers for at in one.visits if at > 20.0]
        assert len(set(begun)) < len(begun) * 0.6

    def test_one_thread_visits_those_that_are_quick(self):
        city = City()
        city.added(lambda now: (world.OK, 0.001), 200)
        city.run(20.0)
        del city.tours[:]
        city.run(60.0)
        assert len(city.tours) < sum(city.tours) / 2
        assert max(city.tours) <= turns.ON_TOUR

    def test_none_is_late_for_that(self):
        city = City()
        one, = city.added(lambda now: (world.OK, 0.001))
        city.run(200.0)
        gaps = [late - early for early, late in
                itertools.pairwise(one.target.visits[1:])]
        assert max(gaps) <= POLICY.interval * (1 + POLICY.jitter)
        assert min(gaps) >= POLICY.interval * (0.98 - POLICY.jitter)

    def test_those_that_are_needed_are_not_early(self):
        city = City()
        one, = city.added(lambda now: (world.OK, 0.001), needed=True)
        many = city.added(lambda now: (world.OK, 0.001), 50)
        city.run(5.0)
        due_at = one.state.due_at
        city.run(12.0)
        assert many and due_at in one.target.visits


def test_a_first_failure_is_looked_into_at_once():
    """Spreading is for those of which enough is known."""
    city = City()
    many = city.added(refused, 8)
    city.run(2.1)
    assert all(one.state.status is Status.FAIL for one in many)
    city.run(100)
    # Two that are due within a fiftieth of the interval begin together.
    assert len({visits(one)[-1] for one in many}) > 4


def test_hurry_visits_all_once_more_and_spreads_them_again():
    city = City()
    many = city.added(well, 1000)
    city.run(50)
    # A round does so: what is being visited is visited once more.
    city.again = {key for key, visited in city.rota.running().items()
                  if visited}
    city.rota.hurry()
    city.run(53)
    assert all(visits(one)[-1] >= 50 for one in many)
    assert sum(time >= 50 for one in many
               for time in visits(one)) <= 1000 * 1.2
    city.run(100)
    found = seconds(many)
    assert all(50 <= found[second] <= 150 for second in range(55, 100))


def test_what_has_to_be_visited_again_is_visited_at_once():
    city = City()
    one, = city.added(lasts, key='k')
    city.again = {'k'}
    city.run(5)
    assert visits(one) == [0.0, 1.0]


def test_hurry_does_not_visit_twice_what_it_finds_waiting():
    city = City(workers=2)
    city.added(lasts, 2)
    queued, = city.added(well)
    city.run(0.5)
    assert not visits(queued)
    city.rota.hurry()
    city.run(1.5)
    assert visits(queued) == [1.0]


class TestShared:
    """Many probes of one target."""

    def test_one_visit_for_all(self):
        city = City()
        one, other = [city.probe(well, key='k') for _ in range(2)]
        city.add(one, other)
        city.run(100)
        assert len(visits(one)) >= 9
        assert max(gaps(visits(one))) <= 11.0 + 0.2
        assert not visits(other)  # its own target is not used
        assert city.judged[one] == city.judged[other]

    def test_one_that_joins_during_a_visit_is_visited_after_it(self):
        city = City()
        one, = city.added(lasts, key='k')
        city.run(0.5)
        other, = city.added(lasts, key='k')
        city.run(1.5)
        assert visits(one) == [0.0, 1.0]
        assert city.judged[one] == [1.0]
        assert not city.judged[other]
        city.run(2.0)
        assert city.judged[other] == [2.0]

    def test_one_that_joins_is_visited_soon(self):
        city = City()
        one, = city.added(well, key='k')
        city.run(30)
        other, = city.added(well, key='k')
        city.run(30.5)
        assert visits(one)[-1] == 30
        assert other.state.status is Status.PASS

    def test_one_that_joins_does_not_hide_that_a_visit_is_late(self):
        city = City()
        one, = city.added(begins(never, 30), key='k')
        city.run(45)
        assert len(city.going_on) == 1
        other, = city.added(well, key='k')
        city.run(70)
        assert one.state.status is Status.FAIL
        assert not city.judged[other]

    def test_one_that_leaves_takes_no_visit_with_it(self):
        """It was to be visited soon for that one, and later for others."""
        city = City(policy=policy_module.Policy(jitter=0.0))
        one, = city.added(well, key='k')
        city.run(15)
        other, = city.added(well, key='k')
        city.run(15.5)
        # As if a question of the other had failed.
        other.state.started(15.5)
        other.state.finished(world.REFUSED, 15.5, 15.5)
        watched, = city.rota._watched.values()
        city.rota._plan(watched)
        assert watched.due_at == 17.5 < one.state.due_at
        assert city.rota.remove(other) is None
        before = len(visits(one))
        city.run(60)
        assert len(visits(one)) >= before + 3
        assert max(gaps(visits(one), 15)) <= 11.0

    def test_what_another_probe_wants_is_not_closed(self):
        city = City()
        one, other = [city.probe(well, key='k') for _ in range(2)]
        city.add(one, other)
        city.run(5)
        assert city.rota.remove(one) is None
        city.run(50)
        assert not one.target.closed
        assert city.rota.remove(other) == 'k'
        assert one.target.closed == [50]
        assert not other.target.closed  # it was never opened

    def test_each_is_excused_for_its_own_wait(self):
        """How long another probe has waited is not its own wait."""
        policy = policy_module.Policy(fall=2, jitter=0.0)
        one = probe.Probe(Server(None, well, 'k'), policy)
        other = probe.Probe(Server(None, well, 'k'), policy)
        watched = watched_module.Watched('k', one.target)
        watched.probes = [one, other]
        # It was late once and is to be judged at a fixed time.
        one.state.started(0.0)
        one.state.overdue(5.0, 5.0)
        one.state.finished(world.OK, 9.0, 9.0)
        assert (one.state.due_at, one.state._judge_by) == (9.0, 12.0)
        other.state.due_at = 0.0
        watched.begin(10.0)
        assert one.state.due_at == 12.0 + 1.0


class TestRemoved:

    def test_while_planned(self):
        city = City()
        one, = city.added(well)
        city.run(5)
        before = len(visits(one))
        assert city.rota.remove(one) is one.target
        assert one.target.closed == [5]
        city.run(50)
        assert len(visits(one)) == before
        assert not city.rota.running()

    def test_before_it_was_visited(self):
        city = City()
        one, = city.added(well)
        city.rota.remove(one)
        city.run(50)
        assert not visits(one)
        assert not one.target.closed  # it has opened nothing

    @pytest.mark.parametrize('behaviour', [well, refused])
    def test_while_queued(self, behaviour):
        city = City(workers=2)
        one, = city.added(behaviour)
        city.run(1.0)
        before = len(visits(one))
        city.added(lambda now: (world.OK, 4.0), 2)
        city.run(1.0)
        city.rota.hurry()
        city.run(1.5)
        assert city.rota.remove(one) is one.target
        city.run(50)
        assert len(visits(one)) == before
        assert len(one.target.closed) == 1

    @pytest.mark.parametrize('behaviour', [well, refused])
    def test_while_queued_and_added_again(self, behaviour):
        city = City(workers=2)
        city.added(lambda now: (world.OK, 4.0), 2)
        city.run(0.5)
        one, = city.added(behaviour, key='k')
        city.run(1.0)
        city.rota.remove(one)
        other, = city.added(behaviour, key='k')
        city.run(5.0)
        assert not visits(one)
        assert len(visits(other)) == 1

    def test_while_visited(self):
        city = City()
        one, = city.added(lambda now: (world.OK, 2.0), key='k')
        city.run(1)
        assert city.rota.remove(one) == 'k'
        assert one.target.cut == [1]  # so that it comes back
        assert city.rota.visits == 1
        assert not city.rota.running()
        city.run(1.5)
        assert not one.target.closed
        city.run(50)
        assert one.target.closed == [2]
        assert city.rota.visits == 0
        assert len(visits(one)) == 1
        assert not city.judged[one]

    def test_while_visited_and_added_again(self):
        city = City()
        one, = city.added(lambda now: (world.OK, 2.0), key='k')
        city.run(1)
        city.rota.remove(one)
        other, = city.added(well, key='k')
        city.run(2.0)
        # What was cut says nothing about it, and nothing is closed.
        assert not one.target.closed
        assert not city.judged[other]
        assert visits(one) == [0, 2]
        one.target.behaviour = well
        city.run(50)
        assert not one.target.closed
        assert max(gaps(visits(one))) < 12
        assert other.state.status is Status.PASS

    def test_while_it_hangs(self):
        city = City()
        one, = city.added(never)
        city.run(1)
        city.rota.remove(one)
        watched, = city.going_on
        assert watched.probes == []
        city.run(20)
        assert len(city.rota._watched) == 1
        city.finish(watched, world.OK)
        assert not city.rota._watched
        assert one.target.closed == [20]


class TestRest:

    def test_closes_what_is_not_visited(self):
        city = City()
        one, other = city.added(well)[0], city.added(frozen)[0]
        unseen = city.probe(well)
        city.run(1)
        city.add(unseen)
        city.rota.rest()
        assert one.target.closed == [1]
        assert not other.target.closed and not unseen.target.closed
        city.run(4)

    def test_closes_each_once(self):
        city = City()
        one, = city.added(well)
        city.run(1)
        city.rota.rest()
        city.rota.rest()
        city.rota.remove(one)
        assert one.target.closed == [1]

    def test_closes_what_was_visited_by_a_later_call(self):
        city = City()
        one, = city.added(frozen)
        city.run(1)
        city.rota.rest()
        watched, = city.going_on
        city.finish(watched, world.OK)
        city.rota.rest()
        assert one.target.closed == [1]


def test_time_in_which_nothing_ran_is_not_held_against_anybody():
    city = City()
    one, = city.added(never)
    city.run(1)
    city.now += 60  # the process was stopped
    city.rota.excuse(60)
    city.added(well)
    city.run(64.9)
    assert one not in city.judged
    city.run(65.0)
    assert city.judged[one] == [65.0]


def test_waiting_for_a_turn_is_not_held_against_a_second_try():
    """One that was late once is to be judged at a fixed time, see State.

    It has its whole timeout all the same, when its turn comes late.
    """
    city = City(workers=2, policy=policy_module.Policy(fall=2, jitter=0.0))
    times = iter([6.0])
    one, = city.added(lambda now: (world.OK, next(times, 1.0)))
    city.run(5.5)
    assert len(city.judged[one]) == 1  # it is due again at 7
    city.added(lambda now: (world.OK, 6.5), 2)
    city.run(11.9)
    assert len(visits(one)) == 1
    city.run(14)
    assert len(visits(one)) == 2
    assert one.state.status is Status.PASS


def test_a_target_that_cannot_say_why_is_late():
    class Target(Server):
        def overdue(self):
            raise RuntimeError('rabbit://u:sesame@h')

    assert guard.why_overdue(Target(None, never)) == (state.NO_ANSWER, '')


class Machine(stateful.RuleBasedStateMachine):
    """Any sequence of what can happen to a rota."""

    def __init__(self):
        super().__init__()
        self.city = City(workers=3)
        self.rota = self.city.rota
        self.known, self.removed, self.made = [], [], []
        self.before = {}

    @stateful.rule(key=st.integers(0, 5), count=st.integers(1, 3),
                   needed=st.sampled_from([False, False, False, True]))
    def add(self, key, count, needed):
        made = [self.city.probe(never, key=key, needed=needed)
                for _ in range(count)]
        self.known += made
        self.made += made
        self.city.add(*made)

    @stateful.precondition(lambda self: self.known)
    @stateful.rule(data=st.data())
    def remove(self, data):
        one = data.draw(st.sampled_from(self.known))
        self.known.remove(one)
        self.removed.append(one)
        key = one.target.key
        others = any(each.target.key == key for each in self.known)
        assert self.rota.remove(one) == (None if others else key)
        self.before[one] = one.state.due_at, one.state.running

    @stateful.precondition(lambda self: self.city.going_on)
    @stateful.rule(data=st.data(), again=st.booleans(),
                   result=st.sampled_from([world.OK, world.REFUSED]))
    def finish(self, data, again, result):
        watched = data.draw(st.sampled_from(list(self.city.going_on)))
        wanted = [one for one in watched.visit if one in self.known]
        for one in watched.visit:
            self.before.pop(one, None)
        if again:
            self.city.again.add(watched.key)
        assert self.city.finish(watched, result) == wanted
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

    def watched(self):
        return self.rota._watched.values()

    @stateful.invariant()
    def nothing_is_lost(self):
        planned = {watched for due_at, _, watched in self.rota._due
                   if self.rota._watched.get(watched.key) is watched
                   and due_at == watched.due_at}
        waiting = set(itertools.chain(*self.rota._turns._lines))
        for watched in self.watched():
            assert watched in planned | waiting
            if watched.visit is not None:
                assert watched in planned  # or it would never be overdue
        assert sorted(self.known, key=id) == sorted(
            (one for watched in self.watched() for one in watched.probes),
            key=id)

    @stateful.invariant()
    def the_rota_knows_what_is_visited(self):
        assert {watched for watched in self.watched()
                if watched.visit is not None} == set(self.city.going_on)
        assert self.rota.visits == len(self.city.going_on)
        assert self.rota.running() == {
            one.target.key: any(each.key == one.target.key
                                for each in self.city.going_on)
            for one in self.known}

    @stateful.invariant()
    def two_suspects_of_three(self):
        assert len(self.city.suspects) <= 2

    @stateful.invariant()
    def what_was_removed_is_not_visited(self):
        for watched in self.city.going_on:
            assert watched.probes or watched.target.cut
        for one, (due_at, running) in self.before.items():
            assert running or not one.state.running

    @stateful.invariant()
    def what_is_closed_was_opened_and_is_not_wanted(self):
        """Once, and as soon as can be."""
        used = {watched.target for watched in self.watched()}
        for one in self.made:
            server = one.target
            assert len(server.closed) == (
                1 if server.visits and server not in used else 0)

    @stateful.invariant()
    def there_is_no_worker_too_many(self):
        """What can be visited is, once time has passed."""
        self.city.run(self.city.now)
        now = self.city.now
        for watched in self.watched():
            if watched.needed and watched.visit is None:
                assert watched.due_at > now
        if sum(self.city.going_on.values()) < 3:
            healthy, *_ = self.rota._turns._lines
            assert not [one for one in healthy if one.due_at <= now]

    def teardown(self):
        """In the end, everything is visited."""
        for one in self.made:
            one.target.behaviour = well
        for watched in list(self.city.going_on):
            self.city.finish(watched, world.OK)
        start = self.city.now
        self.city.run(start + 30)
        for one in self.known:
            watched = self.rota._watched[one.target.key]
            assert watched.target.visits[-1] >= start
            assert one.state.status is Status.PASS
        assert len(self.rota._watched) == len(
            {one.target.key for one in self.known})


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=200, stateful_step_count=30)
