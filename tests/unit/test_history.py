# SPDX-License-Identifier: Apache-2.0

"""What is remembered of a probe, and that another prober goes on with it."""

from hypothesis import given
from hypothesis import strategies as st
import pytest

from healthcheck.probing import policy
from healthcheck.probing import probe
from healthcheck.probing import state
from healthcheck.reports import history
from healthcheck.reports import report
from tests.unit import stubs
from tests.unit import world

Status = report.Status
POLICY = policy.Policy(fall=2, rise=2, jitter=0.0)

FOUND = {'ok': world.OK, 'bad': world.REFUSED,
         'warn': report.Result(Status.WARN, 'LAGGING')}


def checked(one, found, began=100.0, step=1.0):
    for n, result in enumerate(found):
        now = began + n * step
        one.started(now)
        one.finished(FOUND[result], now + 0.02, 1e9 + now)
    return one


def snapshot(*found):
    return checked(state.ProbeState(POLICY), found).snapshot('database')


def test_transitions_and_when():
    seen = snapshot('ok', 'ok', 'bad', 'bad', 'bad', 'ok', 'ok', 'ok')
    assert [(t.time - 1e9, t.status, t.reason)
            for t in seen.history.transitions] == [
        (100, Status.PASS, 'OK'),
        (102, Status.WARN, 'CONNECTION REFUSED'),
        (103, Status.FAIL, 'CONNECTION REFUSED'),
        (106, Status.PASS, 'OK')]
    assert seen.history.since == 1e9 + 106
    assert seen.history.changes == 4


def test_the_last_failure_is_kept_after_recovery():
    seen = snapshot('bad', 'bad', 'ok', 'ok', 'ok')
    assert seen.status is Status.PASS
    assert seen.history.last_failure.time == 1e9 + 101
    assert seen.history.last_failure.reason == 'CONNECTION REFUSED'
    assert seen.history.last_passed == 1e9 + 104
    assert (seen.passes, seen.fails) == (3, 0)


def test_durations_are_counted():
    seen = snapshot('ok', 'bad', 'warn').history
    assert (seen.passes, seen.fails) == (2, 1)
    assert sum(seen.counts) == 3
    assert seen.counts[history.BUCKETS.index(0.025)] == 3
    assert seen.seconds == pytest.approx(0.06)
    assert seen.latencies == pytest.approx((0.02,) * 3)


def test_a_duration_that_is_a_bound_is_below_it():
    """As Prometheus has it: le is "less or equal"."""
    seen = history.History().probed(True, 0.005, 0.0).probed(
        True, 31.0, 0.0)
    assert seen.counts[0] == 1 and seen.counts[-1] == 1


def test_a_late_answer_is_no_pass():
    one = state.ProbeState(POLICY)
    one.started(0.0)
    one.overdue(5.0, 1e9)
    one.finished(world.OK, 6.0, 1e9 + 6)
    seen = one.snapshot('database').history
    assert (seen.passes, seen.fails, seen.last_passed) == (0, 1, None)


def test_memory_is_bounded():
    one = checked(state.ProbeState(policy.Policy(fall=1)),
                  ['ok', 'bad'] * 500)
    seen = one.snapshot('database').history
    assert len(seen.transitions) == 20
    assert len(seen.latencies) == 60
    assert seen.changes == 1000
    assert seen.transitions[-1].time == 1e9 + 1099


@given(st.lists(st.sampled_from(sorted(FOUND)), min_size=1, max_size=8),
       st.lists(st.sampled_from(sorted(FOUND)), max_size=8))
def test_a_take_over_makes_no_difference(before, after):
    """As long as what was found before is not stale."""
    alone = checked(state.ProbeState(POLICY), before + after)
    first = checked(state.ProbeState(POLICY), before)
    second = state.ProbeState(POLICY)
    second.restore(first.snapshot('database'), 100.0 + len(before))
    assert second.settled == first.settled
    assert second.status == first.status
    checked(second, after, 100.0 + len(before))
    one, other = alone.snapshot('database'), second.snapshot('database')
    if not after:
        one, other = first.snapshot('database'), second.snapshot('database')
    assert (one.status, one.passes, one.fails, one.reason, one.settled) == (
        other.status, other.passes, other.fails, other.reason, other.settled)
    assert one.history == other.history


def test_after_a_take_over_it_is_probed_at_once():
    second = state.ProbeState(POLICY)
    second.restore(snapshot('ok'), 101.0)
    assert second.due_at <= 101.0


def test_what_is_stale_is_only_remembered():
    second = state.ProbeState(POLICY)
    last = snapshot('bad', 'bad')
    second.restore(last, 200.0)
    assert second.status is None and not second.settled
    checked(second, ['ok'], 200.0)
    seen = second.snapshot('database')
    assert seen.status is Status.PASS
    assert seen.history.last_failure == last.history.last_failure


def test_a_probe_that_hangs_goes_on_hanging():
    """In a process that leads again: it is not started a second time."""
    one = state.ProbeState(POLICY)
    one.started(0.0)
    one.restore(snapshot('ok'), 101.0)
    assert one.running
    assert one.snapshot('database').started_at == 0.0


def test_a_probe_that_nobody_publishes_has_none():
    one = probe.Probe(stubs.Elsewhere(), POLICY)
    checked(one.state, ['ok', 'bad', 'bad', 'ok', 'ok'])
    one.state.hurry(200.0)
    assert one.state.snapshot('database').history == history.NO_HISTORY
