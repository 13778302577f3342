# SPDX-License-Identifier: Apache-2.0

"""Who is up, and what is wrong: on SQLite, whose clock the test sets."""

import contextlib
import datetime

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import pytest
import sqlalchemy
from sqlalchemy import pool

from healthcheck.plugins import counting
from healthcheck.plugins import heartbeats
from healthcheck.plugins import service_tables
from healthcheck.plugins import services_rules
from tests import heartbeat_rows

Kind = heartbeats.Kind
NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, 678000)
EPOCH = NOW.replace(tzinfo=datetime.timezone.utc).timestamp()
DOWN_TIME = 60


def later(seconds):
    return datetime.timedelta(seconds=seconds)


@contextlib.contextmanager
def database(ahead=0.0):
    """A database whose clock is ahead of the test's."""
    engine = sqlalchemy.create_engine('sqlite://', poolclass=pool.StaticPool)
    clock = (NOW + later(ahead)).isoformat(' ', 'milliseconds')
    try:
        with engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            raw.create_function('strftime', 2, lambda form, when: clock)
            yield connection
    finally:
        engine.dispose()


def nova(*services):
    """Rows of (binary, age of the heartbeat in seconds, columns)."""
    return [heartbeat_rows.row(
        'nova', number, binary,
        None if age is None else NOW - later(age), **columns)
        for number, (binary, age, columns) in enumerate(services, 1)]


def count(rows, name='nova', *, ahead=0.0, down_time=DOWN_TIME,
          times=(EPOCH, EPOCH)):
    """What is found, with both clocks as the test says."""
    wall_clock = iter(times)
    with database(ahead) as connection:
        heartbeat_rows.fill(connection, name, rows)
        return heartbeats.count(
            connection, heartbeat_rows.ASKED[name], down_time,
            wall_clock=lambda: next(wall_clock))


def test_each_service_is_counted_once():
    found = count(nova(
        ('nova-compute', 0, {}),
        ('nova-compute', 30, {'disabled': None, 'forced_down': None}),
        ('nova-compute', 600, {}),
        ('nova-compute', 0, {'disabled': True}),
        ('nova-compute', 600, {'disabled': True, 'forced_down': True}),
        ('nova-compute', 0, {'forced_down': True}),
        ('nova-conductor', 0, {}),
        ('nova-conductor', 0, {'deleted': 8}),
        ('nova-conductor', 0, {'deleted': None}),
        ('nova-osapi_compute', 600, {}),
        ('nova-metadata', 0, {})))
    assert found == heartbeats.Found((
        Kind('nova-compute', up=2, down=1, disabled=2, forced_down=1),
        Kind('nova-conductor', up=1)))
    assert found.kind('nova-compute').enabled == 4
    assert found.kind('nova-compute').total == 6
    assert found.kind('nova-scheduler') == Kind('nova-scheduler')


@pytest.mark.parametrize(('age', 'up'), [
    (60, 1), (60.000001, 0), (-60, 1), (-60.000001, 0)])
@pytest.mark.parametrize('name', ['nova', 'cinder'])
def test_the_limit_is_as_exact_as_the_services_own(name, age, up):
    row = heartbeat_rows.row(name, 1, 'x', NOW - later(age))
    assert count([row], name).kinds == (Kind('x', up=up, down=1 - up),)


@pytest.mark.parametrize(('age', 'up'), [
    (75, 1), (75.000001, 0), (-75.1, 1), (-86400, 1)])
def test_neutron_takes_a_heartbeat_in_the_future_for_good(age, up):
    row = heartbeat_rows.row('neutron', 1, 'x', NOW - later(age))
    assert count([row], 'neutron', down_time=75).kinds == (
        Kind('x', up=up, down=1 - up),)


@pytest.mark.parametrize('name', ['nova', 'cinder'])
def test_one_that_has_not_beaten_yet_is_judged_by_when_it_registered(name):
    rows = [heartbeat_rows.row(name, number, 'x', None, created=created)
            for number, created in enumerate(
                (NOW - later(10), NOW - later(70), None))]
    assert count(rows, name).kinds == (Kind('x', up=1, down=2),)


def test_an_empty_table():
    assert count([], ahead=-900) == heartbeats.Found((), -899.999, True)


def test_one_statement_and_what_it_returns():
    asked = []
    rows = nova(*[('nova-compute', number, {}) for number in range(100)])
    with database() as connection:
        heartbeat_rows.fill(connection, 'nova', rows)
        raw = connection.connection.dbapi_connection
        raw.set_trace_callback(asked.append)
        found = heartbeats.count(connection, service_tables.NOVA, DOWN_TIME,
                                 wall_clock=lambda: EPOCH)
        raw.set_trace_callback(None)
        statement, = asked
        assert found.kinds == (Kind('nova-compute', up=61, down=39),)
        assert len(connection.exec_driver_sql(statement).all()) == 1


def test_it_leaves_a_transaction_that_can_be_rolled_back():
    with database() as connection:
        heartbeat_rows.fill(connection, 'nova', [])
        assert not connection.in_transaction()
        for _ in range(2):
            heartbeats.count(connection, service_tables.NOVA, DOWN_TIME)
            assert connection.in_transaction()
        connection.rollback()


