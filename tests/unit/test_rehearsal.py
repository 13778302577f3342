# SPDX-License-Identifier: Apache-2.0

"""What an author's test sees of a plugin is what the engine makes of it."""

import math

import pytest

from healthcheck import plugin

Status = plugin.Status


class Backend(plugin.ProbePlugin):
    """Does what a test says."""

    name = 'backend'
    clock: plugin.Clock
    takes = 0.0
    result: object = plugin.Result.ok()
    runs = 0
    closed = 0

    def probe(self):
        cls = type(self)
        cls.runs += 1
        cls.clock.sleep(cls.takes)
        if isinstance(cls.result, Exception):
            raise cls.result
        return cls.result

    def overdue(self):
        return 'STUCK', 'waits for a lock'

    def close(self):
        type(self).closed += 1


@pytest.fixture
def backend():
    return type('Backend', (Backend,), {'clock': plugin.Clock()})


@pytest.fixture
def make(backend):
    def make(**options):
        return plugin.Rehearsal(backend, options, clock=backend.clock)
    return make


def test_nothing_runs_before_it_is_told_to(make, backend):
    made = make()
    assert backend.runs == 0
    made.run(0)
    assert backend.runs == 1


def test_it_runs_once_an_interval(make, backend):
    make(interval=7.0).run(70.0)
    assert backend.runs == 11


def test_a_slow_answer_is_a_warning(make, backend):
    backend.takes = 1.5
    made = make()
    made.run(2.0)
    assert (made.status, made.line) == (Status.WARN, 'OK (BACKEND: SLOW)')
    assert made.report.latency == 1.5


def test_one_that_hangs_is_overdue(make, backend):
    backend.takes = math.inf
    made = make()
    made.run(5.0)
    assert made.line == 'OK (BACKEND: STUCK)'
    assert made.report.detail == 'waits for a lock'
    made.run(7.0)
    assert made.status is Status.FAIL
    assert backend.runs == 1


def test_the_clock_of_a_hang_goes_on(make, backend):
    backend.takes = math.inf
    make().run(5.0)
    assert backend.clock.now == 1005.0


def test_what_it_raises_is_a_probe_error(make, backend):
    backend.result = ValueError('secret')
    made = make(fall=1)
    made.run(0)
    assert made.line == 'BACKEND: PROBE ERROR'
    assert 'ValueError' in made.report.detail
    assert 'secret' not in made.report.detail


def test_a_result_gets_stale(make, backend):
    made = make()
    made.run(0)
    backend.clock.now += 100.0
    assert made.line == 'OK (BACKEND: STALE)'


def test_changes_are_what_listeners_get(make, backend):
    made = make(fall=2)
    made.run(0)
    backend.result = plugin.Result.failed('AWAY')
    made.run(30.0)
    assert [(one.before, one.after) for one in made.changes] == [
        (None, Status.PASS), (Status.PASS, Status.WARN),
        (Status.WARN, Status.FAIL)]


def test_a_round_runs_it_at_once(make, backend):
    made = make()
    made.run(5.0)
    made.refresh()
    made.run(0.0)
    assert backend.runs == 2


def test_it_is_closed_when_asked(make, backend):
    made = make()
    made.run(1.0)
    made.close()
    assert backend.closed == 1


@pytest.mark.parametrize('options, error', [
    ({'intervall': '3'}, 'intervall'), ({'interval': 'often'}, 'interval'),
    ({'ttl': '3'}, 'ttl')])
def test_options_are_checked(make, options, error):
    with pytest.raises(plugin.ConfigError, match=error):
        make(**options)


def test_all_names_are_there():
    for name in plugin.__all__:
        assert getattr(plugin, name).__doc__
