# SPDX-License-Identifier: Apache-2.0

"""A scheduler in real threads: that it begins, goes on and ends."""

import logging
import queue
import threading
import time

import pytest

from healthcheck.probing import check
from healthcheck.probing import policy as policy_module
from healthcheck.probing import pool
from healthcheck.probing import scheduler
from healthcheck.probing import target
from healthcheck.reports import report
from tests.unit import world

PATIENCE = 20
POOL = 'going'

# So that nothing happens but what a test wants.
POLICY = policy_module.Policy(interval=600, retry_interval=100, ttl=6000,
                              timeout=300)


class Server(target.Target):
    """Answers, fails or hangs.

    :ivar gate: for as long as it is set a visit comes back
    """

    def __init__(self, name):
        self.name = name
        self.result = world.OK
        self.gate = threading.Event()
        self.gate.set()
        self.visited = threading.Event()
        self.visits = self.closed = 0
        self.was_closed = threading.Event()
        self.closing = threading.Event()
        self.closing.set()

    def probe(self, questions=()):
        self.visits += 1
        self.visited.set()
        self.gate.wait(PATIENCE)
        return target.Findings(self.result)

    def close(self):
        self.closing.wait(PATIENCE)
        self.closed += 1
        self.was_closed.set()


class Going:
    """A scheduler and the thread that runs it."""

    def __init__(self):
        self.servers = [Server('one'), Server('other')]
        self.reports = queue.Queue()
        self.scheduler = scheduler.Scheduler(
            [check.Single(server.name, server, POLICY)
             for server in self.servers], POLICY, self.publish, workers=2,
            pool=pool.Pool(2, POOL))
        self.thread = None
        self.published = self.reports.put

    def publish(self, found):
        self.published(found)

    def start(self, close=True, **kwargs):
        def run():
            self.scheduler.run(**kwargs)
            if close:
                self.scheduler.close()
        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def report(self):
        return self.reports.get(timeout=PATIENCE)

    def known(self):
        """The first report that is of a visit of all."""
        while True:
            found = self.report()
            if len(found.checks) == len(self.servers):
                return found

    def ends(self):
        """Whether it ends, and those that close connections do."""
        self.thread.join(PATIENCE)
        for one in threading.enumerate():
            if one.name.startswith(f'{POOL}-'):
                one.join(PATIENCE)
                assert not one.is_alive()
        return not self.thread.is_alive()


@pytest.fixture
def going(monkeypatch):
    monkeypatch.setattr(pool, 'IDLE', 0.01)
    before = set(threading.enumerate())
    made = Going()
    yield made
    for server in made.servers:
        server.gate.set()
        server.closing.set()
    made.scheduler.stop()
    if made.thread is not None:
        made.thread.join(PATIENCE)  # at its end, it may start others
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_nothing_begins_before_it_is_run(going):
    assert not any(server.visits for server in going.servers)
    assert not [one for one in threading.enumerate()
                if one.name.startswith(f'{POOL}-')]


def test_ends_and_gives_all_back(going):
    going.start()
    assert all(one.status is report.Status.PASS
               for one in going.known().checks)
    going.scheduler.stop()
    assert going.ends()
    assert [server.closed for server in going.servers] == [1, 1]


def test_ends_when_it_may_not_go_on(going):
    may = threading.Event()
    may.set()
    going.start(go_on=may.is_set, every=0.01)
    going.known()
    may.clear()
    assert going.ends()


def test_waits_for_what_it_closes(going):
    going.start()
    going.known()
    one, other = going.servers
    one.closing.clear()
    going.scheduler.stop()
    assert other.was_closed.wait(PATIENCE)
    assert going.thread.is_alive()
    one.closing.set()
    assert going.ends()
    assert one.closed == 1


