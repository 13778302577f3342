# SPDX-License-Identifier: Apache-2.0

"""When targets are visited, and that no visit can harm another."""

import dataclasses
import logging
import queue
import random
import sys
import threading

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import pytest

from healthcheck.probing import check
from healthcheck.probing import guard
from healthcheck.probing import policy as policy_module
from healthcheck.probing import probe as probe_module
from healthcheck.probing import scheduler
from healthcheck.probing import state
from healthcheck.probing import target
from healthcheck.probing import watched
from healthcheck.reports import report
from tests.unit import cloud
from tests.unit import world

Status = report.Status

policies = st.builds(
    policy_module.Policy,
    interval=st.floats(1, 60), retry_interval=st.floats(0.1, 1),
    timeout=st.floats(0.1, 30), fall=st.integers(1, 5),
    rise=st.integers(1, 4), jitter=st.floats(0, 0.5),
    ttl=st.just(1e6), slow_threshold=st.just(1e6))


faults = st.one_of(
    st.tuples(st.just(world.REFUSED), st.floats(0, 5)),  # in time, or late
    st.tuples(st.just(world.OK), st.floats(1.001, 5)),   # late
    st.just((world.OK, None)))                           # never


@settings(max_examples=500)
@given(policy=policies, fault_at=st.floats(0, 200), fault=faults,
       latency=st.floats(0, 0.99), seed=st.integers(0, 2 ** 32))
def test_a_fault_is_found_within_the_formula(policy, fault_at, fault,
                                             latency, seed):
    """However long answers take, wherever in the schedule it happens.

    Times of answers are given in timeouts.
    """
    result, took = fault

    def behaviour(now):
        # A probe that has started has passed the faulty place already.
        if now < fault_at:
            return world.OK, latency * policy.timeout
        return result, None if took is None else took * policy.timeout

    backend = world.Backend('database', behaviour)
    here = world.World([backend], policy,
                       uniform=random.Random(seed).uniform)
    here.run(fault_at + policy.detection + 1e-6)
    assert here.statuses('database')[-1][1] is Status.FAIL


@settings(max_examples=100)
@given(policy=policies, repaired_at=st.floats(0, 100))
def test_a_repair_is_found_by_itself(policy, repaired_at):
    backend = world.Backend('database', lambda now: (
        world.OK if now >= repaired_at else world.REFUSED, 0.0))
    here = world.World([backend], policy)
    here.run(repaired_at + policy.interval * (1 + policy.jitter)
             + policy.rise * policy.retry_interval + 1e-6)
    assert here.statuses('database')[-1][1] is Status.PASS


@settings(max_examples=500)
@given(policy=policies, repaired_at=st.floats(0, 100),
       failing=st.floats(0, 0.99), passing=st.floats(0, 0.99),
       seed=st.integers(0, 2 ** 32))
def test_a_repair_is_found_within_the_formula(policy, repaired_at, failing,
                                              passing, seed):
    """Times of answers are given in timeouts."""
    def behaviour(now):
        return ((world.OK, passing * policy.timeout) if now >= repaired_at
                else (world.REFUSED, failing * policy.timeout))
    here = world.World([world.Backend('database', behaviour)], policy,
                       uniform=random.Random(seed).uniform)
    here.run(repaired_at + policy.recovery + 1e-6)
    assert here.statuses('database')[-1][1] is Status.PASS


def test_a_hang_does_not_delay_the_others():
    policy = policy_module.Policy(jitter=0.0)
    hung = world.Backend('hung', lambda now: (world.OK, None))
    well = world.Backend('well', lambda now: (world.OK, 0.01))
    here = world.World([hung, well], policy)
    here.run(101)
    assert well.started == [10.0 * n for n in range(11)]
    assert len(hung.started) == 1


def test_an_overdue_check_stays_fresh_and_failed():
    policy = policy_module.Policy()
    backend = world.Backend('database', lambda now: (
        world.OK, 0.01 if now < 30 else None))
    here = world.World([backend], policy)
    here.run(300)
    _, last = here.reports[-1]
    verdict = last.checks[0].verdict(here.now)
    assert verdict.status is Status.FAIL and not verdict.stale
    assert verdict.reason == state.NO_ANSWER


def test_a_hang_that_ends_is_probed_again():
    backend = world.Backend('database', lambda now: (
        world.OK, 50.0 if now < 10 else 0.01))
    here = world.World([backend], policy_module.Policy())
    here.run(100)
    assert [status for _, status in here.statuses('database')] == [
        Status.FAIL, Status.PASS]


