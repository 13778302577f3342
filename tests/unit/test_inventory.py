# SPDX-License-Identifier: Apache-2.0

"""The cells as they are listed, and who is probed for them."""

import dataclasses
import logging
import urllib.parse

from oslo_config import cfg
import pytest
import sqlalchemy

from healthcheck.cells import inventory as inventory_module
from healthcheck.cells import mappings
from healthcheck.probing import guard
from healthcheck.probing import policy as policy_module
from healthcheck.probing import target
from healthcheck.reports import report
from healthcheck.targets import dialects
from tests.unit import cloud as cloud_module
from tests.unit import world

Answer = target.Answer
Component = report.Component
Result = report.Result
Status = report.Status

OK = world.OK
POLICY = policy_module.Policy()
PASSWORD = cloud_module.PASSWORD
QUOTED = urllib.parse.quote(PASSWORD, safe='')

DATABASE, MESSAGE_QUEUE = 'database_connection', 'transport_url'


class Visited:
    """An inventory whose probes are visited when a test says so."""

    def __init__(self, sources, *, queues=True, count=None):
        self.now = 1000.0
        self.inventory = inventory_module.Inventory(sources)
        self.inventory.queues = queues
        self.inventory.count = count and (lambda cell: count)

    @property
    def probes(self):
        return self.inventory.probes

    @property
    def cells(self):
        return self.inventory.state(self.now).cells

    def visit(self, probe=None):
        """Visit for one probe, or for the list; return whether it is news."""
        probe = probe or self.probes[0]
        probe.state.started(self.now)
        found = guard.visit(probe.target, (
            [probe.question] if probe.question else []))
        probe.finished(found, self.now, 1e9 + self.now, 0.0)
        return self.inventory.took(probe, self.now, 1e9 + self.now)

    def of(self, *pieces):
        """The probes of the targets with these pieces in their names."""
        return [one for piece in pieces for one in self.probes
                if piece in one.target.name]


@pytest.fixture
def messages(caplog):
    caplog.set_level(logging.DEBUG, 'healthcheck')
    return lambda: caplog.messages