def test_the_statement_is_made_once(monkeypatch):
    made = []
    make = counting._select
    monkeypatch.setattr(counting, '_templates', {})
    monkeypatch.setattr(counting, '_select', lambda *args, **more: made.append(
        args) or make(*args, **more))
    for _ in range(2):  # two engines, as two cells have
        with database() as connection:
            for name, table in heartbeat_rows.ASKED.items():
                heartbeat_rows.fill(connection, name, [])
                heartbeats.count(connection, table, 60)
                heartbeats.count(connection, table, 70)
    assert len(made) == len(heartbeat_rows.ASKED)


@pytest.mark.parametrize(('name', 'ahead', 'times', 'skew'), [
    ('agree', 0, (0, 0), 0),
    ('finer than a clock can tell', 0.001, (0, 0), 0),
    ('ahead', 4, (0, 0), 3.999),
    ('behind', -4, (0, 0), -3.999),
    ('the database looked at the beginning', 0, (0, 4), 0),
    ('the database looked at the end', 4, (0, 4), 0),
    ('the database looked later than that', 5, (0, 4), 0.999),
    ('the clock was set back between', 4, (1, -1), 2.999)])
def test_skew(name, ahead, times, skew):
    found = count([], ahead=ahead, times=[EPOCH + time for time in times])
    assert found.skew == pytest.approx(skew, abs=1e-6)
    assert not found.skewed


@pytest.mark.parametrize('name', ['nova', 'cinder', 'neutron'])
@pytest.mark.parametrize('ahead', [-300, -31, 31, 300])
@pytest.mark.parametrize('right', ['host', 'database'])
def test_the_clock_that_services_write_with_judges(name, ahead, right):
    now = NOW if right == 'host' else NOW + later(ahead)
    rows = [heartbeat_rows.row(name, number, 'x', now - later(age))
            for number, age in enumerate((0, 10, 20, 58, 600))]
    found = count(rows, name, ahead=ahead)
    assert found.kinds == (Kind('x', up=4, down=1),)
    assert found.skewed
    if abs(ahead) == 300:
        assert found.by_host is (right == 'host')


def test_a_small_skew_leaves_it_to_the_database():
    found = count(nova(('x', 58, {}), ('x', 10, {})), ahead=30)
    assert found.kinds == (Kind('x', up=1, down=1),)
    assert not found.skewed and not found.by_host


def test_those_that_are_left_out_are_no_evidence_of_a_clock():
    found = count(nova(('nova-metadata', 0, {}), ('nova-osapi_compute', 0, {}),
                       ('nova-conductor', -300, {})), ahead=300)
    assert found.kinds == (Kind('nova-conductor', up=1),)


def test_disabled_ones_are_evidence_of_a_clock():
    found = count(nova(('nova-compute', 0, {'disabled': True})), ahead=300)
    assert found.by_host


def test_a_database_that_is_not_known_goes_by_the_host(monkeypatch):
    monkeypatch.setattr(counting, '_CLOCKS', {})
    monkeypatch.setattr(counting, '_templates', {})
    found = count(nova(('x', 10, {})), ahead=300)
    assert found == heartbeats.Found((Kind('x', up=1),))


AGES = st.one_of(
    st.sampled_from([-60.000001, -60, 60, 60.000001, 0, 75, 75.000001]),
    st.integers(-400, 400),
    st.floats(-400, 400, allow_nan=False).map(lambda age: round(age, 6)))


@st.composite
def tables(draw):
    name = draw(st.sampled_from(sorted(heartbeat_rows.REAL)))
    flags = st.sampled_from([False, False, True, None])
    some = st.booleans() if name == 'neutron' else flags
    binaries = ['nova-compute', 'nova-conductor', 'nova-metadata', 'x']
    ages = AGES if name == 'neutron' else st.none() | AGES
    rows = []
    for number in range(draw(st.integers(0, 20))):
        beat, created = [None if age is None else NOW - later(age)
                         for age in (draw(ages), draw(ages))]
        rows.append(heartbeat_rows.row(
            name, number, draw(st.sampled_from(
                binaries if name == 'neutron' else [*binaries, None])),
            beat, created=created, disabled=draw(some),
            forced_down=draw(flags),
            deleted=draw(st.sampled_from([0, 0, 0, number + 1, None]))))
    return name, rows


@settings(max_examples=40)
@given(tables(), st.sampled_from([60, 75, 0]), st.integers(-400, 400))
def test_agrees_with_the_services_own_code(table, down_time, ahead):
    name, rows = table
    found = count(rows, name, down_time=down_time, ahead=ahead)
    by_clock = {by_host: heartbeat_rows.judged(
        name, rows, NOW if by_host else NOW + later(ahead), down_time)
        for by_host in (True, False)}
    assert found.kinds == by_clock[found.by_host]
    assert not found.by_host or found.skewed
    # Whichever judges, no row is lost or counted twice.
    assert sum(kind.total for kind in found.kinds) == sum(
        kind.total for kind in by_clock[True])
    if found.skewed and name != 'neutron' and not any(
            kind.disabled or kind.forced_down for kind in found.kinds):
        assert sum(kind.up for kind in found.kinds) == max(
            sum(kind.up for kind in kinds) for kinds in by_clock.values())


