# SPDX-License-Identifier: Apache-2.0

"""The admin's document on this node as a page for people."""

from __future__ import annotations

from collections.abc import Sequence
import datetime
from typing import Any

from healthcheck.admin.views import detail
from healthcheck.admin.views import fleetformats
from healthcheck.admin.views import formats
from healthcheck.admin.views import webpage

Document = detail.Document

# How far the timelines can reach back, in seconds, and the name of that.
_WINDOWS = ((900, '15 min'), (3600, '1 h'), (21600, '6 h'), (86400, '24 h'),
            (604800, '7 d'))

_HEIGHTS = {'pass': 6, 'warn': 14, 'fail': 24}
_WIDTH, _SHORTEST = 600.0, 3.0
_SPARK_WIDTH, _SPARK_HEIGHT = 120.0, 24.0


def render(document: Document, interval: float, can_refresh: bool) -> str:
    """The page.

    :param interval: seconds between its updates
    :param can_refresh: whether the browser sends what a refresh needs
    """
    ago, window = _window(document)
    return webpage.render(
        'status.html', document, formats.headline(document), interval,
        can_refresh=can_refresh, ago=ago, window=window, segments=segments,
        sparkline=sparkline, words=formats, fleet=fleetformats)


def sparkline(latencies: Sequence[float]) -> str:
    """The points of a line through ``latencies``, the oldest first.

    The greatest one sets the height.
    """
    top = max(latencies, default=0) or 1.0
    step = _SPARK_WIDTH / max(1, len(latencies) - 1)
    return ' '.join(
        f'{index * step:.1f},{_SPARK_HEIGHT * (1 - value / top) + 1:.1f}'
        for index, value in enumerate(latencies))


def segments(check: Document, now: str, seconds: float) -> list[
        dict[str, Any]]:
    """The bars of a timeline: each status of a check, and its duration.

    :param now: where it ends, an RFC 3339 time
    :param seconds: how long it is
    """
    events = [(_age(each['time'], now), each['status'])
              for each in check['transitions']]
    since = check['since']
    if since and events and events[-1][1] != check['status']:
        events.append((_age(since['time'], now), check['status']))
    ends = [*(age for age, _ in events[1:]), 0.0]
    found = []
    for (began, status), ended in zip(events, ends):
        left = _WIDTH * (1 - min(began, seconds) / seconds)
        right = _WIDTH * (1 - min(ended, seconds) / seconds)
        if ended <= seconds:
            width = max(_SHORTEST, right - left)
            found.append({'status': status, 'height': _HEIGHTS[status],
                          'x': f'{min(left, _WIDTH - width):.1f}',
                          'width': f'{width:.1f}'})
    return found


def _window(document: Document) -> tuple[str, int]:
    """How far all timelines reach back. All have the same length."""
    oldest = max((_age(check['transitions'][0]['time'], document['time'])
                  for check in document['checks'] if check['transitions']),
                 default=0.0)
    for seconds, name in _WINDOWS:
        if oldest <= seconds:
            return name, seconds
    return name, seconds


def _age(timestamp: str, now: str) -> float:
    then, today = (datetime.datetime.fromisoformat(each.removesuffix('Z'))
                   for each in (timestamp, now))
    return max(0.0, (today - then).total_seconds())
