# SPDX-License-Identifier: Apache-2.0

"""What a process writes down, and what another one reads of it."""

import ctypes
import math
import os
import threading

from hypothesis import given
from hypothesis import strategies as st
import pytest

from healthcheck.evidence import ledger as ledger_module
from healthcheck.probing import evidence


@pytest.fixture
def ledger():
    return ledger_module.Ledger()


def in_child(act):
    """Run it in a process that was forked, without a word to Python.

    As uWSGI does; its exit status is what ``act`` returns.
    """
    pid = ctypes.CDLL(None).fork()
    if pid == 0:
        try:
            os._exit(act())
        except BaseException:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_what_was_seen_is_read(ledger):
    slot = ledger.slot(7)
    ledger.answered(slot, 12.5)
    ledger.answered(slot, 13.5)
    assert ledger.read().seen(7) == evidence.Seen(13.5, calls=2)


def test_what_was_not_seen_is_nothing(ledger):
    ledger.slot(7)
    assert ledger.read().seen(8) is evidence.NOTHING
    assert ledger.read().seen(7).answered_at == -math.inf


def test_a_reader_finds_what_came_later(ledger):
    reader = ledger.read()
    assert reader.seen(7) is evidence.NOTHING
    ledger.answered(ledger.slot(7), 1.0)
    assert reader.seen(7).answered_at == 1.0


def test_a_failure_is_told_once(ledger):
    reader = ledger.read()
    one, other = ledger.slot(1), ledger.slot(2)
    assert list(reader.failed()) == []
    ledger.failed(one)
    assert list(reader.failed()) == [1]
    assert list(reader.failed()) == []
    ledger.failed(other)
    ledger.failed(one)
    assert set(reader.failed()) == {1, 2}
    assert reader.seen(1).failed_at > 0
    ledger.failed(other)
    assert list(reader.failed()) == [2]


class Words(list):
    """Remembers in which order they were written."""

    def __init__(self, words):
        super().__init__(words)
        self.written = []

    def __setitem__(self, at, word):
        self.written.append((at, word))
        super().__setitem__(at, word)


def test_what_is_written_last_tells_of_the_rest(ledger):
    """A reader may look at any moment."""
    ledger._marks = marks = Words(ledger._marks)
    ledger.times = times = Words(ledger.times)
    slot = ledger.slot(7)
    assert [word for _, word in marks.written] == [7, 1]
    ledger.failed(slot)
    assert [at for at, _ in times.written] == [
        slot + ledger_module.FAILED, ledger_module._FAILED_AT]


def test_what_has_no_slot_is_lost(ledger):
    slots = [ledger.slot(mark) for mark in range(ledger_module.SLOTS + 2)]
    assert len(set(slots)) == ledger_module.SLOTS + 1
    assert slots[-1] == slots[-2] == ledger_module.NOWHERE
    ledger.answered(ledger_module.NOWHERE, 1.0)
    ledger.failed(ledger_module.NOWHERE)
    reader = ledger.read()
    assert list(reader.failed()) == []
    assert reader.seen(ledger_module.SLOTS) is evidence.NOTHING


def test_it_moves_with_all_that_it_holds(ledger):
    slot = ledger.slot(7)
    ledger.answered(slot, 1.0)
    ledger.error()
    memory = memoryview(bytearray(ledger_module.SIZE))
    ledger.move(memory)
    ledger.answered(slot, 2.0)
    there = ledger_module.Reader(memory)
    assert there.seen(7) == evidence.Seen(2.0, calls=2)
    assert there.errors == 1


def test_a_child_writes_nothing(ledger):
    slot = ledger.slot(7)

    def act():
        ledger.answered(slot, 1.0)
        ledger.failed(slot)
        ledger.error()
        return int(any(ledger.times[slot + word] for word in (
            ledger_module.ANSWERED, ledger_module.CALLS,
            ledger_module.FAILED)) or ledger.read().errors)
    assert in_child(act) == 0


@given(st.lists(st.integers(0, 2 ** 64 - 1), max_size=40))
def test_each_mark_has_a_slot_of_its_own(marks):
    ledger = ledger_module.Ledger()
    slots = {mark: ledger.slot(mark) for mark in marks}
    for number, (mark, slot) in enumerate(slots.items()):
        ledger.answered(slot, float(number + 1))
    reader = ledger.read()
    for number, mark in enumerate(slots):
        assert reader.seen(mark) == evidence.Seen(number + 1.0, calls=1)


def test_threads_that_come_together_share_a_slot(ledger):
    found = []
    barrier = threading.Barrier(8)

    def run():
        barrier.wait()
        found.append([ledger.slot(mark) for mark in range(50)])
    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(one == found[0] for one in found)
    assert len(set(found[0])) == 50


def test_a_mark_tells_nothing_of_a_host():
    mark = evidence.mark('mysql db.example.org 3306 nova nova')
    assert 0 <= mark < 2 ** 64
    assert mark == evidence.mark('mysql db.example.org 3306 nova nova')
    assert mark != evidence.mark('mysql db.example.org 3306 nova other')
