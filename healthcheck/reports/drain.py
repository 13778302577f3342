# SPDX-License-Identifier: Apache-2.0

"""Maintenance: a node is out because an operator wants it out."""

from __future__ import annotations

import dataclasses

NAME = 'drain'
"""What stands in the place of a check's name."""

DRAINED = 'DRAINED'
"""The line for anonymous callers."""

SERVICE, HOST = 'service', 'host'


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
