# SPDX-License-Identifier: Apache-2.0

"""Whether a failing node may stay in, because all nodes share the fault.

To take every node out does not cure an outage of their one database. Clients
would get a useless 503 from the balancer instead of the service's own error.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

from healthcheck.probing import guard
from healthcheck.reports import report
from healthcheck.targets import failures

FAIL = 'fail'
LAST_STAYS = 'last_stays'
MAJORITY_STAYS = 'majority_stays'
"""The values of option ``shared_failure``."""

LAST_NODE = 'LAST NODE'
ON_NODES = 'ON N OF N NODES'
"""Each N stands for a number."""

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


def as_last(names: Iterable[str]) -> dict[str, str]:
    """These checks, each with the note for the last node."""
    return dict.fromkeys(names, f'; {LAST_NODE}')


def as_one_of(failing: int, nodes: int) -> str:
    """The note for a node that fails what ``failing`` of ``nodes`` fail."""
    first, second, third = ON_NODES.split(' N ')
    return f', {first} {failing} {second} {nodes} {third}'


def held(found: report.Report | None,
         now: float) -> dict[str, str]:
    """The checks that may fail because other nodes fail, too: the notes."""
    if found is None or not found.holds:
        return {}
    names = shared(found.checks, now)
    return {one.name: one.note for one in found.holds
            if one.name in names and now < one.until}


def failing(verdicts: Verdicts) -> list[report.Verdict]:
    """The verdicts that take the node out."""
    return [verdict for verdict in verdicts
            if verdict.weight is report.Status.FAIL]


def hold(judged: Verdicts,
         notes: Mapping[str, str]) -> list[report.Verdict] | None:
    """The verdicts of a node that stays in; None if it may not.

    :param judged: as :func:`healthcheck.reports.report.judge` returns them
    :param notes: the checks that may fail, each with what follows its
        reason then
    """
    out = failing(judged)
    if not out or any(verdict.name not in notes for verdict in out):
        return None
    return [verdict.held(notes[verdict.name]) if verdict in out else verdict
            for verdict in judged]
