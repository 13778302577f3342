# SPDX-License-Identifier: Apache-2.0

"""What the state of the cells means for the node."""

import dataclasses
import functools
import itertools

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from oslo_config import cfg
import oslo_middleware
import pytest
import sqlalchemy

from healthcheck.cells import cell
from healthcheck.cells import inventory as inventory_module
from healthcheck.cells import mappings
from healthcheck.config import views
from healthcheck import exceptions
from healthcheck.plugins import cells
from healthcheck.plugins import services
from healthcheck.probing import policy
from healthcheck.probing import state as state_module
from healthcheck.reports import report
from tests.unit import wsgi

Component = report.Component
Status = report.Status
FAIL, WARN, PASS = Status.FAIL, Status.WARN, Status.PASS

PATIENCE = 20
NO_DATABASE = 'sqlite:////nowhere/nova_api.db'

WELL = Component('', PASS)
DOWN = Component('', FAIL, 'CONNECTION REFUSED', 'api:3306: refused')
FIRST = Component('', None, 'CONNECTION REFUSED', 'api:3306: refused')
FAILING = Component('', WARN, 'CONNECTION REFUSED', 'api:3306: refused')
SLOW = Component('', WARN, state_module.SLOW, 'answered after 2.00 s')

# What is known of a cell: (status, whether that is known for good, reason).
STATES = {
    'up': (PASS, True, 'OK'),
    'slow': (WARN, True, 'DATABASE: SLOW'),
    'failing': (WARN, True, 'DATABASE: CONNECTION REFUSED'),
    'stale': (None, True, 'DATABASE: STALE'),
    'new': (None, False, 'DATABASE: NOT PROBED'),
    'down': (FAIL, True, 'DATABASE: CONNECTION REFUSED'),
}


@functools.cache
def plugin(**options):
    return cells.Cells(views.View(cfg.CONF, {
        'cells_api_connection': NO_DATABASE, **options}), {})


def state_of(*words, api=WELL, listed=True):
    """The state of cells; a word is what one is, ``0:`` before it cell0."""
    found = []
    for number, word in enumerate(words, 1):
        is_cell0, word = word.startswith('0:'), word.removeprefix('0:')
        name = 'cell0' if is_cell0 else f'c{number}'
        if word == 'disabled':
            found.append(cell.CellState(
                Component(name, None, 'DISABLED', disabled=True),
                is_cell0, False, None, True))
            continue
        status, settled, reason = STATES[word]
        up = None if status is None else status is not FAIL
        found.append(cell.CellState(Component(name, status, reason),
                                    is_cell0, True, up, settled))
    return inventory_module.InventoryState(listed, api, tuple(found))


def look(made, state):
    """What a plugin makes of a state."""
    return made.judge(state)[0]


def judged(*words, api=WELL, listed=True, **options):
    result, final = plugin(**options).judge(
        state_of(*words, api=api, listed=listed))
    return result.status, result.reason, final


MANY = ['0:up'] + ['up'] * 6
FOUR = ['0:up', 'up', 'up', 'down', 'down']


