# SPDX-License-Identifier: Apache-2.0

"""Rise, fall, slow, overdue: what is known of one probe."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from healthcheck.probing import policy as policy_module
from healthcheck.probing import state
from healthcheck.reports import report

Status = report.Status
OK = report.Result.ok()
REFUSED = report.Result.failed('CONNECTION REFUSED')
POLICY = policy_module.Policy()


def make(policy=POLICY):
    return state.ProbeState(policy)


def run(one, result, at, took=0.1, **more):
    one.started(at)
    one.finished(result, at + took, 1e9 + at, **more)
    return one.status


def test_never_run_is_a_state_of_its_own():
    one = make()
    assert one.status is None
    assert not one.settled
    assert one.due_at == 0.0


def test_the_first_failure_is_a_warning_and_the_second_a_failure():
    one = make()
    assert run(one, OK, 0) is Status.PASS
    assert run(one, REFUSED, 10) is Status.WARN
    assert one.due_at == 10.1 + POLICY.retry_interval
    assert run(one, REFUSED, 12.1) is Status.FAIL
    assert one.due_at == 12.1 + POLICY.interval
    assert one.result == REFUSED


def test_a_success_resets_the_failures():
    one = make()
    for at in range(0, 100, 20):
        assert run(one, REFUSED, at) is Status.WARN
        assert run(one, OK, at + 10) is Status.PASS


def test_fall_of_one_fails_at_once():
    one = make(policy_module.Policy(fall=1))
    assert run(one, REFUSED, 0) is Status.FAIL


def test_rise_successes_in_a_row_make_it_pass_again():
    one = make(policy_module.Policy(fall=1, rise=3))
    run(one, REFUSED, 0)
    assert run(one, OK, 10) is Status.FAIL
    assert one.due_at == 10.1 + POLICY.retry_interval
    assert run(one, OK, 12) is Status.FAIL
    assert run(one, REFUSED, 14) is Status.FAIL
    assert run(one, OK, 20) is Status.FAIL
    assert run(one, OK, 22) is Status.FAIL
    assert one.result == REFUSED
    assert run(one, OK, 24) is Status.PASS


def test_what_is_final_holds_at_once():
    down = report.Result.failed('NO CELL UP')
    one = make(policy_module.Policy(fall=3, rise=3))
    assert run(one, OK, 0) is Status.PASS
    assert run(one, down, 10, final=True) is Status.FAIL
    assert one.due_at == 20
    assert run(one, OK, 20, final=True) is Status.PASS
    assert one.due_at == 30


def test_a_probe_that_waited_for_more_tells_what_the_backend_took():
    one = make()
    assert run(one, dataclasses.replace(OK, latency=0.2), 0,
               took=4) is Status.PASS
    assert one.snapshot('database').latency == 0.2
    assert run(one, dataclasses.replace(OK, latency=2.0), 10) is Status.WARN
    # It is late all the same when it is late.
    assert run(one, dataclasses.replace(OK, latency=0.2), 20,
               took=5) is Status.WARN
    assert one.result.reason == state.NO_ANSWER


def test_a_slow_answer_is_a_warning():
    one = make()
    assert run(one, OK, 0, took=1.0) is Status.PASS
    assert run(one, OK, 10, took=1.5) is Status.WARN
    assert one.result.reason == state.SLOW
    assert one.due_at == 20


def test_an_answer_at_the_deadline_is_no_answer():
    one = make()
    run(one, OK, 0)
    assert run(one, OK, 10, took=5.0) is Status.WARN
    assert one.result.reason == state.NO_ANSWER


def test_a_hang_counts_as_often_as_probes_would_have_timed_out():
    one = make()
    run(one, OK, 0)
    one.started(10)
    assert one.due_at == 15
    one.overdue(15, 1e9)
    assert one.status is Status.WARN and one.running
    assert one.due_at == 22
    one.overdue(22, 1e9)
    assert one.status is Status.FAIL and one.running
    assert one.result.detail == 'still running after 12.0 s'
    assert one.snapshot('database').judged_at == 22


def test_an_answer_after_the_deadline_does_not_undo_the_verdict():
    one = make()
    run(one, OK, 0)
    one.started(10)
    one.overdue(15, 1e9)
    one.finished(OK, 16, 1e9)
    assert one.status is Status.WARN
    assert one.due_at == 17
    one.started(17)
    one.overdue(22, 1e9)
    one.finished(OK, 24, 1e9)
    assert one.status is Status.FAIL
    assert not one.running
    assert one.due_at == 26


def test_a_retry_after_a_late_answer_is_judged_in_time():
    one = make()
    run(one, OK, 0)
    one.started(10)
    one.overdue(15, 1e9)
    one.finished(OK, 21, 1e9)
    assert one.due_at == 21
    one.started(21)
    assert one.due_at == 22
    one.overdue(22, 1e9)
    one.finished(OK, 23, 1e9)
    assert one.status is Status.FAIL


def test_the_time_in_which_a_retry_waited_for_a_thread_does_not_count():
    one = make()
    run(one, OK, 0)
    one.started(10)
    one.overdue(15, 1e9)
    one.finished(OK, 16, 1e9)
    assert one.due_at == 17
    one.started(20, 3.0)
    assert one.due_at == 25
    # Nor does it put off what is not judged by a time that was set before.
    one.finished(OK, 21, 1e9)
    one.started(40, 10.0)
    assert one.due_at == 45


def test_time_in_which_nothing_could_run_is_left_out():
    one = make()
    one.started(0)
    one.excuse(60)
    assert one.due_at == 65
    one.finished(OK, 60.5, 1e9)
    assert one.status is Status.PASS
    assert one.latency == 0.5
    one.excuse(60)
    assert one.due_at == 70


def test_what_is_in_a_hurry_is_due_at_once_unless_it_runs():
    one = make()
    run(one, OK, 0)
    one.hurry(3)
    assert one.due_at == 3
    one.hurry(4)
    assert one.due_at == 3
    one.started(4)
    one.hurry(5)
    assert one.due_at == 9


def test_what_is_published_is_what_is_known():
    one = make(policy_module.Policy(ttl=7))
    one.critical = False
    run(one, dataclasses.replace(REFUSED, detail='db:3306'), 10)
    one.started(20)
    seen = one.snapshot('database', 'DB', per_worker=True)
    assert dataclasses.replace(seen, history=None) == report.CheckReport(
        name='database', status=Status.WARN, reason='CONNECTION REFUSED',
        detail='db:3306', judged_at=10.1, ttl=7, time=1e9 + 10, label='DB',
        critical=False, per_worker=True, passes=0, fails=1, settled=False,
        started_at=20, due_at=25, latency=seen.latency)
    assert one.stale_at == seen.stale_at == 17.1


def test_a_late_failure_names_the_fault_and_is_not_counted_twice():
    one = make(policy_module.Policy(fall=3))
    run(one, OK, 0)
    one.started(10)
    one.overdue(15, 1e9)
    one.finished(REFUSED, 16, 1e9)
    assert one.result == REFUSED
    assert one.status is Status.WARN
    assert run(one, REFUSED, 18) is Status.WARN
    assert run(one, REFUSED, 20) is Status.FAIL


def test_the_reason_for_a_hang_is_the_probes_own():
    one = make()
    one.started(0)
    one.overdue(5, 1e9, 'BLOCKED BY BROKER', 'see its alarms')
    assert one.result == report.Result.failed('BLOCKED BY BROKER',
                                              'see its alarms')


def test_a_critical_probe_settles_on_a_success_or_on_a_confirmed_failure():
    one = make()
    run(one, REFUSED, 0)
    assert not one.settled
    run(one, REFUSED, 2)
    assert one.settled
    one = make()
    run(one, OK, 0)
    assert one.settled


def test_a_noncritical_probe_settles_on_any_verdict():
    one = make()
    one.critical = False
    run(one, REFUSED, 0)
    assert one.settled


def test_the_interval_runs_from_start_to_start_with_jitter():
    for spread in (-0.1, 0.0, 0.1):
        one = make()
        run(one, OK, 100, took=0.5, spread=spread)
        assert one.due_at == 100 + POLICY.interval * (1 + spread)


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5),
       st.integers(1, 5))
def test_consecutive_means_consecutive(outcomes, fall, rise):
    """Against a model: only unbroken runs of results count."""
    one = make(policy_module.Policy(fall=fall, rise=rise))
    down = False
    for index, passed in enumerate(outcomes):
        status = run(one, OK if passed else REFUSED, index * 10.0)
        seen = outcomes[:index + 1]
        if seen[-fall:] == [False] * fall:
            down = True
        elif down and seen[-rise:] == [True] * rise:
            down = False
        expected = Status.FAIL if down else (
            Status.PASS if passed else Status.WARN)
        assert status is expected


def test_the_bound_of_the_defaults_is_the_documented_one():
    assert policy_module.Policy().detection == 10 * 1.1 + 5 + (2 + 5)
