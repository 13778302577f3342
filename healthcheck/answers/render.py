# SPDX-License-Identifier: Apache-2.0

"""Turns verdicts into bytes: one answer, in each format."""

from __future__ import annotations

from collections.abc import Sequence
import datetime
import functools
import itertools
import json
import re
from typing import Any

import jinja2
import oslo_middleware

from healthcheck.answers import page
from healthcheck.reports import report

TEXT = 'text/plain'
HTML = 'text/html'
JSON = 'application/json'
HEALTH_JSON = 'application/health+json'
FORMATS = (TEXT, HTML, JSON, HEALTH_JSON)
"""In the order of preference. The first one also answers an ``Accept`` that
nothing matches. It is never 406: that would look like an error of the
service."""


@functools.cache
def _html_template() -> jinja2.Template:
    # oslo.middleware's own template, compiled once instead of at each request,
    # so people and scripts see the same as before.
    template: jinja2.Template = jinja2.Template(
        oslo_middleware.Healthcheck.HTML_RESPONSE_TEMPLATE,
        undefined=jinja2.StrictUndefined)
    return template


class Rendering:
    """One answer in every format: a status, and a line for each check.

    :param verdicts: the checks that the answer is about
    :param status: the status of them all
    :param notes: more lines, which belong to no check
    :param detailed: oslo.middleware's option of that name. It only gives JSON
        its detailed shape. Anonymous callers never see the host name,
        versions and stacks that it used to show.
    :param time: when the view was made, in seconds since the epoch
    """

    def __init__(self, verdicts: Sequence[report.Verdict],
                 status: report.Status, *, notes: Sequence[str] = (),
                 detailed: bool = False, time: float | None = None) -> None:
        self._verdicts = verdicts
        self._status = status
        self._notes = notes
        self._detailed = detailed
        self._time = time
        well = status is not report.Status.FAIL
        code = 200 if well else 503
        bodies = {TEXT: self._text(), HTML: self._html(),
                  JSON: self._json(), HEALTH_JSON: self._health_json()}
        self.pages = {kind: page.make(code, body, kind)
                      for kind, body in bodies.items()}
        # oslo.middleware's answer to HEAD, which has a status of its own.
        self.head = page.make(204 if well else 503, '')

    @property
    def _lines(self) -> list[str]:
        return [*(v.line for v in self._verdicts), *self._notes]

    def _text(self) -> str:
        return '\n'.join(self._lines)

    def _html(self) -> str:
        return _html_template().render(
            detailed=False, results=[{'reason': line}
                                     for line in self._lines]).strip()

    def _json(self) -> str:
        reasons: list[Any] = list(self._lines)
        if self._detailed:
            reasons = [
                {'class': 'HealthcheckResult', 'reason': line, 'details':
                 f'{verdict.name}: {verdict.status.word}' if verdict else ''}
                for line, verdict in itertools.zip_longest(
                    self._lines, self._verdicts)]
        return json.dumps({'detailed': self._detailed, 'reasons': reasons},
                          indent=4, sort_keys=True)

    def _health_json(self) -> str:
        """The form of draft-inadarei-api-health-check-06, sections 3 and 4."""
        checks: dict[str, list[dict[str, str]]] = {}
        for verdict in self._verdicts:
            entry = {'status': verdict.status.word}
            if verdict.status is not report.Status.PASS:
                entry['output'] = verdict.reason
            if verdict.time is not None:
                entry['time'] = timestamp(verdict.time)
            checks[verdict.name] = [entry]
        body: dict[str, Any] = {'status': self._status.word,
                                'checks': checks}
        if self._time is not None:
            body['time'] = timestamp(self._time)
        if self._notes:
            body['notes'] = list(self._notes)
        return json.dumps(body)


def timestamp(time: float) -> str:
    """RFC 3339, to the millisecond, in UTC."""
    moment = datetime.datetime.fromtimestamp(time, datetime.timezone.utc)
    return moment.isoformat(timespec='milliseconds').replace('+00:00', 'Z')


def negotiate(accept: str) -> str:
    """The format to answer an ``Accept`` header with (RFC 9110, 12.5.1).

    Not by webob, which gives the same result: a poller's request must not run
    webob.
    """
    return _COMMON.get(accept) or prefer(accept, FORMATS)


def prefer(accept: str, formats: tuple[str, ...]) -> str:
    """The one of ``formats`` to answer an ``Accept`` header with.

    :param formats: in the order of preference; the first one also answers
        when none is acceptable
    """
    return _negotiate(accept[:_MAX_ACCEPT], formats)


_COMMON = {'': TEXT, '*/*': TEXT, **{kind: kind for kind in FORMATS}}
_MAX_ACCEPT = 512
_QUALITY = re.compile(r'0(\.\d{0,3})?|1(\.0{0,3})?')


@functools.lru_cache(maxsize=256)
def _negotiate(accept: str, formats: tuple[str, ...]) -> str:
    weights = dict.fromkeys(formats, (0, 0.0))
    for item in accept.lower().split(','):
        media_range, *parameters = (p.strip() for p in item.split(';'))
        quality = '1'
        if parameters:
            # Parameters before "q" belong to the range, and none of our
            # formats has any.
            key, _, quality = parameters[0].partition('=')
            if key != 'q':
                continue
        if not _QUALITY.fullmatch(quality):
            return formats[0]
        for kind in formats:
            precision = _precision(media_range, kind)
            if precision > weights[kind][0]:
                weights[kind] = (precision, float(quality))
    best = max(formats, key=lambda kind: weights[kind][1])
    return best if weights[best][1] > 0 else formats[0]


def _precision(media_range: str, kind: str) -> int:
    """How exactly a media range names a type; 0 if it does not."""
    if media_range == kind:
        return 3
    if media_range == kind.partition('/')[0] + '/*':
        return 2
    return 1 if media_range == '*/*' else 0