@pytest.mark.parametrize('words, kwargs, expected', [
    (['0:up', 'up', 'up'], {}, (PASS, 'OK', True)),

    # There is no list.
    ([], {'listed': False, 'api': DOWN}, (FAIL, 'NO LIST OF CELLS', True)),
    ([], {'listed': False, 'api': FIRST}, (FAIL, 'NO LIST OF CELLS', False)),
    ([], {'listed': False, 'api': DOWN, 'cells_critical': '',
          'cells_min_up': '0'}, (FAIL, 'NO LIST OF CELLS', True)),

    # The API database is away.
    (['0:up', 'up'], {'api': DOWN}, (WARN, 'API DATABASE DOWN', True)),
    (['0:up', 'up'], {'api': DOWN, 'cells_critical': 'api_database'},
     (FAIL, 'API DATABASE DOWN', True)),
    (['0:up', 'up'], {'api': DOWN, 'cells_critical': 'cell0,api_database'},
     (FAIL, 'API DATABASE DOWN', True)),
    (['0:up', 'up'], {'api': FAILING, 'cells_critical': 'api_database'},
     (WARN, 'API DATABASE FAILING', True)),
    (['0:up', 'up'], {'api': FIRST, 'cells_critical': 'api_database'},
     (PASS, 'OK', True)),
    (['0:up', 'up'], {'api': SLOW}, (WARN, 'API DATABASE SLOW', True)),

    # cell0.
    (['0:down', 'up'], {}, (FAIL, 'CRITICAL CELL DOWN', True)),
    (['0:new', 'up'], {}, (FAIL, 'CRITICAL CELL DOWN', False)),
    (['0:stale', 'up'], {}, (WARN, 'SOME CELLS UNKNOWN', True)),
    (['0:failing', 'up'], {}, (WARN, 'SOME CELLS FAILING', True)),
    (['0:slow', 'up'], {}, (WARN, 'SOME CELLS SLOW', True)),
    (['0:disabled', 'up'], {}, (PASS, 'OK', True)),
    (['0:down', 'up'], {'cells_critical': ''},
     (WARN, 'SOME CELLS DOWN', True)),
    (['0:new', 'up'], {'cells_critical': 'api_database'},
     (WARN, 'SOME CELLS UNKNOWN', True)),
    (['0:up', 'down'], {}, (FAIL, 'NO CELL UP', True)),

    # None is up.
    (['0:up', 'down', 'down'], {}, (FAIL, 'NO CELL UP', True)),
    (['0:up', 'down', 'disabled'], {}, (FAIL, 'NO CELL UP', True)),
    (['0:up', 'down', 'new'], {}, (FAIL, 'NO CELL UP', False)),
    (['0:up', 'new', 'new'], {}, (FAIL, 'NO CELL UP', False)),
    (['0:up', 'down', 'stale'], {}, (WARN, 'SOME CELLS DOWN', True)),
    (['0:up', 'stale', 'stale'], {}, (WARN, 'SOME CELLS UNKNOWN', True)),
    (['0:up', 'down', 'down'], {'cells_min_up': '0'},
     (WARN, 'SOME CELLS DOWN', True)),
    (['0:up', 'down', 'down'], {'cells_min_up': '0%'},
     (WARN, 'SOME CELLS DOWN', True)),

    # Too few are.
    (FOUR, {'cells_min_up': '2'}, (WARN, 'SOME CELLS DOWN', True)),
    (FOUR, {'cells_min_up': '3'}, (FAIL, 'TOO FEW CELLS UP', True)),
    (FOUR, {'cells_min_up': '50%'}, (WARN, 'SOME CELLS DOWN', True)),
    (FOUR, {'cells_min_up': '51%'}, (FAIL, 'TOO FEW CELLS UP', True)),
    (FOUR, {'cells_min_up': '75%'}, (FAIL, 'TOO FEW CELLS UP', True)),
    (FOUR + ['disabled'], {'cells_min_up': '50%'},
     (WARN, 'SOME CELLS DOWN', True)),
    (['0:up', 'up', 'down', 'new'], {'cells_min_up': '2'},
     (FAIL, 'TOO FEW CELLS UP', False)),
    (['0:up', 'up', 'down', 'new'], {'cells_min_up': '3'},
     (FAIL, 'TOO FEW CELLS UP', True)),
    (['0:up', 'up', 'down', 'stale'], {'cells_min_up': '2'},
     (WARN, 'SOME CELLS DOWN', True)),
    (['0:up', 'slow', 'failing'], {'cells_min_up': '100%'},
     (WARN, 'SOME CELLS FAILING', True)),
    (['0:up', 'up'], {'cells_min_up': '1000'}, (PASS, 'OK', True)),

    # There is none.
    ([], {}, (WARN, 'NO CELL MAPPED', True)),
    (['0:up'], {}, (WARN, 'NO CELL MAPPED', True)),
    (['0:up', 'disabled'], {'cells_min_up': '3'},
     (WARN, 'NO CELL MAPPED', True)),

    # One of many.
    (MANY + ['down'], {}, (WARN, 'SOME CELLS DOWN', True)),
    (MANY + ['failing'], {}, (WARN, 'SOME CELLS FAILING', True)),
    (MANY + ['stale'], {}, (WARN, 'SOME CELLS UNKNOWN', True)),
    (MANY + ['new'], {}, (WARN, 'SOME CELLS UNKNOWN', True)),
    (MANY + ['slow'], {}, (WARN, 'SOME CELLS SLOW', True)),
    (MANY + ['disabled'], {}, (PASS, 'OK', True)),
])
def test_what_states_mean(words, kwargs, expected):
    assert judged(*words, **kwargs) == expected


