# SPDX-License-Identifier: Apache-2.0

"""A bounded number of threads, and that a job never waits for nobody."""

import queue
import threading

import pytest

from healthcheck.probing import pool

PATIENCE = 10


class Job:
    """Ends when it is told to.

    :ivar thread: in which it began
    :ivar found: what its end was called with, and in which thread
    """

    def __init__(self, hold=True):
        self.began = threading.Event()
        self.go_on = threading.Event()
        self.thread = self.found = None
        self.over = threading.Event()
        if not hold:
            self.go_on.set()

    def __call__(self):
        self.thread = threading.current_thread()
        self.began.set()
        self.go_on.wait(3 * PATIENCE)
        return self

    def done(self, found):
        self.found = found, threading.current_thread()
        self.over.set()


class Idle(list):
    """Those that have nothing to do; who waits for one is told."""

    def __init__(self):
        super().__init__()
        self.change = threading.Condition()

    def append(self, one):
        with self.change:
            super().append(one)
            self.change.notify_all()

    def wait_for(self, count):
        with self.change:
            assert self.change.wait_for(lambda: len(self) == count, PATIENCE)


@pytest.fixture
def make(monkeypatch):
    """Makes a pool; all its threads end with the test."""
    before = set(threading.enumerate())

    def made(size=2, idle=0.2):
        monkeypatch.setattr(pool, 'IDLE', idle)
        one = pool.Pool(size, 'test-pool')
        one._idle = Idle()
        return one, one._idle
    yield made
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def submit(one, *jobs):
    for job in jobs:
        one.submit(job, job.done)
    for job in jobs:
        assert job.began.wait(PATIENCE)


def test_threads_are_daemons_and_named(make):
    one, idle = make()
    job = Job(hold=False)
    submit(one, job)
    assert job.thread.daemon
    assert job.thread.name == 'test-pool-1'


def test_what_is_found_is_handed_on_in_the_same_thread(make):
    one, idle = make()
    job = Job()
    submit(one, job)
    assert job.found is None
    job.go_on.set()
    assert job.over.wait(PATIENCE)
    assert job.found == (job, job.thread)


def test_who_is_idle_is_used_first(make):
    one, idle = make(idle=3)
    threads = set()
    for _ in range(5):
        job = Job(hold=False)
        submit(one, job)
        idle.wait_for(1)
        threads.add(job.thread)
    assert len(threads) == 1


def test_who_has_worked_last_is_used_first(make):
    """So that the others can end."""
    one, idle = make(idle=3)
    first, last = Job(), Job()
    submit(one, first, last)
    first.go_on.set()
    idle.wait_for(1)
    last.go_on.set()
    idle.wait_for(2)
    next_one = Job(hold=False)
    submit(one, next_one)
    assert next_one.thread is last.thread


def test_no_more_than_there_may_be(make):
    one, idle = make()
    held = [Job(), Job()]
    submit(one, *held)
    third = Job(hold=False)
    one.submit(third, third.done)
    assert not third.began.is_set()
    assert len({job.thread for job in held}) == 2
    held[0].go_on.set()
    assert third.began.wait(PATIENCE)
    assert third.thread is held[0].thread
    held[1].go_on.set()


def test_who_has_nothing_to_do_ends(make):
    one, idle = make(idle=0.01)
    first = Job(hold=False)
    submit(one, first)
    first.thread.join(PATIENCE)
    assert not first.thread.is_alive()
    assert not idle
    second = Job(hold=False)
    submit(one, second)
    assert second.thread is not first.thread


def test_a_job_does_not_wait_behind_one_that_hangs(make):
    """There were more jobs than threads, then fewer, and one hangs."""
    one, idle = make(idle=0.01)
    first, second = Job(), Job()
    submit(one, first, second)
    hung = Job()
    one.submit(hung, hung.done)
    first.go_on.set()  # its thread goes on with the one that hangs
    assert hung.began.wait(PATIENCE)
    second.go_on.set()
    second.thread.join(PATIENCE)
    last = Job(hold=False)
    one.submit(last, last.done)
    assert last.began.wait(PATIENCE)
    hung.go_on.set()


def test_a_job_that_comes_as_a_thread_ends_is_done(make, monkeypatch):
    """It has waited long enough, and is given a job before it can say so."""
    one, idle = make(size=1)
    second = Job(hold=False)

    class Queue(queue.Queue):
        def get(self, block=True, timeout=None):
            if timeout is not None and not second.began.is_set():
                if not self.qsize():
                    one.submit(second, second.done)
                raise queue.Empty
            return super().get(block, timeout)
    monkeypatch.setattr(pool.queue, 'Queue', Queue)
    first = Job(hold=False)
    submit(one, first)
    assert second.began.wait(PATIENCE)
    assert second.thread is first.thread


def test_without_a_thread_to_be_had(make, monkeypatch):
    one, idle = make()
    monkeypatch.setattr(threading.Thread, 'start', no_more)
    with pytest.raises(RuntimeError):
        one.submit(Job(), print)
    monkeypatch.undo()
    held = Job()
    submit(one, held)
    monkeypatch.setattr(threading.Thread, 'start', no_more)
    waiting = Job(hold=False)
    one.submit(waiting, waiting.done)  # there is one that will do it
    held.go_on.set()
    assert waiting.began.wait(PATIENCE)


def no_more(thread):
    raise RuntimeError("can't start new thread")


def test_more_than_there_could_be_before(make):
    """A target that is needed came: it has a thread of its own."""
    one, idle = make(size=1)
    held, other = Job(), Job(hold=False)
    submit(one, held)
    one.size = 2
    submit(one, other)
    assert other.thread is not held.thread
    held.go_on.set()


class TestEnd:

    def test_who_is_idle_ends_at_once(self, make):
        one, idle = make(idle=3 * PATIENCE)
        jobs = Job(), Job()
        submit(one, *jobs)
        for job in jobs:
            job.go_on.set()
        idle.wait_for(2)
        one.end()
        for job in jobs:
            job.thread.join(PATIENCE)
            assert not job.thread.is_alive()

    def test_who_works_ends_when_that_is_done(self, make):
        one, idle = make(idle=3 * PATIENCE)
        held, waiting = Job(), Job(hold=False)
        one.size = 1
        submit(one, held)
        one.submit(waiting, waiting.done)
        one.end()
        held.go_on.set()
        assert waiting.over.wait(PATIENCE)  # nothing is left undone
        held.thread.join(PATIENCE)
        assert not held.thread.is_alive()

    def test_what_comes_later_is_done(self, make):
        """A visit that hung may come back, and is to be closed."""
        one, idle = make(idle=3 * PATIENCE)
        one.end()
        job = Job(hold=False)
        submit(one, job)
        job.thread.join(PATIENCE)
        assert job.over.is_set() and not job.thread.is_alive()


@pytest.mark.parametrize('size', [1, 2, 3])
def test_all_jobs_are_done_and_all_threads_end(size, monkeypatch):
    """Threads that end and jobs that come, as close as can be."""
    monkeypatch.setattr(pool, 'IDLE', 0.0)
    one = pool.Pool(size, 'test-pool')
    done = threading.Semaphore(0)
    for _ in range(200):
        one.submit(done.release, str)
        one.submit(int, lambda found: done.release())
        assert done.acquire(timeout=PATIENCE)
    for _ in range(200):
        assert done.acquire(timeout=PATIENCE)
    for thread in threading.enumerate():
        if thread.name.startswith('test-pool'):
            thread.join(PATIENCE)
            assert not thread.is_alive()
