# SPDX-License-Identifier: Apache-2.0

"""A server that is about to end says so, in all of its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import types

import pytest

from healthcheck.host import drains
from healthcheck.host import lameduck
from healthcheck.serving import agent
from healthcheck.serving import gunicorn_hooks
from healthcheck.serving import systemd
from tests.unit import test_drains
from tests.unit import wsgi

scripted, host, service, app = (
    test_drains.scripted, test_drains.host, test_drains.service,
    test_drains.app)


@pytest.fixture
def duck(monkeypatch):
    made = lameduck.LameDuck()
    monkeypatch.setattr(lameduck, 'OURS', made)
    return made


def test_the_longest_wish_counts(duck):
    assert (duck.delay, duck.begun) == (0.0, False)
    for wish in (2.5, 1.0):
        duck.wish(wish)
    assert (duck.delay, duck.begun) == (2.5, False)
    duck.begin()
    assert (duck.delay, duck.begun) == (2.5, True)


def test_it_is_that_of_all_that_were_forked(duck):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            duck.wish(7.0)
            os.write(writing, b'x')
            while not duck.begun:
                pass
        finally:
            os._exit(0)
    os.read(reading, 1)
    assert duck.delay == 7.0
    duck.begin()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(reading)
    os.close(writing)


def told(made, path='/healthcheck', **kwargs):
    answer = wsgi.ask(made, path, **kwargs)
    return answer.status, answer.text


def test_what_callers_are_told(duck, app, service):
    made = app(drain_delay='3', detail_source_ranges='127.0.0.0/8',
               metrics_source_ranges='127.0.0.0/8')
    assert duck.delay == 3.0
    assert told(made) == (200, 'OK')
    duck.begin()
    assert told(made) == (503, 'OK\nSTOPPING')
    assert told(made, method='HEAD') == (503, '')
    assert told(made, '/healthcheck/live') == (200, 'OK')
    assert told(made, '/healthcheck/scripted') == (200, 'OK')
    assert told(made, '/nova') == (200, 'below')
    detail = wsgi.ask(made, '/healthcheck/detail').json
    assert (detail['reason'], detail['drains']) == ('STOPPING', [])
    assert 'healthcheck_drained 1.0' in told(made, '/healthcheck/metrics')[1]
    # Why it is out for longer.
    service.begin('a new disk', 'alice')
    assert told(made) == (503, 'OK\nDRAINED')


def test_drains_of_another_server(duck):
    mine = lameduck.LameDuck()
    mine.begin()
    assert drains.Drains(None, None).reason() == ''
    assert drains.Drains(None, None, duck=mine).reason() == 'STOPPING'


class Master:
    """gunicorn's, as far as the hook has to do with it."""

    def __init__(self, monkeypatch):
        self.stopped = 0
        self.timer = None
        self.handlers = {signal.SIGTERM: self.stop}
        monkeypatch.setattr(gunicorn_hooks, 'signal', types.SimpleNamespace(
            SIGTERM=signal.SIGTERM, SIGALRM=signal.SIGALRM,
            ITIMER_REAL=signal.ITIMER_REAL, getsignal=self.handlers.get,
            signal=self.handlers.__setitem__, setitimer=self.set_timer))
        gunicorn_hooks.when_ready(self)

    def stop(self, signum, frame):
        assert signum == signal.SIGTERM
        self.stopped += 1

    def set_timer(self, which, seconds):
        self.timer = seconds

    def get(self, signum):
        self.handlers[signum](signum, None)


def test_gunicorn_serves_on_and_then_stops(duck, monkeypatch):
    master = Master(monkeypatch)
    duck.wish(5.0)  # a worker, which is loaded later
    master.get(signal.SIGTERM)
    assert (duck.begun, master.stopped, master.timer) == (True, 0, 5.0)
    master.get(signal.SIGALRM)
    assert master.stopped == 1


def test_a_second_signal_stops_gunicorn_at_once(duck, monkeypatch):
    duck.wish(5.0)
    master = Master(monkeypatch)
    master.get(signal.SIGTERM)
    master.get(signal.SIGTERM)
    assert (master.stopped, master.timer) == (1, 0)


def test_gunicorn_without_a_delay(duck, monkeypatch):
    master = Master(monkeypatch)
    master.get(signal.SIGTERM)
    assert (duck.begun, master.stopped) == (False, 1)


def test_the_hook_is_light():
    """gevent's workers patch modules that must not be in use yet."""
    code = ('import sys; from healthcheck.serving import gunicorn_hooks; '
            'print(*{"ssl", "threading", "oslo_config", "oslo_log", "jinja2"}'
            ' & set(sys.modules))')
    done = subprocess.run([sys.executable, '-S', '-c', code], check=True,
                          capture_output=True, text=True, env={
                              'PYTHONPATH': os.pathsep.join(sys.path)})
    assert done.stdout.strip() == ''


class Signals:
    """Those that come, each after some seconds."""

    def __init__(self, clock, *coming):
        self.clock = clock
        self.coming = list(coming)
        self.waits = []

    def next(self, timeout):
        self.waits.append(timeout)
        after, signum = self.coming[0] if self.coming else (1e9, None)
        if self.clock[0] + timeout >= after:
            self.clock[0] = max(self.clock[0], after)
            self.coming.pop(0)
            return signum
        self.clock[0] += timeout
        return None


class Door:
    status = alive_at = 0.0

    def __init__(self, delay):
        self.drain_delay = delay

    def probed(self, environ):
        """Nothing has to be started."""

    def stop(self, timeout=0.0):
        """Nothing was."""

    def known(self):
        return None


@pytest.mark.parametrize('coming, delay, ends, begun', [
    ([(5, signal.SIGTERM)], 3.0, 8.0, True),
    ([(5, signal.SIGTERM)], 0.0, 5.0, False),
    ([(5, signal.SIGINT)], 3.0, 5.0, False),
    ([(5, signal.SIGTERM), (6, signal.SIGTERM)], 3.0, 6.0, True),
    ([(5, signal.SIGTERM), (6, signal.SIGINT)], 3.0, 6.0, True),
    ([(5, signal.SIGTERM), (6, signal.SIGHUP)], 3.0, 8.0, True)])
def test_the_agent(duck, monkeypatch, coming, delay, ends, begun):
    clock, told = [0.0], []
    monkeypatch.setattr(agent.time, 'monotonic', lambda: clock[0])
    monkeypatch.setattr(systemd.Notifier, '_send',
                        lambda self, message: told.append(message))
    running = agent.Agent(lambda: Door(delay), None, systemd.Notifier({}))
    running.run(Signals(clock, *coming))
    assert clock[0] == pytest.approx(ends)
    assert duck.begun is begun
    if begun:
        assert 'STOPPING=1\nEXTEND_TIMEOUT_USEC=13000000' in told
    assert told[-1] == 'STOPPING=1'