class TestList:

    @pytest.fixture
    def cloud(self):
        return cloud_module.Cloud([])

    @pytest.fixture
    def visited(self, cloud):
        return Visited(cloud.inventory._sources)

    def list(self, cloud, visited, *rows):
        cloud.rows = list(rows)
        return visited.visit()

    def test_nothing_is_listed_at_first(self, cloud, visited):
        state = visited.inventory.state(visited.now)
        assert state == inventory_module.InventoryState(
            False, Component('', None, 'NOT PROBED'), ())
        assert [one.target.name for one in visited.probes] == [
            cloud_module.API]
        assert self.list(cloud, visited)
        state = visited.inventory.state(visited.now)
        assert (state.listed, state.cells) == (True, ())
        assert state.api.status is Status.PASS

    def test_who_comes_and_who_goes(self, cloud, visited):
        row = cloud_module.row
        assert self.list(cloud, visited, row(0), row(1), row(2))
        first = visited.probes
        assert [one.target.name for one in first] == [
            cloud_module.API, 'mysql://nova:s3same@d0/nova',
            'mysql://nova:s3same@d1/nova', 'rabbit://nova:s3same@q1/',
            'mysql://nova:s3same@d2/nova', 'rabbit://nova:s3same@q2/']
        assert not self.list(cloud, visited, row(0), row(1), row(2))
        assert visited.probes is first
        assert self.list(cloud, visited, row(0), row(2), row(3))
        second = visited.probes
        assert [one.target.name for one in first if one not in second] == [
            'mysql://nova:s3same@d1/nova', 'rabbit://nova:s3same@q1/']
        assert [one.target.name for one in second
                if one not in first] == ['mysql://nova:s3same@d3/nova',
                                         'rabbit://nova:s3same@q3/']

    def test_a_list_that_cannot_be_read_leaves_the_last_one(
            self, cloud, visited):
        self.list(cloud, visited, cloud_module.row(1))
        before = visited.probes
        cloud.answers['api'] = cloud_module.refused
        assert self.list(cloud, visited)  # it fails, that is news
        assert self.list(cloud, visited)  # for good
        assert not self.list(cloud, visited)
        state = visited.inventory.state(visited.now)
        assert state.api.status is Status.FAIL
        assert state.api.reason == 'CONNECTION REFUSED'
        assert visited.probes is before and len(state.cells) == 1
        del cloud.answers['api']
        assert self.list(cloud, visited)
        assert visited.cells == ()

    def test_without_queues(self, cloud):
        visited = Visited(cloud.inventory._sources, queues=False)
        self.list(cloud, visited, cloud_module.row(1))
        assert len(visited.probes) == 2
        assert not visited.of('rabbit')

    def test_what_requests_cannot_do_without(self, cloud):
        count = target.Question(lambda connection: Answer(OK, 1))
        visited = Visited(cloud.inventory._sources, count=count)
        self.list(cloud, visited, *map(cloud_module.row, (1, 2, 0)))
        cell0 = 'mysql://nova:s3same@d0/nova'
        assert [one.target.name for one in visited.probes if one.needed] == [
            cloud_module.API, cell0, cell0]
        assert len(visited.probes) == 1 + 2 * 3 + 2

    def test_services_are_counted_in_each_database(self, cloud):
        count = target.Question(lambda connection: Answer(OK, connection.url))
        visited = Visited(cloud.inventory._sources, count=count)
        self.list(cloud, visited, cloud_module.row(1), cloud_module.row(
            2, disabled=True), cloud_module.row(3, database_connection='no'))
        database, counting = visited.of('d1')
        assert database.target is counting.target
        assert (database.question, counting.question) == (None, count)
        assert [one for one in visited.probes
                if one.question is count] == [counting]
        for probe in (database, *visited.of('q1')):
            visited.visit(probe)
        assert visited.cells[0].counted is None
        assert visited.visit(counting)
        assert visited.cells[0].counted == 'mysql://nova:s3same@d1/nova'
        assert not visited.visit(counting)

    def test_each_cell_has_a_question_of_its_own(self, cloud, visited):
        visited.inventory.count = lambda cell: target.Question(
            lambda connection: Answer(OK, (
                cell.title, cell.mapping.is_cell0,
                cell.backends['DATABASE'].target.url)))
        self.list(cloud, visited, *map(cloud_module.row, (0, 1)))
        for probe in visited.probes[1:]:
            visited.visit(probe)
        assert [one.counted for one in visited.cells] == [
            ('cell0', True, 'mysql://nova:s3same@d0/nova'),
            ('cell1', False, 'mysql://nova:s3same@d1/nova')]

    def test_all_is_forgotten(self, cloud, visited):
        self.list(cloud, visited, cloud_module.row(1))
        before = visited.probes
        visited.inventory.inherit([Component('cell1', Status.FAIL)])
        visited.inventory.forget()
        state = visited.inventory.state(visited.now)
        assert (state.listed, state.cells) == (False, ())
        assert len(visited.probes) == 1
        assert visited.probes[0] not in before
        assert self.list(cloud, visited, cloud_module.row(1))
        assert visited.cells[0].up is None

    def test_what_was_known_of_one_holds_when_its_mapping_changes(
            self, cloud, visited):
        self.list(cloud, visited, cloud_module.row(1))
        one, queue = visited.of('d1', 'q1')
        cloud.answers['d1'] = cloud_module.refused
        visited.visit(one)
        assert visited.visit(one)
        before, = visited.cells
        visited.now += 5.0
        assert self.list(cloud, visited, cloud_module.row(
            1, database_connection='mysql://elsewhere/nova'))
        assert not {one, queue} & set(visited.probes)
        assert visited.cells == (before,)
        assert (before.up, before.component.since) == (False, 1e9 + 1000.0)

    def test_one_that_is_disabled_is_not_probed(self, cloud, visited):
        self.list(cloud, visited, cloud_module.row(1, disabled=True))
        assert len(visited.probes) == 1

    def test_where_they_are_found_is_not_shown(self, cloud, visited):
        self.list(cloud, visited, cloud_module.row(0), cloud_module.row(1))
        assert 's3same' in visited.inventory._sources.api_url
        assert 's3same' in visited.inventory._rows[0].database_connection
        assert 's3same' not in repr((
            visited.inventory, visited.inventory._sources,
            visited.inventory._rows, visited.probes, visited.cells))

    def test_one_that_is_disabled_is_not_inherited_from(
            self, cloud, visited):
        row = cloud_module.row
        visited.inventory.inherit([
            Component('cell1', None, 'DISABLED', disabled=True),
            Component('cell2', Status.FAIL, 'DATABASE: GONE')])
        self.list(cloud, visited, row(1), row(2))
        assert [one.up for one in visited.cells] == [None, False]
        self.list(cloud, visited, row(1, disabled=True))
        self.list(cloud, visited, row(1))
        assert [one.component.reason for one in visited.cells] == [
            'DATABASE: NOT PROBED']

    def test_what_is_inherited_is_for_the_first_list(self, cloud, visited):
        row = cloud_module.row
        visited.inventory.inherit([
            Component('cell1', Status.FAIL, 'DATABASE: GONE')])
        self.list(cloud, visited, row(2))
        self.list(cloud, visited, row(1))
        assert [one.up for one in visited.cells] == [None]

    def test_one_of_two_that_had_a_name_has_it_alone(self, cloud, visited):
        rows = [cloud_module.row(number, 'one') for number in (1, 2)]
        self.list(cloud, visited, *rows)
        assert [one.component.name for one in visited.cells] == [
            f'one ({cloud_module.uuid(number)})' for number in (1, 2)]
        self.list(cloud, visited, rows[0])
        assert [one.component.name for one in visited.cells] == ['one']

    def test_those_without_a_name_have_their_uuid(self, cloud, visited):
        self.list(cloud, visited, *(
            (uuid, None, *rest) for uuid, _, *rest in map(
                cloud_module.row, (1, 2))))
        assert [one.component.name for one in visited.cells] == [
            cloud_module.uuid(1), cloud_module.uuid(2)]


