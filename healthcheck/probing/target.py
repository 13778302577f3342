# SPDX-License-Identifier: Apache-2.0

"""Something that is looked at: a database, a queue, a process, a plugin.

There is one target for each distinct backend, however many checks ask about
it. Two with the same :attr:`Target.key` are the same backend, and one of them
is used.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

from healthcheck.probing import evidence
from healthcheck.probing import state
from healthcheck.reports import report


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What a question brought.

    :param result: pass, or what is wrong
    :param value: what was asked for; None if it could not be found out
    """

    result: report.Result
    value: Any = None


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
    """A further question, put on a visit that has found the target well.

    It is asked over the connection of the probe, and bounded like it. A
    question that fails says nothing about the target itself.

    :param ask: called with the connection; what it raises is a failure
    """

    ask: Callable[[Any], Answer]


@dataclasses.dataclass(frozen=True, slots=True)
class Findings:
    """What one visit found.

    :param result: of the target itself
    :param answers: to those of the questions that were put
    """

    result: report.Result
    answers: Mapping[Question, Answer] = dataclasses.field(
        default_factory=dict)

    def answer(self, question: Question | None) -> Answer:
        """What the visit says about one question, or the target itself."""
        if question is None:
            return Answer(self.result)
        return self.answers.get(question, Answer(self.result))


class Target(abc.ABC):
    """What a visit looks at.

    It is made while the service loads, perhaps in a process that forks
    later: it must open nothing before the first :meth:`probe`.

    :ivar name: for the log
    :ivar hosts: where it is; empty if that is this host, or not known
    :ivar traffic: the mark of the service's own calls to it; None if they
        are not seen
    """

    name = ''
    hosts: frozenset[str] = frozenset()
    traffic: int | None = None

    @property
    def key(self) -> Hashable:
        """What tells it from all others. It may hold a secret."""
        return self

    @abc.abstractmethod
    def probe(self, questions: Sequence[Question] = ()) -> Findings:
        """Look at it once. Runs in a thread, one run at a time."""

    def answered(self, result: report.Result) -> bool:
        """Whether a failure is the target's own word, heard from there."""
        return False

    def proved_at(self, seen: evidence.Seen) -> float:
        """When traffic last proved all that a probe proves; -inf if never."""
        return seen.answered_at

    def overdue(self) -> tuple[str, str]:
        """Say (reason, detail) why a running probe has no answer yet.

        Called by the scheduler while :meth:`probe` runs, once for each
        ``timeout`` that passes. It must return at once, and is the place to
        cut off what the probe waits for.
        """
        return state.NO_ANSWER, ''

    def close(self) -> None:
        """Give back what :meth:`probe` has opened; never during one."""
