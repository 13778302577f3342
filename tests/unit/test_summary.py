# SPDX-License-Identifier: Apache-2.0

"""When a summary is judged: what it waits for, and what makes it judge."""

import itertools

import pytest

from healthcheck.probing import check
from healthcheck.probing import guard
from healthcheck.probing import policy as policy_module
from healthcheck.probing import probe
from healthcheck.probing import target
from healthcheck.reports import report
from tests.unit import cloud as cloud_module
from tests.unit import world

POLICY = cloud_module.POLICY
PATIENCE = POLICY.timeout * check.PATIENCE

Status = report.Status
refused, never, row = (cloud_module.refused, cloud_module.never,
                       cloud_module.row)


@pytest.fixture
def cloud():
    return cloud_module.Cloud([row(0), row(1), row(2)])


def ups(state):
    return {one.component.name: one.up for one in state.cells}


def lasts(seconds):
    return lambda now: (world.OK, seconds)


def judged(cloud):
    """When it was judged."""
    return [time for time, _ in cloud.judged]


def statuses(cloud, name):
    """When which status of a cell was judged first."""
    seen = []
    for time, state in cloud.judged:
        for one in state.cells:
            if one.component.name == name and (
                    not seen or seen[-1][1] is not one.component.status):
                seen.append((time, one.component.status))
    return seen


class TestWaits:

    def test_until_all_is_known(self, cloud):
        cloud.answers = {'q2': lasts(3.0)}
        cloud.pass_by(3.0)
        assert not cloud.judged
        cloud.pass_by(0.2)
        (_, state), = cloud.judged
        assert state.listed and state.api.status is Status.PASS
        assert ups(state) == {'cell0': True, 'cell1': True, 'cell2': True}

    def test_until_a_failure_is_confirmed(self, cloud):
        cloud.answers = {'d1': refused}
        cloud.pass_by(2.0)
        assert not cloud.judged
        cloud.pass_by(0.2)
        (_, state), = cloud.judged
        assert ups(state)['cell1'] is False

    def test_no_longer_than_its_patience(self, cloud):
        cloud.answers = {'d1': never}
        cloud.pass_by(PATIENCE - 0.01)
        assert not cloud.judged
        cloud.pass_by(0.02)
        (at, state), = cloud.judged
        assert at == 1000 + PATIENCE
        assert ups(state) == {'cell0': True, 'cell1': None, 'cell2': True}

    def test_unless_it_is_asked_what_is_known_now(self, cloud):
        cloud.answers = {'d1': never}
        cloud.pass_by(0.2)
        assert not cloud.reports
        cloud.scheduler.sum_up()
        (_, state), = cloud.judged
        assert ups(state) == {'cell0': True, 'cell1': None, 'cell2': True}
        assert len(cloud.reports) == 1

    def test_and_is_woken_up_for(self, cloud):
        cloud.answers = {'d1': never}
        cloud.pass_by(0.2)
        assert cloud.check.wakes_at == 1000 + PATIENCE
        cloud.scheduler._rota._due.clear()
        assert cloud.step() == cloud.check.wakes_at

    def test_for_nothing_when_all_is_known(self, cloud):
        cloud.pass_by(5)
        cloud.answers = {'d1': never}
        cloud.pass_by(40)  # it is down, and being visited
        due_at = cloud.check.state.due_at
        cloud.run(due_at - 0.01)
        before = len(cloud.judged)
        cloud.run(due_at)
        assert judged(cloud)[before:] == [due_at]

    def test_without_a_list(self, cloud):
        cloud.answers = {'api': refused}
        cloud.pass_by(3)
        _, state = cloud.judged[-1]
        assert not state.listed and state.cells == ()
        assert (state.api.status, state.api.reason) == (
            Status.FAIL, 'CONNECTION REFUSED')

    def test_for_a_cell_that_comes_while_it_waits(self, cloud):
        cloud.answers = {'api': lasts(1.0), 'd1': lasts(2.0)}
        cloud.pass_by(2.9)
        assert not cloud.judged
        cloud.pass_by(0.3)
        (_, state), = cloud.judged
        assert all(ups(state).values())

    def test_not_for_cells_that_go(self):
        policy = policy_module.Policy(timeout=100, ttl=500)
        cloud = cloud_module.Cloud([row(0), row(1), row(2)], policy=policy)
        cloud.answers = {'d2': never}
        cloud.pass_by(1)
        del cloud.rows[2]
        assert not cloud.judged
        cloud.pass_by(12)
        assert ups(cloud.judged[0][1]) == {'cell0': True, 'cell1': True}

    def test_time_in_which_nothing_ran_does_not_count(self, cloud):
        cloud.answers = {'d1': lasts(3.0)}
        cloud.pass_by(1.0)
        cloud.check.excuse(60.0)
        assert cloud.check.wakes_at == 1060 + PATIENCE
        cloud.check._judge = lambda now: (world.OK, True)
        cloud.check.judge(1061.5, 0.0, 0.0)
        # However long it has waited, it is not late itself.
        assert cloud.check.state.status is report.Status.PASS


