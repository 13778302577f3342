# SPDX-License-Identifier: Apache-2.0

"""Counts of services that another node of the fleet has made."""


from oslo_config import cfg
import pytest
import sqlalchemy

from healthcheck.config import views
from healthcheck.fleet import members
from healthcheck.fleet import scans as scans_module
from healthcheck.host import codec
from healthcheck.plugins import backends
from healthcheck.plugins import counts
from healthcheck.plugins import heartbeats
from healthcheck.plugins import services
from healthcheck.plugins import services_rules
from healthcheck.probing import guard
from healthcheck.reports import fleet
from healthcheck.reports import report
from healthcheck.targets import database_target
from tests.unit import test_services

Status = report.Status

NOW = 1000.0
PLACE = 'mysql db.example.org 3306 nova_cell1'
WELL = heartbeats.Found((heartbeats.Kind('nova-compute', 90, 10),
                         heartbeats.Kind('nova-conductor', 2)))
ILL = heartbeats.Found((heartbeats.Kind('nova-conductor', 0, 2),))
SKEWED = heartbeats.Found(WELL.kinds, 300.0, True)
OWN = heartbeats.Found((heartbeats.Kind('nova-conductor', 5),))


def written(found):
    return codec.dump(found).decode()


class Scripted:
    """What other nodes have found, as a test says.

    :ivar value: what is taken; None if there is nothing
    :ivar asked: the subjects that somebody wanted to take
    :ivar kept: what was put
    """

    def __init__(self, value=None):
        self.value = value
        self.asked = []
        self.kept = []

    def take(self, subject, now):
        assert now == NOW
        self.asked.append(subject)
        return None if self.value is None else scans_module.Taken(
            'api7', NOW - 12.0, self.value)

    def put(self, subject, value, now):
        self.kept.append((subject, value, now))


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    class Clock:
        now = NOW

        @classmethod
        def monotonic(cls):
            return cls.now
    monkeypatch.setattr(counts, 'time', Clock)
    return Clock


class Counting:
    """A counter, whose statement finds OWN."""

    def __init__(self, scans, *, target='cells', rule='nova 60'):
        self.executed = []
        self.fault = None
        self.counter = counts.Counter(self._execute, rule, scans, 'services',
                                      lambda: target)

    def _execute(self, connection):
        self.executed.append(connection)
        if self.fault is not None:
            raise self.fault
        return OWN

    def count(self, place=PLACE, *, cell0=False):
        return self.counter.count(
            'the connection', place,
            lambda found: services_rules.judge_nova(found, cell0=cell0))