def test_nothing_is_published_before_every_check_is_settled():
    slow = world.Backend('slow', lambda now: (world.OK, 3.0))
    down = world.Backend('down', lambda now: (world.REFUSED, 0.0))
    here = world.World([slow, down], policy_module.Policy())
    here.run(2.9)
    assert here.reports == []
    here.run(3.1)
    assert [c.status for c in here.reports[0][1].checks] == [
        Status.WARN, Status.FAIL]


def test_a_noncritical_failure_does_not_hold_back_the_first_report():
    well = world.Backend('well', lambda now: (world.OK, 0.0))
    down = world.Backend('down', lambda now: (world.REFUSED, 0.0))
    here = world.World([well, down], policy_module.Policy(),
                       noncritical=('down',))
    here.run(0.0)
    assert [c.status for c in here.reports[-1][1].checks] == [
        Status.PASS, Status.WARN]


def test_a_change_is_logged_once(caplog):
    caplog.set_level(logging.INFO, 'healthcheck.probing.changelog')
    backend = world.Backend('database', lambda now: (
        world.OK if now < 30 or now > 90 else world.REFUSED, 0.01))
    here = world.World([backend], policy_module.Policy())
    here.run(200)
    assert [r.getMessage() for r in caplog.records] == [
        'Healthcheck database: never run -> pass: OK',
        'Healthcheck database: pass -> warn: CONNECTION REFUSED; it was pass '
        'for 33.0 s',
        'Healthcheck database: warn -> fail: CONNECTION REFUSED; it was warn '
        'for 2.0 s',
        'Healthcheck database: fail -> pass: OK; it was fail for 55.0 s']


class Plugin:
    label = ''
    per_worker = False

    def __init__(self, name, act=lambda: report.Result.ok()):
        self.name = name
        self.act = act
        self.closed = threading.Event()
        self.why = lambda: (state.NO_ANSWER, '')

    def probe(self):
        return self.act()

    def overdue(self):
        return self.why()

    def close(self):
        self.closed.set()


def singles(policy, *plugins):
    return [check.Single(one.name, guard.Guarded(one.name, one), policy)
            for one in plugins]


class Running:
    """A scheduler in real threads; what it publishes is waited for."""

    def __init__(self, *plugins, policy):
        self._arrived = threading.Condition()
        self.last = None
        self.scheduler = scheduler.Scheduler(singles(policy, *plugins),
                                             policy, self._take)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        self.scheduler.run()
        self.scheduler.close()

    def stop(self):
        self.scheduler.stop()
        self._thread.join(5)
        assert not self._thread.is_alive()

    def _take(self, published):
        with self._arrived:
            self.last = {c.name: c for c in published.checks}
            self._arrived.notify_all()

    def wait(self, condition):
        with self._arrived:
            assert self._arrived.wait_for(
                lambda: self.last and condition(self.last), timeout=20)
            return self.last


QUICK = policy_module.Policy(interval=0.05, retry_interval=0.01, timeout=0.2,
                             jitter=0.0)


@pytest.fixture
def running():
    made = []

    def start(*probes, policy=QUICK):
        made.append(Running(*probes, policy=policy))
        return made[-1]
    yield start
    for one in made:
        one.stop()


def raises(exc):
    def act():
        raise exc
    return act


@pytest.mark.parametrize('act, detail', [
    (raises(RuntimeError('password=secret')),
     'bad raised builtins.RuntimeError'),
    (lambda: sys.exit(1), 'bad raised builtins.SystemExit'),
    (raises(KeyboardInterrupt()), 'bad raised builtins.KeyboardInterrupt'),
    (lambda: None, 'bad returned NoneType, not a Result'),
    (lambda: 'OK', 'bad returned str, not a Result'),
])
def test_a_bad_plugin_costs_its_own_check_only(running, act, detail):
    here = running(Plugin('bad', act), Plugin('good'))
    seen = here.wait(lambda c: c['bad'].status is Status.FAIL)
    assert seen['good'].status is Status.PASS
    assert seen['bad'].reason == guard.PROBE_ERROR
    assert seen['bad'].detail == detail


def test_a_hanging_plugin_holds_one_thread(running):
    release = threading.Event()
    runs = []

    def act():
        runs.append(1)
        release.wait(30)
        return report.Result.ok()
    here = running(Plugin('hung', act), Plugin('good'))
    seen = here.wait(lambda c: c['hung'].status is Status.FAIL)
    assert seen['hung'].reason == state.NO_ANSWER
    assert seen['good'].status is Status.PASS
    assert len(runs) == 1
    release.set()
    here.wait(lambda c: c['hung'].status is Status.PASS)


