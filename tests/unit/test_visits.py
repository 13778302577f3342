# SPDX-License-Identifier: Apache-2.0

"""One thread visits several targets, and none waits long for another one."""

import collections
import math

import pytest

from healthcheck.probing import guard
from healthcheck.probing import policy as policy_module
from healthcheck.probing import probe
from healthcheck.probing import simulated
from healthcheck.probing import target
from healthcheck.probing import turns
from healthcheck.probing import visits
from healthcheck.probing import watched
from tests.unit import world


class Server(target.Target):
    """Answers; ``then`` happens meanwhile."""

    def __init__(self, clock, then=lambda: None, takes=0.001):
        self.clock = clock
        self.then = then
        self.takes = takes

    def probe(self, questions=()):
        self.clock.sleep(self.takes)
        self.then()
        return target.Findings(world.OK)


class Threads:
    """A pool whose jobs are run when a test says."""

    def __init__(self):
        self.jobs = collections.deque()

    def submit(self, act, done):
        self.jobs.append((act, done))

    def run(self):
        act, done = self.jobs.popleft()
        done(act())


@pytest.fixture
def clock():
    return simulated.Clock(100.0)


@pytest.fixture
def pool():
    return Threads()


@pytest.fixture
def told():
    return []


@pytest.fixture
def made(pool, clock, told):
    return visits.Visits(pool, lambda: told.append(clock.now), clock)


def many(count, clock, **kwargs):
    return [begun(Server(clock, **kwargs)) for _ in range(count)]


def begun(server):
    one = watched.Watched(server, server)
    one.probes = [probe.Probe(server, policy_module.Policy(timeout=5.0))]
    one.begin(server.clock.now)
    return one


def test_one_thread_makes_a_tour_and_reports_once(made, pool, clock, told):
    targets = many(3, clock)
    made.begin(targets)
    assert len(pool.jobs) == 1 and made.take() == [] and not told
    pool.run()
    taken = made.take()
    assert [one.watched for one in taken] == targets
    assert told == [pytest.approx(100.003)]
    assert made.take() == []


def test_others_can_run_between_two_visits(made, pool, clock, monkeypatch):
    """With a driver that blocks a whole process of eventlet, too."""
    rests = []
    monkeypatch.setattr(visits.time, 'sleep',
                        lambda seconds: rests.append((seconds, clock.now)))
    made.begin(many(3, clock, takes=0.25))
    pool.run()
    assert rests == [(0, 100.25), (0, 100.5)]


def test_each_visit_has_its_own_time(made, pool, clock):
    made.begin(many(2, clock, takes=0.25))
    clock.now += 1.0  # until a thread is free
    pool.run()
    assert [(one.began_at, one.ended_at) for one in made.take()] == [
        (101.0, 101.25), (101.25, 101.5)]


def test_a_long_visit_does_not_hold_up_those_behind_it(
        made, pool, clock, told):
    held_up = []

    def hangs():
        clock.now = made.wakes_at
        held_up.extend(made.held_up(clock.now))
        assert [one.watched for one in made.take()] == [first]
        for one in held_up:
            made.begin([one])
        assert made.wakes_at == math.inf
    first, second, *behind = many(4, clock)
    second.target.then = hangs
    made.begin([first, second, *behind])
    pool.run()
    assert clock.now == pytest.approx(100.0 + turns.TOO_LONG)
    assert held_up == behind and len(pool.jobs) == 2 and len(told) == 1
    pool.run()
    pool.run()
    assert [one.watched for one in made.take()] == [second, *behind]


def test_nobody_waits_behind_a_single_visit(made, pool, clock):
    made.begin(many(1, clock))
    assert made.wakes_at == math.inf
    assert made.held_up(1e9) == []
    pool.run()
    assert len(made.take()) == 1


def test_nobody_is_held_up_before_it_is_too_long(made, clock):
    made.begin(many(2, clock))
    assert made.wakes_at == 100.0 + turns.TOO_LONG
    clock.now += turns.TOO_LONG / 2
    assert made.held_up(clock.now) == []
    clock.now += turns.TOO_LONG
    assert len(made.held_up(clock.now)) == 2  # there is no thread for them
    assert made.held_up(clock.now) == []


def test_what_is_made_is_not_taken_before_its_time(made, pool, clock):
    """The scheduler is woken once for a tour, or when it is late."""
    def looks():
        seen.append(made.take())
        clock.now = made.wakes_at
        seen.append([one.watched for one in made.take()])
    seen = []
    first, last = many(2, clock)
    last.target.then = looks
    made.begin([first, last])
    pool.run()
    assert seen == [[], [first]]
    assert [one.watched for one in made.take()] == [last]