@pytest.mark.parametrize('kwargs, words, reason', [
    # The faults.
    ({'listed': False, 'api': DOWN, 'cells_critical': 'api_database'}, [],
     'NO LIST OF CELLS'),
    ({'api': DOWN, 'cells_critical': 'api_database,cell0'},
     ['0:down', 'down'], 'API DATABASE DOWN'),
    ({}, ['0:down', 'down'], 'CRITICAL CELL DOWN'),
    # A fault comes before all warnings.
    ({'api': DOWN}, ['0:down', 'up'], 'CRITICAL CELL DOWN'),
    ({'api': DOWN}, ['0:up', 'down'], 'NO CELL UP'),
    # The warnings.
    ({'api': DOWN}, [], 'API DATABASE DOWN'),
    ({'api': SLOW}, ['0:up', 'up', 'down'], 'API DATABASE SLOW'),
    ({}, ['0:slow'], 'NO CELL MAPPED'),
    ({}, ['up', 'slow', 'stale', 'failing', 'down'], 'SOME CELLS DOWN'),
    ({}, ['up', 'slow', 'stale', 'failing'], 'SOME CELLS FAILING'),
    ({}, ['up', 'slow', 'stale'], 'SOME CELLS UNKNOWN')])
def test_the_worst_is_said(kwargs, words, reason):
    assert judged(*words, **kwargs)[1] == reason


words = st.lists(st.sampled_from(sorted(STATES)), max_size=6)
BETTER = [('down', 'new'), ('new', 'stale'), ('new', 'slow'),
          ('new', 'up'), ('stale', 'slow'), ('stale', 'up'),
          ('failing', 'slow'), ('slow', 'up'), ('down', 'up')]


@settings(max_examples=300, deadline=None)
@given(cell0=st.sampled_from(sorted(STATES)), words=words,
       api=st.sampled_from([WELL, DOWN, FIRST, FAILING, SLOW]),
       min_up=st.sampled_from(['0', '1', '2', '5', '1%', '50%', '100%']),
       critical=st.sampled_from(['', 'cell0', 'api_database',
                                 'cell0,api_database']))
def test_a_cell_that_gets_better_makes_nothing_worse(cell0, words, api,
                                                     min_up, critical):
    made = plugin(cells_min_up=min_up, cells_critical=critical)
    before = ['0:' + cell0, *words]
    now, final = made.judge(state_of(*before, api=api))
    for index, (bad, good) in itertools.product(range(len(before)), BETTER):
        if before[index].removeprefix('0:') == bad:
            after = list(before)
            after[index] = before[index].replace(bad, good)
            then = look(made, state_of(*after, api=api))
            assert then.status <= now.status, (before, after)
    if now.status is FAIL and final:
        # It is a fault however what is not known yet turns out.
        assert look(made, state_of(
            *(one.replace('new', 'up') for one in before),
            api=api)).status is FAIL
    if now.status is PASS:
        assert not {'down', 'new', 'failing'} & set(
            one.removeprefix('0:') for one in before)


def test_details_are_for_admins():
    made = plugin(cells_min_up='3')
    result = look(made, state_of('0:up', 'up', 'slow', *['down'] * 6,
                                 'disabled'))
    assert result.detail == (
        '2 of 8 cells are up, and cells_min_up = 3; c3 (DATABASE: SLOW), '
        'c4 (DATABASE: CONNECTION REFUSED), '
        'c5 (DATABASE: CONNECTION REFUSED), '
        'c6 (DATABASE: CONNECTION REFUSED), '
        'c7 (DATABASE: CONNECTION REFUSED) and 2 more')
    assert look(made, state_of(listed=False, api=DOWN)).detail == (
        'API database: CONNECTION REFUSED: api:3306: refused')
    assert look(made, state_of('0:up', 'up', api=DOWN)).detail == (
        'the cells are those of its last list; CONNECTION REFUSED: '
        'api:3306: refused')
    assert look(made, state_of('0:up', 'disabled')).detail == (
        'of 2 in the list')
    assert look(made, state_of('0:up', *['up'] * 3, 'slow')).detail == (
        '1 of 5: c5 (DATABASE: SLOW)')
    assert look(made, state_of('0:up', *['up'] * 3)).detail == '4 up'


