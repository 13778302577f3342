# SPDX-License-Identifier: Apache-2.0

"""Cells as they are listed, what is known of them, and what is said."""

import dataclasses
import logging
import urllib.parse

from oslo_config import cfg
import pytest

from healthcheck.cells import cell as cell_module
from healthcheck.cells import fleet as fleet_module
from healthcheck.cells import mappings
from healthcheck.probing import check
from healthcheck.reports import report
from healthcheck.targets import dialects
from tests.unit import cloud as cloud_module
from tests.unit import world

Component = report.Component
Result = report.Result
Status = report.Status

POLICY = check.Policy()
PASSWORD = cloud_module.PASSWORD
QUOTED = urllib.parse.quote(PASSWORD, safe='')
MAPPING = mappings.Mapping('u', 'cell1', f'rabbit://u:{QUOTED}@q/',
                           f'mysql://u:{QUOTED}@d/nova', False)


class Known:
    """A cell whose backends find what a test says."""

    def __init__(self, *labels, policy=POLICY, inherited=None,
                 mapping=MAPPING):
        self.now = 1000.0
        self.cell = cell_module.Cell(mapping, mapping.title, True, inherited)
        for label in labels:
            self.cell.backends.append(cell_module.Backend(
                label, None, policy, self.cell))

    def visit(self, label, result, took=0.02):
        one, = [one for one in self.cell.backends if one.label == label]
        one.check.started(self.now)
        self.now += took
        one.check.finished(result, self.now, 1e9 + self.now)
        return self.cell.noted(self.now, 1e9 + self.now)

    def database(self, result, took=0.02):
        return self.visit(cell_module.DATABASE, result, took)

    def queue(self, result, took=0.02):
        return self.visit(cell_module.MESSAGE_QUEUE, result, took)

    @property
    def state(self):
        return self.cell.state(self.now)

    @property
    def said(self):
        one = self.state.component
        return one.status, one.reason


@pytest.fixture
def known():
    return Known(cell_module.DATABASE, cell_module.MESSAGE_QUEUE)


@pytest.fixture
def messages(caplog):
    caplog.set_level(logging.DEBUG, 'healthcheck')
    return lambda: caplog.messages


OK, REFUSED = world.OK, world.REFUSED
LOGIN = Result.failed('LOGIN REFUSED', 'd:3306: no')


