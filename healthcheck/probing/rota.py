# SPDX-License-Identifier: Apache-2.0

"""When to visit which target.

It learns what happened and says which target to visit. It starts nothing,
knows no thread, and has one owner.

Targets that requests cannot do without are visited when they are due. Others
wait for their turn, and their visits are spread over the interval.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Hashable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import heapq
import itertools
import math

from healthcheck.probing import evidence
from healthcheck.probing import guard
from healthcheck.probing import policy as policy_module
from healthcheck.probing import probe as probe_module
from healthcheck.probing import target as target_module
from healthcheck.probing import turns
from healthcheck.probing import watched as watched_module
from healthcheck.reports import history

Probe = probe_module.Probe
Watched = watched_module.Watched


class Rota:
    """Which target is next.

    :param workers: maximum number of visits at a time to targets that can
        wait
    :param policy: how targets are probed
    :param visit: has a thread visit targets, one after the other; it must
        return at once
    :param close: has a target closed; it must return at once
    :param clock: monotonic seconds
    :param wall_clock: seconds since the epoch
    :param uniform: where jitter comes from
    :param seen: what traffic saw, by its marks
    """

    def __init__(self, workers: int, policy: policy_module.Policy,
                 visit: Callable[[Sequence[Watched]], None],
                 close: Callable[[Watched], None],
                 clock: Callable[[], float], wall_clock: Callable[[], float],
                 uniform: Callable[[float, float], float],
                 seen: Callable[[Collection[int]], evidence.Seen] = (
                     lambda marks: evidence.NOTHING)) -> None:
        self._seen = seen
        self._turns = turns.Turns(workers)
        self._policy = policy
        self._visit = visit
        self._close = close
        self._clock = clock
        self._wall_clock = wall_clock
        self._uniform = uniform
        self._order = itertools.count()
        # Seconds by which a target that can wait may begin early, together
        # with one that is due: to wake up for each of them costs as much as a
        # visit.
        self._early = policy.interval / 50
        self._due: list[tuple[float, int, Watched]] = []
        self._watched: dict[Hashable, Watched] = {}

    def add(self, probe: Probe) -> Watched:
        """Visit its target from now on; the first time as soon as can be.

        A visit that goes on is not for it: another one follows.
        """
        key = probe.target.key
        watched = self._watched.get(key)
        if watched is None:
            watched = self._watched[key] = Watched(key, probe.target)
        watched.probes.append(probe)
        probe.state.hurry(self._clock())
        self._plan(watched)
        return watched

    def remove(self, probe: Probe) -> Hashable | None:
        """Visit its target no more, unless there are other probes of it.

        :return: the key of the target, if it is visited no more
        """
        watched = self._watched[probe.target.key]
        watched.probes.remove(probe)
        if watched.probes:
            self._plan(watched)  # it may have been due for this one alone
            return None
        if watched.visit is None:
            self._drop(watched)
        else:
            guard.why_overdue(watched.target)  # it cuts the connection
        return watched.key

    @property
    def needed(self) -> int:
        """How many targets are visited whenever they are due."""
        return sum(one.needed for one in self._watched.values())

    @property
    def visits(self) -> int:
        """How many visits there are now."""
        return sum(one.visit is not None for one in self._watched.values())

    def running(self) -> Mapping[Hashable, bool]:
        """All targets, and whether there is a visit now."""
        return {key: one.visit is not None
                for key, one in self._watched.items() if one.probes}

    def hurry(self, cause: str = history.PROBE) -> None:
        """Visit every target as soon as can be."""
        now = self._clock()
        for watched in self._watched.values():
            # Its next regular visit is spread again.
            watched.fresh = True
            if watched.visit is None:
                watched.hurry(now, cause)
                self._plan(watched)

    def suspect(self, watched: Watched, now: float, cause: str) -> None:
        """Visit a target early, but not too often.

        :param cause: what others saw of it
        """
        if watched.visit is None and watched.suspicion.raised(
                now, self._policy.interval):
            watched.hurry(now, cause)
            self._plan(watched)

    def find(self, mark: int) -> Iterator[Watched]:
        """The targets of which traffic leaves what it sees at this mark."""
        return (one for one in self._watched.values() if mark in one.marks)

    def of(self, probes: Iterable[Probe]) -> Iterator[Watched]:
        """The targets of these probes."""
        return (self._watched[one.target.key] for one in probes)

    @property
    def critical(self) -> Iterator[Watched]:
        """The targets that requests cannot do without."""
        return (one for one in self._watched.values() if one.needed)

    def excuse(self, seconds: float) -> None:
        """Leave out of account time in which no visit could go on."""
        for watched in self._watched.values():
            if watched.visit is not None:
                watched.excuse(seconds)
                self._plan(watched)

    def held_up(self, targets: Iterable[Watched]) -> None:
        """Begin visits only now, as others were in their way."""
        for watched in targets:
            watched.waited(self._clock())
            self._plan(watched)
            self._visit([watched])

    def step(self) -> list[Probe]:
        """Start what is due; return the probes that were found overdue."""
        now = self._clock()
        judged: list[Probe] = []
        soon = now + self._early
        first = self._next()
        one_is_due = first is not None and first.planned_at <= now
        while (watched := self._next()) is not None:
            if watched.planned_at > (
                    soon if one_is_due and watched.can_be_early else now):
                break
            heapq.heappop(self._due)
            if watched.visit is not None:
                judged += watched.overdue(now, self._wall_clock())
                self._plan(watched)
            elif stood_in := self._stand_in(watched, soon, now):
                judged += stood_in
                self._plan(watched)
            elif watched.needed:
                self._begin([watched], now)
            elif not watched.queued:
                watched.queued = True
                self._turns.put(watched)
        while taken := self._turns.take(now):
            for watched in taken:
                watched.queued = False
            # A probe that came meanwhile may have had it visited.
            taken = [one for one in taken if one.probes
                     and one.visit is None and one.due_at <= soon]
            if taken:
                self._turns.began(taken, now)
                self._begin(taken, now)
        return judged

    @property
    def wakes_at(self) -> float:
        """When there is something to do again."""
        watched = self._next()
        return min(math.inf if watched is None else watched.planned_at,
                   self._turns.wakes_at)

    def finished(self, watched: Watched, found: target_module.Findings,
                 at: float, again: bool) -> list[Probe]:
        """A visit is over.

        :param again: whether another one has to follow at once
        :return: the probes that were judged
        """
        jitter = self._policy.jitter
        judged = watched.finished(found, at, self._wall_clock(),
                                  self._uniform(-jitter, jitter))
        self._turns.ended(watched)
        if not watched.probes:
            self._drop(watched)
            return []
        if again:
            watched.hurry(at, history.REFRESH)
        elif len(judged) < len(watched.probes):
            pass  # some came during the visit: they are due
        elif watched.fresh and not watched.confirming:
            watched.fresh = False
            if not watched.needed:
                # Targets that began together must not go on together.
                watched.put_off(at + self._uniform(0.0,
                                                   self._policy.interval))
        self._plan(watched)
        return judged

    def rest(self) -> None:
        """Close every target that is not being visited."""
        for watched in self._watched.values():
            if watched.visit is None and watched.opened:
                watched.opened = False
                self._close(watched)

    def _next(self) -> Watched | None:
        """Which has something due first; it stays in the heap."""
        while self._due:
            due_at, _, watched = self._due[0]
            if self._watched.get(watched.key) is watched and (
                    due_at == watched.planned_at):
                return watched
            # It is gone, or was put off or brought forward. To wake up for
            # it costs as much as a visit.
            heapq.heappop(self._due)
        return None

    def _stand_in(self, watched: Watched, soon: float,
                  now: float) -> list[Probe]:
        """The probes that need no visit now, as traffic stands in."""
        seen = self._seen(watched.marks)
        stood_in: list[Probe] = []
        if seen is not evidence.NOTHING:
            jitter = self._policy.jitter
            stood_in = watched.stand_in(seen, soon, now, self._wall_clock(),
                                        self._uniform(-jitter, jitter))
        watched.calls = seen.calls
        return stood_in

    def _begin(self, targets: Sequence[Watched], now: float) -> None:
        for watched in targets:
            watched.begin(now)
            self._plan(watched)
        self._visit(targets)

    def _drop(self, watched: Watched) -> None:
        del self._watched[watched.key]
        if watched.opened:
            self._close(watched)

    def _plan(self, watched: Watched) -> None:
        watched.planned_at = watched.due_at
        heapq.heappush(self._due, (watched.planned_at, next(self._order),
                                   watched))