def test_each_cell_is_a_component():
    state = state_of('0:up', 'down', 'disabled')
    assert look(plugin(), state).components == tuple(
        one.component for one in state.cells)


def test_latency_is_that_of_those_that_answer():
    def with_latency(*pairs):
        state = state_of(*(word for word, _ in pairs))
        return dataclasses.replace(state, cells=tuple(
            dataclasses.replace(one, component=dataclasses.replace(
                one.component, latency=latency))
            for one, (_, latency) in zip(state.cells, pairs)))
    made = plugin()
    assert look(made, with_latency(
        ('0:up', 0.1), ('up', 0.3), ('slow', None),
        ('down', 4.0), ('stale', 9.0))).latency == 0.3
    assert look(made, state_of('down')).latency == 0.0


class TestOptions:

    @pytest.mark.parametrize('name, value, allowed', [
        ('cells_min_up', 'x', '[0-9]'), ('cells_min_up', '-1', '[0-9]'),
        ('cells_min_up', '101%', '100%'), ('cells_min_up', '', '[0-9]'),
        ('cells_min_up', '1.5', '[0-9]'),
        ('cells_critical', 'foo', "['cell0', 'api_database']"),
        ('cells_critical', 'cell0,cell1', "['cell0', 'api_database']"),
        ('cells_workers', '1', '4 to 1000')])
    def test_a_bad_one_is_one_error(self, door, name, value, allowed):
        with pytest.raises(exceptions.ConfigError) as caught:
            door(wsgi.below, {'backends': 'cells', name: value,
                              'cells_api_connection': NO_DATABASE})
        problem, = caught.value.problems
        assert problem.startswith(f'{name} = {value!r}')
        assert allowed in problem.partition('(allowed: ')[2]

    @pytest.mark.parametrize('value', ['0', '7', '0%', '99%', '100%'])
    def test_a_good_one_is_none(self, door, value):
        door(wsgi.below, {'backends': 'cells', 'cells_min_up': value,
                          'cells_api_connection': NO_DATABASE})

    @pytest.mark.parametrize('backend', ['cells', 'services'])
    def test_no_api_database_is_an_error(self, door, backend):
        with pytest.raises(exceptions.ConfigError) as caught:
            door(wsgi.below, {'backends': backend, 'services_of': 'nova'})
        problem, = caught.value.problems
        assert '[api_database]connection' in problem
        assert 'cells_api_connection' in problem

    @pytest.mark.parametrize('url', ['sesame', 'foo://nova:sesame@h/d'])
    def test_nor_is_a_bad_one_told(self, door, url):
        with pytest.raises(exceptions.ConfigError) as caught:
            door(wsgi.below, {'backends': 'cells',
                              'cells_api_connection': url})
        assert 'cells_api_connection' in str(caught.value)
        assert 'sesame' not in str(caught.value)

    def test_the_api_database_is_novas(self, conf):
        service = conf('''
            [api_database]
            connection = sqlite:////x/nova_api.db
            connection_parameters = timeout=3
            ''')
        view = views.View(service, {})
        assert inventory_module.Sources.of(
            view, policy.Policy()).api_url == (
            'sqlite:////x/nova_api.db?timeout=3')
        view = views.View(service, {'cells_api_connection': NO_DATABASE})
        assert inventory_module.Sources.of(
            view, policy.Policy()).api_url == NO_DATABASE