class TestCell:

    def test_is_unknown_at_first(self, known):
        assert known.state == cell_module.CellState(
            Component('cell1', None, 'DATABASE: NOT PROBED'),
            is_cell0=False, enabled=True, up=None, settled=False)

    def test_is_up_when_all_is(self, known):
        known.database(OK)
        assert (known.state.up, known.state.settled) == (None, False)
        known.queue(OK, took=0.5)
        state = known.state
        assert (state.up, state.settled) == (True, True)
        assert state.component == Component(
            'cell1', Status.PASS, latency=pytest.approx(0.5),
            since=1e9 + known.now)

    @pytest.mark.parametrize('label, prefix', [
        ('DATABASE', 'DATABASE'), ('MESSAGE QUEUE', 'MESSAGE QUEUE')])
    def test_is_down_when_one_is_for_good(self, known, label, prefix):
        known.visit(label, LOGIN)
        assert (known.state.up, known.state.settled) == (None, False)
        assert known.said[0] is None
        known.visit(label, LOGIN)
        assert (known.state.up, known.state.settled) == (False, True)
        assert known.said == (Status.FAIL, f'{prefix}: LOGIN REFUSED')
        assert known.state.component.detail == (
            f'{prefix.lower()}: d:3306: no')

    def test_the_worst_is_said(self, known):
        known.database(OK)
        known.queue(OK)
        known.queue(OK, took=2.0)
        assert known.said == (Status.WARN, 'MESSAGE QUEUE: SLOW')
        known.database(LOGIN)
        known.database(LOGIN)
        assert known.said == (Status.FAIL, 'DATABASE: LOGIN REFUSED')
        assert known.state.component.detail == (
            'database: d:3306: no; message queue: answered after 2.00 s')

    def test_a_first_failure_after_passes_is_a_warning(self, known):
        known.database(OK)
        known.queue(OK)
        known.database(REFUSED)
        assert known.said == (Status.WARN, 'DATABASE: CONNECTION REFUSED')
        assert (known.state.up, known.state.settled) == (True, True)

    def test_is_unknown_when_one_is_stale(self, known):
        known.database(OK)
        known.queue(OK, took=2.0)
        known.now = 1020.0
        known.queue(OK, took=2.0)
        known.now = 1030.0
        assert known.said == (Status.WARN, 'MESSAGE QUEUE: SLOW')
        known.now += 0.1
        assert known.said == (None, 'DATABASE: STALE')
        assert (known.state.up, known.state.settled) == (None, True)

    def test_a_failure_that_is_stale_is_still_one(self, known):
        known.database(OK)
        known.queue(OK)
        known.queue(REFUSED)
        known.queue(REFUSED)
        known.now += POLICY.ttl
        assert known.said == (Status.FAIL,
                              'MESSAGE QUEUE: CONNECTION REFUSED')

    def test_is_down_when_one_is_stale_and_one_is_down(self, known):
        known.database(OK)
        known.now += POLICY.ttl
        known.queue(REFUSED)
        known.queue(REFUSED)
        assert known.said == (Status.FAIL,
                              'MESSAGE QUEUE: CONNECTION REFUSED')

    def test_since_is_when_its_status_came(self, known):
        assert known.state.component.since is None
        known.database(OK)
        known.queue(OK)
        up_since = known.state.component.since
        known.database(OK)
        assert known.state.component.since == up_since == 1e9 + 1000.04
        known.database(REFUSED)
        known.database(REFUSED)
        down_since = known.state.component.since
        known.database(LOGIN)
        assert known.state.component.since == down_since > up_since

    def test_tells_what_is_new(self, known):
        assert not known.database(OK)
        assert known.queue(OK)
        assert not known.queue(OK)
        assert known.database(REFUSED)
        assert known.database(REFUSED)
        assert not known.database(LOGIN)
        assert known.database(OK)

    def test_tells_of_counts(self, known):
        database, queue = known.cell.backends
        known.database(OK)
        known.queue(OK)
        assert known.state.counted is None
        database.found = 7
        queue.found = 'not asked for'
        assert known.queue(OK)
        assert known.state.counted == 7
        assert not known.database(OK)

    def test_that_is_disabled_is_not_looked_at(self):
        known = Known(mapping=dataclasses.replace(MAPPING, disabled=True))
        assert known.state == cell_module.CellState(
            Component('cell1', None, 'DISABLED', disabled=True),
            is_cell0=False, enabled=False, up=None, settled=True)

    def test_that_has_a_bad_mapping_is_down(self, messages):
        known = Known()
        known.cell.fault = 'transport_url is empty'
        assert known.cell.noted(known.now, 5.0)
        assert known.state == cell_module.CellState(
            Component('cell1', Status.FAIL, 'BAD MAPPING',
                      'transport_url is empty', since=5.0),
            is_cell0=False, enabled=True, up=False, settled=True)
        assert messages() == ['Healthcheck cell cell1 is down: BAD MAPPING: '
                              'transport_url is empty']

    def test_knows_cell0(self):
        known = Known(cell_module.DATABASE, mapping=dataclasses.replace(
            MAPPING, uuid=mappings.CELL0))
        assert known.state.is_cell0


class TestInherited:
    FAILED = Component('old name', Status.FAIL, 'DATABASE: GONE', 'detail',
                       since=7.0)
    WELL = Component('cell1', Status.PASS, since=7.0)

    def made(self, inherited):
        return Known(cell_module.DATABASE, cell_module.MESSAGE_QUEUE,
                     inherited=inherited)

    def test_holds_until_all_is_settled(self):
        known = self.made(self.FAILED)
        expected = dataclasses.replace(self.FAILED, name='cell1')
        assert known.state.component == expected
        known.database(OK)
        assert known.state.component == expected
        assert (known.state.up, known.state.settled) == (False, True)
        known.queue(OK)
        assert known.state.up is True
        assert known.state.component.since == 1e9 + known.now

    def test_holds_until_something_is_down(self):
        known = self.made(self.WELL)
        known.database(REFUSED)
        assert known.state.component == self.WELL
        known.database(REFUSED)
        assert known.state.up is False

    def test_does_not_come_back(self):
        known = self.made(self.WELL)
        known.database(OK)
        known.queue(OK)
        known.now += POLICY.ttl
        assert known.state.up is None

    def test_the_same_is_not_said_again(self, messages):
        known = self.made(self.FAILED)
        gone = Result.failed('GONE')
        known.database(gone)
        known.database(gone)
        assert messages() == []
        assert known.state.component.since == 7.0
        known.database(OK)
        known.queue(OK)
        assert messages() == ['Healthcheck cell cell1 is up: OK']

    def test_what_was_not_known_is_nothing(self, messages):
        known = self.made(Component('cell1', None, 'NOT PROBED', since=7.0))
        assert known.state.component.since is None
        known.database(OK)
        known.queue(OK)
        assert messages() == []
        assert known.state.component.since == 1e9 + known.now


