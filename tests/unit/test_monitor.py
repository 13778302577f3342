# SPDX-License-Identifier: Apache-2.0

"""When checks are probed, and that no probe can harm another."""

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
from healthcheck.probing import monitor
from healthcheck.reports import report
from tests.unit import world

Status = report.Status

policies = st.builds(
    check.Policy,
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


def test_a_hang_does_not_delay_the_others():
    policy = check.Policy(jitter=0.0)
    hung = world.Backend('hung', lambda now: (world.OK, None))
    well = world.Backend('well', lambda now: (world.OK, 0.01))
    here = world.World([hung, well], policy)
    here.run(101)
    assert well.started == [10.0 * n for n in range(11)]
    assert len(hung.started) == 1


def test_an_overdue_check_stays_fresh_and_failed():
    policy = check.Policy()
    backend = world.Backend('database', lambda now: (
        world.OK, 0.01 if now < 30 else None))
    here = world.World([backend], policy)
    here.run(300)
    _, last = here.reports[-1]
    verdict = last.checks[0].verdict(here.now)
    assert verdict.status is Status.FAIL and not verdict.stale
    assert verdict.reason == check.NO_ANSWER


def test_a_hang_that_ends_is_probed_again():
    backend = world.Backend('database', lambda now: (
        world.OK, 50.0 if now < 10 else 0.01))
    here = world.World([backend], check.Policy())
    here.run(100)
    assert [status for _, status in here.statuses('database')] == [
        Status.FAIL, Status.PASS]


def test_nothing_is_published_before_every_check_is_settled():
    slow = world.Backend('slow', lambda now: (world.OK, 3.0))
    down = world.Backend('down', lambda now: (world.REFUSED, 0.0))
    here = world.World([slow, down], check.Policy())
    here.run(2.9)
    assert here.reports == []
    here.run(3.1)
    assert [c.status for c in here.reports[0][1].checks] == [
        Status.WARN, Status.FAIL]


def test_a_noncritical_failure_does_not_hold_back_the_first_report():
    well = world.Backend('well', lambda now: (world.OK, 0.0))
    down = world.Backend('down', lambda now: (world.REFUSED, 0.0))
    here = world.World([well, down], check.Policy(), noncritical=('down',))
    here.run(0.0)
    assert [c.status for c in here.reports[-1][1].checks] == [
        Status.PASS, Status.WARN]


def test_a_change_is_logged_once(caplog):
    caplog.set_level(logging.INFO, 'healthcheck.probing.monitor')
    backend = world.Backend('database', lambda now: (
        world.OK if now < 30 or now > 90 else world.REFUSED, 0.01))
    here = world.World([backend], check.Policy())
    here.run(200)
    assert [r.getMessage() for r in caplog.records] == [
        'Healthcheck database: never run -> pass: OK',
        'Healthcheck database: pass -> warn: CONNECTION REFUSED; it was pass '
        'for 33.0 s',
        'Healthcheck database: warn -> fail: CONNECTION REFUSED; it was warn '
        'for 2.0 s',
        'Healthcheck database: fail -> pass: OK; it was fail for 55.0 s']


class Probe:
    label = ''
    per_worker = False

    def __init__(self, name, act=lambda: report.Result.ok()):
        self.name = name
        self.act = act
        self.closed = threading.Event()
        self.why = lambda: (check.NO_ANSWER, '')

    def probe(self):
        return self.act()

    def overdue(self):
        return self.why()

    def hurry(self):
        pass

    def restore(self, last):
        self.restored = last

    def close(self):
        self.closed.set()


def guarded(*probes):
    return [guard.Guarded(probe.name, probe) for probe in probes]


class Running:
    """A monitor in real threads; what it publishes is waited for."""

    def __init__(self, *probes, policy):
        self._arrived = threading.Condition()
        self.last = None
        self.monitor = monitor.Monitor(guarded(*probes), policy, self._take)
        self._thread = threading.Thread(target=self.monitor.run)
        self._thread.start()

    def stop(self):
        for thread in [self._thread, *self.monitor.stop()]:
            thread.join(5)

    def _take(self, published):
        with self._arrived:
            self.last = {c.name: c for c in published.checks}
            self._arrived.notify_all()

    def wait(self, condition):
        with self._arrived:
            assert self._arrived.wait_for(
                lambda: self.last and condition(self.last), timeout=20)
            return self.last


QUICK = check.Policy(interval=0.05, retry_interval=0.01, timeout=0.2,
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
    here = running(Probe('bad', act), Probe('good'))
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
    here = running(Probe('hung', act), Probe('good'))
    seen = here.wait(lambda c: c['hung'].status is Status.FAIL)
    assert seen['hung'].reason == check.NO_ANSWER
    assert seen['good'].status is Status.PASS
    assert len(runs) == 1
    release.set()
    here.wait(lambda c: c['hung'].status is Status.PASS)


def test_a_plugin_that_cannot_say_why_is_late_is_late(running):
    release = threading.Event()
    probe = Probe('hung', lambda: release.wait(30) and report.Result.ok())
    probe.why = raises(RuntimeError())
    seen = running(probe).wait(lambda c: c['hung'].status is Status.FAIL)
    assert seen['hung'].reason == check.NO_ANSWER
    release.set()


def test_stop_closes_the_probes_and_ends_the_threads(running):
    probes = [Probe('one'), Probe('two')]
    before = set(threading.enumerate())
    here = running(*probes)
    here.wait(lambda c: True)
    here.stop()
    assert all(probe.closed.is_set() for probe in probes)
    assert set(threading.enumerate()) <= before


def test_a_failing_publisher_does_not_end_probing(caplog):
    calls = []
    again = threading.Event()

    def publish(published):
        calls.append(published)
        if len(calls) < 3:
            raise RuntimeError('rendering failed')
        again.set()
    one = monitor.Monitor(guarded(Probe('database')), QUICK, publish)
    thread = threading.Thread(target=one.run)
    thread.start()
    try:
        assert again.wait(20)
    finally:
        for each in [thread, *one.stop()]:
            each.join(5)
    assert len([r for r in caplog.records if r.exc_info]) == 1


class Starved:
    """A clock, and the queue of a monitor that wakes up ``late``."""

    def __init__(self, late):
        self.now = 0.0
        self.late = late
        self.script = []

    def __call__(self):
        return self.now

    def get(self, timeout):
        self.now += timeout + self.late
        if self.script:
            return self.script.pop(0)()
        raise queue.Empty

    def get_nowait(self):
        raise queue.Empty


@pytest.fixture
def starved():
    """(monitor, time, reports) of one whose probe never comes back."""
    def make(late):
        time = Starved(late)
        published = []

        class Never:
            def __init__(self, *args):
                pass

            def launch(self, one):
                pass
        made = monitor.Monitor(
            guarded(Probe('database')), check.Policy(fall=1, timeout=5.0),
            published.append, clock=time, runner=Never)
        made._events = time
        return made, time, published
    return make


def turns(count):
    left = iter(range(count))
    return lambda: next(left, None) is not None


def test_a_process_that_was_stopped_does_not_blame_the_backend(starved):
    made, time, published = starved(0.0)
    (one, _, _), = made._lanes

    def stopped():  # for a minute, while a probe runs
        time.now += 60
        return one, report.Result.ok(), time.now
    time.script = [stopped]
    made.run(turns(1), 1.0)
    assert published[-1].checks[0].status is Status.PASS
    assert published[-1].checks[0].latency == pytest.approx(1.0)


def test_a_process_that_is_starved_still_finds_a_hang(starved):
    made, time, published = starved(0.5)
    made.run(turns(20), 1.0)
    assert published[-1].checks[0].reason == check.NO_ANSWER
    assert 5.0 < time.now


def test_what_has_come_is_taken_before_anything_is_overdue(starved):
    made, time, published = starved(0.0)
    (one, _, _), = made._lanes
    finished_at = 4.9

    def late():  # it came in time, and nobody had time for it
        time.now = 5.05
        return one, report.Result.ok(), finished_at
    time.script = [late]
    made.run(turns(2))
    assert [c.reason for r in published for c in r.checks] == [check.SLOW]


def test_waits_are_of_the_kind_that_a_green_service_replaces():
    """eventlet patches queue.Queue, and not queue.SimpleQueue."""
    one = monitor.Monitor(guarded(Probe('database')), QUICK,
                          lambda published: None)
    (_, _, lane), = one._lanes
    assert type(one._events) is type(lane._orders) is queue.Queue


def test_no_thread_to_be_had_is_a_failure_of_the_check():
    class NoThread:
        def __init__(self, *args):
            pass

        def launch(self, one):
            raise RuntimeError("can't start new thread")

    published = []
    one = monitor.Monitor(guarded(Probe('database')), check.Policy(fall=1),
                          published.append, runner=NoThread)
    one.step()
    assert published[-1].checks[0].detail == "can't start new thread"
    assert published[-1].checks[0].status is Status.FAIL


def test_who_takes_over_publishes_what_was_known(caplog):
    caplog.set_level(logging.INFO, 'healthcheck.probing.monitor')
    down = world.Backend('down', lambda now: (world.REFUSED, 0.0))
    slow = world.Backend('slow', lambda now: (world.OK, 3.0))
    first = world.World([down, slow], check.Policy())
    first.run(20)
    caplog.clear()
    second = world.World([down, slow], check.Policy())
    second.now = 20.0
    second.monitor.restore(first.reports[-1][1])
    down.running = slow.running = 0
    second.run(20.5)
    time, published = second.reports[0]
    assert time == 20.0
    assert {c.name: c.status for c in published.checks} == {
        'down': Status.FAIL, 'slow': Status.WARN}
    assert second.statuses('down') == [(20.0, Status.FAIL)]
    assert not caplog.records  # nothing has changed


def test_what_comes_late_is_taken_before_it_is_overwritten():
    probe = Probe('database')
    one = monitor.Monitor(guarded(probe), check.Policy(fall=1),
                          lambda published: None, clock=lambda: 100.0,
                          runner=lambda *args: None)
    (made, _, _), = one._lanes
    made.started(40.0)
    one._hand_in(made, world.REFUSED, 41.0)
    one.restore(report.Report((report.CheckReport(
        'database', Status.PASS, 'OK', '', 99.0, 30.0, 1e9),)))
    assert made.status is Status.PASS and not made.running
    assert probe.restored.judged_at == 99.0


def test_news_are_looked_at_at_once():
    """A probe that goes on looking between two runs has found something."""
    backend = world.Backend('cells', lambda now: (world.OK, 0.1))
    here = world.World([backend], check.Policy())
    here.at(3.0, lambda: tell(here, backend))
    here.run(5.0)
    assert backend.started == [0.0, 3.0]


def test_news_during_a_run_are_looked_at_after_it():
    backend = world.Backend('cells', lambda now: (world.OK, 2.0))
    here = world.World([backend], check.Policy())
    here.at(1.0, lambda: tell(here, backend))
    here.run(5.0)
    assert backend.started == [0.0, 2.0]


def tell(here, backend):
    backend.news()
    here.monitor._wait(0.0)


def test_who_rests_gives_back_and_can_go_on(running):
    probe = Probe('database')
    here = running(probe)
    here.wait(lambda c: True)
    here.monitor.rest()
    assert probe.closed.wait(20)
    here.last = None
    here.wait(lambda c: True)
