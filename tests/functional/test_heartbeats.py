# SPDX-License-Identifier: Apache-2.0

"""Who is up, asked of real servers with tables as the services make them."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import datetime
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import pool

from healthcheck.plugins import heartbeats
from healthcheck.plugins import service_tables
from healthcheck.plugins import services_rules
from tests.functional import databases
from tests.functional import servers
from tests import heartbeat_rows

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, 678000)
EPOCH = NOW.replace(tzinfo=datetime.timezone.utc).timestamp()


@pytest.fixture(params=databases.DRIVERS)
def database(request: pytest.FixtureRequest) -> Iterator[databases.Database]:
    yield from databases.requested(request)


@pytest.fixture
def connection(database: databases.Database,
               ) -> Iterator[sqlalchemy.Connection]:
    yield from connected(database)


@pytest.fixture
def of_mariadb(mariadb: servers.MariaDB) -> Iterator[sqlalchemy.Connection]:
    with databases.on(mariadb, databases.DRIVERS[0]) as database:
        yield from connected(database)


def connected(database: databases.Database,
              ) -> Iterator[sqlalchemy.Connection]:
    engine = sqlalchemy.create_engine(database.url(), poolclass=pool.NullPool)
    with engine.connect() as made:
        yield made


def set_time_zone(connection: sqlalchemy.Connection, hours: int) -> None:
    if connection.dialect.name == 'mysql':
        statement = f"SET time_zone = '{hours:+03}:00'"
    else:
        statement = f"SET TIME ZONE INTERVAL '{hours:+03}:00' HOUR TO MINUTE"
    connection.exec_driver_sql(statement)
    connection.commit()


def set_clock(connection: sqlalchemy.Connection,
              when: datetime.datetime) -> None:
    """Stop the clock of the session at a time in UTC."""
    if connection.dialect.name == 'mysql':
        # Works on microseconds, and not on the time zone of the session.
        seconds = when.replace(tzinfo=datetime.timezone.utc).timestamp()
        connection.exec_driver_sql(f'SET timestamp = {seconds:.6f}')
    else:
        # What stands first in the path is taken for the server's own.
        connection.exec_driver_sql('CREATE SCHEMA other')
        connection.exec_driver_sql(
            f"CREATE FUNCTION other.clock_timestamp() RETURNS timestamptz "
            f"LANGUAGE sql AS 'SELECT timestamptz ''{when} UTC'''")
        connection.exec_driver_sql(
            'SET search_path = other, pg_catalog, public')
    connection.commit()


def count(connection: sqlalchemy.Connection, name: str,
          wall_clock: Callable[[], float] = lambda: EPOCH,
          ) -> heartbeats.Found:
    found = heartbeats.count(connection, heartbeat_rows.ASKED[name], 60,
                             wall_clock=wall_clock)
    connection.rollback()
    return found


def stored(connection: sqlalchemy.Connection,
           name: str) -> list[dict[str, Any]]:
    """The rows as the service itself reads them."""
    rows = connection.execute(sqlalchemy.select(heartbeat_rows.REAL[name]))
    return [dict(row) for row in rows.mappings()]


@pytest.mark.parametrize('hours', [-11, 0, 9])
def test_time_zones_do_not_matter(connection: sqlalchemy.Connection,
                                  hours: int) -> None:
    set_time_zone(connection, hours)
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    for name in heartbeat_rows.REAL:
        heartbeat_rows.fill(connection, name, [
            heartbeat_rows.row(name, 1, 'x', now),
            heartbeat_rows.row(name, 2, 'x',
                               now - datetime.timedelta(hours=1))])
        found = heartbeats.count(connection, heartbeat_rows.ASKED[name], 50)
        assert found == heartbeats.Found(
            (heartbeats.Kind('x', up=1, down=1),), found.skew)
        assert abs(found.skew) < 1
        connection.rollback()


def test_time_zone_of_the_server(of_mariadb: sqlalchemy.Connection,
                                 mariadb: servers.MariaDB) -> None:
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    heartbeat_rows.fill(of_mariadb, 'nova',
                        [heartbeat_rows.row('nova', 1, 'x', now)])
    mariadb.sql("SET GLOBAL time_zone = '+09:00'")
    try:
        with of_mariadb.engine.connect() as connection:
            assert connection.exec_driver_sql(
                'SELECT @@time_zone').scalar() == '+09:00'
            found = heartbeats.count(connection, service_tables.NOVA, 50)
    finally:
        mariadb.sql("SET GLOBAL time_zone = 'SYSTEM'")
    assert found.kinds == (heartbeats.Kind('x', up=1),)
    assert abs(found.skew) < 1


@pytest.mark.parametrize('name', heartbeat_rows.REAL)
def test_agrees_with_the_services_own_code(
        connection: sqlalchemy.Connection, name: str) -> None:
    rows = []
    for number in range(400):
        # All around both ends of what is up, a quarter of a second apart.
        age = (-1 if number % 2 else 1) * (35 + number // 2 / 4)
        beat = NOW - datetime.timedelta(seconds=age)
        late = name != 'neutron' and number % 5 == 0
        rows.append(heartbeat_rows.row(
            name, number + 1, f'kind {number % 3}', None if late else beat,
            created=beat if late else NOW,
            disabled=(False, False, None, True)[number % 4]
            if name != 'neutron' else number % 4 == 3,
            forced_down=(False, None, True)[number % 7 % 3],
            deleted=(0, 0, 0, number + 1, None)[number % 11 % 5]))
    heartbeat_rows.fill(connection, name, rows)
    set_clock(connection, NOW)
    expected = heartbeat_rows.judged(name, stored(connection, name), NOW, 60)
    assert all(kind.up and kind.down and kind.disabled for kind in expected)
    assert count(connection, name) == heartbeats.Found(expected)


@pytest.mark.parametrize('binary', [
    '', None, 'null', '1', '\\"', '"], [1', "o'clock", 'a|b, c', 'é ☃', ' '])
def test_any_name_of_a_binary(connection: sqlalchemy.Connection,
                              binary: str | None) -> None:
    heartbeat_rows.fill(connection, 'nova', [
        heartbeat_rows.row('nova', 1, binary, NOW)])
    set_clock(connection, NOW)
    assert count(connection, 'nova').kinds == (
        heartbeats.Kind(binary or '', up=1),)


@pytest.mark.parametrize('fraction', [0, 1, 250000, 499999, 500000, 999999])
def test_the_very_limit(connection: sqlalchemy.Connection,
                        fraction: int) -> None:
    # The columns hold whole seconds, the clock does not: nothing is rounded
    # on the way.
    now = NOW.replace(microsecond=fraction)
    rows = [heartbeat_rows.row(
        'nova', number, 'x', NOW.replace(microsecond=0)
        + datetime.timedelta(seconds=age))
        for number, age in enumerate((-61, -60, -59, 59, 60, 61, 62), 1)]
    heartbeat_rows.fill(connection, 'nova', rows)
    set_clock(connection, now)
    expected = heartbeat_rows.judged(
        'nova', stored(connection, 'nova'), now, 60)
    up = 3 if fraction else 4
    assert expected == (heartbeats.Kind('x', up=up, down=7 - up),)
    assert count(connection, 'nova').kinds == expected


@pytest.mark.parametrize('name', heartbeat_rows.REAL)
@pytest.mark.parametrize('ahead', [-300, 300])
def test_a_database_whose_clock_is_off(connection: sqlalchemy.Connection,
                                       name: str, ahead: int) -> None:
    heartbeat_rows.fill(connection, name, [
        heartbeat_rows.row(name, number, 'x',
                           NOW - datetime.timedelta(seconds=age))
        for number, age in enumerate((0, 5, 10, 600), 1)])
    set_clock(connection, NOW + datetime.timedelta(seconds=ahead))
    found = count(connection, name)
    assert found.kinds == (heartbeats.Kind('x', up=3, down=1),)
    assert found.by_host
    assert found.skew == pytest.approx(ahead, abs=0.01)
    assert services_rules.CLOCK_SKEW in [
        problem.reason for problem in services_rules.judge_others(found)]


def test_a_host_whose_clock_is_off(connection: sqlalchemy.Connection,
                                   ) -> None:
    heartbeat_rows.fill(connection, 'nova', [
        heartbeat_rows.row('nova', 1, 'x', NOW)])
    set_clock(connection, NOW)
    found = count(connection, 'nova', lambda: EPOCH - 300)
    assert found.kinds == (heartbeats.Kind('x', up=1),)
    assert found.skewed and not found.by_host


def test_ten_thousand_services_are_a_handful_of_rows(
        of_mariadb: sqlalchemy.Connection) -> None:
    kinds = ('nova-compute', 'nova-conductor', 'nova-metadata')
    heartbeat_rows.fill(of_mariadb, 'nova', [heartbeat_rows.row(
        'nova', number, kinds[0] if number > 20 else kinds[number % 3],
        NOW - datetime.timedelta(seconds=number % 100),
        disabled=number % 50 == 0, forced_down=number % 70 == 0)
        for number in range(1, 10001)])
    set_clock(of_mariadb, NOW)
    before = sent(of_mariadb)
    found = count(of_mariadb, 'nova')
    # One is the time.
    assert 2 <= sent(of_mariadb) - before <= 1 + 4 * len(kinds)
    assert found.kinds == heartbeat_rows.judged(
        'nova', stored(of_mariadb, 'nova'), NOW, 60)
    assert sum(kind.total for kind in found.kinds) == 10000 - 7
    of_mariadb.rollback()


def sent(connection: sqlalchemy.Connection) -> int:
    """How many rows of tables or values the session has been sent."""
    return int(connection.exec_driver_sql(
        "SHOW SESSION STATUS LIKE 'Rows_sent'").one()[1])