class TestLog:

    def test_each_change_once(self, known, messages):
        for result in (OK, REFUSED, REFUSED, REFUSED, OK, OK, REFUSED):
            known.database(result)
            known.queue(OK)
        assert messages() == [
            'Healthcheck cell cell1 is up, with a warning: DATABASE: '
            'CONNECTION REFUSED',
            'Healthcheck cell cell1 is down: DATABASE: CONNECTION REFUSED',
            'Healthcheck cell cell1 is up: OK',
            'Healthcheck cell cell1 is up, with a warning: DATABASE: '
            'CONNECTION REFUSED']

    def test_levels(self, known, messages, caplog):
        for result in (REFUSED, REFUSED, OK):
            known.database(result)
            known.queue(OK)
        assert [one.levelno for one in caplog.records] == [
            logging.WARNING, logging.INFO]

    def test_a_reason_is_said_once_between_two_times_that_it_is_well(
            self, known, messages):
        for result in (REFUSED, REFUSED, LOGIN, REFUSED, LOGIN):
            known.database(result)
        assert len(messages()) == 2
        assert messages()[1] == (
            'Healthcheck cell cell1 is down: DATABASE: LOGIN REFUSED: '
            'database: d:3306: no')
        known.database(OK)
        known.queue(OK)
        known.database(LOGIN)
        known.database(LOGIN)
        assert len(messages()) == 5

    def test_a_start_that_is_well_is_not_worth_a_line(
            self, known, messages):
        for _ in range(3):
            known.database(OK)
            known.queue(OK)
        assert messages() == []

    def test_what_is_not_known_for_good_is_not_said(self, known, messages):
        known.database(REFUSED)
        assert messages() == []

    def test_that_it_is_well_is_said_after_it_was_unknown(
            self, known, messages):
        known.database(OK)
        known.queue(OK, took=2.0)
        known.now += POLICY.ttl
        known.queue(OK)
        assert known.state.up is None
        known.database(OK)
        assert [line[:28] for line in messages()] == [
            'Healthcheck cell cell1 is up', 'Healthcheck cell cell1 is up']
        assert messages()[1] == 'Healthcheck cell cell1 is up: OK'


