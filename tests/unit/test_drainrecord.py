# SPDX-License-Identifier: Apache-2.0

"""A drain ends when it was to end, whatever happens to the clocks."""

from __future__ import annotations

import dataclasses
import json
import math

from hypothesis import given
from hypothesis import strategies as st
import pytest

from healthcheck.host import drainrecord
from tests.unit import drained

Record = drainrecord.Record


@pytest.fixture
def host():
    return drained.Host()


def begun(host, seconds=1800.0, reason='a new disk', by='alice'):
    return Record.begun(reason, by, seconds, host.clocks)


def holds(record, host):
    return record.holds(record.left(host.clocks))


def test_it_holds_until_its_end(host):
    record = begun(host)
    host.pass_time(1799)
    assert holds(record, host)
    host.pass_time(1)
    assert not holds(record, host)


def test_without_an_end_it_holds(host):
    record = begun(host, None)
    host.restart()
    host.wall = 0.0
    assert holds(record, host)
    assert record.left(host.clocks) == math.inf


def test_a_step_of_the_time_of_day_changes_nothing(host):
    record = begun(host)
    for host.wall in (0.0, 4e9):
        assert holds(record, host)
    host.pass_time(1800)
    for host.wall in (0.0, drained.EPOCH, 4e9):
        assert not holds(record, host)


def test_after_a_restart_the_time_of_day_decides(host):
    record = begun(host)
    host.restart()
    host.pass_time(1799)
    assert holds(record, host)
    host.pass_time(1)
    assert not holds(record, host)


def test_a_clock_that_is_a_little_behind_after_a_restart(host):
    record = begun(host)
    host.restart()
    host.wall -= 600
    assert holds(record, host)


def test_a_clock_that_starts_in_1970_drains_nobody_for_years(host):
    record = begun(host)
    host.restart()
    host.wall = 0.0
    assert not holds(record, host)
    host.wall = drained.EPOCH + 60  # NTP has found it
    assert holds(record, host)


def test_where_the_boot_is_hidden_the_time_of_day_decides(host):
    host.boot_id = ''
    record = begun(host)
    host.boot = 1e9
    assert holds(record, host)
    host.wall += 1800
    assert not holds(record, host)


@given(st.floats(1, 1e7), st.lists(st.one_of(
    st.tuples(st.just('pass'), st.floats(0, 1e7)),
    st.tuples(st.just('set'), st.floats(0, 5e9)),
    st.tuples(st.just('restart'), st.just(0.0))), max_size=12))
def test_never_after_its_end(seconds, events):
    host = drained.Host()
    record = Record.load(begun(host, seconds).dump())
    elapsed, restarted, wall_is_right = 0.0, False, True
    for what, value in events:
        if what == 'pass':
            host.pass_time(value)
            elapsed += value
        elif what == 'set':
            host.wall, wall_is_right = value, False
        else:
            host.restart()
            restarted = True
        drains = holds(record, host)
        # A second of rounding: a float of 1.6e9 has no more digits.
        if not restarted or wall_is_right:
            assert drains == (elapsed < seconds) or (
                abs(elapsed - seconds) < 1)
        elif drains:
            assert (record.since - seconds - 1 <= host.wall < record.until)


def test_of_this_host(monkeypatch):
    clocks = drainrecord.Clocks()
    record = Record.begun('r', 'me', 60, clocks)
    assert record.clock
    assert 59 < record.left(clocks) <= 60
    monkeypatch.setattr(drainrecord.group, 'boot_id', lambda: '')
    assert drainrecord.clock_id() == ''


@pytest.mark.parametrize('text, line', [
    ('  two\n lines\t', 'two lines'), ('x' * 500, 'x' * 199 + '…'),
    ('move mysql://nova:secret@db/nova', 'move mysql://***@db/nova'),
    ('\x1b[31mred\u202e', r'\x1b[31mred\u202e'), ('\ud800', r'\ud800')])
def test_a_reason_is_one_short_line(host, text, line):
    record = begun(host, reason=text, by=text)
    assert record.reason == line
    assert record.by == drainrecord.one_line(text, 100)
    assert Record.load(record.dump()) == record
    assert len(record.dump()) < 8192


def test_the_longest_fits(host):
    record = begun(host, reason='\U0001f6a7' * 500, by='\U0001f6a7' * 500)
    assert Record.load(record.dump()[:8192]) == record


@pytest.mark.parametrize('change', [
    {'format': 2}, {'since': -1.0}, {'since': 1e300, 'until': 1e301},
    {'until': 1.0}, {'until': 1e12}, {'until': '1'}, {'reason': None},
    {'since': math.nan}, {'more': 1}])
def test_anything_else_is_refused(host, change):
    found = dataclasses.asdict(begun(host)) | change
    with pytest.raises(ValueError):
        Record.load(json.dumps(found).encode())


@given(st.binary(max_size=300))
def test_whatever_is_in_it(data):
    with pytest.raises(ValueError):
        Record.load(data)


@given(st.floats())
def test_a_file_of_any_time(since):
    record = Record.unknown(since if math.isfinite(since) else 0.0)
    assert Record.load(record.dump()) == record
