# SPDX-License-Identifier: Apache-2.0

"""Visits targets early, because of what calls or other nodes saw."""

from __future__ import annotations

import collections
from collections.abc import Iterable
import math

from healthcheck.probing import check as check_module
from healthcheck.probing import evidence
from healthcheck.probing import rota as rota_module
from healthcheck.probing import watched as watched_module
from healthcheck.reports import history

Watched = watched_module.Watched

BURST = 3
WITHIN = 1.0
"""A burst is :data:`BURST` requests within :data:`WITHIN` seconds, on the
whole host, that end in a fault of the service. It can have any cause, so it
only brings the next visits forward."""


class Suspects:
    """Visits suspect targets. Owned by the scheduler.

    A target stays suspect until a visit begins after the failed call, or
    after the other node's. That visit decides.

    :param traffic: evidence from traffic; None for none
    :param rota: the targets
    :param checks: functions are observed under their names
    """

    def __init__(self, traffic: evidence.Traffic | None,
                 rota: rota_module.Rota,
                 checks: Iterable[check_module.Check]) -> None:
        self._traffic = traffic
        self._rota = rota
        self._checks = {evidence.check_mark(check.name): check.watchlist
                        for check in checks}
        self._since: dict[Watched, tuple[float, str]] = {}
        self._errors: collections.deque[tuple[float, int]] = (
            collections.deque())
        self._looked_at = -math.inf

    def look(self, now: float) -> float:
        """Make suspects due; return when to call this again."""
        if self._traffic is None and not self._since:
            return math.inf
        if now >= self._looked_at + evidence.TICK:
            self._looked_at = now
            if self._traffic is not None:
                self._take(self._traffic, now)
            self._raise(now)
        return self._looked_at + evidence.TICK

    def others_differ(self, name: str, now: float) -> None:
        """Note that other nodes found something else than this one.

        :param name: of the check
        """
        watchlist = self._checks.get(evidence.check_mark(name))
        if watchlist is not None:
            for watched in self._rota.of(watchlist.probes):
                self._since[watched] = now, history.FLEET

    def _take(self, traffic: evidence.Traffic, now: float) -> None:
        for mark in traffic.look(now):
            failed_at = traffic.seen((mark,)).failed_at
            watchlist = self._checks.get(mark)
            for watched in (self._rota.find(mark) if watchlist is None
                            else self._rota.of(watchlist.probes)):
                self._since[watched] = failed_at, history.TRAFFIC
        if self._is_burst(traffic.errors(), now):
            for watched in self._rota.critical:
                self._since[watched] = now, history.TRAFFIC

    def _is_burst(self, errors: int, now: float) -> bool:
        self._errors.append((now, errors))
        while self._errors[0][0] < now - WITHIN:
            self._errors.popleft()
        if errors - self._errors[0][1] < BURST:
            return False
        self._errors.clear()  # the next burst is another one
        self._errors.append((now, errors))
        return True

    def _raise(self, now: float) -> None:
        for watched, (since, cause) in list(self._since.items()):
            # What other nodes find does not confirm a failure sooner.
            if (watched.began_at >= since or not watched.probes
                    or cause == history.FLEET and watched.confirming):
                del self._since[watched]
            else:
                self._rota.suspect(watched, now, cause)
