# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""A bounded number of threads, and that a job never waits for nobody."""

import queue
import threading

import pytest

from healthcheck.cells import pool

PATIENCE = 10


class Job:
    """Ends when it is told to.

    :ivar began: in which thread
    """

    def __init__(self, hold=True):
        self.began = threading.Event()
        self.go_on = threading.Event()
        self.thread = None
        if not hold:
            self.go_on.set()

    def __call__(self):
        self.thread = threading.current_thread()
        self.began.set()
        self.go_on.wait(3 * PATIENCE)


class Jobs(queue.Queue):
    """Jobs, and when a thread that is idle has had enough of it.

    :ivar idle: how many wait now
    """

    def __init__(self):
        super().__init__()
        self.idle = 0
        self.change = threading.Condition()
        self._bored = 0

    def get(self, block=True, timeout=None):
        with self.change:
            self.idle += 1
            self.change.notify_all()
            try:
                while True:
                    if super().qsize():
                        return super().get(block=False)
                    if timeout is not None and self._bored:
                        self._bored -= 1
                        raise queue.Empty
                    assert self.change.wait(PATIENCE)
            finally:
                self.idle -= 1
                self.change.notify_all()

    def put(self, job, block=True, timeout=None):
        super().put(job)
        with self.change:
            self.change.notify_all()

    def wait_for_idle(self, count):
        with self.change:
            assert self.change.wait_for(lambda: self.idle == count, PATIENCE)

    def bore(self, count):
        with self.change:
            self._bored += count
            self.change.notify_all()


@pytest.fixture
def made():
    """A pool of two, and its queue; all its threads end with the test."""
    before = set(threading.enumerate())
    one = pool.Pool(2, 'test-pool')
    one._jobs = jobs = Jobs()
    yield one, jobs
    jobs.bore(100)
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def submit(one, *jobs):
    for job in jobs:
        one.submit(job)
    for job in jobs:
        assert job.began.wait(PATIENCE)


def test_threads_are_daemons_and_named(made):
    one, jobs = made
    job = Job(hold=False)
    submit(one, job)
    assert job.thread.daemon
    assert job.thread.name == 'test-pool-1'


def test_who_is_idle_is_used_first(made):
    one, jobs = made
    threads = set()
    for _ in range(5):
        job = Job(hold=False)
        submit(one, job)
        jobs.wait_for_idle(1)
        threads.add(job.thread)
    assert len(threads) == 1


def test_no_more_than_there_may_be(made):
    one, jobs = made
    held = [Job(), Job()]
    submit(one, *held)
    third = Job(hold=False)
    one.submit(third)
    assert not third.began.is_set()
    assert len({job.thread for job in held}) == 2
    held[0].go_on.set()
    assert third.began.wait(PATIENCE)
    assert third.thread is held[0].thread
    held[1].go_on.set()


def test_who_has_nothing_to_do_ends(made):
    one, jobs = made
    first = Job(hold=False)
    submit(one, first)
    jobs.wait_for_idle(1)
    jobs.bore(1)
    first.thread.join(PATIENCE)
    assert not first.thread.is_alive()
    second = Job(hold=False)
    submit(one, second)
    assert second.thread is not first.thread


def test_a_job_does_not_wait_behind_one_that_hangs(made):
    """There were more jobs than threads, then fewer, and one hangs."""
    one, jobs = made
    first, second = Job(), Job()
    submit(one, first, second)
    hung = Job()
    one.submit(hung)
    first.go_on.set()  # its thread goes on with the one that hangs
    assert hung.began.wait(PATIENCE)
    second.go_on.set()
    jobs.wait_for_idle(1)
    jobs.bore(1)
    second.thread.join(PATIENCE)
    last = Job(hold=False)
    one.submit(last)
    assert last.began.wait(PATIENCE)
    hung.go_on.set()


def test_a_job_is_not_left_to_a_thread_that_ends(made):
    """It ends as soon as it has found that there is nothing to do."""
    one, jobs = made
    first = Job(hold=False)
    submit(one, first)
    ending, ended = threading.Event(), threading.Event()

    class Lock:
        def __init__(self, lock):
            self._lock = lock

        def __enter__(self):
            self._lock.acquire()

        def __exit__(self, *args):
            self._lock.release()
            if threading.current_thread() is first.thread:
                ending.set()
                ended.wait(PATIENCE)
    jobs.wait_for_idle(1)
    one.size = 1
    one._lock = Lock(one._lock)
    jobs.bore(1)
    assert ending.wait(PATIENCE)
    second = Job(hold=False)
    one.submit(second)
    assert second.began.wait(PATIENCE)
    ended.set()


def test_a_thread_that_comes_too_late_ends(made, monkeypatch):
    """Another one has done what it was started for."""
    one, jobs = made
    first, second = Job(), Job(hold=False)
    submit(one, first)
    come = threading.Event()
    late = []

    class Late(threading.Thread):
        def run(self):
            late.append(self)
            come.wait(PATIENCE)
            super().run()
    with monkeypatch.context() as patch:
        patch.setattr(threading, 'Thread', Late)
        one.submit(second)
    first.go_on.set()
    assert second.began.wait(PATIENCE)
    come.set()
    jobs.wait_for_idle(2)
    jobs.bore(2)
    for thread in (first.thread, *late):
        thread.join(PATIENCE)
        assert not thread.is_alive()


class NoThread(threading.Thread):
    def start(self):
        raise RuntimeError("can't start new thread")


def test_no_thread_to_be_had(made, monkeypatch):
    one, jobs = made
    with monkeypatch.context() as patch:
        patch.setattr(threading, 'Thread', NoThread)
        with pytest.raises(RuntimeError, match="can't start"):
            one.submit(Job())
    job = Job(hold=False)
    submit(one, job)  # there are some again
    jobs.wait_for_idle(1)
    assert jobs.empty()


def test_no_second_thread_to_be_had(made, monkeypatch):
    one, jobs = made
    first, second = Job(), Job(hold=False)
    submit(one, first)
    with monkeypatch.context() as patch:
        patch.setattr(threading, 'Thread', NoThread)
        one.submit(second)
    assert not second.began.is_set()
    first.go_on.set()
    assert second.began.wait(PATIENCE)
    assert second.thread is first.thread
    jobs.wait_for_idle(1)
    held = [Job(), Job()]
    submit(one, *held)
    for job in held:
        job.go_on.set()


def test_it_waits_in_a_way_that_a_green_service_replaces():
    """eventlet patches queue.Queue, and not queue.SimpleQueue."""
    assert type(pool.Pool(1, 'x')._jobs) is queue.Queue


@pytest.mark.parametrize('size', [1, 2, 3])
def test_all_jobs_are_done_and_all_threads_end(size, monkeypatch):
    """Threads that end and jobs that come, as close as can be."""
    monkeypatch.setattr(pool, 'IDLE', 0.0)
    one = pool.Pool(size, 'test-pool')
    done = threading.Semaphore(0)
    for _ in range(200):
        one.submit(done.release)
        one.submit(done.release)
        assert done.acquire(timeout=PATIENCE)
    for _ in range(200):
        assert done.acquire(timeout=PATIENCE)
    for thread in threading.enumerate():
        if thread.name.startswith('test-pool'):
            thread.join(PATIENCE)
            assert not thread.is_alive()