def test_without_a_thread_all_have_failed(made, pool, clock, told):
    def refuse(act, done):
        raise RuntimeError("can't start new thread")
    pool.submit = refuse
    targets = many(2, clock)
    made.begin(targets)
    taken = made.take()
    assert [one.watched for one in taken] == targets
    assert {(one.found.result.reason, one.found.result.detail)
            for one in taken} == {
        (guard.PROBE_ERROR, "can't start new thread")}
    assert told == [100.0]


def test_a_visit_that_waited_is_not_blamed_for_it(clock):
    one, = many(1, clock)
    state = one.probes[0].state
    one.waited(102.0)
    assert one.due_at == 107.0
    one.waited(101.0)  # that is less than it waited
    assert one.due_at == 107.0
    one.finished(target.Findings(world.OK), 102.5, 1e9, 0.0)
    assert state.latency == 0.5


@pytest.mark.parametrize('took, result, quick', [
    (0.5, world.OK, True), (1.0, world.OK, False),
    (0.5, world.REFUSED, False)])
def test_quick_is_who_answered_quickly(clock, took, result, quick):
    one, = many(1, clock)
    assert not one.quick  # nothing is known of it
    clock.now += 10.0
    one.waited(clock.now)
    one.finished(target.Findings(result),
                 clock.now + took * watched.QUICK + 1e-9, 1e9, 0.0)
    assert one.quick is quick


LATE = 1000.0  # all are due by then


class TestTurns:

    @pytest.fixture
    def line(self):
        return turns.Turns(80)

    def quick(self, clock, count):
        made = many(count, clock)
        for one in made:
            one.finished(target.Findings(world.OK), clock.now, 1e9, 0.0)
        return made

    def put(self, line, *targets):
        for one in targets:
            line.put(one)

    def test_quick_ones_go_together(self, line, clock):
        targets = self.quick(clock, turns.ON_TOUR + 2)
        self.put(line, *targets)
        assert line.take(0.0) == targets[:turns.ON_TOUR]
        assert line.take(0.0) == targets[turns.ON_TOUR:]
        assert line.take(0.0) == []

    def test_nobody_goes_with_one_that_is_not_quick(self, line, clock):
        first, second = self.quick(clock, 2)
        slow, = many(1, clock)
        self.put(line, first, slow, second)
        assert [line.take(0.0) for _ in range(3)] == [
            [first], [slow], [second]]

    def test_no_more_than_there_are_workers(self, clock):
        line = turns.Turns(4)
        targets = self.quick(clock, 6)
        self.put(line, *targets)
        first = line.take(LATE)
        line.began(first, LATE)
        assert len(first) == 4 and line.take(LATE) == []
        line.ended(first[0])
        assert line.take(LATE) == targets[4:5]

    def test_a_tour_counts_as_one_that_has_begun(self, line, clock):
        for _ in range(turns.AT_ONCE):
            self.put(line, *self.quick(clock, 2))
            line.began(line.take(LATE), LATE)
        self.put(line, *self.quick(clock, 2))
        assert line.take(LATE) == []
        assert line.wakes_at == LATE + turns.LASTS
        assert len(line.take(LATE + turns.LASTS)) == 2

    def test_one_thread_is_enough_while_none_is_late(self, line, clock):
        first, second = self.quick(clock, 2)
        self.put(line, first)
        line.began(line.take(0.0), 0.0)
        self.put(line, second)
        assert line.take(second.due_at - 0.01) == []
        assert line.wakes_at == second.due_at
        assert line.take(second.due_at) == [second]
        assert line.wakes_at == math.inf

    @pytest.mark.parametrize('change', [
        lambda one: one.probes.clear(), lambda one: one.begin(100.0)])
    def test_nobody_waits_behind_one_that_will_not_be_visited(
            self, line, clock, change):
        first, second = self.quick(clock, 2)
        self.put(line, first)
        line.began(line.take(0.0), 0.0)
        self.put(line, second)
        change(second)
        assert line.take(0.0) == [second]

    def test_the_next_tour_begins_when_the_last_is_over(self, line, clock):
        first, second, third = self.quick(clock, 3)
        self.put(line, first, second)
        line.began(line.take(0.0), 0.0)
        self.put(line, third)
        line.ended(first)
        assert line.take(0.0) == []
        line.ended(second)
        assert line.take(0.0) == [third]

    def test_nobody_else_waits_for_that(self, line, clock):
        first, second = self.quick(clock, 2)
        slow, = many(1, clock)
        self.put(line, first)
        line.began(line.take(0.0), 0.0)
        self.put(line, slow, second)
        assert line.take(0.0) == [slow]
        assert line.take(0.0) == []
        failing, = many(1, clock)
        failing.finished(target.Findings(world.REFUSED), clock.now, 1e9, 0.0)
        self.put(line, failing)
        assert line.take(0.0) == [failing]
        assert line.wakes_at == second.due_at
