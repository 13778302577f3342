# SPDX-License-Identifier: Apache-2.0

"""This node's record: what its report says, for the other nodes."""

from __future__ import annotations

from collections.abc import Sequence

from healthcheck.answers import holding
from healthcheck.reports import fleet
from healthcheck.reports import report

_DOWN = 20
"""Names of failing components in a record, at most."""

Status = report.Status

_STATES = {Status.PASS: fleet.IN, Status.WARN: fleet.WARNS,
           Status.FAIL: fleet.OUT}


def checks_of(found: report.Report,
              now: float) -> tuple[fleet.NodeCheck, ...]:
    """The checks of a report, judged now."""
    return tuple(_check(one, now) for one in found.checks)


def passed_once(found: report.Report) -> frozenset[str]:
    """The checks that have passed since the history began."""
    return frozenset(one.name for one in found.checks
                     if one.history is not None
                     and one.history.last_passed is not None)


def state_of(found: report.Report, drained: str,
             now: float) -> tuple[str, str]:
    """(state, reason) of this node, as far as its prober knows it.

    :param drained: why an operator has taken it out; empty if not
    """
    if drained:
        return fleet.DRAINED, drained
    status, judged = report.judge([one.verdict(now) for one in found.checks])
    held = holding.hold(judged, holding.held(found, now))
    if held is not None:
        return fleet.HELD, _reasons(held, Status.WARN)
    return _STATES[status], _reasons(judged, status)


def _reasons(judged: Sequence[report.Verdict], status: Status) -> str:
    return '' if status is Status.PASS else '; '.join(
        one.reason for one in judged if one.weight is status)


def _check(of: report.CheckReport, now: float) -> fleet.NodeCheck:
    verdict = of.verdict(now)
    # A stale failure stays a failure.
    known = not verdict.stale or of.status is Status.FAIL
    return fleet.NodeCheck(
        of.name, verdict.status if known else None, of.reason, of.target,
        of.critical, of.fails > 0 or of.status is Status.FAIL,
        of.history.since if of.history is not None else None,
        tuple(one.name for one in of.components
              if one.status is Status.FAIL)[:_DOWN])
