# SPDX-License-Identifier: Apache-2.0

"""What traffic sees saves probes and sets them off, and decides nothing."""

import dataclasses
import math

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import pytest

from healthcheck.probing import check
from healthcheck.probing import evidence
from healthcheck.probing import policy as policy_module
from healthcheck.probing import probe
from healthcheck.probing import rota
from healthcheck.probing import state
from healthcheck.probing import suspects
from healthcheck.probing import target
from healthcheck.probing import watched
from healthcheck.reports import history
from healthcheck.reports import report
from tests.unit import world

Status = report.Status

POLICY = policy_module.Policy()
STEP = 0.05


class Calls:
    """Calls of a service: each tells what it met, as a ledger does."""

    def __init__(self):
        self.found = {}
        self.news = set()
        self.faults = 0
        self.looks = 0

    def worked(self, mark, at, writes=True):
        before = self.found.get(mark, evidence.NOTHING)
        self.found[mark] = before | evidence.Seen(
            at, at if writes else -math.inf, calls=1)

    def failed(self, mark, at):
        before = self.found.get(mark, evidence.NOTHING)
        self.found[mark] = before | evidence.Seen(failed_at=at)
        self.news.add(mark)

    def look(self, now):
        self.looks += 1
        news, self.news = self.news, set()
        return news

    def seen(self, marks):
        found = evidence.NOTHING
        for mark in marks:
            if mark in self.found:
                found |= self.found[mark]
        return found

    def errors(self):
        return self.faults


class Database(world.Backend):
    """A probe proves that it can be written to."""

    def __init__(self, behaviour, mark=1):
        super().__init__('database', behaviour)
        self.traffic = mark

    def proved_at(self, seen):
        return seen.wrote_at


def make(behaviour=lambda now: (world.OK, 0.01), policy=POLICY, **more):
    database, calls = Database(behaviour), Calls()
    here = world.World([database], policy, traffic=calls, **more)
    return database, calls, here


def drive(here, until, act, step=STEP):
    """Call ``act`` every so often, as requests come."""
    while here.now < until:
        act(here.now)
        here.run(min(until, here.now + step))


def verdict(here):
    """The verdict as a request reads it now."""
    return here.reports[-1][1].checks[0].verdict(here.now)