def test_ends_though_a_visit_hangs(going, monkeypatch):
    """Its thread is a daemon and is left behind."""
    monkeypatch.setattr(scheduler, '_GRACE', 0.01)
    one, other = going.servers
    one.gate.clear()
    going.start()
    assert one.visited.wait(PATIENCE)
    going.scheduler.stop()
    going.thread.join(PATIENCE)
    assert not going.thread.is_alive()
    assert not one.closed  # never during a visit
    hung = [thread for thread in threading.enumerate()
            if thread.name.startswith(f'{POOL}-')]
    assert all(thread.daemon for thread in hung)


def test_closes_what_comes_back_in_time(going):
    one, other = going.servers
    one.gate.clear()
    going.start()
    assert one.visited.wait(PATIENCE)
    going.scheduler.stop()
    assert other.was_closed.wait(PATIENCE)
    one.gate.set()
    assert going.ends()
    assert one.closed == 1


def test_begins_again(going):
    going.start(close=False)
    going.known()
    going.scheduler.stop()
    assert going.ends()
    going.scheduler.rest()
    going.scheduler.refresh()
    going.start()
    while going.report().refreshed_at is None:
        pass
    assert [server.visits for server in going.servers] == [2, 2]


def test_a_stop_before_it_runs_ends_it(going):
    going.scheduler.stop()
    going.start()
    assert going.ends()


def test_stops_though_something_that_came_with_it_fails(going, caplog,
                                                        monkeypatch):
    monkeypatch.setattr(scheduler, 'time_module', Time(queue.Queue()))
    going.scheduler.stop()
    going.scheduler._events.put(broken)
    going.start()
    assert going.ends()


def test_what_comes_in_is_taken_though_something_before_it_fails(going):
    done = []
    going.scheduler._events.put(broken)
    going.scheduler._events.put(lambda: done.append(1))
    going.scheduler._events.put(lambda: done.append(2))
    with pytest.raises(RuntimeError, match='at fault'):
        going.scheduler._wait(0.0)
    assert done == [1, 2]


def test_goes_on_after_a_fault_that_is_logged_once(going, monkeypatch,
                                                   caplog):
    naps = queue.Queue()
    steps = []
    monkeypatch.setattr(scheduler, 'time_module', Time(naps))
    step = going.scheduler.step

    def faulty():
        steps.append(1)
        if 2 <= len(steps) <= 4:
            broken()
        return step()
    going.scheduler.step = faulty
    going.start()
    going.known()
    assert [naps.get(timeout=PATIENCE) for _ in range(3)] == [1.0] * 3
    logged = [one for one in caplog.records
              if one.levelno >= logging.ERROR]
    assert [one.getMessage() for one in logged] == [
        'The healthcheck scheduler failed; it goes on trying']
    assert logged[0].exc_info


def test_a_second_fault_is_logged_too(going, monkeypatch, caplog):
    naps = queue.Queue()
    steps = []
    monkeypatch.setattr(scheduler, 'time_module', Time(naps))
    step = going.scheduler.step

    def faulty():
        steps.append(1)
        if len(steps) in (1, 3):
            broken()
        return step()
    going.scheduler.step = faulty
    going.start()
    for _ in range(2):
        naps.get(timeout=PATIENCE)
        going.scheduler.refresh()
    assert len([one for one in caplog.records
                if one.levelno >= logging.ERROR]) == 2


def test_waits_in_a_way_that_a_green_service_replaces(going):
    """eventlet patches queue.Queue, and not queue.SimpleQueue."""
    assert type(going.scheduler._events) is queue.Queue


def test_no_more_threads_than_workers_and_what_is_needed(going):
    """Each that is needed has a thread, though all workers hang."""
    assert going.scheduler._pool.size == 2 + 2


def broken():
    raise RuntimeError('at fault')


class Time:
    """The module, but for naps, which are over at once."""

    monotonic = time.monotonic

    def __init__(self, naps):
        self._naps = naps

    def sleep(self, seconds):
        self._naps.put(seconds)