def test_a_plugin_that_cannot_say_why_is_late_is_late(running):
    release = threading.Event()
    probe = Plugin('hung', lambda: release.wait(30) and report.Result.ok())
    probe.why = raises(RuntimeError())
    seen = running(probe).wait(lambda c: c['hung'].status is Status.FAIL)
    assert seen['hung'].reason == state.NO_ANSWER
    release.set()


def test_stop_closes_the_targets_and_ends_the_threads(running):
    plugins = [Plugin('one'), Plugin('two')]
    before = set(threading.enumerate())
    here = running(*plugins)
    here.wait(lambda c: True)
    here.stop()
    assert all(one.closed.is_set() for one in plugins)
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()


class Starved:
    """A clock, and the queue of a scheduler that wakes up ``late``.

    It is its pool as well, whose visits end when the test says.
    """

    size = 0

    def __init__(self, late):
        self.now = 0.0
        self.late = late
        self.script = []
        self.came = []
        self.going_on = []
        self.began = []

    def __call__(self):
        return self.began.pop() if self.began else self.now

    def get(self, timeout):
        self.now += timeout + self.late
        if self.script:
            self.script.pop(0)()
        return self.get_nowait()

    def get_nowait(self):
        if not self.came:
            raise queue.Empty
        return self.came.pop(0)

    def put(self, event):
        self.came.append(event)

    def submit(self, act, done):
        self.going_on.append((self.now, act, done))

    def finish(self):
        """The job that began first comes back."""
        began_at, act, done = self.going_on.pop(0)
        self.began = [began_at]  # that is what its clock shows first
        found = act()
        self.began = []
        done(found)


@pytest.fixture
def starved():
    """(scheduler, time, reports) of one whose visit does not come back."""
    def make(late, publish=None):
        time = Starved(late)
        published = []
        policy = policy_module.Policy(fall=1, timeout=5.0)
        made = scheduler.Scheduler(
            singles(policy, Plugin('database')), policy,
            publish or published.append, clock=time, pool=time)
        made._events = time
        return made, time, published
    return make


def turns(count):
    left = iter(range(count))
    return lambda: next(left, None) is not None


def test_a_failing_publisher_does_not_end_probing(starved, caplog,
                                                  monkeypatch):
    calls = []

    def publish(published):
        calls.append(published)
        if len(calls) != 3:
            raise RuntimeError('rendering failed')

    def rested(seconds):
        rests.append(seconds)
        time.now += 60  # the next visit is due
    made, time, _ = starved(0.0, publish)
    rests = []
    monkeypatch.setattr(scheduler.time_module, 'sleep', rested)
    time.script = [time.finish] * 3
    left = turns(3)

    def go_on():
        if left():
            return True
        checked.append(len([r for r in caplog.records if r.exc_info]))
        time.now += 60
        time.script = [time.finish]
        return len(checked) == 1
    checked = []
    made.run(go_on, 1.0)
    assert len(calls) == 4 and rests == [1.0, 1.0, 1.0]
    assert checked == [1, 2]  # it was mended in between


def test_a_process_that_was_stopped_does_not_blame_the_backend(starved):
    made, time, published = starved(0.0)

    def stopped():  # for a minute, while a visit goes on
        time.now += 60
        time.finish()
    time.script = [stopped]
    made.run(turns(1), 1.0)
    assert published[-1].checks[0].status is Status.PASS
    assert published[-1].checks[0].latency == pytest.approx(1.0)


def test_a_process_that_is_starved_still_finds_a_hang(starved):
    made, time, published = starved(0.5)
    made.run(turns(20), 1.0)
    assert published[-1].checks[0].reason == state.NO_ANSWER
    assert 5.0 < time.now


def test_what_has_come_is_taken_before_anything_is_overdue(starved):
    made, time, published = starved(0.0)

    def late():  # it came in time, and nobody had time for it
        time.now = 4.9
        time.finish()
        time.now = 5.05
    time.script = [late]
    made.run(turns(2))
    assert [c.reason for r in published for c in r.checks] == [state.SLOW]


def test_a_fault_with_one_result_costs_none_of_the_others(starved,
                                                          monkeypatch):
    monkeypatch.setattr(scheduler.time_module, 'sleep', lambda seconds: None)
    made, time, published = starved(0.0)

    def fault():
        raise RuntimeError('a fault of our own')

    def comes():
        time.put(fault)
        time.finish()
        time.put(None)
    time.script = [comes]
    made.run(turns(3), 1.0)
    assert [c.status for r in published for c in r.checks] == [Status.PASS]


