# SPDX-License-Identifier: Apache-2.0

"""What is known of a cell from the probes of its backends, and is said."""

import dataclasses
import logging

import pytest

from healthcheck.cells import cell as cell_module
from healthcheck.cells import mappings
from healthcheck.probing import policy as policy_module
from healthcheck.probing import probe as probe_module
from healthcheck.probing import target
from healthcheck.reports import report
from tests.unit import cloud as cloud_module
from tests.unit import world

Component = report.Component
Result = report.Result
Status = report.Status

POLICY = policy_module.Policy()
MAPPING = mappings.Mapping(*cloud_module.row(1))
COUNTING = 'COUNTING'


class Known:
    """A cell whose backends find what a test says."""

    def __init__(self, *labels, policy=POLICY, inherited=None,
                 mapping=MAPPING, counting=False):
        self.now = 1000.0
        self.cell = cell_module.Cell(mapping, mapping.title, inherited)
        for label in labels:
            self.cell.backends[label] = probe_module.Probe(
                world.Backend(label, None), policy)
        if counting:
            self.cell.counting = probe_module.Probe(
                world.Backend(COUNTING, None), policy,
                target.Question(lambda connection: None))

    def visit(self, label, result, took=0.02, value=None):
        probe = (self.cell.counting if label == COUNTING
                 else self.cell.backends[label])
        probe.state.started(self.now)
        self.now += took
        found = target.Findings(result)
        if probe.question is not None:
            found = target.Findings(OK, {
                probe.question: target.Answer(result, value)})
        probe.finished(found, self.now, 1e9 + self.now, 0.0)
        return self.cell.noted(self.now, 1e9 + self.now)

    def database(self, result, took=0.02):
        return self.visit(cell_module.DATABASE, result, took)

    def queue(self, result, took=0.02):
        return self.visit(cell_module.MESSAGE_QUEUE, result, took)

    def count(self, value, result=world.OK):
        return self.visit(COUNTING, result, value=value)

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

    def test_says_what_stood_in_for_a_probe(self, known):
        known.database(OK)
        known.queue(OK)
        probed = known.cell.backends[cell_module.DATABASE].state
        probed.stood_in(report.Evidence(known.now, 1234), known.now, 1e9)
        known.cell.noted(known.now, 1e9)
        assert known.state.component.detail == (
            'database: 1,234 calls in place of a probe')
        known.database(OK)
        assert known.state.component.detail == ''

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


class TestCounting:
    """What a question to the database of a cell has brought."""

    @pytest.fixture
    def known(self):
        known = Known(cell_module.DATABASE, cell_module.MESSAGE_QUEUE,
                      counting=True)
        known.database(OK)
        known.queue(OK)
        return known

    def test_nothing_is_counted_where_nobody_asks(self):
        known = Known(cell_module.DATABASE)
        known.database(OK)
        assert (known.state.counting, known.state.counted) == (None, None)

    def test_a_count_that_differs_is_news(self, known):
        assert known.state.counting == Component('', None, 'NOT PROBED')
        assert known.count(7)
        assert known.state.counted == 7
        assert known.state.counting.status is Status.PASS
        assert not known.count(7)
        assert not known.database(OK)
        assert known.count(8)
        assert known.state.counted == 8

    def test_one_that_fails_is_its_own_failure(self, known, messages):
        known.count(7)
        denied = Result.failed('PERMISSION DENIED', 'd:3306: no')
        assert known.count(None, denied)
        assert known.state.counting.status is Status.WARN
        assert known.count(None, denied)
        assert not known.count(None, denied)
        state = known.state
        assert (state.up, state.component.status) == (True, Status.PASS)
        assert state.component.detail == ''
        assert state.counting == Component(
            '', Status.FAIL, 'PERMISSION DENIED', 'd:3306: no',
            pytest.approx(0.02))
        assert messages() == []

    def test_it_is_probed_with_the_backends(self, known):
        assert known.cell.probes == [*known.cell.backends.values(),
                                     known.cell.counting]

    def test_a_cell_is_settled_without_it(self):
        known = Known(cell_module.DATABASE, counting=True)
        known.database(OK)
        assert (known.state.up, known.state.settled) == (True, True)


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
