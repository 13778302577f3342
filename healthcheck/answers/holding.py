# SPDX-License-Identifier: Apache-2.0

"""Whether a node that fails may stay in: a fault that all nodes share.

An outage of the one database is not cured by taking every node out. Clients
would get a useless 503 from the balancer in place of the service's own error.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Sequence

from healthcheck.probing import guard
from healthcheck.reports import report
from healthcheck.targets import failures

FAIL = 'fail'
LAST_STAYS = 'last_stays'
MAJORITY_STAYS = 'majority_stays'
"""The values of option ``shared_failure``."""

LAST_NODE = 'LAST NODE'

OWN = frozenset((failures.BAD_URL, failures.MISCONFIGURED,
                 failures.TLS_NOT_SET_UP, guard.PROBE_ERROR))
"""Faults of this node, whatever it was looking at."""

Verdicts = Sequence[report.Verdict]


def shared(checks: Sequence[report.CheckReport], now: float) -> frozenset[str]:
    """The checks whose failure other nodes see, too.

    A stale failure is left out: it says that the prober of this node is dead.
    """
    return frozenset(check.name for check in checks
                     if check.shared and now < check.stale_at
                     and check.reason not in OWN)


def failing(verdicts: Verdicts) -> list[report.Verdict]:
    """Those that take the node out."""
    return [verdict for verdict in verdicts
            if verdict.weight is report.Status.FAIL]


def hold(judged: Verdicts, names: Collection[str],
         why: str) -> list[report.Verdict] | None:
    """The verdicts of a node that stays in; None if it may not.

    :param judged: as :func:`healthcheck.reports.report.judge` returns them
    :param names: the checks whose failure is shared
    :param why: a note for each reason, such as LAST_NODE
    """
    out = failing(judged)
    if not out or any(verdict.name not in names for verdict in out):
        return None
    return [verdict.held(why) if verdict in out else verdict
            for verdict in judged]
