# SPDX-License-Identifier: Apache-2.0

"""The state of one probe: its thresholds, deadlines and next probe.

This is a pure state machine: events go in with their times, verdicts come
out. It starts nothing and knows no threads, so tests can try any order of
events.
"""

from __future__ import annotations

import dataclasses
import math

from healthcheck.probing import policy as policy_module
from healthcheck.reports import history
from healthcheck.reports import report

NO_ANSWER = 'NO ANSWER'
SLOW = 'SLOW'

Status = report.Status


class ProbeState:
    """The state of one probe. Owned by one thread; reports are copies.

    :param past: what it adds to; NO_HISTORY if no check publishes it
    :ivar critical: whether its failure can take the node out
    :ivar cause: what set off the last probe
    """

    def __init__(self, policy: policy_module.Policy,
                 past: history.History = history.History()) -> None:
        self.policy = policy
        self.critical = True
        self.cause = history.PROBE
        self._next_cause = history.PROBE
        self._probed_at = -math.inf
        self._evidence: report.Evidence | None = None
        self._failures = 0
        self._successes = 0
        self._down = False
        self._passed = False
        self._started_at: float | None = None
        self._result: report.Result | None = None
        self._judged_at = 0.0
        self._time = 0.0
        self._latency: float | None = None
        self._history = past
        self._given_up = False
        self._judge_by = math.inf
        self.due_at = 0.0
        """When to start the next probe, or while one runs: when to judge
        that it is overdue."""

    @property
    def running(self) -> bool:
        return self._started_at is not None

    @property
    def settled(self) -> bool:
        """Whether enough is known to publish.

        A node that has never passed must not be reported as passing while
        its first failures are being confirmed. So a critical probe settles on
        its first success or on its ``fall``-th failure.
        """
        if self._result is None:
            return False
        return self._passed or self._down or not self.critical

    @property
    def confirming(self) -> bool:
        """Whether the last result has to be confirmed before it counts."""
        return (0 < self._failures and not self._down
                or 0 < self._successes and self._down)

    @property
    def status(self) -> Status | None:
        """None until the first verdict."""
        if self._result is None:
            return None
        if self._down:
            return Status.FAIL
        if self._failures:
            return Status.WARN
        return self._result.status

    @property
    def result(self) -> report.Result | None:
        """The result that the status is based on."""
        return self._result

    @property
    def evidence(self) -> report.Evidence | None:
        """What the status rests on, if that is no probe."""
        return self._evidence

    @property
    def stale_at(self) -> float:
        """When the last verdict becomes stale."""
        return self._judged_at + self.policy.ttl

    @property
    def latency(self) -> float | None:
        """Of the last answer, in seconds."""
        return self._latency

    def restore(self, last: report.CheckReport, now: float) -> None:
        """Continue where another prober left off.

        Its counts are valid as long as its verdict is; its history is always
        kept. The next probe is due at once.
        """
        if last.history is not None:
            self._history = last.history
        if now >= last.stale_at:
            return
        self._down = last.status is Status.FAIL
        self._passed = last.settled and not self._down
        self._failures, self._successes = last.fails, last.passes
        self._result = report.Result(last.status, last.reason, last.detail,
                                     last.components)
        self._judged_at, self._time = last.judged_at, last.time
        self._latency = last.latency

    def hurry(self, now: float, cause: str = history.PROBE) -> None:
        """Make the next probe due at once, unless one is running.

        :param cause: what sets it off
        """
        if not self.running:
            self.due_at = min(self.due_at, now)
            self._next_cause = cause

    def can_rest(self, proved_at: float, now: float) -> bool:
        """Whether traffic can stand in for the probe that is due.

        It can if the last probe passed and the next one is due on schedule,
        not on request. ``probe_at_least_every`` limits for how long.

        :param proved_at: when traffic showed all that a probe would
        """
        return (not self.running and self.status is Status.PASS
                and self._next_cause == history.PROBE
                and self._judged_at < proved_at <= now
                and now < min(proved_at + self.policy.interval,
                              self._last_rest))

    def stood_in(self, shown: report.Evidence, now: float, time: float,
                 spread: float = 0.0) -> None:
        """Let traffic stand in for a probe; see :meth:`can_rest`.

        The call counts like a probe that passed at the same time. So the
        verdict becomes stale and the next probe is due just as soon.
        """
        self._judged_at, self._time = shown.at, time - (now - shown.at)
        self._evidence = shown
        self._history = self._history.stood_in(self._time)
        self.due_at = min(shown.at + self.policy.interval * (1 + spread),
                          self._last_rest)

    @property
    def _last_rest(self) -> float:
        """When a probe is due, whatever traffic shows."""
        return self._probed_at + self.policy.probe_at_least_every

    def excuse(self, seconds: float) -> None:
        """Do not count time in which a probe could not run."""
        if self._started_at is not None:
            self._started_at += seconds
            self.due_at += seconds

    def waited(self, until: float) -> None:
        """Do not count the time until then: the probe had not begun."""
        if self._started_at is not None:
            self.excuse(max(0.0, until - self._started_at))

    def started(self, now: float, waited: float = 0.0, *,
                cause: str | None = None) -> None:
        """Note that a probe has begun.

        :param waited: seconds since it was due. A retry after a late answer
            has a deadline that was set earlier; this moves it by the time in
            which no thread was free.
        """
        self.cause = cause or self._next_cause
        self._next_cause = history.PROBE
        self._started_at = now
        self._given_up = False
        self.due_at = min(now + self.policy.timeout, self._judge_by + waited)
        self._judge_by = math.inf

    def finished(self, result: report.Result, now: float, time: float, *,
                 spread: float = 0.0, final: bool = False) -> None:
        """Take the result of a probe.

        A probe that was judged overdue already counts as a failure. Its late
        result can name the fault but cannot undo the verdict: an answer
        after the deadline is no answer.

        :param spread: part of the interval by which the next probe is later;
            below 0, earlier
        :param final: whether the result applies at once, without ``fall``
            and ``rise``, because its probes were counted already
        """
        assert self._started_at is not None
        started_at, self._started_at = self._started_at, None
        self._probed_at, self._evidence = started_at, None
        elapsed = now - started_at
        latency = self._latency = (elapsed if result.latency is None
                                   else result.latency)
        late = self._given_up or elapsed >= self.policy.timeout
        self._history = self._history.probed(
            result.status is not Status.FAIL and not late, latency, time)
        if late:
            if not self._given_up:
                self._give_up(report.Result.failed(
                    NO_ANSWER, f'no answer for {elapsed:.1f} s'), now, time)
            if result.status is Status.FAIL:
                self._result = result
            self._retry_late(now)
            return
        if result.status is Status.FAIL:
            self._fail(result, now, time, final)
        else:
            self._succeed(self._judge_latency(result, latency), now, time,
                          final)
        if self.confirming:
            self.due_at = now + self.policy.retry_interval
        else:
            self.due_at = max(now, started_at
                              + self.policy.interval * (1 + spread))

    def overdue(self, now: float, time: float,
                reason: str = NO_ANSWER, detail: str = '') -> None:
        """Count a probe that is still running as a failure.

        Called at ``due_at``. No second probe is started beside it. Instead,
        the failure is counted again whenever another probe would have timed
        out too. So a hang is detected as soon as any other fault, and the
        verdict stays fresh.

        :param reason: what the probe is waiting for
        """
        assert self._started_at is not None
        running_for = now - self._started_at
        self._give_up(report.Result.failed(
            reason, detail or f'still running after {running_for:.1f} s'),
            now, time)

    def snapshot(self, name: str, label: str = '', *,
                 per_worker: bool = False,
                 shared: bool = False,
                 target: str = '') -> report.CheckReport:
        """The state as a check publishes it; it must have a verdict."""
        assert self._result is not None and self.status is not None
        return report.CheckReport(
            name=name, status=self.status, reason=self._result.reason,
            detail=self._result.detail, judged_at=self._judged_at,
            ttl=self.policy.ttl, time=self._time, label=label,
            critical=self.critical, per_worker=per_worker, shared=shared,
            target=target, passes=self._successes, fails=self._failures,
            settled=self._passed or self._down, started_at=self._started_at,
            due_at=self.due_at, latency=self._latency,
            components=self._result.components, evidence=self._evidence,
            history=self._history)

    def _give_up(self, result: report.Result, now: float,
                 time: float) -> None:
        self._given_up = True
        self._fail(result, now, time)
        # When a second probe would have timed out too.
        self.due_at = now + self.policy.retry_interval + self.policy.timeout

    def _retry_late(self, now: float) -> None:
        """Schedule a retry after a late answer.

        Its deadline is that of a probe that started on time. Otherwise late
        answers would exceed :attr:`Policy.detection`.
        """
        if self._down:
            self.due_at = now + self.policy.retry_interval
        else:
            self._judge_by = self.due_at
            self.due_at = max(now, self._judge_by - self.policy.timeout)

    def _judge_latency(self, result: report.Result,
                       latency: float) -> report.Result:
        if result.status is Status.PASS and (
                latency > self.policy.slow_threshold):
            return dataclasses.replace(
                result, status=Status.WARN, reason=SLOW,
                detail=f'answered after {latency:.2f} s')
        return result

    def _fail(self, result: report.Result, now: float, time: float,
              final: bool = False) -> None:
        before = self.status
        self._failures += 1
        self._successes = 0
        self._down = (self._down or final
                      or self._failures >= self.policy.fall)
        self._result, self._judged_at, self._time = result, now, time
        self._history = self._history.failed(self._transition())
        self._note_change(before)

    def _succeed(self, result: report.Result, now: float, time: float,
                 final: bool) -> None:
        before = self.status
        self._successes += 1
        self._failures = 0
        self._passed = True
        if final or self._successes >= self.policy.rise:
            self._down = False
        if not self._down:
            self._result = result
        self._judged_at, self._time = now, time
        self._note_change(before)

    def _note_change(self, before: Status | None) -> None:
        if self.status is not before:
            self._history = self._history.changed(self._transition())

    def _transition(self) -> history.Transition:
        assert self._result is not None and self.status is not None
        return history.Transition(self._time, self.status,
                                  self._result.reason, self._result.detail,
                                  self.cause)
