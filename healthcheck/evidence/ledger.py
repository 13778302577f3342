# SPDX-License-Identifier: Apache-2.0

"""The evidence of one process, in memory that another process can read.

A ledger is an array of aligned words of eight bytes. Only its own process
writes to it, and a word is stored and loaded whole. So neither side needs a
lock or a system call, and the ledger of a killed process is still correct. A
forked process inherits its parent's ledger and must not write to it: see
:attr:`Ledger.mine`.
"""

from __future__ import annotations

from collections.abc import Iterator
import math
import threading
import time

from healthcheck.host import processes
from healthcheck.probing import evidence

_WORD = 8

SLOTS = 1022
"""Maximum number of backends and checks in a ledger."""

# Words of the header, and of each slot behind it.
_USED, _FAILED_AT, _ERRORS, _HEADER = range(4)
_MARK, ANSWERED, WROTE, FAILED, CALLS, _SLOT = range(6)

# The last slot takes evidence that has no other slot or is of no interest.
NOWHERE = _HEADER + _SLOT * SLOTS
SIZE = _WORD * (NOWHERE + _SLOT)
"""Bytes."""


class Reader:
    """Reads the ledger of this or another process. Used by one thread.

    :param memory: :data:`SIZE` bytes
    """

    def __init__(self, memory: memoryview) -> None:
        self._times = memory.cast('d')
        self._marks = memory.cast('Q')
        self._slots: dict[int, int] = {}
        self._failed_at = 0.0
        self._told: dict[int, float] = {}

    @property
    def errors(self) -> int:
        """Number of requests that ended in a fault of the service."""
        return int(self._times[_ERRORS])

    def seen(self, mark: int) -> evidence.Seen:
        """What was seen under a mark."""
        at = self._slots.get(mark)
        if at is None:
            self._index()
            at = self._slots.get(mark)
            if at is None:
                return evidence.NOTHING
        times = self._times
        return evidence.Seen(
            times[at + ANSWERED] or -math.inf, times[at + WROTE] or -math.inf,
            times[at + FAILED] or -math.inf, int(times[at + CALLS]))

    def failed(self) -> Iterator[int]:
        """The marks under which a call failed since the last look."""
        failed_at = self._times[_FAILED_AT]
        if failed_at == self._failed_at:
            return
        self._failed_at = failed_at
        self._index()
        for mark, at in self._slots.items():
            failed_at = self._times[at + FAILED]
            if failed_at != self._told.get(mark, 0.0):
                self._told[mark] = failed_at
                yield mark

    def _index(self) -> None:
        for number in range(len(self._slots), self._marks[_USED]):
            at = _HEADER + _SLOT * number
            self._slots[self._marks[at + _MARK]] = at


class Ledger:
    """The ledger that this process writes to.

    :ivar times: the words as numbers: times in monotonic seconds, and counts
    :ivar mine: its first item is true in the process that made the ledger,
        and false in the children of that
    """

    def __init__(self) -> None:
        self.mine = processes.wiped_in_children()
        self.mine[0] = 1
        self._slots: dict[int, int] = {}
        # Taken when a backend is seen for the first time.
        self._lock = threading.Lock()
        self._use(memoryview(bytearray(SIZE)))

    def slot(self, mark: int) -> int:
        """The slot of a mark: the index of its first word."""
        with self._lock:
            at = self._slots.get(mark)
            if at is not None or len(self._slots) == SLOTS:
                return NOWHERE if at is None else at
            number = len(self._slots)
            at = self._slots[mark] = _HEADER + _SLOT * number
            self._marks[at + _MARK] = mark
            self._marks[_USED] = number + 1
            return at

    def answered(self, slot: int, began_at: float) -> None:
        """Note that a call got an answer."""
        if self.mine[0]:
            self.times[slot + ANSWERED] = began_at
            self.times[slot + CALLS] += 1

    def failed(self, slot: int) -> None:
        """Note that a call failed in a way that can be the backend's fault."""
        if self.mine[0] and slot != NOWHERE:
            # In this order: the reader looks at _FAILED_AT first.
            self.times[slot + FAILED] = now = time.monotonic()
            self.times[_FAILED_AT] = now

    def error(self) -> None:
        """Note that a vouched-for request ended in a fault of the service."""
        if self.mine[0]:
            self.times[_ERRORS] += 1

    def move(self, memory: memoryview) -> None:
        """Move to other memory, where another process can read it.

        What threads write meanwhile may be lost.
        """
        memory[:] = self._memory
        self._use(memory)

    def read(self) -> Reader:
        """A reader of this ledger in its current memory."""
        return Reader(self._memory)

    def _use(self, memory: memoryview) -> None:
        self._memory = memory
        self._marks = memory.cast('Q')
        self.times = memory.cast('d')
