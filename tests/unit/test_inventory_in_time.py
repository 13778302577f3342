# SPDX-License-Identifier: Apache-2.0

"""What is looked at as cells come, go and hang, in simulated time."""

import logging

import pytest

from healthcheck.probing import check
from healthcheck.probing import guard
from healthcheck.probing import target as target_module
from healthcheck.reports import report
from tests.unit import cloud as cloud_module
from tests.unit import world

POLICY = cloud_module.POLICY

Status = report.Status
refused, frozen = cloud_module.refused, cloud_module.frozen
never, row = cloud_module.never, cloud_module.row


@pytest.fixture
def cloud():
    return cloud_module.Cloud([row(0), row(1), row(2)])


def ups(state):
    return {one.component.name: one.up for one in state.cells}


def gaps(times):
    return [late - early for early, late in zip(times, times[1:])]


def visited(cloud):
    """Those of the targets that are used."""
    return [one for one in cloud.targets if one.visits]


class TestList:

    def test_a_cell_that_is_added_is_looked_at(self, cloud):
        cloud.pass_by(5)
        cloud.rows.append(row(3))
        cloud.pass_by(12)
        assert cloud.cell('cell3').up is True

    def test_one_that_is_removed_is_closed(self, cloud):
        cloud.pass_by(5)
        del cloud.rows[1]
        cloud.pass_by(12)
        assert ups(cloud.state()) == {'cell0': True, 'cell2': True}
        for piece in ('d1', 'q1'):
            target = cloud.target(piece)
            assert target.closed == 1
            seen = len(target.visits)
            cloud.pass_by(30)
            assert len(target.visits) == seen
        assert cloud.target('d2').closed == 0

    def test_one_that_is_removed_while_it_hangs(self, cloud):
        cut = []
        cloud.answers = {'d1': lambda now: (world.OK, 40.0)}
        cloud.pass_by(1)
        target = cloud.target('d1')
        target.overdue = lambda: cut.append(cloud.now) or ('', '')
        del cloud.rows[1]
        cloud.pass_by(10.5)
        assert len(cut) == 2  # it was late, and it was removed
        assert target.closed == 0
        cloud.pass_by(40)
        assert target.closed == 1
        assert 'cell1' not in ups(cloud.state())

    def test_one_whose_url_changes_is_connected_to_again(self, cloud):
        cloud.answers = {'d1/': refused}
        cloud.pass_by(5)
        assert cloud.cell('cell1').up is False
        since = cloud.cell('cell1').component.since
        cloud.rows[1] = row(1, database_connection='mysql://elsewhere/nova')
        cloud.answers['elsewhere'] = lambda now: (world.OK, 3.0)
        while not cloud.target('api').visits[-1] > 1005.5:
            cloud.pass_by(0.5)
        # What was known of it holds until more is.
        assert cloud.cell('cell1').up is False
        assert cloud.cell('cell1').component.since == since
        cloud.pass_by(4)
        assert cloud.cell('cell1').up is True
        assert cloud.target('d1/').closed == 1

    def test_one_that_is_not_changed_keeps_its_connection(self, cloud):
        cloud.pass_by(60)
        assert len(cloud.targets) == 6
        assert all(len(one.visits) >= 5 for one in cloud.targets)
        assert not any(one.closed for one in cloud.targets)

    def test_one_that_is_renamed_keeps_its_connections(self, cloud):
        cloud.pass_by(5)
        kept = visited(cloud)
        cloud.rows[1] = row(1, 'another')
        cloud.pass_by(30)
        assert ups(cloud.state())['another'] is True
        assert visited(cloud) == kept
        assert not any(one.closed for one in cloud.targets)

    def test_disabled_and_enabled_again(self, cloud):
        cloud.pass_by(5)
        cloud.rows[1] = row(1, disabled=True)
        cloud.pass_by(12)
        one = cloud.cell('cell1')
        assert (one.enabled, one.up, one.settled) == (False, None, True)
        assert one.component.disabled
        assert cloud.target('d1').closed == cloud.target('q1').closed == 1
        cloud.rows[1] = row(1)
        cloud.pass_by(12)
        assert cloud.cell('cell1').up is True

    def test_corrupted_and_mended(self, cloud):
        cloud.pass_by(5)
        cloud.rows[1] = row(1, transport_url='unparsable')
        cloud.pass_by(12)
        one = cloud.cell('cell1')
        assert (one.up, one.component.reason) == (False, 'BAD MAPPING')
        assert one.component.detail == 'transport_url has no scheme'
        assert one.component.since is not None
        assert ups(cloud.state())['cell2'] is True
        cloud.rows[1] = row(1)
        cloud.pass_by(12)
        assert cloud.cell('cell1').up is True

    def test_any_fault_of_a_mapping_is_that_cells(self, cloud, monkeypatch):
        """Whatever a driver says to its URL."""
        cloud.pass_by(5)
        cloud.rows.append(row(3))
        cloud.rows[1] = row(1, database_connection='mysql://odd/nova')
        made = cloud_module.Sources.database

        def odd(sources, url, option):
            if 'odd' in url:
                raise KeyError(cloud_module.PASSWORD)
            return made(sources, url, option)
        monkeypatch.setattr(cloud_module.Sources, 'database', odd)
        cloud.pass_by(12)
        assert ups(cloud.state()) == {'cell0': True, 'cell1': False,
                                      'cell2': True, 'cell3': True}
        assert cloud.cell('cell1').component.detail == 'builtins.KeyError'

    def test_two_of_one_name(self, cloud):
        cloud.rows = [row(1, 'one'), row(2, 'one'), row(3)]
        cloud.pass_by(5)
        assert ups(cloud.state()) == {
            f'one ({cloud_module.uuid(1)})': True,
            f'one ({cloud_module.uuid(2)})': True, 'cell3': True}

    def test_cell0_has_no_queue(self, cloud):
        cloud.pass_by(5)
        assert not [one for one in cloud.targets if 'q0' in one.url]

    def test_the_last_one_is_kept_without_the_database(self, cloud):
        cloud.pass_by(5)
        cloud.answers = {'api': refused, 'd1': refused}
        cloud.rows = []
        cloud.pass_by(200)
        state = cloud.state()
        assert state.listed
        assert state.api.status is Status.FAIL
        assert ups(state) == {'cell0': True, 'cell1': False, 'cell2': True}
        cloud.answers = {}
        cloud.pass_by(12)
        assert ups(cloud.state()) == {}

    def test_no_queue_is_looked_at_for_services_alone(self):
        cloud = cloud_module.Cloud([row(0), row(1)], queues=False)
        cloud.pass_by(5)
        assert not [one for one in cloud.targets if 'rabbit' in one.url]
        assert ups(cloud.state()) == {'cell0': True, 'cell1': True}

    def test_that_all_cells_are_well_is_not_logged(self, cloud, caplog):
        caplog.set_level(logging.INFO, 'healthcheck')
        cloud.pass_by(60)
        assert [one for one in caplog.records
                if 'cells.' in one.name] == []


