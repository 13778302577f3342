# SPDX-License-Identifier: Apache-2.0

"""A lame duck: it still serves, and says that it is about to end.

A server's processes share one page of memory, which is made when this module
is first imported. So a process that imports it before it forks can tell all
of its children, also from a signal handler.
"""

from __future__ import annotations

import mmap
import struct

_BEGUN = 0  # a byte
_DELAY = 8  # an aligned double, so readers never see half of it
_NUMBER = struct.Struct('d')


class LameDuck:
    """Whether a process and those forked from it are about to end."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)

    def wish(self, delay: float) -> None:
        """Ask for ``delay`` seconds in which balancers can notice.

        The longest one counts.
        """
        if delay > self.delay:
            _NUMBER.pack_into(self._page, _DELAY, delay)

    @property
    def delay(self) -> float:
        """Seconds to go on serving after :meth:`begin`."""
        found: float = _NUMBER.unpack_from(self._page, _DELAY)[0]
        return found

    def begin(self) -> None:
        self._page[_BEGUN] = 1

    @property
    def begun(self) -> bool:
        return bool(self._page[_BEGUN])


OURS = LameDuck()
"""Shared by this process, its ancestors and its children."""
