# SPDX-License-Identifier: Apache-2.0

"""A probe: one question put to one target, and what is known from it."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

from healthcheck.probing import policy as policy_module
from healthcheck.probing import state as state_module
from healthcheck.probing import target as target_module
from healthcheck.reports import report


class Probe:
    """Owned by the scheduler.

    :param target: what is looked at
    :param question: what is asked besides whether the target is well; the
        state is that of the question then
    :param needed: whether requests cannot do without the target. It is
        visited when it is due, however many others wait.
    :param observed: the mark of what a service's functions say of it; None
        if they say nothing
    :ivar marks: where traffic leaves what it sees of the target
    :ivar state: what is known
    :ivar value: the last value that ``question`` brought
    """

    def __init__(self, target: target_module.Target,
                 policy: policy_module.Policy,
                 question: target_module.Question | None = None, *,
                 needed: bool = True, observed: int | None = None) -> None:
        self.target = target
        self.question = question
        self.needed = needed
        self.marks = {mark for mark in (target.traffic, observed)
                      if mark is not None}
        self.state = state_module.ProbeState(policy)
        self.value: Any = None

    @property
    def failed(self) -> bool:
        """Whether the last visit did not end well."""
        result = self.state.result
        return result is not None and result.status is report.Status.FAIL

    def finished(self, found: target_module.Findings, now: float,
                 time: float, spread: float) -> None:
        """Take what a visit found; see :meth:`ProbeState.finished`."""
        answer = found.answer(self.question)
        if answer.value is not None:
            self.value = answer.value
        self.state.finished(answer.result, now, time, spread=spread)


class Watchlist(abc.ABC):
    """The probes that somebody wants.

    :ivar probes: those that there are now; another sequence takes its place
        when they change
    :ivar quiet: set by the scheduler while failures need no line in the log
        one by one
    """

    probes: Sequence[Probe]
    quiet = False

    @abc.abstractmethod
    def took(self, probe: Probe, now: float, time: float) -> bool:
        """A probe was judged. It may change the list.

        :return: whether those that read the list have to judge again
        """

    def forget(self) -> None:
        """Drop what will be out of date, as another process goes on."""


class Fixed(Watchlist):
    """Always the same probes."""

    def __init__(self, *probes: Probe) -> None:
        self.probes = probes

    def took(self, probe: Probe, now: float, time: float) -> bool:
        return True