class TestStandIn:

    def test_writes_that_work_save_five_probes_of_six(self):
        database, calls, here = make()
        drive(here, 600, lambda now: calls.worked(1, now))
        assert 10 <= len(database.started) <= 11
        assert {status for _, status in here.statuses('database')} == {
            Status.PASS}
        # The report is as fresh as if there had been probes.
        assert max(later - earlier for (earlier, _), (later, _) in zip(
            here.reports[1:], here.reports[2:])) <= 11

    def test_reads_alone_save_none_where_a_probe_proves_more(self):
        database, calls, here = make()
        drive(here, 100, lambda now: calls.worked(1, now, writes=False))
        plain, _, there = make()
        there.run(100)
        assert database.started == plain.started

    def test_what_is_called_elsewhere_saves_none(self):
        database, calls, here = make()
        drive(here, 100, lambda now: calls.worked(2, now))
        assert len(database.started) == 10

    def test_calls_that_end_leave_the_next_probe_where_it_would_be(self):
        database, calls, here = make(uniform=lambda low, high: 0.0)
        drive(here, 25, lambda now: calls.worked(1, now))
        here.run(100)
        last = 25 - STEP
        assert database.started[1] == pytest.approx(last + 10, abs=STEP)

    def test_not_for_a_target_that_fails(self):
        database, calls, here = make(lambda now: (world.REFUSED, 0.01))
        drive(here, 100, lambda now: calls.worked(1, now))
        assert here.statuses('database')[-1][1] is Status.FAIL
        assert len(database.started) >= 10

    def test_not_for_one_that_is_slow(self):
        database, calls, here = make(lambda now: (world.OK, 1.5))
        drive(here, 100, lambda now: calls.worked(1, now))
        assert len(database.started) >= 9

    def test_not_for_what_an_admin_asks_for(self):
        database, calls, here = make()
        drive(here, 15, lambda now: calls.worked(1, now))
        here.scheduler.refresh()
        here.run(15.1)
        assert database.started[-1] == 15

    def test_a_question_is_put_on_a_visit_only(self):
        database, calls = Database(lambda now: (world.OK, 0.01)), Calls()
        here = world.World([database], POLICY, traffic=calls, checks=[
            check.Single('database', database, POLICY),
            check.Single('services', database, POLICY,
                         target.Question(lambda connection: None))])
        drive(here, 99, lambda now: calls.worked(1, now))
        assert len(database.started) == 10

    def test_it_is_said_what_stood_in(self):
        _, calls, here = make(uniform=lambda low, high: 0.0)
        drive(here, 20.01, lambda now: calls.worked(1, now))
        shown = here.reports[-1][1].checks[0]
        assert shown.evidence.at == pytest.approx(20, abs=2 * STEP)
        assert shown.evidence.calls == pytest.approx(10 / STEP, abs=3)
        assert shown.history.stand_ins == 2
        assert shown.history.passes == 1
        assert shown.history.last_passed == pytest.approx(
            1e9 + 20, abs=2 * STEP)

    def test_calls_before_the_last_probe_do_not_count(self):
        _, calls, here = make(uniform=lambda low, high: 0.0)
        calls.found[1] = evidence.Seen(calls=1000)
        drive(here, 10.01, lambda now: calls.worked(1, now))
        assert here.reports[-1][1].checks[0].evidence.calls == (
            pytest.approx(10 / STEP, abs=3))

    def test_the_calls_of_a_process_that_is_gone_do_not_count(self):
        _, calls, here = make(uniform=lambda low, high: 0.0)
        drive(here, 15, lambda now: calls.worked(1, now))
        calls.found[1] = evidence.Seen(19, 19, calls=1)
        here.run(21)
        assert here.reports[-1][1].checks[0].evidence == report.Evidence(
            19, 0)

    def test_what_is_not_due_is_not_asked_for(self):
        """A question that is put less often needs no visit before."""
        seldom = dataclasses.replace(POLICY, interval=29)
        database, calls = Database(lambda now: (world.OK, 0.01)), Calls()
        here = world.World(
            [database], POLICY, traffic=calls, uniform=lambda low, high: 0.0,
            checks=[check.Single('database', database, POLICY),
                    check.Single('services', database, seldom,
                                 target.Question(lambda connection: None))])
        drive(here, 28.9, lambda now: calls.worked(1, now))
        assert database.started == [0]
        drive(here, 29.1, lambda now: calls.worked(1, now))
        assert len(database.started) == 2

    def test_a_probe_says_nothing_of_traffic(self):
        _, calls, here = make()
        here.run(1)
        assert here.reports[-1][1].checks[0].evidence is None

    @pytest.mark.parametrize('at', [
        math.nan, math.inf, -math.inf, 0.0, -1.0, 1e300])
    def test_a_time_that_cannot_be_is_no_evidence(self, at):
        database, calls, here = make()
        calls.found[1] = evidence.Seen(at, at)
        here.run(100)
        assert len(database.started) == 10