@pytest.fixture
def nova(tmp_path):
    """Nova's API database with a cell, on SQLite; its URL."""
    (tmp_path / 'cell.db').touch()
    url = f'sqlite:///{tmp_path}/api.db'
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            'CREATE TABLE cell_mappings (id integer primary key, uuid, name,'
            ' transport_url, database_connection, disabled)')
        for number, uuid in enumerate((mappings.CELL0, 'one')):
            connection.execute(sqlalchemy.text(
                'INSERT INTO cell_mappings VALUES (:id, :uuid, :uuid, '
                ':transport, :database, 0)'), {
                    'id': number, 'uuid': uuid, 'transport': 'fake:///',
                    'database': f'sqlite:///{tmp_path}/cell.db'})
    return url


QUICK = {'interval': '60', 'ttl': '600', 'startup_wait': str(PATIENCE)}


class TestCheck:

    def view(self, nova, **options):
        return views.View(cfg.CONF, {'cells_api_connection': nova,
                                     'services_of': 'nova', **options})

    @pytest.mark.parametrize('backwards', [False, True])
    def test_plugins_of_a_section_share_an_inventory(self, nova, backwards):
        view = self.view(nova)
        common = {}
        kinds = [cells.Cells, services.Services]
        one, other = (kind(view, {}).check(kind.name, common)
                      for kind in (reversed(kinds) if backwards else kinds))
        assert one.watchlist is other.watchlist
        assert one.watchlist.queues and one.watchlist.count is not None

    def test_each_has_what_it_wants_alone(self, nova):
        view = self.view(nova)
        made = cells.Cells(view, {}).check('cells', {}).watchlist
        assert made.queues and made.count is None
        made = services.Services(view, {}).check('services', {}).watchlist
        assert not made.queues and made.count is not None

    def test_those_of_two_sections_do_not(self, nova):
        one, two = (cells.Cells(self.view(nova), {}).check('cells', {})
                    for _ in range(2))
        assert one.watchlist is not two.watchlist

    def test_nothing_is_opened_before_a_visit(self, nova):
        made = cells.Cells(self.view(nova), {}).check('cells', {})
        assert [one.target.connected for one in made.watchlist.probes] == [
            False]

    def test_it_is_judged_by_what_is_known(self, nova):
        made = cells.Cells(self.view(nova), {}).check('cells', {})
        made.judge(1000.0, 1e9, 0.0)
        found = made.snapshot()
        assert (found.name, found.status, found.reason) == (
            'cells', WARN, 'NO LIST OF CELLS')
        assert (made.label, made.state.settled) == ('CELLS', False)

    def test_what_another_process_found_is_handed_on(self, nova):
        made = cells.Cells(self.view(nova), {}).check('cells', {})
        inherited = []
        made._inherit = inherited.append
        found = (Component('one', FAIL, 'DATABASE: GONE'),)
        made.restore(report.CheckReport(
            'cells', WARN, 'SOME CELLS DOWN', '', 1000.0, 30.0, 0.0,
            components=found), 1010.0)
        assert inherited == [found]
        assert made.state.status is WARN
        assert cells.Cells(self.view(nova), {}).check(
            'cells', {})._inherit.__name__ == 'inherit'


def test_in_a_service(nova, door):
    made = door(wsgi.below, {'backends': 'cells', **QUICK,
                             'cells_api_connection': nova})
    answer = wsgi.ask(made)
    assert (answer.status, answer.body) == (200, b'OK')


def test_in_stock_oslo_middleware(nova, conf):
    made = oslo_middleware.Healthcheck(None, conf(f'''
        [healthcheck]
        backends = cells
        startup_wait = {PATIENCE}
        [api_database]
        connection = {nova}
        '''))
    try:
        for _ in range(3):
            answer = wsgi.ask(made)
            assert (answer.status, answer.body) == (200, b'OK')
    finally:
        for ext in made._backends:
            ext.obj._engine.peek().stop(5)


def test_in_stock_oslo_middleware_a_mistake_is_a_fault(conf, caplog):
    answer = wsgi.ask(oslo_middleware.Healthcheck(None, conf(
        '[healthcheck]\nbackends = cells')))
    assert answer.status == 503
    assert answer.text.endswith('CELLS: MISCONFIGURED')
    assert '[api_database]connection' in caplog.text
