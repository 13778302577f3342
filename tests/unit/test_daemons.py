# SPDX-License-Identifier: Apache-2.0

"""Threads that leave signals to others, and how they begin."""

import signal
import threading

import greenlet
import pytest

from healthcheck.probing import daemons

PATIENCE = 10


def blocked():
    return signal.pthread_sigmask(signal.SIG_BLOCK, ())


def in_one(run=blocked):
    """What a function returns in such a thread."""
    found = []
    daemons.start(lambda: found.append(run()), 'one').join(PATIENCE)
    return found[0]


@pytest.fixture
def taken():
    """The signals that were taken."""
    found = []
    before = signal.signal(
        signal.SIGUSR1, lambda number, frame: found.append(number))
    yield found
    signal.signal(signal.SIGUSR1, before)


def test_a_thread():
    given = []
    thread = daemons.start(lambda *args: given.extend(args), 'one', 1, 2)
    assert thread.daemon
    assert thread.name == 'one'
    thread.join(PATIENCE)
    assert given == [1, 2]


def test_it_takes_no_signal_of_the_process():
    assert in_one() >= {signal.SIGHUP, signal.SIGINT, signal.SIGTERM,
                        signal.SIGQUIT, signal.SIGALRM, signal.SIGUSR1}


def test_it_reports_its_own_faults_and_children():
    assert not in_one() & {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE,
                           signal.SIGABRT, signal.SIGPIPE, signal.SIGCHLD}


def test_so_do_threads_that_it_starts():
    found = []

    def start_another():
        thread = threading.Thread(target=lambda: found.append(blocked()))
        thread.start()
        thread.join()
    in_one(start_another)
    assert found[0] >= daemons.SIGNALS


@pytest.mark.parametrize('before', [set(), {signal.SIGTERM, signal.SIGUSR2}])
def test_who_starts_one_takes_what_it_took(before):
    own = signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        in_one()
        assert blocked() == before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, own)


def test_also_if_there_is_no_thread(monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")
    monkeypatch.setattr(threading.Thread, 'start', start)
    before = blocked()
    with pytest.raises(RuntimeError):
        daemons.start(blocked, 'one')
    assert blocked() == before


def test_a_signal_that_comes_meanwhile_is_taken_afterwards(taken, monkeypatch):
    start = threading.Thread.start

    def interrupted(self):
        # To this thread: others of the tests would take one of the process.
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        start(self)
        assert taken == []
    monkeypatch.setattr(threading.Thread, 'start', interrupted)
    in_one()
    assert taken == [signal.SIGUSR1]


def test_a_handler_that_raises_leaves_nothing_blocked(monkeypatch):
    """As that of gunicorn does, at whatever point."""
    mask, before = signal.pthread_sigmask, blocked()

    def raises(how, signals):
        mask(how, signals)
        if how == signal.SIG_BLOCK and signals:
            raise SystemExit
        return mask(how, ())
    monkeypatch.setattr(signal, 'pthread_sigmask', raises)
    with pytest.raises(SystemExit):
        daemons.start(blocked, 'one')
    monkeypatch.undo()
    assert blocked() == before


def test_greenlets_that_start_one_at_the_same_time(monkeypatch):
    """They share a thread, and one lets the other run while it waits."""
    start, before = threading.Thread.start, blocked()

    def waits(self):
        here.switch()
        start(self)
    monkeypatch.setattr(threading.Thread, 'start', waits)
    here = greenlet.getcurrent()
    both = [greenlet.greenlet(in_one) for _ in range(2)]
    for one in both + both:
        one.switch()
    assert all(one.dead for one in both)
    assert blocked() == before