class TestSuspicion:

    def test_when_there_may_be_another_visit(self):
        one = evidence.Suspicion()
        # Each finds nothing, so the pause doubles, up to the interval.
        assert [at for at in range(20) if one.raised(at, 3.0)] == [
            0, 1, 3, 6, 9, 12, 15, 18]
        assert one.raised(25, 3.0)  # it has been quiet for long
        assert one.raised(26, 3.0)

    def test_not_more_often_than_once_a_second(self):
        one = evidence.Suspicion()
        assert [at for at in (0, 0.9, 1, 1.8, 2) if one.raised(at, 0.6)] == [
            0, 1, 2]

    def test_a_visit_that_hangs_confirms_it(self):
        one = watched.Watched('key', Database(None))
        one.probes.append(probe.Probe(one.target, POLICY))
        assert one.suspicion.raised(0, 10) and one.suspicion.raised(1, 10)
        one.begin(1)
        assert one.overdue(one.due_at - 0.1, 1e9) == []
        assert not one.suspicion.raised(2, 10)
        assert one.overdue(one.due_at, 1e9) == one.probes
        assert one.suspicion.raised(2, 10)

    @pytest.mark.parametrize('fall', [3, 4])
    def test_each_that_finds_a_fault_is_soon_followed(self, fall):
        database, calls, here = make(
            lambda now: ((world.OK if now < 33 else world.REFUSED), 0.01),
            dataclasses.replace(POLICY, fall=fall, retry_interval=8))
        drive(here, 33, lambda now: calls.worked(1, now))
        drive(here, 40, lambda now: calls.failed(1, now))
        assert here.statuses('database')[-1] == (
            pytest.approx(33 + 1.15 * (fall - 1), abs=0.3), Status.FAIL)

    def test_only_what_it_is_about_is_visited(self):
        one, other = (Database(lambda now: (world.OK, 0.01), mark)
                      for mark in (1, 2))
        other.name = 'other'
        calls = Calls()
        here = world.World([one, other], POLICY, traffic=calls)
        here.run(5)
        calls.failed(1, 5)
        here.run(6)
        assert (len(one.started), len(other.started)) == (2, 1)

    def test_a_visit_that_begins_that_very_moment_is_enough(self):
        database, calls, here = make()
        calls.failed(1, 0.0)
        here.run(3)
        assert len(database.started) == 1

    def test_traffic_is_looked_at_now_and_then(self):
        """However often the scheduler has something to do."""
        _, calls, here = make()
        drive(here, 1.5, lambda now: None, step=0.01)
        assert 1.5 / evidence.TICK - 2 < calls.looks <= (
            1.5 / evidence.TICK + 1)

    def test_a_call_that_fails_sets_off_a_probe(self):
        database, calls, here = make()
        here.run(5)
        calls.failed(1, 5)
        here.run(5 + evidence.TICK)
        assert database.started[1] <= 5 + evidence.TICK
        assert {status for _, status in here.statuses('database')} == {
            Status.PASS}

    def test_a_fault_under_load_is_found_in_less_than_two_seconds(self):
        database, calls, here = make(lambda now: (
            (world.OK if now < 33 else world.REFUSED), 0.01))
        drive(here, 33, lambda now: calls.worked(1, now))
        drive(here, 35, lambda now: calls.failed(1, now))
        assert here.statuses('database')[-1] == (
            pytest.approx(34.3, abs=0.3), Status.FAIL)
        transitions = here.reports[-1][1].checks[0].history.transitions
        assert [each.cause for each in transitions] == [
            history.PROBE, history.TRAFFIC, history.TRAFFIC]

    def test_a_flood_of_failures_sets_off_one_probe_a_second_at_most(self):
        database, calls, here = make()
        drive(here, 300, lambda now: calls.failed(1, now))
        pauses = [later - earlier for earlier, later in zip(
            database.started, database.started[1:])]
        assert min(pauses[1:]) >= evidence.PAUSE
        # They find nothing, so they become as rare as the others.
        assert len(database.started) < 70
        assert {status for _, status in here.statuses('database')} == {
            Status.PASS}

    def test_one_that_failed_long_ago_sets_off_one_at_once(self):
        database, calls, here = make()
        drive(here, 100, lambda now: calls.failed(1, now))
        here.run(200)
        calls.failed(1, 200)
        here.run(200 + evidence.TICK)
        assert database.started[-1] >= 200

    def test_a_failure_during_a_visit_is_followed_by_another_one(self):
        database, calls, here = make(lambda now: (world.OK, 0.8))
        here.run(0.3)
        calls.failed(1, 0.3)
        here.run(3)
        assert database.started == [0, pytest.approx(0.8, abs=0.2)]

    def test_a_failure_before_the_last_visit_sets_off_nothing(self):
        database, calls, here = make()
        here.run(5)
        calls.failed(1, -3)
        here.run(9)
        assert database.started == [0]

    def test_what_an_admin_asks_for_is_said(self):
        database, calls, here = make(lambda now: (
            (world.OK if now < 3 else world.REFUSED), 0.01))
        here.run(3)
        here.scheduler.refresh()
        here.run(3.1)
        assert here.reports[-1][1].checks[0].history.transitions[
            -1].cause == history.REFRESH

    def test_by_the_name_of_a_check(self):
        database, calls, here = make()
        here.run(5)
        calls.failed(evidence.check_mark('database'), 5)
        here.run(5 + evidence.TICK)
        assert len(database.started) == 2

    def test_by_the_name_of_a_check_of_many(self):
        many = [Database(lambda now: (world.OK, 0.01), mark)
                for mark in range(3)]
        calls = Calls()
        cells = check.Summary('cells', probe.Fixed(*(
            probe.Probe(one, POLICY, needed=False) for one in many)),
            lambda now: (report.Result.ok(), True), POLICY)
        here = world.World(many, POLICY, traffic=calls, checks=[cells])
        here.run(5)
        for one in many:
            one.started.clear()
        calls.failed(evidence.check_mark('cells'), 5)
        here.run(5 + 2 * evidence.TICK)
        assert all(one.started for one in many)


