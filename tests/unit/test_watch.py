# SPDX-License-Identifier: Apache-2.0

"""What a watch looks at, when, and what it tells."""

import itertools
import logging
import queue
import threading
import time

import pytest

from healthcheck.cells import look as look_module
from healthcheck.cells import pool
from healthcheck.cells import watch
from healthcheck.probing import check
from healthcheck.probing import guard
from healthcheck.reports import report
from tests.unit import cloud as cloud_module
from tests.unit import world

PATIENCE = 20
POLICY = cloud_module.POLICY

Status = report.Status
refused, frozen = cloud_module.refused, cloud_module.frozen
never, row = cloud_module.never, cloud_module.row


def well(now):
    return world.OK, 0.02


@pytest.fixture
def cloud(monkeypatch):
    return cloud_module.Cloud(monkeypatch, [row(0), row(1), row(2)])


@pytest.fixture
def driver(cloud):
    return cloud_module.Driver(cloud)


def ups(state):
    return {one.component.name: one.up for one in state.cells}


class TestLook:

    def test_waits_until_all_is_known(self, cloud, driver):
        cloud.answers = {'q2': lambda now: (world.OK, 3.0)}
        driver.join()
        look = driver.look()
        driver.run(3.0)
        assert not look.answered.is_set()
        driver.run(0.2)
        assert look.answered.is_set()
        assert look.state.listed and look.state.api.status is Status.PASS
        assert ups(look.state) == {'cell0': True, 'cell1': True,
                                   'cell2': True}

    def test_waits_until_a_failure_is_confirmed(self, cloud, driver):
        cloud.answers = {'d1': refused}
        driver.join()
        look = driver.look()
        driver.run(2.0)
        assert not look.answered.is_set()
        driver.run(0.2)
        assert ups(look.state)['cell1'] is False

    def test_is_answered_when_its_patience_is_over(self, cloud, driver):
        cloud.answers = {'d1': never}
        driver.join()
        look = driver.look(patience=4.5)
        driver.run(4.49)
        assert not look.answered.is_set()
        driver.run(0.02)
        assert ups(look.state) == {'cell0': True, 'cell1': None,
                                   'cell2': True}

    def test_is_woken_up_for(self, cloud, driver):
        cloud.answers = {'d1': never}
        driver.join()
        driver.run(0.2)
        look = driver.look(patience=0.1)
        driver.take_calls()
        assert driver.watch.step() == look.until

    def test_is_answered_at_once_when_all_is_known(self, cloud, driver):
        driver.join()
        driver.run(5)
        cloud.answers = {'d1': never}
        driver.run(20)
        look = driver.look()
        driver.run(0)
        assert look.answered.is_set()

    def test_without_a_list(self, cloud, driver):
        cloud.answers = {'api': refused}
        driver.join()
        look = driver.look()
        driver.run(3)
        assert not look.state.listed and look.state.cells == ()
        assert (look.state.api.status, look.state.api.reason) == (
            Status.FAIL, 'CONNECTION REFUSED')

    def test_anew_waits_for_a_visit_of_everybody(self, cloud, driver):
        driver.join()
        driver.run(25)
        asked_at = cloud.now
        look = driver.look(anew=True)
        driver.run(0.5)
        assert look.answered.is_set()
        for target in cloud.targets:
            assert len([at for at in target.visits if at >= asked_at]) == 1

    def test_anew_waits_for_what_begins_after_it(self, cloud, driver):
        """A visit that goes on may have passed what is asked for."""
        driver.join()
        driver.run(25)
        cloud.answers = {'d1': lambda now: (world.OK, 0.9)}
        target = cloud.target('d1')
        seen = len(target.visits)
        while len(target.visits) == seen:
            driver.run(0.1)
        asked_at = cloud.now
        assert target.visits[-1] > asked_at - 0.2
        look = driver.look(anew=True)
        driver.run(1.0)
        assert not look.answered.is_set()
        driver.run(0.95)
        assert look.answered.is_set()
        assert target.visits[-1] >= asked_at

    def test_anew_finds_a_failure_for_good(self, cloud, driver):
        driver.join()
        driver.run(25)
        cloud.answers = {'d1': refused}
        look = driver.look(anew=True)
        driver.run(0.5)
        assert look.answered.is_set()
        assert look.state.cells[1].component.status is Status.WARN

    def test_anew_waits_for_cells_that_come_with_it(self, cloud, driver):
        driver.join()
        driver.run(25)
        cloud.rows.append(row(3))
        cloud.answers = {'d3': lambda now: (world.OK, 0.5)}
        look = driver.look(anew=True)
        driver.run(1)
        assert ups(look.state)['cell3'] is True

    def test_does_not_wait_for_cells_that_go(self, cloud, driver):
        cloud.answers = {'d2': never}
        driver.join()
        look = driver.look(patience=100)
        driver.run(1)
        del cloud.rows[2]
        assert not look.answered.is_set()
        driver.run(12)
        assert ups(look.state) == {'cell0': True, 'cell1': True}