class TestRound:
    """Somebody asks for everything to be looked at."""

    def refresh(self, cloud):
        cloud.scheduler.refresh()
        self.asked_at = cloud.now

    def over(self, cloud):
        """When the round was over, and what was judged then."""
        times = [time for time, published in cloud.reports
                 if published.refreshed_at == self.asked_at]
        if not times:
            return None
        states = [state for time, state in cloud.judged if time == times[0]]
        return times[0], states[-1]

    def test_waits_for_a_visit_of_everything(self, cloud):
        cloud.pass_by(25)
        self.refresh(cloud)
        cloud.pass_by(0.5)
        over_at, _ = self.over(cloud)
        for one in cloud.targets:
            assert len([at for at in one.visits
                        if self.asked_at <= at <= over_at]) == 1

    def test_waits_for_what_begins_after_it(self, cloud):
        """A visit that goes on may have passed what is asked for."""
        cloud.pass_by(25)
        cloud.answers = {'d1': lasts(0.9)}
        one = cloud.target('d1')
        seen = len(one.visits)
        while len(one.visits) == seen:
            cloud.pass_by(0.1)
        assert one.visits[-1] > cloud.now - 0.2
        self.refresh(cloud)
        cloud.pass_by(1.0)
        assert not self.over(cloud)
        cloud.pass_by(0.95)
        assert self.over(cloud)
        assert one.visits[-1] >= self.asked_at

    def test_waits_no_longer_than_a_timeout(self, cloud):
        cloud.pass_by(25)
        cloud.answers = {'d1': never}
        self.refresh(cloud)
        cloud.pass_by(POLICY.timeout - 0.1)
        assert not self.over(cloud)
        cloud.pass_by(0.1)
        assert self.over(cloud)

    def test_finds_a_first_failure(self, cloud):
        cloud.pass_by(25)
        cloud.answers = {'d1': refused}
        self.refresh(cloud)
        cloud.pass_by(0.5)
        _, state = self.over(cloud)
        assert state.cells[1].component.status is Status.WARN

    def test_waits_for_cells_that_come_with_it(self, cloud):
        cloud.pass_by(25)
        cloud.rows.append(row(3))
        cloud.answers = {'d3': lasts(0.5)}
        self.refresh(cloud)
        cloud.pass_by(0.4)
        assert not self.over(cloud)
        cloud.pass_by(0.6)
        _, state = self.over(cloud)
        assert ups(state)['cell3'] is True

    def test_waits_for_one_that_comes_to_a_target_that_is_visited(
            self, cloud):
        cloud.pass_by(25)
        cloud.rows.append(row(3, database_connection=row(1)[3]))
        cloud.answers = {'d1': lasts(0.5)}
        self.refresh(cloud)
        cloud.pass_by(0.8)
        assert not self.over(cloud)
        cloud.pass_by(0.5)
        _, state = self.over(cloud)
        assert ups(state)['cell3'] is True

    def test_does_not_wait_for_cells_that_go(self, cloud):
        cloud.pass_by(25)
        del cloud.rows[2]
        cloud.answers = {'d2': lasts(4.0)}
        self.refresh(cloud)
        cloud.pass_by(0.5)
        _, state = self.over(cloud)
        assert ups(state) == {'cell0': True, 'cell1': True}