class TestOtherNodes:
    """Other nodes have found something else."""

    @pytest.mark.parametrize('traffic', [True, False])
    def test_it_sets_off_a_probe(self, traffic):
        database, calls, here = make()
        if not traffic:
            database = Database(lambda now: (world.OK, 0.01))
            here = world.World([database], POLICY)
        here.run(5)
        here.scheduler.suspects.others_differ('database', here.now)
        here.run(5 + evidence.TICK)
        assert len(database.started) == 2
        here.run(9)
        assert len(database.started) == 2

    def test_the_cause_of_a_change_is_said(self):
        database, calls, here = make()
        here.run(5)
        database.behaviour = lambda now: (world.REFUSED, 0.01)
        here.scheduler.suspects.others_differ('database', here.now)
        here.run(6)
        change = here.reports[-1][1].checks[0].history.transitions[-1]
        assert (change.status, change.cause) == (Status.WARN, history.FLEET)

    def test_a_failure_is_not_confirmed_sooner(self):
        database, calls, here = make(lambda now: (world.REFUSED, 0.5))
        here.run(0.2)
        here.scheduler.suspects.others_differ('database', here.now)
        here.run(2.45)
        assert database.started == [0.0]
        here.run(2.55)
        assert database.started == [0.0, 2.5]

    def test_a_pass_of_before_is_looked_at_again(self):
        database, calls, here = make(lambda now: (world.OK, 0.5))
        here.run(0.2)
        here.scheduler.suspects.others_differ('database', here.now)
        here.run(0.5 + evidence.TICK)
        assert len(database.started) == 2

    def test_a_check_that_is_not_there(self):
        database, calls, here = make()
        here.run(5)
        here.scheduler.suspects.others_differ('cells', here.now)
        here.run(9)
        assert len(database.started) == 1


class TestBurst:

    def test_a_burst_brings_the_next_probe_forward(self):
        database, calls, here = make()
        here.run(5)
        calls.faults += suspects.BURST
        here.run(5 + evidence.TICK)
        assert len(database.started) == 2
        here.run(9)
        assert len(database.started) == 2

    def test_fewer_do_not(self):
        database, calls, here = make()

        def act(now):
            calls.faults += 1
        drive(here, 9, act, step=suspects.WITHIN / (suspects.BURST - 1))
        assert database.started == [0]

    def test_a_storm_is_one_round_a_second_and_no_change(self):
        database, calls, here = make()

        def act(now):
            calls.faults += 5
        drive(here, 60, act)
        pauses = [later - earlier for earlier, later in zip(
            database.started, database.started[1:])]
        assert min(pauses[1:]) >= evidence.PAUSE
        assert {status for _, status in here.statuses('database')} == {
            Status.PASS}

    def test_what_can_wait_is_not_visited_for_it(self):
        one = Database(lambda now: (world.OK, 0.01))
        calls = Calls()
        cells = check.Summary(
            'cells', probe.Fixed(probe.Probe(one, POLICY, needed=False)),
            lambda now: (report.Result.ok(), True), POLICY)
        here = world.World([one], POLICY, traffic=calls, checks=[cells])
        here.run(1)
        visits = len(one.started)
        calls.faults += 100
        here.run(1.5)
        assert len(one.started) == visits