class TestNews:

    def test_are_told_when_a_cell_changes(self, cloud, driver):
        driver.join()
        driver.run(25)
        driver.news.clear()
        cloud.answers = {'d1': refused}
        driver.run(15)
        # It warns, and after a second failure it is down.
        assert len(driver.news) == 2
        driver.run(60)
        assert len(driver.news) == 2

    def test_are_told_of_a_cell_that_hangs(self, cloud, driver):
        driver.join()
        driver.run(25)
        driver.news.clear()
        cloud.answers = {'d1': never}
        driver.run(POLICY.detection)
        assert len(driver.news) == 2
        assert driver.cell('cell1').component.since > 1e9 + 1025

    def test_are_told_once_a_second(self, monkeypatch):
        cloud = cloud_module.Cloud(
            monkeypatch, [row(number) for number in range(40)])
        driver = cloud_module.Driver(cloud)
        driver.join()
        driver.run(25)
        driver.news.clear()
        changed_at = cloud.now
        cloud.answers = {'d': refused}
        driver.run(15)
        assert len(driver.news) > 5
        assert all(late - early >= 1.0 for early, late in zip(
            driver.news, driver.news[1:]))
        assert driver.news[0] - changed_at < 2.0

    def test_are_told_to_all_members(self, cloud, driver):
        driver.join('cells')
        driver.join('services')
        driver.run(5)
        told = len(driver.news)
        assert told and told % 2 == 0

    @pytest.mark.parametrize('result', [refused, cloud_module.slow])
    def test_are_told_of_the_api_database(self, cloud, driver, result):
        """Else the plugin would find it an interval later."""
        driver.join()
        driver.run(25)
        driver.news.clear()
        cloud.answers = {'api': result}
        driver.run(15)
        assert driver.news

    @pytest.mark.parametrize('rows', [[row(0), row(1)], [
        row(0), row(1), row(2), row(3)]])
    def test_are_told_of_another_list(self, cloud, driver, rows):
        driver.join()
        driver.run(25)
        driver.news.clear()
        cloud.rows = rows
        driver.run(11.1)
        assert driver.news

    def test_are_told_of_what_was_counted(self, cloud, driver):
        counts = itertools.chain([1, 1, 1], itertools.repeat(2))
        driver.join(count=lambda connection: (
            next(counts) if 'd1' in connection.url else 0))
        driver.run(25)
        driver.news.clear()
        driver.run(60)
        assert len(driver.news) == 1
        assert driver.cell('cell1').counted == 2


