# SPDX-License-Identifier: Apache-2.0

"""The demonstration's cloud: when what breaks, and that all comes back."""

import contextlib
import sqlite3

import pytest
import sqlalchemy

from healthcheck.cmd import demo_cloud
from healthcheck.plugins import heartbeats
from healthcheck.plugins import service_tables


@pytest.fixture
def made(tmp_path):
    # A name that a URL or a shell might take for something else.
    directory = tmp_path / "a directory's %41 #1"
    directory.mkdir()
    demo_cloud.make(directory)
    return directory


def rows(path, statement):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


class Time:
    """A clock, and pauses that end when it is late enough.

    :ivar look: called at the beginning of each pause
    """

    def __init__(self, end, look):
        self.now = 0.0
        self.end = end
        self.look = look

    def clock(self):
        return self.now

    def pause(self, seconds):
        self.look(self.now, seconds)
        self.now += max(seconds, 0.3)
        return self.now >= self.end


def test_databases_are_made_and_kept(made):
    cells = rows(made / demo_cloud.API_DATABASE,
                 'SELECT name, database_connection FROM cell_mappings')
    assert [name for name, _ in cells] == ['cell0', *demo_cloud.CELLS]
    path = made / demo_cloud.database_of('cell1')
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute('CREATE TABLE kept (id INTEGER)')
    # As after a kill, while it was away.
    path.rename(f'{path}.away')
    demo_cloud.make(made)
    assert rows(path, 'SELECT * FROM kept') == []
    assert len(rows(made / demo_cloud.API_DATABASE,
                    'SELECT * FROM cell_mappings')) == 4


def test_faults_come_and_go(made):
    slow, lost = (made / demo_cloud.database_of(fault.cell)
                  for fault in (demo_cloud.SLOW, demo_cloud.LOST))
    seen = []

    def look(now, seconds):
        try:
            with contextlib.closing(sqlite3.connect(
                    slow, timeout=0)) as connection:
                connection.execute('SELECT 1 FROM sqlite_master')
            locked = False
        except sqlite3.OperationalError:
            locked = True
        if now >= demo_cloud.MINUTE:  # as in the first one
            seen.append((now % demo_cloud.MINUTE, locked, lost.exists()))
    time = Time(2 * demo_cloud.MINUTE, look)
    demo_cloud.play(made, time.pause, time.clock)

    def during(fault):
        return [(locked, there) for at, locked, there in seen
                if fault.begins + 1.5 < at < fault.ends - 1.5]

    def between(first, last):
        return {(locked, there) for at, locked, there in seen
                if first < at < last}
    held = [locked for locked, _ in during(demo_cloud.SLOW)]
    # Held, and free, in turns: a statement that waits gets through.
    assert held[1:] == [not each for each in held[:-1]]
    assert set(during(demo_cloud.LOST)) == {(False, False)}
    well = {(False, True)}
    assert between(0.5, demo_cloud.SLOW.begins) == well
    assert between(demo_cloud.SLOW.ends + 1.5,
                   demo_cloud.LOST.begins) == well
    assert between(demo_cloud.LOST.ends + 0.5, demo_cloud.MINUTE) == well


def test_faults_leave_time_to_be_seen():
    for fault, after in zip(demo_cloud.FAULTS, demo_cloud.FAULTS[1:]):
        assert fault.ends < after.begins
    assert demo_cloud.FAULTS[-1].ends < demo_cloud.MINUTE


def test_what_is_lost_comes_back_at_the_end(made):
    lost = made / demo_cloud.database_of(demo_cloud.LOST.cell)
    gone = []
    time = Time(demo_cloud.LOST.begins + 2,
                lambda now, seconds: gone.append(not lost.exists()))
    demo_cloud.play(made, time.pause, time.clock)
    assert gone[-1] and lost.exists()


def test_services_are_up_and_a_lost_database_stays_lost(made):
    path = made / demo_cloud.database_of('cell1')
    engine = sqlalchemy.create_engine(
        'sqlite://', creator=lambda: sqlite3.connect(path))
    with engine.connect() as connection:
        found = heartbeats.count(connection, service_tables.NOVA, 60)
    engine.dispose()
    assert [(kind.binary, kind.up, kind.down) for kind in found.kinds] == [
        ('nova-compute', 4, 0), ('nova-conductor', 2, 0)]
    path.unlink()
    demo_cloud.beat(made)
    assert not path.exists()