@pytest.mark.parametrize(('name', 'options', 'seconds'), [
    ('nova', {}, 60), ('cinder', {}, 60), ('neutron', {}, 75),
    ('nova', {'service_down_time': '90'}, 90),
    ('neutron', {'agent_down_time': 120, 'report_interval': 200}, 120),
    ('cinder', {'service_down_time': 60, 'report_interval': 60}, 150),
    ('nova', {'service_down_time': 60, 'report_interval': 61}, 152),
    ('nova', {'service_down_time': 10}, 25)])
def test_the_time_after_which_one_is_down(name, options, seconds):
    assert heartbeat_rows.ASKED[name].down_time(options.get) == seconds


def found(*kinds, **clocks):
    return heartbeats.Found(kinds, **clocks)


def reasons(problems):
    return [problem.reason for problem in problems]


UP = Kind('nova-conductor', up=1, down=3)


@pytest.mark.parametrize(('conductor', 'in_cell', 'in_cell0'), [
    (None, True, False),
    (Kind('nova-conductor', up=1, down=9, disabled=1), False, False),
    (Kind('nova-conductor', down=1), True, True),
    (Kind('nova-conductor', forced_down=1), True, True),
    (Kind('nova-conductor', disabled=2), True, False)])
def test_a_cell_needs_a_conductor(conductor, in_cell, in_cell0):
    kinds = [Kind('nova-compute', up=5)] + ([conductor] if conductor else [])
    for cell0, missing in ((False, in_cell), (True, in_cell0)):
        assert reasons(services_rules.judge_nova(
            found(*kinds), cell0=cell0)) == (
                [services_rules.NO_CONDUCTOR_UP] if missing else [])


@pytest.mark.parametrize(('scheduler', 'missing'), [
    (Kind('nova-scheduler', up=1, down=1), False),
    (Kind('nova-scheduler', disabled=1), False),
    (Kind('nova-scheduler', down=2), True),
    (Kind('nova-scheduler', disabled=1, forced_down=1), True)])
@pytest.mark.parametrize('cell0', [False, True])
def test_a_scheduler_that_reports_has_to_be_up(scheduler, missing, cell0):
    problems = services_rules.judge_nova(found(UP, scheduler), cell0=cell0)
    assert reasons(problems) == (
        [services_rules.NO_SCHEDULER_UP] if missing else [])


def test_computes_and_leftovers_are_never_judged():
    assert services_rules.judge_nova(
        found(UP, Kind('nova-compute', down=100),
              Kind('nova-consoleauth', down=3)), cell0=False) == []


def test_details_tell_an_admin_how_many():
    problems = services_rules.judge_nova(
        found(Kind('nova-scheduler', down=2, disabled=1)), cell0=False)
    assert [problem.detail for problem in problems] == [
        'nova-conductor none registered',
        'nova-scheduler 0 of 3 up, 2 down, 1 disabled']


def test_others_need_one_of_each_kind():
    problems = services_rules.judge_others(found(
        Kind('cinder-backup', disabled=2), Kind('cinder-scheduler', down=2),
        Kind('cinder-volume', up=1, down=7), Kind('x', forced_down=1)))
    assert problems == [services_rules.Problem(
        services_rules.ALL_OF_A_KIND_DOWN,
        'cinder-scheduler 0 of 2 up, 2 down; x 0 of 1 up, 1 forced down')]
    assert services_rules.judge_others(found()) == []


@pytest.mark.parametrize(('skew', 'by_host', 'detail'), [
    (300.04, True, "the database's clock is 300.0 s ahead of this host's; "
                   "services are judged by this host's"),
    (-31.0, False, "the database's clock is 31.0 s behind this host's; "
                   "services are judged by the database's")])
def test_clocks_that_differ_are_a_problem(skew, by_host, detail):
    one = found(UP, skew=skew, skewed=True, by_host=by_host)
    expected = [services_rules.Problem(services_rules.CLOCK_SKEW, detail)]
    assert services_rules.judge_nova(one, cell0=False) == expected
    assert services_rules.judge_others(one) == expected


def test_the_worst_comes_first():
    one = found(Kind('nova-scheduler', down=1), skew=99, skewed=True)
    assert reasons(services_rules.judge_nova(one, cell0=False)) == [
        'NO CONDUCTOR UP', 'NO SCHEDULER UP', 'CLOCK SKEW']


def test_a_small_skew_is_no_problem():
    assert services_rules.judge_others(found(UP, skew=29.0)) == []


def test_one_line_for_admins():
    assert services_rules.describe(found(
        Kind('nova-compute', up=95, down=1, disabled=3, forced_down=1),
        Kind('nova-conductor', up=2))) == (
            'nova-compute 95 of 100 up, 1 down, 3 disabled, 1 forced down; '
            'nova-conductor 2 up')
    assert services_rules.describe(found()) == 'none registered'
