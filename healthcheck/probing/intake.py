# SPDX-License-Identifier: Apache-2.0

"""Validates what a plugin returns: exact types, single lines, bounded sizes.

Results go to files, pages, logs and listeners. These rely on the types of
``report.py``, because each field is validated here.
"""

from __future__ import annotations

from collections.abc import Sequence
import itertools
import math
from typing import Any

from healthcheck.probing import target
from healthcheck.reports import lines
from healthcheck.reports import report

NO_REASON = 'NO REASON GIVEN'
NOT_SHOWN = 'NOT SHOWN'

MAX_REASON = 100
MAX_DETAIL = 2000
MAX_NAME = 200
"""Characters."""

MAX_COMPONENTS = 5000

_MAX_LATENCY = 1e6
# The end of the year 9999, the last that RFC 3339 can write.
_MAX_TIME = 253402300799.0

Component = report.Component
Result = report.Result
Status = report.Status


class Refused(Exception):
    """A value is not valid. The text quotes nothing of it."""


def result(given: Any) -> Result:
    """The same result, in exact types.

    :raises Refused: with what is wrong
    :raises BaseException: what reading a sub-class raises
    """
    if not isinstance(given, Result):
        raise Refused(f'{_kind(given)}, not a Result')
    if given is report.PASSED:
        return given
    status = given.status
    if type(status) is not Status:
        raise _wrong('a Result', 'status', status, 'a Status')
    return Result(
        status, _reason('a Result', given, status),
        _text('a Result', 'detail', given.detail, MAX_DETAIL),
        _components(given.components),
        _seconds('a Result', 'latency', given.latency, _MAX_LATENCY))


def findings(given: Any) -> target.Findings:
    """The same findings, each result in exact types.

    :raises Refused: with what is wrong
    :raises BaseException: what reading a sub-class raises
    """
    if type(given) is not target.Findings:
        raise Refused(f'{_kind(given)}, not Findings')
    return target.Findings(result(given.result), {
        question: target.Answer(result(answer.result), answer.value)
        for question, answer in given.answers.items()})


def why(given: Any) -> tuple[str, str]:
    """(reason, detail) of an overdue probe.

    :raises Refused: with what is wrong
    """
    if not isinstance(given, tuple) or len(given) != 2:
        raise Refused(f'{_kind(given)}, not a reason and a detail')
    reason, detail = given
    return (_text('a pair', 'reason', reason, MAX_REASON) or NO_REASON,
            _text('a pair', 'detail', detail, MAX_DETAIL))


def _components(given: Sequence[Any]) -> tuple[Component, ...]:
    if not isinstance(given, (tuple, list)):
        raise _wrong('a Result', 'components', given, 'a tuple')
    found = [_component(one)
             for one in itertools.islice(given, MAX_COMPONENTS)]
    more = len(given) - len(found)
    if more > 0:
        found.append(Component(f'{more} more', None, NOT_SHOWN))
    return tuple(found)


def _component(given: Any) -> Component:
    if not isinstance(given, Component):
        raise Refused(f'{_kind(given)} among components, not a Component')
    status = given.status
    if status is not None and type(status) is not Status:
        raise _wrong('a Component', 'status', status, 'a Status')
    return Component(
        _text('a Component', 'name', given.name, MAX_NAME), status,
        _reason('a Component', given, status),
        _text('a Component', 'detail', given.detail, MAX_DETAIL),
        _seconds('a Component', 'latency', given.latency, _MAX_LATENCY),
        _seconds('a Component', 'since', given.since, _MAX_TIME),
        bool(given.disabled))


def _reason(of: str, given: Any, status: Status | None) -> str:
    reason = _text(of, 'reason', given.reason, MAX_REASON)
    if status in (Status.WARN, Status.FAIL) and reason in ('', report.OK):
        # Some balancers would keep the node if a line said OK.
        return NO_REASON
    return reason


def _text(of: str, field: str, value: Any, most: int) -> str:
    if not isinstance(value, str):
        raise _wrong(of, field, value, 'a text')
    return lines.one(value, most)


def _seconds(of: str, field: str, value: Any, most: float) -> float | None:
    if value is None:
        return None
    if isinstance(value, (float, int)):
        try:
            # A sub-class may override the conversion.
            seconds = (float.__float__(value) if isinstance(value, float)
                       else float(int.__int__(value)))
        except OverflowError:
            seconds = math.inf
        if math.isfinite(seconds):
            # A clock that was set back must not take the node out.
            return min(max(0.0, seconds), most)
    raise _wrong(of, field, value, 'a number of seconds')


def _wrong(of: str, field: str, value: Any, wanted: str) -> Refused:
    found = (repr(float.__float__(value)) if isinstance(value, float)
             else _kind(value))
    return Refused(f'{of} whose {field} is {found}, not {wanted}')


def _kind(value: Any) -> str:
    return lines.kind_of(value).removeprefix('builtins.')