def test_a_fault_with_one_visit_costs_none_of_its_tour(starved, monkeypatch):
    made, time, published = starved(0.0)
    made.step()
    take = made._visits.take
    monkeypatch.setattr(made._visits, 'take', lambda: [None, *take()])
    time.finish()
    with pytest.raises(TypeError):
        made.take()
    made.step()
    assert [c.status for r in published for c in r.checks] == [Status.PASS]


def test_waits_are_of_the_kind_that_a_green_service_replaces():
    """eventlet patches queue.Queue, and not queue.SimpleQueue."""
    one = scheduler.Scheduler(singles(QUICK, Plugin('database')), QUICK,
                              lambda published: None)
    assert type(one._events) is queue.Queue


def test_no_thread_to_be_had_is_a_failure_of_the_check():
    class NoThread:
        size = 0

        def submit(self, act, done):
            raise RuntimeError("can't start new thread")

    published = []
    policy = policy_module.Policy(fall=1)
    one = scheduler.Scheduler(singles(policy, Plugin('database')), policy,
                              published.append, pool=NoThread())
    one.step()
    one.take()
    assert published[-1].checks[0].detail == "can't start new thread"
    assert published[-1].checks[0].status is Status.FAIL
    one.rest()  # and none to close it with


def take_over(here, last, now=20.0):
    """Go on in another process, where the last report was found."""
    here.now = now
    here.scheduler.restore(last)
    here.scheduler.run(lambda: False)


def test_who_takes_over_publishes_what_was_known(caplog):
    caplog.set_level(logging.INFO, 'healthcheck.probing.changelog')
    down = world.Backend('down', lambda now: (world.REFUSED, 0.0))
    slow = world.Backend('slow', lambda now: (world.OK, 3.0))
    first = world.World([down, slow], policy_module.Policy())
    first.run(20)
    caplog.clear()
    second = world.World([down, slow], policy_module.Policy())
    take_over(second, first.reports[-1][1])
    second.run(20.5)
    time, published = second.reports[0]
    assert time == 20.0
    assert {c.name: c.status for c in published.checks} == {
        'down': Status.FAIL, 'slow': Status.WARN}
    assert second.statuses('down') == [(20.0, Status.FAIL)]
    assert not caplog.records  # nothing has changed


def test_who_takes_over_visits_everything_at_once():
    backend = world.Backend('database', lambda now: (world.OK, 0.0))
    first = world.World([backend], policy_module.Policy(jitter=0.0))
    first.run(15)
    last = first.reports[-1][1]
    first.now = 16.0
    first.scheduler.rest()
    take_over(first, last, 17.0)
    first.run(18)
    assert backend.started == [0, 10, 17]


def test_a_report_that_is_stale_is_not_published_again(caplog):
    """It is not what was said before either."""
    caplog.set_level(logging.INFO, 'healthcheck.probing.changelog')
    backend = world.Backend('database', lambda now: (world.OK, 0.1))
    first = world.World([backend], policy_module.Policy())
    first.run(5)
    caplog.clear()
    second = world.World([backend], policy_module.Policy())
    take_over(second, first.reports[-1][1], 100.0)
    second.run(105)
    assert [time for time, _ in second.reports] == [100.1]
    assert [r.getMessage() for r in caplog.records] == [
        'Healthcheck database: never run -> pass: OK']


def test_who_takes_over_publishes_nothing_before_all_is_known():
    fresh = world.Backend('fresh', lambda now: (world.OK, 0.0))
    old = world.Backend('old', lambda now: (world.OK, 1.0))
    first = world.World([old, fresh], policy_module.Policy())
    first.run(5)
    last = first.reports[-1][1]
    second = world.World([old, fresh], policy_module.Policy())
    take_over(second, dataclasses.replace(last, checks=tuple(
        one if one.name == 'fresh'
        else dataclasses.replace(one, judged_at=-100.0)
        for one in last.checks)), 6.0)
    second.run(8)
    assert [time for time, _ in second.reports] == [7.0]


def test_what_comes_late_is_taken_before_it_is_overwritten(starved):
    made, time, published = starved(0.0)
    one, = made._publisher._checks
    made.step()
    time.finish()
    time.now = 100.0
    made.restore(report.Report((report.CheckReport(
        'database', Status.FAIL, 'REFUSED', '', 99.0, 30.0, 1e9),)))
    assert one.state.status is Status.FAIL and not one.state.running
    assert not published