class TestRealTargets:
    """What a fleet makes of the rows, with targets that connect."""

    @pytest.fixture
    def database(self, tmp_path):
        path = tmp_path / 'cell.db'
        path.touch()
        return f'sqlite:///{path}'

    @pytest.fixture
    def fleet(self, database):
        def make(templates=mappings.Templates(None, None)):
            return fleet_module.Fleet(fleet_module.Sources(
                cfg.CONF, database, 'o', templates, dialects.Tolerance(),
                POLICY, 4.0), lambda: 1000.0, lambda: 1e9)
        return make

    def test_each_backend_is_probed(self, fleet, database):
        made = fleet()
        made.want(fleet_module.Wants(queues=True))
        come, gone = made.follow([dataclasses.replace(
            MAPPING, transport_url='fake:///', database_connection=database)])
        assert gone == []
        assert [one.label for one in come] == ['DATABASE', 'MESSAGE QUEUE']
        assert len({one.place for one in come}) == 1
        assert [one.target.probe() for one in come] == [OK, OK]

    def test_what_is_wanted_is_counted_on_each_visit(self, fleet, database):
        made = fleet()
        row = dataclasses.replace(MAPPING, database_connection=database)
        (one,), _ = made.follow([row])
        made.want(fleet_module.Wants(count=lambda connection: (
            connection.exec_driver_sql('SELECT 6 * 7').scalar())))
        assert one.target.probe() == OK
        assert one.found == 42
        made.want(fleet_module.Wants())
        one.found = None
        assert one.target.probe() == OK
        assert one.found is None

    def test_templates_are_filled(self, fleet):
        made = fleet(mappings.Templates(
            f'mysql+pymysql://nova:{QUOTED}@db/nova',
            f'rabbit://nova:{QUOTED}@mq:5672/'))
        made.want(fleet_module.Wants(queues=True))
        (database, queue), _ = made.follow([dataclasses.replace(
            MAPPING, database_connection='{scheme}://{username}:{password}@'
                                         'cell1/nova',
            transport_url='rabbit://{username}:{password}@{hostname}/one')])
        assert database.target._dialect.url.host == 'cell1'
        assert database.target._dialect.url.password == PASSWORD
        assert queue.target._url.virtual_host == 'one'

    @pytest.mark.parametrize('columns, fault', [
        ({'database_connection': None}, 'database_connection is empty'),
        ({'transport_url': f'u:{QUOTED}@q'}, 'transport_url has no scheme'),
        ({'database_connection': '{scheme}://h/d'},
         'database_connection: it is a template, but [database]connection '
         'is not set'),
        ({'database_connection': f'nodb://u:{QUOTED}@h/d'},
         'database_connection asks for nodb: Can\'t load plugin: '
         'sqlalchemy.dialects:nodb (install'),
        ({'database_connection': 'mysql://u:a@b@h/d'},
         'database_connection: the password holds an @ that is not'),
        ({'database_connection':
          f'mysql+mysqldb://u:{QUOTED}@h/d?connect_timeout={QUOTED}'},
         'database_connection: mysql+mysqldb does not take the option '
         'connect_timeout behind the ? of the URL'),
        ({'transport_url': f'amqp9://u:{QUOTED}@h/'},
         'transport_url: there is no proof that amqp9:// works'),
        ({'transport_url': f'rabbit://u:{QUOTED}@[h/'},
         'transport_url: not a transport URL (allowed')])
    def test_a_bad_mapping_is_its_cells_fault(
            self, fleet, database, columns, fault, messages):
        made = fleet()
        made.want(fleet_module.Wants(queues=True))
        well = dataclasses.replace(MAPPING, uuid='v', name='two',
                                   transport_url='fake:///',
                                   database_connection=database)
        bad = dataclasses.replace(
            MAPPING, database_connection=database, transport_url='fake:///')
        come, _ = made.follow([dataclasses.replace(bad, **columns), well])
        assert len(come) == 2
        one, other = made.states()
        assert (one.up, one.settled) == (False, True)
        assert one.component.reason == 'BAD MAPPING'
        assert one.component.detail.startswith(fault)
        assert other.up is None
        line, = messages()
        assert line.startswith(f'Healthcheck cell cell1 is down: BAD '
                               f'MAPPING: {fault}')
        shown = repr((made.states(), made._sources, made.rows)) + line
        assert PASSWORD not in shown and QUOTED not in shown

    def test_no_secret_when_a_visit_fails(self, fleet, messages, tmp_path):
        made = fleet()
        made.want(fleet_module.Wants(queues=True))
        (database, queue), _ = made.follow([dataclasses.replace(
            MAPPING, database_connection=f'sqlite:///{tmp_path}/missing',
            transport_url=f'rabbit://u:{QUOTED}@127.0.0.1:1/')])
        for one in (database, queue):
            for _ in range(2):
                one.check.started(1000.0)
                one.check.finished(one.target.probe(), 1000.0, 1e9)
                one.place.noted(1000.0, 1e9)
        state, = made.states()
        assert state.up is False
        assert 'message queue: 127.0.0.1:1' in state.component.detail
        shown = repr((state, database, queue, *messages()))
        assert PASSWORD not in shown and QUOTED not in shown
        for one in (database, queue):
            one.target.close()


