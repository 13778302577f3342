# SPDX-License-Identifier: Apache-2.0

"""What is written is what is read, and nothing else is read."""

import dataclasses
import json
import math

from hypothesis import given
from hypothesis import strategies as st
import pytest

from healthcheck.host import codec
from healthcheck.reports import history
from healthcheck.reports import report

finite = st.floats(allow_nan=False, allow_infinity=False)
statuses = st.sampled_from(report.Status)
transitions = st.builds(history.Transition, finite, statuses, st.text(),
                        st.text())
histories = st.builds(
    history.History, st.lists(transitions, max_size=3).map(tuple),
    st.none() | transitions, st.none() | finite,
    st.lists(finite, max_size=3).map(tuple))
components = st.builds(report.Component, st.text(), st.none() | statuses,
                       st.text(), st.text(), st.none() | finite,
                       st.none() | finite)
checks = st.builds(
    report.CheckReport, name=st.text(), status=statuses, reason=st.text(),
    detail=st.text(), judged_at=finite, ttl=finite, time=finite,
    critical=st.booleans(), passes=st.integers(), latency=st.none() | finite,
    components=st.lists(components, max_size=3).map(tuple),
    history=st.none() | histories)
reports = st.builds(
    report.Report, st.lists(checks, max_size=3).map(tuple),
    st.none() | st.builds(report.ProberProcess, st.integers(), st.text(),
                          st.text(),
                          finite), st.none() | finite)


@given(reports)
def test_there_and_back(published):
    assert codec.load(report.Report, codec.dump(published)) == published


def test_whole_seconds_are_seconds():
    read = codec.load(report.ProberProcess, b'''
        {"pid": 1, "host": "", "program": "", "since": 5}''')
    assert type(read.since) is float


GOOD = json.loads(codec.dump(report.Report((report.CheckReport(
    'database', report.Status.PASS, 'OK', '', 1.0, 30.0, 1e9),))))


def bad(**changed):
    return json.dumps({**GOOD, **changed}).encode()


@pytest.mark.parametrize('data', [
    b'', b'\x00\xff', b'{', b'null', b'[]', b'{}', b'1', bad(checks={}),
    bad(checks=[1]), bad(checks=None), bad(more=1), bad(refreshed_at='1'),
    bad(prober=[]), bad(checks=[{**GOOD['checks'][0], 'status': 7}]),
    bad(checks=[{**GOOD['checks'][0], 'critical': 1}]),
    bad(checks=[{**GOOD['checks'][0], 'name': None}]),
    b'[' * 100_000, bad(refreshed_at=10 ** 400), b'9' * 5000,
    bad(checks=[{**GOOD['checks'][0], 'ttl': 10 ** 400}]),
    bad(checks=[{**GOOD['checks'][0], 'status': []}]),
    *(json.dumps(GOOD).replace('30.0', number).encode() for number in (
        '1e999', '-1e999', 'NaN', 'Infinity', '-Infinity')),
])
def test_anything_else_is_refused(data):
    with pytest.raises(ValueError):
        codec.load(report.Report, data)


odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    | st.sampled_from([10 ** 400, -10 ** 400, 1e308, 2 ** 63]),
    lambda inner: (st.lists(inner, max_size=3)
                   | st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=5)


def places(value):
    """All that can be replaced in what was read: (container, key)."""
    keys = (value if isinstance(value, dict)
            else range(len(value)) if isinstance(value, list) else ())
    for key in keys:
        yield value, key
        yield from places(value[key])


def numbers(value):
    if isinstance(value, float):
        yield value
    elif isinstance(value, tuple):
        for one in value:
            yield from numbers(one)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from numbers(getattr(value, field.name))


def refused_or_finite(data):
    try:
        read = codec.load(report.Report, data)
    except ValueError:
        return
    assert all(map(math.isfinite, numbers(read)))


@given(reports, st.data())
def test_a_report_with_another_value_somewhere(published, data):
    value = json.loads(codec.dump(published))
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(list(places(value))))
        container[key] = data.draw(odd)
    refused_or_finite(json.dumps(value).encode())


@given(reports, st.data())
def test_a_report_with_other_bytes_somewhere(published, data):
    text = codec.dump(published)
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, min(len(text), begin + 20)))
    refused_or_finite(text[:begin] + data.draw(
        st.binary(max_size=8) | st.sampled_from([b'1e999', b'NaN'])
    ) + text[end:])


def test_a_field_that_is_missing_is_refused():
    less = {k: v for k, v in GOOD.items() if k != 'prober'}
    with pytest.raises(ValueError):
        codec.load(report.Report, json.dumps(less).encode())


def test_frozen_data_comes_back_frozen():
    read = codec.load(report.Report, json.dumps(GOOD).encode())
    with pytest.raises(dataclasses.FrozenInstanceError):
        read.checks[0].status = report.Status.FAIL