def test_who_rests_says_nothing(caplog):
    """Another process probes, and what it finds is what counts."""
    caplog.set_level(logging.INFO, 'healthcheck.probing.changelog')
    told = []
    backend = world.Backend('database', lambda now: (
        world.OK if now < 10 else world.REFUSED, 1.0))
    here = world.World([backend], policy_module.Policy(fall=1),
                       changed=told.append)
    here.run(11.5)
    assert backend.started[1:] == [11.0]
    caplog.clear()
    del here.reports[:], told[:]
    here.scheduler.rest()
    here.run(12.5)
    here.scheduler.rest()
    assert (here.reports, told, caplog.records) == ([], [], [])


def test_who_rests_gives_back_what_is_visited_as_soon_as_it_can():
    backend = world.Backend('database', lambda now: (world.OK, 3.0))
    here = world.World([backend], policy_module.Policy())
    here.run(1)
    here.scheduler.rest()
    here.now = 3.0
    here.scheduler.rest()
    assert backend.closed == []  # never during a visit
    here.run(3.5)
    here.scheduler.rest()
    here.scheduler.rest()
    assert backend.closed == [3.5]


def test_who_rests_gives_back_and_can_go_on(running):
    here = running(one := Plugin('database'))
    here.wait(lambda c: True)
    here.stop()
    assert one.closed.is_set()
    here.last = None
    thread = threading.Thread(target=here.scheduler.run)
    thread.start()
    here.wait(lambda c: True)
    here.scheduler.stop()
    thread.join(5)


def test_the_reason_for_a_hang_is_the_targets_own(starved):
    made, time, published = starved(0.0)
    plugin = made._publisher._checks[0].probe.target._plugin
    plugin.why = lambda: ('BLOCKED BY BROKER', 'see its alarms')
    made.run(turns(2))
    assert [(c.reason, c.detail) for r in published for c in r.checks] == [
        ('BLOCKED BY BROKER', 'see its alarms')]


def test_what_comes_in_is_taken_in_its_order(starved):
    made, time, _ = starved(0.0)
    taken = []

    def comes():
        for number in range(3):
            time.put(lambda number=number: taken.append(number))
    time.script = [comes]
    made.run(turns(1), 1.0)
    assert taken == [0, 1, 2]


def test_a_thread_is_there_for_each_target_that_is_needed(starved):
    made, time, _ = starved(0.0)
    assert time.size == scheduler.WORKERS + 1


def test_the_end_does_not_wait_for_a_visit_that_hangs(starved):
    made, time, published = starved(0.0)
    made.step()
    time.end = lambda: time.script.append('ended')
    made.close()
    assert time.now == 1.0
    assert time.script == ['ended']


def test_the_end_waits_for_what_is_being_closed(starved):
    made, time, published = starved(0.0)
    made.step()
    time.finish()
    time.script = [time.finish]
    time.end = lambda: time.script.append(time.now)
    begun = time.now
    made.close()
    assert not time.going_on and time.now - begun <= scheduler._GRACE


def test_a_probe_that_another_one_has_taken_off_the_list_is_passed_over():
    """The database that lists the cells may be one of theirs."""
    here = cloud.Cloud([cloud.row(1, database_connection=cloud.API,
                                  transport_url='none:///')])
    here.run(1010)
    here.rows = []
    here.run(1030)
    assert here.state().cells == ()
    assert here.reports[-1][0] > 1015


def test_a_retry_that_had_to_wait_for_its_turn_has_its_time():
    backend = world.Backend('database', lambda now: (world.OK, 0.0))
    probe = probe_module.Probe(backend, policy_module.Policy(jitter=0.0))
    one = watched.Watched('database', backend)
    one.probes.append(probe)
    one.begin(10.0)
    assert one.overdue(15.0, 1e9) == [probe]
    one.finished(target.Findings(world.OK), 16.0, 1e9, 0.0)
    assert one.due_at == 17.0
    one.begin(20.0)
    assert one.due_at == 25.0


def test_a_visit_waits_for_the_target_to_be_closed():
    """This process may lead again while a connection is being closed."""
    closing, go_on, probed = (threading.Event() for _ in range(3))
    plugin = Plugin('database', lambda: probed.set() or report.Result.ok())

    def close():
        closing.set()
        assert go_on.wait(20) and not probed.is_set()
        plugin.closed.set()
    plugin.close = close
    one = watched.Watched('database', guard.Guarded('database', plugin))
    first = threading.Thread(target=one.close)
    first.start()
    assert closing.wait(20)
    second = threading.Thread(target=one.look)
    second.start()
    second.join(0.05)
    go_on.set()
    for thread in (first, second):
        thread.join(20)
    assert plugin.closed.is_set() and probed.is_set()