class TestList:

    def test_a_cell_that_is_added_is_looked_at(self, cloud, driver):
        driver.join()
        driver.run(5)
        cloud.rows.append(row(3))
        driver.run(12)
        assert driver.cell('cell3').up is True

    def test_one_that_is_removed_is_closed(self, cloud, driver):
        driver.join()
        driver.run(5)
        del cloud.rows[1]
        driver.run(12)
        assert ups(driver.state()) == {'cell0': True, 'cell2': True}
        for piece in ('d1', 'q1'):
            target = cloud.target(piece)
            assert target.closed == 1
            seen = len(target.visits)
            driver.run(30)
            assert len(target.visits) == seen
        assert cloud.target('d2').closed == 0

    def test_one_that_is_removed_while_it_hangs(self, cloud, driver):
        cut = []
        cloud.answers = {'d1': lambda now: (world.OK, 40.0)}
        driver.join()
        driver.run(1)
        target = cloud.target('d1')
        target.overdue = lambda: cut.append(cloud.now) or ('', '')
        del cloud.rows[1]
        driver.run(12)
        assert len(cut) == 2  # it was late, and it was removed
        assert target.closed == 0
        driver.run(40)
        assert target.closed == 1
        assert 'cell1' not in ups(driver.state())

    def test_one_whose_url_changes_is_connected_to_anew(
            self, cloud, driver):
        cloud.answers = {'d1/': refused}
        driver.join()
        driver.run(5)
        assert driver.cell('cell1').up is False
        since = driver.cell('cell1').component.since
        cloud.rows[1] = row(1, database_connection='mysql://elsewhere/nova')
        cloud.answers['elsewhere'] = lambda now: (world.OK, 3.0)
        while not cloud.target('api').visits[-1] > 1005.5:
            driver.run(0.5)
        # What was known of it holds until more is.
        assert driver.cell('cell1').up is False
        assert driver.cell('cell1').component.since == since
        driver.run(4)
        assert driver.cell('cell1').up is True
        assert cloud.target('d1/').closed == 1

    def test_one_that_is_not_changed_keeps_its_connection(
            self, cloud, driver):
        driver.join()
        driver.run(60)
        assert len(cloud.targets) == 6
        assert all(len(one.visits) >= 5 for one in cloud.targets)
        assert not any(one.closed for one in cloud.targets)

    def test_disabled_and_enabled_again(self, cloud, driver):
        driver.join()
        driver.run(5)
        cloud.rows[1] = row(1, disabled=True)
        driver.run(12)
        one = driver.cell('cell1')
        assert (one.enabled, one.up, one.settled) == (False, None, True)
        assert one.component.disabled
        assert cloud.target('d1').closed == cloud.target('q1').closed == 1
        cloud.rows[1] = row(1)
        driver.run(12)
        assert driver.cell('cell1').up is True

    def test_corrupted_and_mended(self, cloud, driver):
        driver.join()
        driver.run(5)
        cloud.rows[1] = row(1, transport_url='unparsable')
        driver.run(12)
        one = driver.cell('cell1')
        assert (one.up, one.component.reason) == (False, 'BAD MAPPING')
        assert one.component.detail == 'transport_url has no scheme'
        assert one.component.since is not None
        assert ups(driver.state())['cell2'] is True
        cloud.rows[1] = row(1)
        driver.run(12)
        assert driver.cell('cell1').up is True

    def test_any_fault_of_a_mapping_is_that_cells(
            self, cloud, driver, monkeypatch):
        """Whatever a driver says to its URL."""
        driver.join()
        driver.run(5)
        cloud.rows.append(row(3))
        cloud.rows[1] = row(1, database_connection='mysql://odd/nova')
        made = watch.fleet_module.database_target.DatabaseTarget

        def odd(url, **kwargs):
            if 'odd' in url:
                raise KeyError(cloud_module.PASSWORD)
            return made(url, **kwargs)
        monkeypatch.setattr(watch.fleet_module.database_target,
                            'DatabaseTarget', odd)
        monkeypatch.setattr(watch.fleet_module, 'isinstance',
                            lambda *args: True, raising=False)
        driver.run(12)
        assert ups(driver.state()) == {'cell0': True, 'cell1': False,
                                       'cell2': True, 'cell3': True}
        assert driver.cell('cell1').component.detail == (
            'builtins.KeyError')

    def test_two_of_one_name(self, cloud, driver):
        cloud.rows = [row(1, 'one'), row(2, 'one'), row(3)]
        driver.join()
        driver.run(5)
        assert ups(driver.state()) == {
            f'one ({cloud_module.uuid(1)})': True,
            f'one ({cloud_module.uuid(2)})': True, 'cell3': True}

    def test_cell0_has_no_queue(self, cloud, driver):
        driver.join()
        driver.run(5)
        assert not [one for one in cloud.targets if 'q0' in one.url]

    def test_the_last_one_is_kept_without_the_database(
            self, cloud, driver):
        driver.join()
        driver.run(5)
        cloud.answers = {'api': refused, 'd1': refused}
        cloud.rows = []
        driver.run(200)
        state = driver.state()
        assert state.listed
        assert state.api.status is Status.FAIL
        assert ups(state) == {'cell0': True, 'cell1': False, 'cell2': True}
        cloud.answers = {}
        driver.run(12)
        assert ups(driver.state()) == {}

    def test_no_queue_is_looked_at_for_services_alone(self, cloud, driver):
        driver.join('services', queues=False)
        driver.run(5)
        assert sorted(one.url for one in cloud.targets if 'q' in one.url
                      and 'mysql' not in one.url) == []
        driver.join('cells', queues=True)
        driver.run(5)
        assert cloud.target('q1').visits
        assert ups(driver.state()) == {'cell0': True, 'cell1': True,
                                       'cell2': True}

    def test_who_joins_later_does_not_have_it_logged_that_all_is_well(
            self, cloud, driver, caplog):
        caplog.set_level(logging.INFO, 'healthcheck')
        driver.join('services', queues=False)
        driver.run(0.01)
        driver.join('cells', queues=True)
        driver.run(5)
        assert caplog.messages == []