class TestCounter:

    def test_a_count_of_another_node_is_taken(self):
        scans = Scripted(written(WELL))
        counting = Counting(scans)
        counted = counting.count()
        assert (counted.found, counted.at, counted.by) == (
            WELL, NOW - 12.0, 'api7')
        assert counted == counts.Counted.of(WELL)
        assert counted.described == (
            'nova-compute 90 of 100 up, 10 down; nova-conductor 2 up '
            '(counted by api7)')
        assert not counting.executed and not scans.kept

    def test_without_one_it_counts_and_tells(self):
        scans = Scripted()
        counting = Counting(scans)
        counted = counting.count()
        assert (counted.found, counted.at, counted.by) == (OWN, NOW, '')
        assert counted.described == 'nova-conductor 5 up'
        assert counting.executed == ['the connection']
        assert scans.kept == [(scans.asked[0], written(OWN), NOW)]

    @pytest.mark.parametrize('value', [
        written(ILL), written(SKEWED), '', 'torn', '{}', '[]', 'null',
        '\ud800', '[' * 10000, written(WELL)[:-1],
        written(WELL).replace('90', '"90"'),
        written(WELL).replace('"skew":0.0', '"skew":NaN'),
        written(WELL).replace('"by_host":false', '"by_host":false,"new":1'),
    ], ids=range(13))
    def test_what_is_not_well_is_counted_here(self, value):
        counting = Counting(Scripted(value))
        assert counting.count().found == OWN
        assert len(counting.executed) == 1

    def test_it_is_judged_by_the_rule_of_the_cell(self):
        none = heartbeats.Found(())
        assert Counting(Scripted(written(none))).count(
            cell0=True).found == none
        assert Counting(Scripted(written(none))).count().found == OWN

    @pytest.mark.parametrize('target, place', [('', PLACE), ('cells', '')])
    def test_nothing_is_shared_of_what_only_this_node_sees(self, target,
                                                           place):
        scans = Scripted(written(WELL))
        assert Counting(scans, target=target).count(place).found == OWN
        assert not scans.asked and not scans.kept

    def test_without_a_fleet(self):
        assert Counting(None).count().found == OWN

    def test_a_statement_that_fails_tells_nothing(self):
        scans = Scripted()
        counting = Counting(scans)
        counting.fault = OSError()
        with pytest.raises(OSError):
            counting.count()
        assert not scans.kept

    def test_it_is_as_old_as_its_statement(self, clock):
        """Which may have waited in the database for seconds."""
        scans = Scripted()

        def execute(connection):
            clock.now += 3.0
            return OWN
        counter = counts.Counter(execute, 'nova 60', scans, 'services',
                                 lambda: 'cells')
        counter.count('', PLACE, lambda found: [])
        assert scans.kept[0][2] == NOW

    def test_what_has_the_same_key(self):
        def subject(place=PLACE, **more):
            scans = Scripted()
            Counting(scans, **more).count(place)
            return scans.asked[0]
        same = subject()
        assert same == subject()
        assert (same.check, same.target) == ('services', 'cells')
        assert same.key != subject('mysql db.example.org 3306 other').key
        assert same.key != subject(rule='nova 61').key
        assert same.key != subject(rule='cinder 60').key
        assert len(same.key) == 16 and int(same.key, 16)  # a digest

    def test_from_node_to_node(self):
        """What the owners publish is what the others take."""
        names = [f'api{number}' for number in range(3)]
        nodes = {name: scans_module.Scans(name, 14.0) for name in names}

        def record(name):
            return fleet.NodeRecord(
                name, '1.0', 1, 2.0, fleet.IN, '', None,
                (fleet.NodeCheck('services', None, 'OK', 'cells'),),
                nodes[name].own(NOW + 1))

        def exchange():
            written = [members.load(members.dump(record(name)))
                       for name in names]
            for name, scans in nodes.items():
                scans.took([members.Heard(b'', one, NOW + 1)
                            for one in written if one.node != name])
        exchange()
        for scans in nodes.values():
            Counting(scans).count()
        exchange()
        found = [Counting(scans) for scans in nodes.values()]
        by = [one.count().by for one in found]
        assert sum(len(one.executed) for one in found) == 2
        taker, = (name for name, other in zip(names, by) if other)
        assert set(by) - {''} < set(names) - {taker}


@pytest.fixture
def shared(monkeypatch):
    """A file is what all nodes look at."""
    monkeypatch.setattr(database_target.DatabaseTarget, 'shared', True)


database = test_services.database


@pytest.mark.usefixtures('shared')
class TestOneDatabase:

    def visit(self, url, scans):
        view = views.View(cfg.CONF, {
            'backends': 'services', 'services_of': 'cinder',
            'database_connection': url})
        check, = backends.Backends(view).make_checks(0, scans)
        found = guard.visit(check.probe.target, [check.probe.question])
        return found.answer(check.probe.question).result

    def test_another_node_has_counted(self, database):
        url = database('cinder', ('a', 900), ('b', 5))
        scans = Scripted(written(heartbeats.Found((
            heartbeats.Kind('a', 3, 1), heartbeats.Kind('b', 2)))))
        result = self.visit(url, scans)
        assert (result.status, result.reason, result.detail) == (
            Status.PASS, 'OK',
            'a 3 of 4 up, 1 down; b 2 up (counted by api7)')
        assert [(one.name, one.status, one.detail)
                for one in result.components] == [
            ('a', Status.PASS, 'a 3 of 4 up, 1 down'),
            ('b', Status.PASS, 'b 2 up')]
        assert not scans.kept

    def test_its_text_is_made_safe(self, database):
        """A name in a record may be anything."""
        url = database('cinder', ('a', 5))
        result = self.visit(url, Scripted(written(heartbeats.Found((
            heartbeats.Kind('a\nFAKE', 3),)))))
        assert result.status is Status.PASS
        assert '\n' not in result.detail + result.components[0].name

    def test_a_problem_is_seen_here_or_it_is_none(self, database):
        forged = written(heartbeats.Found((heartbeats.Kind('a', 0, 3),)))
        result = self.visit(database('cinder', ('a', 5)), Scripted(forged))
        assert (result.status, result.detail) == (Status.PASS, 'a 1 up')

    def test_a_problem_is_told_to_the_others(self, database):
        scans = Scripted()
        result = self.visit(database('cinder', ('a', 900)), scans)
        assert result.reason == 'ALL OF A KIND DOWN'
        (subject, value, _), = scans.kept
        assert subject.check == 'services' and subject.target
        assert codec.load(heartbeats.Found, value.encode()).kinds == (
            heartbeats.Kind('a', 0, 1),)

    def test_a_database_that_cannot_be_reached_fails(self, tmp_path):
        scans = Scripted(written(WELL))
        result = self.visit(f'sqlite:///{tmp_path}/missing.db', scans)
        assert (result.status, result.reason) == (
            Status.FAIL, 'NO SUCH DATABASE')
        assert not scans.asked


