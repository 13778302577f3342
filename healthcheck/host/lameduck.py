# SPDX-License-Identifier: Apache-2.0

"""A lame duck: it still serves, and says that it is about to end.

A server's processes share one page of memory, made when this module is first
imported. So a process that imports it before it forks can speak for all of
its children, from a signal handler, too.
"""

from __future__ import annotations

import mmap
import struct

_BEGUN = 0  # a byte
_DELAY = 8  # a double, so it is never written in two halves
_NUMBER = struct.Struct('d')


class LameDuck:
    """Whether a process and those forked from it are about to end."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)

    def wish(self, delay: float) -> None:
        """Note that balancers need ``delay`` seconds to notice.

        The longest wish counts.
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
"""That of this process, its ancestors and its children."""
