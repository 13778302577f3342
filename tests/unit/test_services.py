# SPDX-License-Identifier: Apache-2.0

"""Whose services are looked for, and what their counts mean."""

import dataclasses
import datetime
import time

from oslo_config import cfg
import oslo_middleware
import pytest
import sqlalchemy

from healthcheck.cells import cell
from healthcheck.cells import inventory
from healthcheck.config import views
from healthcheck import exceptions
from healthcheck.plugins import counts
from healthcheck.plugins import heartbeats
from healthcheck.plugins import services
from healthcheck.probing import guard
from healthcheck.reports import report
from tests import heartbeat_rows
from tests.unit import wsgi

Component = report.Component
Kind = heartbeats.Kind
Status = report.Status
FAIL, WARN, PASS = Status.FAIL, Status.WARN, Status.PASS

PATIENCE = 20
NO_DATABASE = 'sqlite:////nowhere/nova_api.db'

CONDUCTOR = Kind('nova-conductor', up=2)
NO_CONDUCTOR = Kind('nova-conductor', down=2)
COMPUTES = Kind('nova-compute', up=90, down=10)
NO_SCHEDULER = Kind('nova-scheduler', down=1)


class Now:
    """A clock of monotonic seconds that a test sets."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Now()
    monkeypatch.setattr(counts, 'time', made)
    return made


@pytest.fixture
def nova(clock):
    """Make the plugin for Nova, and what it finds in a list of cells."""
    made = services.Services(views.View(cfg.CONF, {
        'services_of': 'nova', 'cells_api_connection': NO_DATABASE}), {})

    def judge(*cells, listed=True):
        return made.judge(inventory.InventoryState(
            listed, Component('', PASS), cells), clock.now)
    return judge


def known(name, *kinds, up=True, is_cell0=False, reason='OK',
          counting=Component('', PASS), **clocks):
    """A cell in which those were counted."""
    status = {True: PASS, False: FAIL, None: None}[up]
    return cell.CellState(
        Component(name, status, reason, latency=3.0), is_cell0, True, up,
        True, counting,
        counts.Counted.of(heartbeats.Found(kinds, **clocks)))


def unknown(name, up=False, reason='DATABASE: CONNECTION REFUSED',
            disabled=False):
    return cell.CellState(
        Component(name, FAIL if up is False else None, reason,
                  disabled=disabled), False, not disabled, up, True)


def said(result):
    return result.status, result.reason


class TestNova:

    def test_all_is_well(self, nova):
        result = nova(known('cell0', Kind('nova-scheduler', up=3),
                            is_cell0=True),
                      known('one', CONDUCTOR, COMPUTES),
                      known('two', CONDUCTOR, COMPUTES))
        assert said(result) == (PASS, 'OK')
        assert result.latency == 0.0  # the cells' are told by "cells"
        assert result.detail == (
            'nova-compute 180 of 200 up, 20 down; nova-conductor 4 up; '
            'nova-scheduler 3 up')
        assert result.components == (
            Component('cell0', PASS, detail='nova-scheduler 3 up'),
            Component('one', PASS, detail='nova-conductor 2 up; '
                      'nova-compute 90 of 100 up, 10 down'),
            Component('two', PASS, detail='nova-conductor 2 up; '
                      'nova-compute 90 of 100 up, 10 down'))

    def test_a_cell_without_a_conductor(self, nova):
        result = nova(known('one', CONDUCTOR), known('two', NO_CONDUCTOR),
                      known('three', COMPUTES))
        assert said(result) == (FAIL, 'NO CONDUCTOR UP')
        assert result.detail == (
            'two: nova-conductor 0 of 2 up, 2 down; '
            'three: nova-conductor none registered')
        assert [(one.name, one.status, one.reason)
                for one in result.components] == [
            ('one', PASS, 'OK'), ('two', FAIL, 'NO CONDUCTOR UP'),
            ('three', FAIL, 'NO CONDUCTOR UP')]
        assert 'none registered' in result.components[2].detail

    def test_cell0_needs_none(self, nova):
        assert said(nova(known('cell0', is_cell0=True),
                         known('one', CONDUCTOR))) == (PASS, 'OK')

    def test_cells_that_are_not_up_do_not_count(self, nova):
        result = nova(known('one', CONDUCTOR),
                      known('two', NO_CONDUCTOR, up=False,
                            reason='MESSAGE QUEUE: NO ANSWER'),
                      known('three', NO_CONDUCTOR, up=None,
                            reason='DATABASE: STALE'),
                      unknown('four'), unknown('five', up=None),
                      unknown('six', up=None, reason='DISABLED',
                              disabled=True))
        assert said(result) == (PASS, 'OK')
        assert result.detail == 'nova-conductor 2 up'
        assert result.components[1:] == (
            Component('two', None, 'MESSAGE QUEUE: NO ANSWER'),
            Component('three', None, 'DATABASE: STALE'),
            Component('four', None, 'DATABASE: CONNECTION REFUSED'),
            Component('five', None, 'DATABASE: CONNECTION REFUSED'),
            Component('six', None, 'DISABLED', disabled=True))

    @pytest.mark.parametrize('cells, listed', [
        ([unknown('one')], True),
        ([unknown('one', up=None), unknown('two')], True),
        ([], False)])
    def test_nothing_known_is_a_warning(self, nova, cells, listed):
        result = nova(*cells, listed=listed)
        assert said(result) == (WARN, 'SERVICES UNKNOWN')

    @pytest.mark.parametrize('cells', [
        [], [unknown('one', up=None, reason='DISABLED', disabled=True)]])
    def test_no_cell_is_no_problem_of_services(self, nova, cells):
        assert said(nova(*cells)) == (PASS, 'OK')

    def test_counts_are_as_old_as_a_result_may_be(self, nova, clock):
        one = known('one', NO_CONDUCTOR)
        clock.now += 30
        assert said(nova(one)) == (FAIL, 'NO CONDUCTOR UP')
        clock.now += 0.1
        assert said(nova(one)) == (WARN, 'SERVICES UNKNOWN')

    def test_clocks_that_differ_are_a_warning(self, nova):
        result = nova(known('one', CONDUCTOR), known(
            'two', CONDUCTOR, skew=300.0, skewed=True, by_host=True))
        assert said(result) == (WARN, 'CLOCK SKEW')
        assert result.detail.startswith(
            "two: the database's clock is 300.0 s ahead")
        assert [one.status for one in result.components] == [PASS, WARN]

    def test_the_worst_is_said(self, nova):
        skewed = known('one', CONDUCTOR, NO_SCHEDULER, skew=99.0,
                       skewed=True)
        result = nova(skewed, known('two', CONDUCTOR))
        assert said(result) == (FAIL, 'NO SCHEDULER UP')
        assert result.components[0].reason == 'NO SCHEDULER UP'
        # Though a warning was found first.
        skewed = known('one', CONDUCTOR, skew=99.0, skewed=True)
        assert said(nova(skewed, known('two', NO_CONDUCTOR))) == (
            FAIL, 'NO CONDUCTOR UP')

    def test_a_cell_that_cannot_be_counted_says_why(self, nova):
        denied = Component('', FAIL, 'PERMISSION DENIED', 'd:3306: no', 0.1)
        result = nova(known('one', CONDUCTOR),
                      known('two', NO_CONDUCTOR, counting=denied))
        assert said(result) == (PASS, 'OK')
        assert result.detail == 'nova-conductor 2 up'
        assert result.components[1] == dataclasses.replace(
            denied, name='two', status=None)
        assert said(nova(known('two', CONDUCTOR, counting=denied))) == (
            WARN, 'SERVICES UNKNOWN')

    def test_a_count_holds_until_the_next_has_failed_for_good(self, nova):
        failing = Component('', WARN, 'NO ANSWER')
        assert said(nova(known('one', NO_CONDUCTOR, counting=failing))) == (
            FAIL, 'NO CONDUCTOR UP')

    def test_one_that_was_not_counted_yet(self, nova):
        one = dataclasses.replace(known(
            'one', counting=Component('', None, 'NOT PROBED')), counted=None)
        result = nova(known('two', CONDUCTOR), one)
        assert said(result) == (PASS, 'OK')
        assert result.components[1] == Component('one', None, 'NOT PROBED')

    def test_what_makes_counts_differ(self, clock):
        of = counts.Counted.of
        one = of(heartbeats.Found((CONDUCTOR, COMPUTES)))
        clock.now += 10
        assert of(heartbeats.Found((CONDUCTOR, Kind(
            'nova-compute', up=50, down=50)))) == one
        assert of(heartbeats.Found((CONDUCTOR, Kind(
            'nova-compute', down=100)))) != one
        assert of(heartbeats.Found((NO_CONDUCTOR, COMPUTES))) != one
        assert of(heartbeats.Found((CONDUCTOR, COMPUTES),
                                   skewed=True)) != one
        assert one is not None and one != 'something else'


def view(conf, **section):
    section.setdefault('cells_api_connection', NO_DATABASE)
    section.setdefault('database_connection', NO_DATABASE)
    return views.View(conf, section)


def table_of(made):
    return made._count.keywords['table']


class TestWhose:

    def conf(self, project):
        made = cfg.ConfigOpts()
        made([], project=project, default_config_files=[])
        return made

    @pytest.mark.parametrize('name', ['nova', 'cinder', 'neutron'])
    def test_the_services_that_it_runs_in(self, name):
        made = services.Services(view(self.conf(name)), {})
        assert table_of(made) is heartbeat_rows.ASKED[name]

    @pytest.mark.parametrize('name', ['nova', 'cinder', 'neutron'])
    def test_those_of_the_project_of_the_section(self, name):
        made = services.Services(view(
            self.conf('keystone'), oslo_config_project=name), {})
        assert table_of(made) is heartbeat_rows.ASKED[name]

    @pytest.mark.parametrize('name', ['nova', 'cinder', 'neutron'])
    def test_those_that_are_asked_for(self, name):
        made = services.Services(view(self.conf('nova'),
                                      services_of=name), {})
        assert table_of(made) is heartbeat_rows.ASKED[name]

    @pytest.mark.parametrize('project', [None, 'keystone'])
    def test_unknown_ones_are_an_error(self, project):
        with pytest.raises(exceptions.ConfigError) as caught:
            services.Services(view(self.conf(project)), {})
        problem, = caught.value.problems
        assert 'set services_of (allowed: nova, cinder, neutron)' in problem

    def test_a_misspelt_one_is_an_error(self, door):
        with pytest.raises(exceptions.ConfigError) as caught:
            door(wsgi.below, {'backends': 'services',
                              'services_of': 'glance'})
        assert any(one.startswith("services_of = 'glance'")
                   and 'neutron' in one for one in caught.value.problems)

    def test_memcached_is_an_error(self, conf):
        service = conf('[DEFAULT]\nservicegroup_driver = mc')
        with pytest.raises(exceptions.ConfigError) as caught:
            services.Services(view(service, services_of='nova'), {})
        problem, = caught.value.problems
        assert 'servicegroup_driver = mc' in problem
        services.Services(view(service, services_of='cinder'), {})

    @pytest.mark.parametrize('text, name, down_time', [
        ('', 'nova', 60), ('service_down_time = 90', 'nova', 90),
        ('report_interval = 100', 'cinder', 250),
        ('agent_down_time = 33', 'neutron', 33)])
    def test_down_time_is_the_services(self, conf, text, name, down_time):
        made = services.Services(view(conf(f'[DEFAULT]\n{text}'),
                                      services_of=name), {})
        assert made._count.keywords['down_time'] == down_time

    @pytest.mark.parametrize('name, option', [
        ('nova', 'service_down_time'), ('cinder', 'report_interval'),
        ('neutron', 'agent_down_time')])
    def test_one_that_is_no_number_is_an_error(self, conf, name, option):
        """Or stock oslo.middleware would go on without the plugin."""
        with pytest.raises(exceptions.ConfigError) as caught:
            services.Services(view(conf(f'[DEFAULT]\n{option} = soon'),
                                   services_of=name), {})
        problem, = caught.value.problems
        assert option in problem and "'soon'" in problem


@pytest.fixture
def database(tmp_path):
    """Make a service's database; return its URL."""
    def make(name, *rows, file=''):
        """:param rows: of (binary, seconds since its heartbeat)"""
        now = datetime.datetime.now(datetime.timezone.utc).replace(
            tzinfo=None)
        url = f'sqlite:///{tmp_path}/{file or name}.db'
        engine = sqlalchemy.create_engine(url,
                                          poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            heartbeat_rows.fill(connection, name, [
                heartbeat_rows.row(name, number, binary,
                                   now - datetime.timedelta(seconds=age))
                for number, (binary, age) in enumerate(rows, 1)])
        return url
    return make


class TestOneDatabase:

    def found(self, url, name):
        """What a visit says of the database, and of the services."""
        made = services.Services(views.View(cfg.CONF, {
            'services_of': name, 'database_connection': url}), {})
        probe = made.check('services', {}).probe
        found = guard.visit(probe.target, [probe.question])
        return found.result, found.answer(probe.question).result

    def services(self, url, name):
        return self.found(url, name)[1]

    @pytest.mark.parametrize('name', ['cinder', 'neutron'])
    def test_all_is_well(self, database, name):
        result = self.services(database(
            name, ('a', 5), ('a', 900), ('b', 5)), name)
        assert said(result) == (PASS, 'OK')
        assert result.detail == 'a 1 of 2 up, 1 down; b 1 up'
        assert result.components == (
            Component('a', PASS, detail='a 1 of 2 up, 1 down'),
            Component('b', PASS, detail='b 1 up'))
        assert result.latency is None

    @pytest.mark.parametrize('name', ['cinder', 'neutron'])
    def test_all_of_a_kind_are_down(self, database, name):
        result = self.services(database(name, ('a', 900), ('b', 5)), name)
        assert said(result) == (FAIL, 'ALL OF A KIND DOWN')
        assert result.detail == 'a 0 of 1 up, 1 down'
        assert [(one.status, one.reason) for one in result.components] == [
            (FAIL, 'ALL OF A KIND DOWN'), (PASS, 'OK')]

    def test_each_visit_counts_again(self, database):
        made = services.Services(views.View(cfg.CONF, {
            'services_of': 'cinder',
            'database_connection': database('cinder', ('a', 900))}), {})
        probe = made.check('services', {}).probe
        for expected in (FAIL, PASS):
            found = guard.visit(probe.target, [probe.question])
            assert found.answer(probe.question).result.status is expected
            database('cinder', ('a', 5))

    @pytest.mark.parametrize('skew, expected', [
        (300, (WARN, 'CLOCK SKEW')), (20, (PASS, 'OK'))])
    def test_clocks_that_differ(self, database, monkeypatch, skew, expected):
        count = heartbeats.count
        monkeypatch.setattr(
            heartbeats, 'count', lambda connection, **kwargs: count(
                connection, **kwargs,
                wall_clock=lambda: time.time() - skew))
        assert said(self.services(
            database('cinder', ('a', 5)), 'cinder')) == expected

    def test_a_database_that_is_down_says_why(self, tmp_path):
        for result in self.found(f'sqlite:///{tmp_path}/missing.db',
                                 'cinder'):
            assert said(result) == (FAIL, 'NO SUCH DATABASE')

    def test_a_table_that_is_missing_is_a_failure(self, database):
        url = database('cinder', ('a', 5))
        of_database, of_services = self.found(url, 'neutron')
        assert said(of_database) == (PASS, 'OK')
        assert of_services.status is FAIL
        assert 'no such table: agents' in of_services.detail

    def test_no_database_is_an_error(self):
        with pytest.raises(exceptions.ConfigError) as caught:
            services.Services(views.View(cfg.CONF, {
                'services_of': 'cinder'}), {})
        assert '[database]connection' in str(caught.value)

    def test_in_a_service_it_warns(self, database, door):
        made = door(wsgi.below, {
            'backends': 'services', 'services_of': 'cinder', 'fall': '1',
            'database_connection': database('cinder', ('a', 900)),
            'startup_wait': str(PATIENCE)})
        answer = wsgi.ask(made)
        assert (answer.status, answer.body) == (
            200, b'OK (SERVICES: ALL OF A KIND DOWN)')

    def test_in_stock_oslo_middleware(self, database, conf):
        made = oslo_middleware.Healthcheck(None, conf(f'''
            [healthcheck]
            backends = services
            services_of = neutron
            startup_wait = {PATIENCE}
            [database]
            connection = {database('neutron', ('a', 5))}
            '''))
        try:
            answer = wsgi.ask(made)
            assert (answer.status, answer.body) == (200, b'OK')
        finally:
            for ext in made._backends:
                ext.obj._engine.peek().stop(5)

    def test_in_stock_oslo_middleware_a_mistake_is_a_fault(
            self, conf, caplog):
        answer = wsgi.ask(oslo_middleware.Healthcheck(None, conf('''
            [DEFAULT]
            service_down_time = soon
            [healthcheck]
            backends = services
            services_of = cinder
            [database]
            connection = sqlite:////nowhere
            ''')))
        assert answer.status == 503
        assert answer.text.endswith('SERVICES: MISCONFIGURED')


def test_cells_are_counted_where_they_beat(database, tmp_path, clock):
    """From the API database to the result."""
    (tmp_path / 'empty.db').touch()
    cells = [('one', database('nova', ('nova-conductor', 5),
                              ('nova-compute', 900))),
             ('two', f'sqlite:///{tmp_path}/missing.db'),
             ('three', f'sqlite:///{tmp_path}/empty.db')]
    url = f'sqlite:///{tmp_path}/api.db'
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            'CREATE TABLE cell_mappings (id integer primary key, uuid, name,'
            ' transport_url, database_connection, disabled)')
        for uuid, where in cells:
            connection.execute(sqlalchemy.text(
                "INSERT INTO cell_mappings VALUES (NULL, :uuid, :uuid, "
                "'rabbit://nobody/', :where, 0)"), {
                    'uuid': uuid, 'where': where})
    made = services.Services(views.View(cfg.CONF, {
        'services_of': 'nova', 'cells_api_connection': url,
        'fall': '1'}), {})
    found = made.check('services', {}).watchlist
    seen = set()
    while left := [one for one in found.probes if one not in seen]:
        for probe in left:
            seen.add(probe)
            probe.state.started(clock.now)
            probe.finished(guard.visit(probe.target, (
                [probe.question] if probe.question else [])), clock.now, 1e9,
                0.0)
            found.took(probe, clock.now, 1e9)
    result = made.judge(found.state(clock.now), clock.now)
    assert said(result) == (PASS, 'OK')
    one, two, three = result.components
    assert (one.name, one.status, one.reason, one.detail) == (
        'one', PASS, 'OK', 'nova-compute 0 of 1 up, 1 down; '
                           'nova-conductor 1 up')
    assert (two.status, two.reason) == (None, 'DATABASE: NO SUCH DATABASE')
    # It is up all the same.
    assert [cell.up for cell in found.state(clock.now).cells] == [
        True, False, True]
    assert (three.name, three.status, three.reason) == (
        'three', None, 'FAILED')
    assert 'no such table: services' in three.detail