class TestFleet:

    @pytest.fixture
    def cloud(self, monkeypatch):
        return cloud_module.Cloud(monkeypatch, [])

    def rows(self, *numbers, **columns):
        return [mappings.Mapping(*cloud_module.row(number, **columns))
                for number in numbers]

    def test_nothing_is_listed_at_first(self, cloud):
        made = cloud.fleet()
        assert not made.listed
        assert made.states() == ()
        assert [one.label for one in made.backends()] == ['API DATABASE']
        made.follow([])
        assert made.listed

    def test_the_list_is_read_by_a_visit(self, cloud):
        cloud.rows = [cloud_module.row(1)]
        made = cloud.fleet()
        assert made.api.target.probe() == OK
        assert made.api.found == self.rows(1)

    def test_who_comes_and_who_goes(self, cloud):
        made = cloud.fleet()
        made.want(fleet_module.Wants(queues=True))
        first, gone = made.follow(self.rows(0, 1, 2))
        assert (len(first), gone) == (5, [])
        again, gone = made.follow(self.rows(0, 1, 2))
        assert (again, gone) == ([], [])
        more, gone = made.follow(self.rows(0, 2, 3))
        assert len(more) == 2
        assert gone == first[1:3]
        assert list(made.backends()) == [made.api, first[0], *first[3:],
                                         *more]

    def test_all_that_is_forgotten_is_handed_back(self, cloud):
        made = cloud.fleet()
        come, _ = made.follow(self.rows(1, 2))
        api = made.api
        made.inherit([Component('cell1', Status.FAIL)])
        assert made.forget() == [api, *come]
        assert not made.listed and made.states() == ()
        assert made.api is not api
        made.follow(self.rows(1))
        assert made.states()[0].up is None

    def test_a_queue_that_is_wanted_later_is_made(self, cloud):
        made = cloud.fleet()
        come, _ = made.follow(self.rows(1))
        assert [one.label for one in come] == ['DATABASE']
        more, gone = made.want(fleet_module.Wants(queues=True))
        assert [one.label for one in more] == ['DATABASE', 'MESSAGE QUEUE']
        assert gone == come
        # Nobody is cut off for what is not wanted any more.
        assert made.want(fleet_module.Wants()) == ([], [])

    def test_what_was_known_of_one_holds_when_its_mapping_changes(
            self, cloud):
        made = cloud.fleet()
        (one,), _ = made.follow(self.rows(1))
        for _ in range(2):
            one.check.started(cloud.now)
            one.check.finished(REFUSED, cloud.now, 5.0)
        one.place.noted(cloud.now, 5.0)
        before, = made.states()
        come, gone = made.follow(self.rows(
            1, database_connection='mysql://elsewhere/nova'))
        assert (len(come), gone) == (1, [one])
        assert made.states() == (before,)
        assert (before.up, before.component.since) == (False, 5.0)

    def test_one_that_is_disabled_has_nobody_to_visit(self, cloud):
        assert cloud.fleet().follow(self.rows(1, disabled=True)) == ([], [])

    def test_where_they_are_found_is_not_shown(self, cloud):
        assert 's3same' in cloud.sources().api_url
        assert 's3same' not in repr((cloud.sources(), self.rows(0, 1)))

    def test_one_that_is_disabled_is_not_inherited_from(self, cloud):
        made = cloud.fleet()
        made.inherit([Component('cell1', None, 'DISABLED', disabled=True),
                      Component('cell2', Status.FAIL, 'DATABASE: GONE')])
        made.follow(self.rows(1, 2))
        assert [one.up for one in made.states()] == [None, False]
        made.follow(self.rows(1, disabled=True))
        made.follow(self.rows(1))
        assert [one.component.reason for one in made.states()] == [
            'DATABASE: NOT PROBED']

    def test_one_of_two_that_had_a_name_has_it_alone(self, cloud):
        made = cloud.fleet()
        rows = [mappings.Mapping(*cloud_module.row(n, 'one')) for n in (1, 2)]
        made.follow(rows)
        made.follow(rows[:1])
        assert [one.component.name for one in made.states()] == ['one']

    def test_those_without_a_name_have_their_uuid(self, cloud):
        made = cloud.fleet()
        made.follow([dataclasses.replace(one, name=None)
                     for one in self.rows(1, 2)])
        assert [one.component.name for one in made.states()] == [
            cloud_module.uuid(1), cloud_module.uuid(2)]