class TestMembers:

    def test_the_last_one_closes_all(self, cloud, driver):
        driver.join('cells')
        driver.join('services')
        driver.run(5)
        driver.watch.leave('cells')
        driver.run(5)
        assert not any(one.closed for one in cloud.targets)
        driver.watch.leave('services')
        driver.watch.leave('services')
        driver.watch.leave('nobody')
        driver.run(1)
        assert all(one.closed == 1 for one in cloud.targets if one.visits)
        seen = driver.submitted
        driver.run(60)
        assert driver.submitted == seen

    def test_who_joins_while_the_list_is_read(self, cloud, driver):
        cloud.answers = {'api': lambda now: (world.OK, 1.0)}
        driver.join('cells')
        driver.run(0.5)
        driver.join('services')
        driver.run(1)
        assert driver.state().api.status is Status.PASS
        assert len(cloud.target('api').visits) == 1

    def test_who_comes_back_finds_all(self, cloud, driver):
        driver.join()
        driver.run(5)
        driver.watch.leave('cells')
        driver.run(50)
        driver.join()
        look = driver.look()
        driver.run(1)
        assert ups(look.state) == {'cell0': True, 'cell1': True,
                                   'cell2': True}
        assert len(cloud.targets) == 12

    def test_who_comes_back_while_a_cell_hangs(self, cloud, driver):
        cloud.answers = {'d1': never}
        driver.join()
        driver.run(7)
        driver.watch.leave('cells')
        driver.run(1)
        assert cloud.target('d1').closed == 0
        cloud.answers = {}
        driver.join()
        look = driver.look()
        driver.run(1)
        assert all(ups(look.state).values())

    def test_who_looks_while_the_last_one_leaves(self, cloud, driver):
        cloud.answers = {'d1': never}
        driver.join()
        driver.run(1)
        look = driver.look(patience=50)
        driver.run(1)
        driver.watch.leave('cells')
        driver.run(0)
        assert look.answered.is_set()

    def test_what_another_process_knew_holds_until_more_is_known(
            self, cloud, driver, caplog):
        caplog.set_level(logging.INFO, 'healthcheck')
        cloud.answers = {'d1': frozen, 'd2': frozen}
        driver.watch.inherit([
            report.Component('cell1', Status.PASS, since=5.0, latency=0.1),
            report.Component('cell2', Status.FAIL, 'DATABASE: GONE',
                             since=6.0),
            report.Component('gone', Status.FAIL)])
        driver.join()
        driver.run(4.5)
        assert driver.cell('cell1').component == report.Component(
            'cell1', Status.PASS, since=5.0, latency=0.1)
        assert driver.cell('cell1').settled
        assert driver.cell('cell2').component == report.Component(
            'cell2', Status.FAIL, 'DATABASE: GONE', since=6.0)
        assert 'gone' not in ups(driver.state())
        driver.run(8)
        one = driver.cell('cell1').component
        assert (one.status, one.reason) == (Status.FAIL,
                                            'DATABASE: NO ANSWER')
        assert one.since > 1e9
        one = driver.cell('cell2').component
        assert (one.reason, one.since) == ('DATABASE: NO ANSWER', 6.0)
        assert sorted(caplog.messages) == [
            'Healthcheck cell cell1 is down: DATABASE: NO ANSWER: database: '
            'no answer for 4.0 s',
            'Healthcheck cell cell2 is down: DATABASE: NO ANSWER: database: '
            'no answer for 4.0 s']