# Any history of a backend and of the calls of a service to it: when it is
# well, and at which moments a call meets it.
moments = st.lists(st.floats(0.1, 8), max_size=30)
spans = st.lists(st.tuples(st.floats(0.5, 40), st.booleans()), min_size=1,
                 max_size=6)


def is_well(backend, now):
    for length, well in backend:
        if now < length:
            return well
        now -= length
    return backend[-1][1]


@settings(max_examples=200)
@given(spans, moments, st.floats(5, 120), st.floats(0.0, 0.9))
def test_green_needs_a_success_and_red_a_failed_probe(backend, gaps, every,
                                                      took):
    """Whatever happens when: at each moment.

    Green needs a success younger than ``ttl``, and red ``fall`` probes that
    failed.
    """
    policy = dataclasses.replace(POLICY, probe_at_least_every=every)
    successes, failures = [], []

    def behaviour(now):
        well = is_well(backend, now)
        (successes if well else failures).append(now)
        return (world.OK if well else world.REFUSED), took
    database, calls, here = make(behaviour, policy,
                                 uniform=lambda low, high: low)
    at = 0.0
    for gap in gaps * 3:
        at += gap
        here.run(at)
        if is_well(backend, at):
            successes.append(at)
            calls.worked(1, at)
        else:
            calls.failed(1, at)
        if not here.reports:
            continue
        now = verdict(here)
        if now.status is Status.PASS:
            assert max(successes) >= at - policy.ttl
        if now.status is Status.FAIL:
            assert len(failures) >= policy.fall


@settings(max_examples=200)
@given(fault_at=st.floats(0, 200), gaps=moments, seen=st.booleans(),
       every=st.floats(5, 120))
def test_the_formula_holds_whatever_traffic_shows(fault_at, gaps, seen,
                                                  every):
    """Calls that worked before the fault put off no probe for too long."""
    policy = dataclasses.replace(POLICY, probe_at_least_every=every)
    _, calls, here = make(lambda now: (
        (world.OK if now < fault_at else world.REFUSED), 0.2), policy)
    at = 0.0
    for gap in gaps * 10:
        at += gap
        if at >= fault_at:
            break
        here.run(at)
        calls.worked(1, at)
    here.run(fault_at)
    if seen:
        calls.failed(1, fault_at)
    here.run(fault_at + policy.detection + 1e-6)
    assert here.statuses('database')[-1][1] is Status.FAIL


@settings(max_examples=100)
@given(spans, moments, st.integers(0, 60))
def test_a_take_over_rests_on_what_was_seen(backend, gaps, number):
    """Another prober goes on from the report, and from what calls show."""
    successes = []

    def behaviour(now):
        well = is_well(backend, now)
        if well:
            successes.append(now)
        return (world.OK if well else world.REFUSED), 0.1
    database, calls, here = make(behaviour)
    at = 0.0
    for index, gap in enumerate(gaps * 2):
        at += gap
        here.run(at)
        if is_well(backend, at):
            successes.append(at)
            calls.worked(1, at)
        if index == number and here.reports:
            _, last = here.reports[-1]
            there = world.World([Database(behaviour)], POLICY, traffic=calls)
            there.now, there.reports = here.now, here.reports
            there.scheduler.restore(last)
            here = there
        if here.reports and verdict(here).status is Status.PASS:
            assert max(successes) >= at - POLICY.ttl


