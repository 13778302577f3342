# SPDX-License-Identifier: Apache-2.0

"""Whether a failing node may stay in, because all nodes share the fault.

To take every node out does not cure an outage of their one database. Clients
would get a useless 503 from the balancer instead of the service's own error.
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
"""Reasons that are always this node's own fault."""

Verdicts = Sequence[report.Verdict]


def shared(checks: Sequence[report.CheckReport], now: float) -> frozenset[str]:
    """The checks whose failure other nodes see, too.

    Stale failures are left out: they mean that this node's prober is dead.
    """
    return frozenset(check.name for check in checks
                     if check.shared and now < check.stale_at
                     and check.reason not in OWN)


def failing(verdicts: Verdicts) -> list[report.Verdict]:
    """The verdicts that take the node out."""
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