class TestShared:
    """One target for each backend, however many ask about it."""

    def database(self, cloud, number):
        """A plain check of a cell's database."""
        url = row(number)[3]
        return check.Single('database', cloud_module.Target(cloud, url),
                            POLICY)

    def test_a_check_and_a_cell_share_a_visit(self, cloud):
        plain = self.database(cloud, 0)
        cloud.schedule(plain, cloud.check)
        cloud.pass_by(100)
        cell0, = [one for one in visited(cloud) if one.url == row(0)[3]]
        # The one that was there first is used.
        assert cell0 is plain.probe.target
        # When the list came, it was visited for the cell, too.
        assert len(cell0.visits) <= 100 / 9 + 2
        assert cloud.cell('cell0').up is True
        assert plain.state.status is Status.PASS

    def test_a_fault_is_that_of_both(self, cloud):
        plain = self.database(cloud, 0)
        cloud.schedule(plain, cloud.check)
        cloud.pass_by(20)
        cloud.answers = {'d0/': refused}
        cloud.pass_by(POLICY.detection)
        assert cloud.cell('cell0').up is False
        assert plain.state.status is Status.FAIL

    def test_what_leaves_one_of_them_is_not_closed(self, cloud):
        plain = self.database(cloud, 1)
        cloud.schedule(plain, cloud.check)
        cloud.pass_by(20)
        used = plain.probe.target
        del cloud.rows[1]
        cloud.pass_by(12)
        assert 'cell1' not in ups(cloud.state())
        assert cloud.target('q1').closed == 1
        assert used.closed == 0
        seen = len(used.visits)
        cloud.pass_by(30)
        assert 2 <= len(used.visits) - seen <= 4

    def test_two_cells_with_one_database(self, cloud):
        url = row(1)[3]
        cloud.rows[2] = row(2, database_connection=url)
        cloud.pass_by(60)
        used, = [one for one in visited(cloud) if one.url == url]
        assert len(used.visits) <= 60 / 9 + 2
        del cloud.rows[1]
        cloud.pass_by(12)
        assert ups(cloud.state()) == {'cell0': True, 'cell2': True}
        assert used.closed == 0
        del cloud.rows[1]
        cloud.pass_by(12)
        assert used.closed == 1

    def test_a_question_is_asked_on_the_same_visit(self):
        asked = []

        def ask(connection):
            asked.append((connection.url, cloud.now))
            return target_module.Answer(world.OK, len(asked))
        cloud = cloud_module.Cloud([row(0), row(1)],
                                   count=target_module.Question(ask))
        cloud.pass_by(100)
        for url in (row(0)[3], row(1)[3]):
            used, = [one for one in visited(cloud) if one.url == url]
            assert used.visits == [at for which, at in asked if which == url]
            assert len(used.visits) <= 100 / 9 + 1
        assert cloud.cell('cell1').counting.status is Status.PASS

    def test_a_question_of_many_is_asked_once(self):
        asked = []

        def ask(connection):
            asked.append((connection.url, cloud.now))
            return target_module.Answer(world.OK, 'counted')
        url = row(1)[3]
        cloud = cloud_module.Cloud(
            [row(1), row(2, database_connection=url)],
            count=target_module.Question(ask))
        cloud.pass_by(60)
        assert len(asked) == len(set(asked))
        assert cloud.cell('cell1').counted == cloud.cell('cell2').counted == (
            'counted')

    def test_a_question_that_fails_is_not_the_databases_fault(self):
        cloud = cloud_module.Cloud(
            [row(0), row(1)], count=target_module.Question(
                lambda connection: target_module.Answer(world.REFUSED)))
        cloud.pass_by(30)
        one = cloud.cell('cell1')
        assert one.up is True
        assert one.counting.status is Status.FAIL
        assert one.counted is None