class TestCells:

    @pytest.fixture
    def visited(self, database, tmp_path):
        """Visit two cells, one of which is down; return (parts, result)."""
        cells = [('one', database('nova', ('nova-conductor', 900),
                                  file='one')),
                 ('two', f'sqlite:///{tmp_path}/missing.db')]
        url = f'sqlite:///{tmp_path}/api.db'
        engine = sqlalchemy.create_engine(url,
                                          poolclass=sqlalchemy.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql(
                'CREATE TABLE cell_mappings (id integer primary key, uuid, '
                'name, transport_url, database_connection, disabled)')
            for uuid, where in cells:
                connection.execute(sqlalchemy.text(
                    "INSERT INTO cell_mappings VALUES (NULL, :uuid, :uuid, "
                    "'rabbit://nobody/', :where, 0)"), {
                        'uuid': uuid, 'where': where})

        def visit(scans, now=NOW):
            made = services.Services(views.View(cfg.CONF, {
                'services_of': 'nova', 'cells_api_connection': url,
                'fall': '1'}), {})
            check = made.check('services', {'scans': scans})
            found = check.watchlist
            seen = set()
            while left := [one for one in found.probes if one not in seen]:
                for probe in left:
                    seen.add(probe)
                    probe.state.started(NOW)
                    probe.finished(guard.visit(probe.target, (
                        [probe.question] if probe.question else [])),
                        NOW, 1e9, 0.0)
                    found.took(probe, NOW, 1e9)
            result = made.judge(found.state(now), now)
            return {one.name: one for one in result.components}, result
        return visit

    @pytest.mark.usefixtures('shared')
    def test_another_node_has_counted(self, visited):
        scans = Scripted(written(WELL))
        parts, result = visited(scans)
        assert result.status is Status.PASS
        assert (parts['one'].status, parts['one'].detail) == (
            Status.PASS, 'nova-compute 90 of 100 up, 10 down; '
                         'nova-conductor 2 up (counted by api7)')
        assert not scans.kept and len(scans.asked) == 1
        # That it can be reached is for this node to find.
        assert (parts['two'].status, parts['two'].reason) == (
            None, 'DATABASE: NO SUCH DATABASE')

    @pytest.mark.usefixtures('shared')
    def test_it_is_as_old_as_it_is_there(self, visited):
        """Twelve seconds old when it was taken, and ttl is thirty."""
        parts, _ = visited(Scripted(written(WELL)), NOW + 17.9)
        assert parts['one'].status is Status.PASS
        parts, result = visited(Scripted(written(WELL)), NOW + 18.1)
        assert parts['one'].status is None
        assert result.reason == 'SERVICES UNKNOWN'

    @pytest.mark.usefixtures('shared')
    def test_a_forged_count_changes_nothing(self, visited):
        scans = Scripted(written(ILL))
        parts, result = visited(scans)
        assert result.reason == 'NO CONDUCTOR UP'
        assert parts['one'].detail == 'nova-conductor 0 of 1 up, 1 down'
        assert len(scans.kept) == 1

    def test_databases_of_this_host_are_counted_here(self, visited):
        scans = Scripted(written(WELL))
        parts, _ = visited(scans)
        assert parts['one'].reason == 'NO CONDUCTOR UP'
        assert not scans.asked and not scans.kept