class TestNews:
    """It is judged soon after a change, but once a second at most."""

    def settle(self, cloud):
        cloud.pass_by(25)
        cloud.judged.clear()
        return cloud.now

    def regular(self, cloud, start):
        """How often it is judged in any case, at most."""
        return (cloud.now - start) / (
            POLICY.interval * (1 - POLICY.jitter)) + 1

    def test_when_a_cell_changes(self, cloud):
        start = self.settle(cloud)
        cloud.answers = {'d1': refused}
        cloud.pass_by(15)
        found_at = cloud.target('d1').visits
        first, second = [at for at in found_at if at >= start][:2]
        times = dict((status, time) for time, status in
                     statuses(cloud, 'cell1'))
        # It warns, and after a second failure it is down.
        assert first < times[Status.WARN] <= first + 0.1
        assert second < times[Status.FAIL] <= second + 0.1
        assert len(cloud.judged) <= 2 + self.regular(cloud, start)
        cloud.pass_by(60)
        assert len(cloud.judged) <= 2 + self.regular(cloud, start)

    def test_when_a_cell_hangs(self, cloud):
        start = self.settle(cloud)
        cloud.answers = {'d1': never}
        cloud.pass_by(POLICY.detection)
        began = next(at for at in cloud.target('d1').visits if at >= start)
        times = dict((status, time) for time, status in
                     statuses(cloud, 'cell1'))
        assert times[Status.WARN] == began + POLICY.timeout
        assert times[Status.FAIL] == began + 2 * POLICY.timeout + (
            POLICY.retry_interval)
        assert cloud.cell('cell1').component.since > 1e9 + 1025

    def test_once_a_second(self):
        cloud = cloud_module.Cloud([row(number) for number in range(40)])
        start = self.settle(cloud)
        cloud.answers = {'d': refused}
        cloud.pass_by(15)
        times = judged(cloud)
        assert len(times) > 5
        # The first one may be a regular one.
        assert all(late - early >= 1.0 for early, late in itertools.pairwise(
            times[1:]))
        assert times[0] - start < 2.0

    def test_for_all_that_read_the_list(self, cloud):
        seen = []

        def judge(now):
            seen.append(now)
            return world.OK, True
        other = check.Summary('services', cloud.inventory, judge, POLICY)
        cloud.schedule(cloud.check, other)
        start = self.settle(cloud)
        seen.clear()
        cloud.answers = {'d1': refused}
        cloud.pass_by(15)
        found_at = next(at for at in cloud.target('d1').visits
                        if at >= start) + 0.02
        assert found_at in seen and found_at in judged(cloud)

    @pytest.mark.parametrize('behaviour', [refused, cloud_module.slow])
    def test_of_the_api_database(self, cloud, behaviour):
        """Else it would be found an interval later."""
        start = self.settle(cloud)
        cloud.answers = {'api': behaviour}
        cloud.pass_by(15)
        api = cloud.target('api')
        found_at = next(at for at in api.visits if at >= start) + (
            behaviour(0)[1])
        assert found_at in judged(cloud)

    @pytest.mark.parametrize('rows', [[row(0), row(1)], [
        row(0), row(1), row(2), row(3)]])
    def test_of_another_list(self, cloud, rows):
        start = self.settle(cloud)
        cloud.rows = rows
        cloud.pass_by(15)
        found_at = next(at for at in cloud.target('api').visits
                        if at >= start) + 0.02
        after = [(at, state) for at, state in cloud.judged
                 if at >= found_at]
        assert after[0][0] <= found_at + 0.1
        assert len(after[0][1].cells) == len(rows)

    def test_of_what_was_counted(self):
        count = {'d1': 1}
        cloud = cloud_module.Cloud(
            [row(0), row(1), row(2)],
            count=target.Question(lambda connection: target.Answer(
                world.OK, count['d1'] if 'd1' in connection.url else 0)))
        start = self.settle(cloud)
        count['d1'] = 2
        cloud.pass_by(60)
        found = [(time, {one.component.name: one.counted
                         for one in state.cells}['cell1'])
                 for time, state in cloud.judged]
        changed_at = next(time for time, count in found if count == 2)
        assert any(at <= changed_at <= at + 0.1
                   for at in cloud.target('d1').visits)
        assert len(cloud.judged) <= 1 + self.regular(cloud, start)

    def test_not_of_what_is_as_it_was(self, cloud):
        start = self.settle(cloud)
        cloud.pass_by(100)
        assert len(cloud.judged) <= self.regular(cloud, start)


class TestJudge:

    def test_what_it_raises_costs_that_check_only(self, cloud):
        def judge(now):
            raise RuntimeError('mysql://nova:s3same@api/')
        other = check.Summary('services', cloud.inventory, judge, POLICY)
        cloud.schedule(cloud.check, other)
        cloud.pass_by(30)
        _, published = cloud.reports[-1]
        well, ill = published.checks
        assert well.status is Status.PASS
        assert (ill.status, ill.reason) == (Status.FAIL, guard.PROBE_ERROR)
        assert ill.detail == 'services raised builtins.RuntimeError'

    @pytest.mark.parametrize('final,expected', [
        (True, Status.FAIL), (False, Status.WARN)])
    def test_a_final_result_is_not_counted_again(self, final, expected):
        one = check.Summary('x', probe.Fixed(), lambda now: (
            next(results), final), POLICY)
        results = iter([world.OK, world.REFUSED, world.OK])
        for now, status in ((0.0, Status.PASS), (10.0, expected),
                            (20.0, Status.PASS)):
            assert one.is_ready(now)
            one.judge(now, now, 0.0)
            assert one.state.status is status

    def test_the_next_one_is_spread(self):
        one = check.Summary('x', probe.Fixed(), lambda now: (
            world.OK, True), POLICY)
        one.judge(0.0, 0.0, 0.1)
        assert one.wakes_at == pytest.approx(11.0)