def test_what_is_handed_in_is_taken_though_a_call_before_it_fails(
        cloud, driver):
    driver.join()
    driver.run(5)

    def broken():
        raise RuntimeError
    driver.watch._call(broken)
    look = driver.look()
    with pytest.raises(RuntimeError):
        driver.take_calls()
    driver.run(0)
    assert look.answered.is_set()


def test_a_frozen_cell_holds_one_worker_and_delays_nobody(monkeypatch):
    rows = [row(number) for number in range(50)]
    cloud = cloud_module.Cloud(monkeypatch, rows)
    driver = cloud_module.Driver(cloud)
    driver.join()
    driver.run(30)
    cloud.answers = {'d7/': never, 'q7/': never}
    driver.run(60)
    assert len(driver.watch._rota.visited) == 1
    assert driver.cell('cell7').up is False
    for target in cloud.targets:
        if '7/' not in target.url[-10:]:
            gaps = [late - early for early, late in zip(
                target.visits, target.visits[1:])]
            assert max(gaps) < POLICY.interval * (1 + POLICY.jitter) + 0.5


def test_cells_that_are_all_down_stay_down(monkeypatch):
    """However long it takes to look at each of them again."""
    rows = [row(number) for number in range(1, 31)]
    cloud = cloud_module.Cloud(monkeypatch, rows)
    driver = cloud_module.Driver(cloud, workers=4)
    driver.join()
    driver.run(30)
    cloud.answers = {'@d': frozen, '@q': frozen}
    driver.run(300)
    for _ in range(10):
        assert not any(ups(driver.state()).values())
        driver.run(11)
        assert set(ups(driver.state()).values()) == {False}


def test_a_process_that_was_stopped_does_not_blame_the_cells(
        cloud, driver):
    driver.join()
    driver.run(25)
    cloud.answers = {'d1': lambda now: (world.OK, 60.2)}
    target = cloud.target('d1')
    seen = len(target.visits)
    while len(target.visits) == seen:
        driver.run(0.1)

    def stopped():  # for a minute, while a visit goes on
        cloud.now += 60
    driver.at(cloud.now + 0.05, stopped)
    driver.run(62)
    assert driver.cell('cell1').component.status is Status.PASS


def test_no_thread_for_a_visit_is_a_failure_of_the_visit(
        cloud, driver, monkeypatch):
    driver.join()
    driver.run(5)

    def submit(job):
        raise RuntimeError("can't start new thread")
    with monkeypatch.context() as patch:
        patch.setattr(driver, 'submit', submit)
        driver.run(15)
        one = driver.cell('cell1')
        assert one.up is False
        assert one.component.reason.endswith(guard.PROBE_ERROR)
        assert "can't start new thread" in one.component.detail
        # Nor is there one to close what is no more.
        driver.run(15)
    driver.run(15)
    assert driver.cell('cell1').up is True


def test_no_thread_to_close_with(cloud, driver, monkeypatch):
    driver.join()
    driver.run(5)

    def submit(job):
        raise RuntimeError("can't start new thread")
    monkeypatch.setattr(driver, 'submit', submit)
    driver.watch.leave('cells')
    driver.join()
    driver.take_calls()
    assert driver.watch._rota._known == {driver.watch._fleet.api}


class Going:
    """A watch in real threads."""

    def __init__(self, cloud, policy=check.Policy(
            interval=600, retry_interval=100, ttl=6000, timeout=300)):
        self.gate = threading.Event()
        self.watch = watch.Watch(cloud.fleet(policy=policy), 16)

    def join(self, member='cells'):
        self.watch.join(member, watch.Wants(True), lambda: None)

    def look(self, **kwargs):
        return self.watch.look(anew=False, patience=PATIENCE, **kwargs)

    def ends(self, thread):
        """Whether it ends, and those that close connections do."""
        thread.join(PATIENCE)
        for one in threading.enumerate():
            if one.name.startswith('healthcheck-cells'):
                one.join(PATIENCE)
        return not thread.is_alive()


