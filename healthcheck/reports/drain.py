# SPDX-License-Identifier: Apache-2.0

"""Maintenance: a node is out because an operator wants it out."""

from __future__ import annotations

import dataclasses
import re

NAME = 'drain'
"""What stands in the place of a check's name."""

DRAINED = 'DRAINED'
"""The line for anonymous callers."""

STOPPING = 'STOPPING'
"""The same of a server that is about to end."""

SERVICE, HOST = 'service', 'host'

LONGEST = 366 * 86400.0
"""The longest time until a drain ends by itself, in seconds."""

_UNITS = {'d': 86400, 'h': 3600, 'm': 60, 's': 1, '': 1}
_DURATION = re.compile(r'(?:\d{1,9}[dhms])+|\d{1,9}')


@dataclasses.dataclass(frozen=True, slots=True)
class Drain:
    """One drain.

    :param scope: ``service`` or ``host``
    :param reason: one line, for admins only; empty if it is unknown
    :param by: who began it; empty if that is unknown
    :param since: when it began, in seconds since the epoch
    :param until: when it ends, in seconds since the epoch; None: when
        somebody ends it
    """

    scope: str
    reason: str
    by: str
    since: float
    until: float | None


def seconds_of(text: str) -> float:
    """The seconds of a duration, such as ``30m``, ``1h30m`` or ``90``.

    :raises ValueError: if it is none, or longer than ``LONGEST``
    """
    text = text.strip().lower()
    seconds = sum(int(number) * _UNITS[unit] for number, unit in re.findall(
        r'(\d+)(\D?)', text)) if _DURATION.fullmatch(text) else 0
    if not 0 < seconds <= LONGEST:
        raise ValueError(f'{text!r:.40}: not a duration (allowed: 1s to 366d, '
                         f'such as 90s, 30m or 1h30m)')
    return float(seconds)