class TestRest:
    """Another process goes on."""

    def test_gives_back_all(self, cloud):
        cloud.pass_by(5)
        used = visited(cloud)
        cloud.resting = True
        cloud.pass_by(1)
        assert all(one.closed == 1 for one in used)
        seen = cloud.visits
        closed = [one.closed for one in cloud.targets]
        cloud.pass_by(60)
        assert cloud.visits == seen
        assert [one.closed for one in cloud.targets] == closed

    def test_publishes_nothing(self, cloud):
        cloud.answers = {'d1': lambda now: (world.OK, 3.0)}
        plain = check.Single('database', cloud_module.Target(
            cloud, row(1)[3]), POLICY)
        cloud.schedule(plain, cloud.check)
        cloud.pass_by(20)
        while not cloud.scheduler._rota.visits:
            cloud.pass_by(0.5)
        cloud.resting = True
        seen = len(cloud.reports)
        cloud.pass_by(60)
        assert len(cloud.reports) == seen
        assert cloud.scheduler._rota.visits == 0

    def test_gives_back_what_is_visited_when_that_is_over(self, cloud):
        cloud.answers = {'d1': lambda now: (world.OK, 8.0)}
        cloud.pass_by(1)
        cloud.resting = True
        cloud.pass_by(1)
        assert cloud.target('d1').closed == 0
        assert cloud.target('d2').closed == 1
        cloud.pass_by(10)
        assert cloud.target('d1').closed == 1

    def test_forgets_what_will_be_out_of_date(self, cloud):
        cloud.pass_by(5)
        cloud.resting = True
        cloud.pass_by(50)
        assert not cloud.state().listed
        del cloud.rows[1]
        cloud.go_on()
        cloud.pass_by(1)
        assert ups(cloud.state()) == {'cell0': True, 'cell2': True}

    def test_is_followed_by_a_look_at_all(self, cloud):
        cloud.pass_by(5)
        before = len(cloud.targets)
        cloud.resting = True
        cloud.pass_by(50)
        cloud.go_on()
        cloud.pass_by(1)
        assert all(ups(cloud.state()).values())
        # The target of the list is wanted all the time, though closed.
        assert len(visited(cloud)) == 11
        assert not any(one.closed for one in cloud.targets[before:])

    def test_what_it_waited_for_is_waited_for_again(self, cloud):
        """It says nothing before it has looked, and blames nobody."""
        cloud.answers = {'d1': never}
        cloud.pass_by(1)  # it waits
        cloud.resting = True
        cloud.pass_by(50)
        cloud.answers = {'api': lambda now: (world.OK, 0.5)}
        cloud.rows = [row(2)]
        cloud.go_on()
        cloud.pass_by(1)
        (at, state), = cloud.judged
        assert at > cloud.now - 1 + 0.5
        assert ups(state) == {'cell2': True}
        assert cloud.check.state.status is Status.PASS

    def test_a_visit_that_hangs_is_not_doubled(self, cloud):
        """It comes back when it is cut, and is looked at then."""
        cloud.answers = {'d1': lambda now: (world.OK, 6.0)}
        cloud.pass_by(1)
        hung = cloud.target('d1')
        cloud.resting = True
        cloud.pass_by(1)
        cloud.answers = {}
        cloud.go_on()
        cloud.pass_by(3)
        assert len(hung.visits) == 1
        cloud.pass_by(1.5)
        assert hung.visits[1] == 1006.02
        assert all(ups(cloud.state()).values())


