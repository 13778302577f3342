# SPDX-License-Identifier: Apache-2.0

"""The status of a check or a node."""

from __future__ import annotations

import enum


class Status(enum.IntEnum):
    """A status; a greater one is more severe.

    The words are those of draft-inadarei-api-health-check-06, section 3.
    """

    PASS = 0
    WARN = 1
    FAIL = 2

    @property
    def word(self) -> str:
        return self.name.lower()