class Visits:
    """A rota, and a test that says when a visit is over."""

    def __init__(self):
        self.now = 0.0
        self.begun = []
        self.calls = Calls()
        self.rota = rota.Rota(
            1, POLICY, self.begun.append, lambda watched: None,
            lambda: self.now, lambda: 1e9 + self.now,
            lambda low, high: 0.0, self.calls.seen)
        self.probe = probe.Probe(Database(None), POLICY)
        self.watched = self.rota.add(self.probe)
        self.rota.step()

    def end(self, again=False):
        self.rota.finished(self.watched, target.Findings(world.OK), self.now,
                           again)


class TestVisits:

    def test_a_call_does_not_stand_in_for_what_an_admin_asked_for(self):
        here = Visits()
        here.now = 0.8
        here.end(again=True)
        here.calls.worked(1, 0.81)
        here.now = 0.82
        here.rota.step()
        assert len(here.begun) == 2

    def test_a_suspect_that_is_gone_is_forgotten(self):
        here = Visits()
        suspicious = suspects.Suspects(here.calls, here.rota, [])
        here.calls.failed(1, 0.1)
        suspicious.look(0.2)
        here.rota.remove(here.probe)
        here.now = 0.3
        here.end()
        suspicious.look(0.5)
        assert here.rota.step() == []
        assert len(here.begun) == 1


class TestState:

    @pytest.fixture
    def passed(self):
        one = state.ProbeState(POLICY)
        one.started(100)
        one.finished(world.OK, 100.1, 1e9)
        return one

    def test_what_can_rest(self, passed):
        assert passed.can_rest(105, 106)
        assert not passed.can_rest(100, 106)  # the probe knows more
        assert not passed.can_rest(107, 106)
        assert not passed.can_rest(101, 111.5)  # too old

    def test_not_while_a_probe_runs(self, passed):
        passed.started(102)
        assert not passed.can_rest(105, 106)

    def test_a_call_stands_in_once(self, passed):
        passed.stood_in(report.Evidence(105, 1), 106, 1e9, -0.1)
        assert passed.due_at == 114
        assert not passed.can_rest(105, 114)

    def test_when_it_stood_in_is_when_the_call_was(self, passed):
        passed.stood_in(report.Evidence(105, 1), 106, 1e9)
        assert passed.snapshot('database').time == 1e9 - 1

    def test_a_probe_takes_the_place_of_evidence(self, passed):
        passed.stood_in(report.Evidence(105, 1), 106, 1e9)
        passed.started(115)
        passed.finished(world.OK, 115.1, 1e9)
        assert passed.snapshot('database').evidence is None

    def test_the_last_probe_is_as_old_as_its_beginning(self):
        one = state.ProbeState(POLICY)
        one.started(100)
        one.finished(world.OK, 100.9, 1e9)
        assert one.can_rest(159, 159.9)
        assert not one.can_rest(159, 160.1)

    def test_a_cause_is_that_of_one_probe(self, passed):
        passed.hurry(102, history.TRAFFIC)
        passed.started(102)
        assert passed.cause == history.TRAFFIC
        passed.finished(world.OK, 102.1, 1e9)
        assert passed.can_rest(105, 106)
        passed.started(112)
        assert passed.cause == history.PROBE

    def test_one_that_took_over_has_to_probe_first(self):
        one, other = (state.ProbeState(POLICY) for _ in range(2))
        one.started(100)
        one.finished(world.OK, 100.1, 1e9)
        assert one.can_rest(105, 106)
        other.restore(one.snapshot('database'), 101)
        assert not other.can_rest(105, 106)

    def test_a_clock_that_steps_moves_no_deadline(self):
        one = state.ProbeState(POLICY)
        one.started(100)
        one.finished(world.OK, 100.1, 1e9)
        one.stood_in(report.Evidence(105, 1), 106, -5e8)
        assert one.due_at == 115
        assert one.stale_at == 105 + POLICY.ttl