class TestInherited:

    def test_what_another_process_knew_holds_until_more_is_known(
            self, cloud, caplog):
        caplog.set_level(logging.INFO, 'healthcheck.cells')
        cloud.answers = {'d1': frozen, 'd2': frozen}
        cloud.inventory.inherit([
            report.Component('cell1', Status.PASS, since=5.0, latency=0.1),
            report.Component('cell2', Status.FAIL, 'DATABASE: GONE',
                             since=6.0),
            report.Component('gone', Status.FAIL)])
        cloud.pass_by(4.5)
        assert cloud.cell('cell1').component == report.Component(
            'cell1', Status.PASS, since=5.0, latency=0.1)
        assert cloud.cell('cell1').settled
        assert cloud.cell('cell2').component == report.Component(
            'cell2', Status.FAIL, 'DATABASE: GONE', since=6.0)
        assert 'gone' not in ups(cloud.state())
        cloud.pass_by(8)
        one = cloud.cell('cell1').component
        assert (one.status, one.reason) == (Status.FAIL,
                                            'DATABASE: NO ANSWER')
        assert one.since > 1e9
        one = cloud.cell('cell2').component
        assert (one.reason, one.since) == ('DATABASE: NO ANSWER', 6.0)
        assert sorted(one.getMessage() for one in caplog.records
                      if 'cells.' in one.name) == [
            'Healthcheck cell cell1 is down: DATABASE: NO ANSWER: database: '
            'no answer for 4.0 s',
            'Healthcheck cell cell2 is down: DATABASE: NO ANSWER: database: '
            'no answer for 4.0 s']

    def test_a_take_over_changes_no_answer(self, cloud):
        """The report of the other process holds until all is known."""
        other = cloud_module.Cloud(list(cloud.rows))
        other.answers = {'d1': refused}
        other.pass_by(60)
        last = other.reports[-1][1]
        cloud.now = other.now
        cloud.answers = {'d1': refused, 'd2': lambda now: (world.OK, 4.0)}
        cloud.resting = True
        cloud.pass_by(0.5)
        cloud.scheduler.restore(last)
        cloud.go_on()
        cloud.pass_by(12)
        assert cloud.reports
        for _, published in cloud.reports:
            one, = published.checks
            assert one.status is Status.PASS
            assert {each.name: each.status for each in one.components} == {
                'cell0': Status.PASS, 'cell1': Status.FAIL,
                'cell2': one.components[2].status}
            assert one.components[2].status in (Status.PASS, Status.WARN)


