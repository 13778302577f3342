# SPDX-License-Identifier: Apache-2.0

"""A probe: one question to one target, and what is known of the answer."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

from healthcheck.probing import policy as policy_module
from healthcheck.probing import state as state_module
from healthcheck.probing import target as target_module
from healthcheck.reports import history
from healthcheck.reports import report


class Probe:
    """Owned by the scheduler.

    :param target: what is probed
    :param question: a further question; the state is then that of the
        question. None asks only whether the target is well.
    :param needed: whether requests need the target. If so, it is visited
        when it is due, however many others wait.
    :param observed: the mark of what the service's functions observe; None
        if they observe nothing
    :param past: the history to add to; none is kept by default, as only a
        check with a single probe publishes that of a probe
    :ivar marks: where evidence from traffic is found
    :ivar state: what is known
    :ivar value: the last answer to ``question``
    """

    def __init__(self, target: target_module.Target,
                 policy: policy_module.Policy,
                 question: target_module.Question | None = None, *,
                 needed: bool = True, observed: int | None = None,
                 past: history.History = history.NO_HISTORY) -> None:
        self.target = target
        self.question = question
        self.needed = needed
        self.marks = {mark for mark in (target.traffic, observed)
                      if mark is not None}
        self.state = state_module.ProbeState(policy, past)
        self.value: Any = None

    @property
    def failed(self) -> bool:
        """Whether the last visit failed."""
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
    """The probes that one or more checks need.

    :ivar probes: the current ones. When they change, another sequence
        replaces this one.
    :ivar quiet: set by the scheduler while failures are not logged one by
        one
    """

    probes: Sequence[Probe]
    quiet = False

    @property
    def subjects(self) -> Sequence[target_module.Target]:
        """The targets that say whether two nodes look at the same."""
        return [one.target for one in self.probes]

    @abc.abstractmethod
    def took(self, probe: Probe, now: float, time: float) -> bool:
        """Note that a probe was judged. This may change the list.

        :return: whether checks that read the list have to judge again
        """

    def forget(self) -> None:
        """Drop what will be out of date when this process leads again."""


class Fixed(Watchlist):
    """Always the same probes."""

    def __init__(self, *probes: Probe) -> None:
        self.probes = probes

    def took(self, probe: Probe, now: float, time: float) -> bool:
        return True
