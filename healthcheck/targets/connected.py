# SPDX-License-Identifier: Apache-2.0

"""What keeps one connection to a backend."""

from __future__ import annotations

import abc
from collections.abc import Sequence
import time

from healthcheck.probing import target as target_module
from healthcheck.reports import report
from healthcheck.targets import failures
from healthcheck.targets import wire

BOUND = 0.8
"""The part of a check's ``timeout`` that a driver may wait: so the thread
comes back by itself, and with a reason."""

# What can be the fault of the host that asks.
_UNHEARD = frozenset((
    failures.CONNECTION_LOST, failures.CONNECTION_REFUSED, failures.FAILED,
    failures.NO_ANSWER, failures.UNKNOWN_HOST, failures.UNREACHABLE))


class Connected(target_module.Target):
    """Keeps one connection, and replaces it when it breaks.

    :ivar bound: seconds that the driver may wait in one attempt
    :ivar wire: follows the connection's socket, where it has to be cut from
        outside
    """

    def __init__(self, bound: float) -> None:
        self.bound = bound
        self.wire = wire.Wire()

    @property
    @abc.abstractmethod
    def connected(self) -> bool:
        """Whether there is a connection from an earlier probe."""

    @abc.abstractmethod
    def ask(self) -> report.Result:
        """Connect, if need be, and look at the backend once."""

    def put(self, question: target_module.Question) -> target_module.Answer:
        """Ask for more, after :meth:`ask` has found the backend well.

        :raises Exception: what the question raises
        """
        raise NotImplementedError(f'{type(self).__name__} has no questions')

    def rest(self) -> None:
        """Leave nothing open but the connection, until the next visit."""

    @abc.abstractmethod
    def drop(self) -> None:
        """Let the connection go, broken as it is. It must not raise."""

    @abc.abstractmethod
    def reason(self, exc: BaseException) -> str:
        """The fixed reason that an exception of :meth:`ask` stands for."""

    @abc.abstractmethod
    def describe(self, exc: BaseException) -> str:
        """An exception of :meth:`ask` for admins, without secrets."""

    def lost(self, exc: BaseException) -> bool:
        """Whether an exception of :meth:`ask` can mean a lost connection.

        It means one only if an earlier visit, or statement, has used it.
        """
        return self.reason(exc) == failures.CONNECTION_LOST

    def probe(self, questions: Sequence[target_module.Question] = (),
              ) -> target_module.Findings:
        kept = self.connected
        found, again = self._attempt(kept, questions)
        if again:
            # A connection that was closed while nobody looked says nothing
            # about the backend as it is now.
            found, _ = self._attempt(False, questions)
        return found

    def overdue(self) -> tuple[str, str]:
        """Cut off what the probe waits for, where that can be done."""
        self.wire.cut()
        return failures.NO_ANSWER, ''

    def answered(self, result: report.Result) -> bool:
        return result.reason not in _UNHEARD

    def close(self) -> None:
        self.drop()

    def _attempt(self, kept: bool,
                 questions: Sequence[target_module.Question],
                 ) -> tuple[target_module.Findings, bool]:
        """What was found, and whether a new connection may find another."""
        started_at = time.monotonic()
        try:
            result = self.ask()
            answers = {}
            if result.status is not report.Status.FAIL:
                answers = self._put_all(questions)
            self.rest()
            return target_module.Findings(result, answers), False
        except Exception as exc:
            result, lost = self._failed(exc, started_at)
            return target_module.Findings(result), kept and lost

    def _put_all(self, questions: Sequence[target_module.Question],
                 ) -> dict[target_module.Question, target_module.Answer]:
        """:raises Exception: if the connection is lost"""
        answers: dict[target_module.Question, target_module.Answer] = {}
        for question in questions:
            started_at = time.monotonic()
            try:
                if not self.connected:
                    self.ask()
                answers[question] = self.put(question)
            except Exception as exc:
                # The backend is well, and refuses this. The connection may
                # be of no use after an error.
                result, lost = self._failed(exc, started_at)
                if lost:
                    raise
                answers[question] = target_module.Answer(result)
                if result.reason == failures.NO_ANSWER:
                    # There is no time left for the others.
                    return dict.fromkeys(
                        questions, answers[question]) | answers
        return answers

    def _failed(self, exc: Exception,
                started_at: float) -> tuple[report.Result, bool]:
        """What failed, and whether the connection was lost before.

        What has used up its time has none left for another attempt, so that
        is no lost connection.
        """
        elapsed = time.monotonic() - started_at
        self.drop()
        reason = failures.unless_timed_out(self.reason(exc), elapsed,
                                           self.bound)
        lost = reason != failures.NO_ANSWER and self.lost(exc)
        return report.Result.failed(reason, self.describe(exc)), lost