def test_a_frozen_cell_holds_its_own_workers_and_delays_nobody():
    rows = [row(number) for number in range(50)]
    cloud = cloud_module.Cloud(rows)
    cloud.pass_by(30)
    cloud.answers = {'d7/': never, 'q7/': never}
    cloud.pass_by(60)
    while cloud.scheduler._rota.visits > 2:
        cloud.pass_by(0.01)
    assert [key for key, visited in cloud.scheduler._rota.running().items()
            if visited] == [row(7)[3], row(7)[2]]
    assert cloud.cell('cell7').up is False
    for target in cloud.targets:
        if '7/' not in target.url[-10:]:
            assert max(gaps(target.visits), default=0.0) < (
                POLICY.interval * (1 + POLICY.jitter) + 0.5)


def test_cells_that_are_all_down_stay_down():
    """However long it takes to look at each of them again."""
    rows = [row(number) for number in range(1, 31)]
    cloud = cloud_module.Cloud(rows, workers=4)
    cloud.pass_by(30)
    cloud.answers = {'@d': frozen, '@q': frozen}
    cloud.pass_by(300)
    for _ in range(10):
        assert not any(ups(cloud.state()).values())
        cloud.pass_by(11)
        assert set(ups(cloud.state()).values()) == {False}


def test_cell0_and_the_list_are_looked_at_though_all_workers_hang():
    cloud = cloud_module.Cloud([row(number) for number in range(31)],
                               workers=4)
    cloud.pass_by(30)
    cloud.answers = {f'{kind}{number}/': never for kind in 'dq'
                     for number in range(1, 31)}
    cloud.pass_by(100)
    # A thread for each worker, the list and cell0.
    assert cloud.scheduler._pool.size == 4 + 2
    for piece in ('d0/', 'api'):
        used, = [one for one in visited(cloud) if piece in one.url]
        assert max(gaps(used.visits)) < 11.1
        assert len(used.visits) >= 11


def test_a_process_that_was_stopped_does_not_blame_the_cells(cloud):
    cloud.pass_by(25)
    cloud.answers = {'d1': lambda now: (world.OK, 60.2)}
    target = cloud.target('d1')
    seen = len(target.visits)
    while len(target.visits) == seen:
        cloud.pass_by(0.1)

    def stopped():  # for a minute, while a visit goes on
        cloud.now += 60
    cloud.at(cloud.now + 0.05, stopped)
    cloud.pass_by(62)
    assert cloud.cell('cell1').component.status is Status.PASS


def test_each_cell_has_its_own_latency():
    """However many others were on a tour with it."""
    many = cloud_module.Cloud([row(number) for number in range(60)])
    many.answers['d'] = many.answers['q'] = lambda now: (world.OK, 0.001)
    many.pass_by(15)
    before, targets = many.visits, len(many.targets)
    many.pass_by(30)
    assert many.visits - before < targets * 2  # of three visits to each
    assert {round(one.component.latency, 6)
            for one in many.state().cells} == {0.001}


def test_no_thread_for_a_visit_is_a_failure_of_the_visit(
        cloud, monkeypatch):
    cloud.pass_by(5)

    def submit(act, done):
        raise RuntimeError("can't start new thread")
    with monkeypatch.context() as patch:
        patch.setattr(cloud, 'submit', submit)
        cloud.pass_by(15)
        one = cloud.cell('cell1')
        assert one.up is False
        assert one.component.reason.endswith(guard.PROBE_ERROR)
        assert "can't start new thread" in one.component.detail
        # Nor is there one to close what is no more.
        cloud.pass_by(15)
    cloud.pass_by(15)
    assert cloud.cell('cell1').up is True


def test_no_thread_to_close_with(cloud, monkeypatch):
    cloud.pass_by(5)

    def submit(act, done):
        raise RuntimeError("can't start new thread")
    monkeypatch.setattr(cloud, 'submit', submit)
    cloud.scheduler.rest()
    assert list(cloud.scheduler._rota._watched) == [cloud_module.API]
    assert cloud.scheduler._closing == 0