@pytest.fixture
def going(cloud, monkeypatch):
    monkeypatch.setattr(pool, 'IDLE', 0.01)
    before = set(threading.enumerate())
    made = Going(cloud)
    yield made
    made.gate.set()
    made.watch.leave('cells')
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive()


class TestThread:

    def test_nothing_begins_before_somebody_joins(self, going, cloud):
        assert going.watch._thread is None
        assert not cloud.targets[0].visits

    def test_ends_when_the_last_member_has_left(self, going, cloud):
        going.join()
        assert all(ups(going.look()).values())
        thread = going.watch._thread
        assert thread.daemon
        going.watch.leave('cells')
        assert going.ends(thread)
        assert all(one.closed for one in cloud.targets if one.visits)
        assert going.watch._thread is None
        going.watch.leave('cells')
        assert going.watch._thread is None

    def test_begins_again(self, going):
        going.join()
        going.look()
        thread = going.watch._thread
        going.watch.leave('cells')
        assert going.ends(thread)
        going.join()
        assert all(ups(going.look()).values())
        assert going.watch._thread is not thread

    def test_ends_when_a_visit_that_hangs_comes_back(self, going, cloud):
        visited = threading.Event()

        def hang(now):
            visited.set()
            going.gate.wait(PATIENCE)
            return world.OK, 0.0
        cloud.answers = {'d1': hang}
        going.join()
        assert visited.wait(PATIENCE)
        thread = going.watch._thread
        hung = cloud.target('d1')
        going.watch.leave('cells')
        cloud.answers = {}
        going.join()
        assert all(ups(going.look()).values())
        assert going.watch._thread is thread
        assert not hung.closed
        going.watch.leave('cells')
        going.gate.set()
        assert going.ends(thread)
        assert hung.closed == 1

    def test_who_looks_while_the_last_one_leaves_is_answered(
            self, going, cloud):
        failed = threading.Event()

        def fail(now):
            failed.set()
            return world.REFUSED, 0.0
        cloud.answers = {'api': fail}
        going.join()
        seen = []
        other = threading.Thread(target=lambda: seen.append(going.look()))
        other.start()
        assert failed.wait(PATIENCE)
        while not going.watch._looks:
            pass
        going.watch.leave('cells')
        other.join(PATIENCE / 2)
        assert seen and not seen[0].listed

    def test_who_gets_no_answer_is_told(self, going, monkeypatch):
        going.join()
        going.look()
        monkeypatch.setattr(watch, '_GRACE', 0.0)
        stopped = threading.Event()

        def stop():
            stopped.set()
            going.gate.wait(PATIENCE)
        going.watch._call(stop)
        assert stopped.wait(PATIENCE)
        with pytest.raises(look_module.Stuck):
            going.watch.look(anew=False, patience=0.01)

    def test_no_thread_to_be_had(self, going, monkeypatch):
        class NoThread(threading.Thread):
            def start(self):
                raise RuntimeError("can't start new thread")
        with monkeypatch.context() as patch:
            patch.setattr(threading, 'Thread', NoThread)
            with pytest.raises(RuntimeError, match="can't start"):
                going.join()
        going.join()  # there are some again
        assert all(ups(going.look()).values())

    def test_goes_on_after_a_fault_that_is_logged_once(
            self, going, monkeypatch, caplog):
        naps = queue.Queue()
        steps = []
        monkeypatch.setattr(watch, 'time_module', Time(naps))
        step = going.watch.step

        def faulty():
            steps.append(1)
            if 2 <= len(steps) <= 4:
                raise RuntimeError('at fault')
            return step()
        going.watch.step = faulty
        going.join()
        assert all(ups(going.look()).values())
        assert [naps.get(timeout=PATIENCE) for _ in range(3)] == [1.0] * 3
        assert [one.getMessage() for one in caplog.records] == [
            'Healthcheck cannot look at the cells; it goes on trying']
        assert caplog.records[0].exc_info

    def test_waits_in_a_way_that_a_green_service_replaces(self, going):
        """eventlet patches queue.Queue, and not queue.SimpleQueue."""
        assert type(going.watch._calls) is queue.Queue


class Time:
    """The module, but for naps, which are over at once."""

    monotonic = time.monotonic

    def __init__(self, naps):
        self._naps = naps

    def sleep(self, seconds):
        self._naps.put(seconds)