class TestRealTargets:
    """What is made of the rows, with targets that connect."""

    @pytest.fixture
    def database(self, tmp_path):
        """The database of a cell."""
        path = tmp_path / 'cell.db'
        path.touch()
        return f'sqlite:///{path}'

    @pytest.fixture
    def visited(self, tmp_path):
        """Take a list of the rows that a test gives."""
        def make(*rows, templates=mappings.Templates(None, None), **kwargs):
            url = f'sqlite:///{tmp_path}/api.db'
            engine = sqlalchemy.create_engine(
                url, poolclass=sqlalchemy.NullPool)
            with engine.begin() as connection:
                connection.exec_driver_sql(
                    'CREATE TABLE cell_mappings (id INTEGER PRIMARY KEY, '
                    'uuid, name, transport_url, database_connection, '
                    'disabled)')
                for row in rows:
                    connection.exec_driver_sql(
                        'INSERT INTO cell_mappings (uuid, name, '
                        'transport_url, database_connection, disabled) '
                        'VALUES (?, ?, ?, ?, ?)', row)
            made.append(Visited(inventory_module.Sources(
                cfg.CONF, url, 'o', templates, dialects.Tolerance(), POLICY,
                4.0), **kwargs))
            made[-1].visit()
            return made[-1]
        made: list[Visited] = []
        yield make
        for one in made:
            for probe in one.probes:
                probe.target.close()

    def test_the_list_is_read_by_a_visit(self, visited, database):
        made = visited(('u', 'one', 'fake:///', database, 0),
                       ('v', None, 'fake:///', database, None))
        assert made.inventory.state(made.now).api.status is Status.PASS
        assert made.inventory._rows == [
            mappings.Mapping('u', 'one', 'fake:///', database, False),
            mappings.Mapping('v', None, 'fake:///', database, False)]

    def test_without_a_list_it_is_a_failure(self, visited):
        sources = visited().inventory._sources
        gone = Visited(dataclasses.replace(
            sources, api_url=f'{sources.api_url}.gone'))
        gone.visit()
        gone.visit()
        state = gone.inventory.state(gone.now)
        assert (state.listed, state.api.status) == (False, Status.FAIL)
        assert state.api.reason == 'NO SUCH DATABASE'

    def test_each_backend_is_probed(self, visited, database):
        made = visited(('u', 'one', 'fake:///', database, 0))
        database, queue = made.of(DATABASE, MESSAGE_QUEUE)
        assert len(made.probes) == 3
        assert not made.visit(database)
        assert made.visit(queue)
        one, = made.cells
        assert (one.up, one.component.status) == (True, Status.PASS)

    def test_a_database_is_counted_in_the_visit(self, visited, database):
        made = visited(('u', 'one', 'none:///', database, 0),
                       count=target.Question(lambda connection: Answer(
                           OK, connection.exec_driver_sql(
                               'SELECT 6 * 7').scalar())))
        database, counting = made.of(DATABASE)
        found = guard.visit(database.target, [counting.question])
        assert found.result == OK
        assert found.answers == {counting.question: Answer(OK, 42)}
        assert guard.visit(database.target).answers == {}

    def test_templates_are_filled(self, visited):
        made = visited(
            ('u', 'one', 'rabbit://{username}:{password}@{hostname}/one',
             '{scheme}://{username}:{password}@cell1/nova', 0),
            templates=mappings.Templates(
                f'mysql+pymysql://nova:{QUOTED}@db/nova',
                f'rabbit://nova:{QUOTED}@mq:5672/'))
        database, queue = made.of(DATABASE, MESSAGE_QUEUE)
        assert database.target._dialect.url.host == 'cell1'
        assert database.target._dialect.url.password == PASSWORD
        assert queue.target._url.virtual_host == 'one'
        assert queue.target._url.hosts[0].hostname == 'mq'

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
            self, visited, database, columns, fault, messages):
        columns = {'transport_url': 'fake:///',
                   'database_connection': database, **columns}
        made = visited(
            ('u', 'cell1', columns['transport_url'],
             columns['database_connection'], 0),
            ('v', 'two', 'fake:///', database, 0),
            count=target.Question(lambda connection: Answer(OK, 1)))
        assert len(made.probes) == 1 + 3
        one, other = made.cells
        assert (one.up, one.settled) == (False, True)
        assert one.component.reason == 'BAD MAPPING'
        assert one.component.detail.startswith(fault)
        assert other.up is None
        line, = messages()
        assert line.startswith(f'Healthcheck cell cell1 is down: BAD '
                               f'MAPPING: {fault}')
        shown = repr((made.cells, made.inventory._sources,
                      made.inventory._rows, made.probes)) + line
        assert PASSWORD not in shown and QUOTED not in shown

    def test_no_secret_when_a_visit_fails(self, visited, messages, tmp_path):
        made = visited(('u', 'one', f'rabbit://u:{QUOTED}@127.0.0.1:1/',
                        f'sqlite:///{tmp_path}/missing', 0))
        for probe in made.of(DATABASE, MESSAGE_QUEUE) * 2:
            made.visit(probe)
        state, = made.cells
        assert state.up is False
        assert 'message queue: 127.0.0.1:1' in state.component.detail
        assert len(messages()) >= 1
        shown = repr((state, made.probes, *messages()))
        assert PASSWORD not in shown and QUOTED not in shown
