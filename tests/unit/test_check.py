# SPDX-License-Identifier: Apache-2.0

"""What a check makes of its probes, and how long it waits for them."""

import dataclasses

from healthcheck.probing import check
from healthcheck.probing import policy as policy_module
from healthcheck.probing import probe as probe_module
from healthcheck.probing import target
from healthcheck.reports import report
from tests.unit import world

POLICY = policy_module.Policy(jitter=0.0)
PATIENCE = check.PATIENCE * POLICY.timeout
Status = report.Status


def a_probe(question=None):
    return probe_module.Probe(world.Backend('database', None), POLICY,
                              question)


def visited(one, result, now):
    one.state.started(now)
    one.finished(target.Findings(result), now, 1e9 + now, 0.0)


class Summed:
    """A summary of some probes, which a test has judge."""

    def __init__(self, *probes, **more):
        self.found = world.OK, True
        self.asked = []
        self.check = check.Summary('cells', probe_module.Fixed(*probes),
                                   self._judge, POLICY, **more)

    def _judge(self, now):
        self.asked.append(now)
        return self.found

    def judge(self, now):
        self.check.judge(now, 1e9 + now, 0.0)
        return self.check.state.status


def test_it_waits_for_what_is_not_known_yet():
    probes = [a_probe(), a_probe()]
    one = Summed(*probes).check
    assert one.wakes_at <= 0.0
    assert not one.is_ready(0.0)
    assert one.wakes_at == PATIENCE
    for each in probes:
        assert not one.is_ready(1.0)
        visited(each, world.OK, 1.0)
        one.took(each)
    assert one.is_ready(1.0)


def test_a_failure_that_has_to_be_confirmed_is_waited_for():
    probe = a_probe()
    one = Summed(probe).check
    one.is_ready(0.0)
    visited(probe, world.REFUSED, 0.1)
    one.took(probe)
    assert not one.is_ready(0.1)
    visited(probe, world.REFUSED, 2.1)
    one.took(probe)
    assert one.is_ready(2.1)


def test_its_patience_has_an_end():
    one = Summed(a_probe()).check
    assert not one.is_ready(0.0)
    assert not one.is_ready(PATIENCE - 0.01)
    assert one.is_ready(PATIENCE)


def test_it_does_not_wait_for_what_is_known():
    probe = a_probe()
    visited(probe, world.OK, 0.0)
    summed = Summed(probe)
    assert summed.check.is_ready(0.0)
    summed.judge(0.0)
    assert summed.asked == [0.0]
    assert not summed.check.is_ready(POLICY.interval - 0.01)
    assert summed.check.is_ready(POLICY.interval)


def test_it_waits_for_what_comes_meanwhile_and_not_for_what_goes():
    first, second = a_probe(), a_probe()
    one = Summed(first).check
    one.is_ready(0.0)
    one.came(second)
    one.gone(first)
    assert not one.is_ready(0.1)
    one.gone(second)
    assert one.is_ready(0.1)
    # Once judged it waits for nothing, until it begins again.
    one.judge(0.1, 1e9, 0.0)
    one.came(second)
    visited(first, world.OK, 0.2)
    assert one.is_ready(one.wakes_at)


def test_news_are_judged_soon_and_once_a_second_at_most():
    summed = Summed()
    one = summed.check
    judged = []
    now = 0.0
    while now < 5.0:
        if one.is_ready(now):
            summed.judge(now)
            judged.append(now)
        if 2.0 <= now:
            one.tell(now)
        now = round(now + 0.1, 1)
    assert judged == [0.0, 2.1, 3.0, 4.0]


def test_news_while_it_waits_change_nothing():
    one = Summed(a_probe()).check
    one.is_ready(0.0)
    one.tell(1.0)
    assert one.wakes_at == PATIENCE


def test_time_in_which_nothing_could_run_is_left_out():
    one = Summed(a_probe()).check
    one.is_ready(0.0)
    one.excuse(60.0)
    assert not one.is_ready(60.0 + PATIENCE - 0.01)
    assert one.is_ready(60.0 + PATIENCE)


def test_it_is_never_late_itself():
    """It may have begun to wait before another process took over."""
    summed = Summed(a_probe())
    summed.check.is_ready(0.0)
    assert summed.judge(3600.0) is Status.PASS
    assert summed.check.wakes_at == 3600.0 + POLICY.interval


def test_what_is_not_final_has_to_be_found_again():
    summed = Summed()
    summed.found = world.REFUSED, False
    assert summed.judge(0.0) is Status.WARN
    assert summed.check.wakes_at == POLICY.retry_interval
    assert summed.judge(2.0) is Status.FAIL
    summed = Summed()
    summed.found = world.REFUSED, True
    assert summed.judge(0.0) is Status.FAIL


def test_it_goes_on_from_what_another_process_has_found():
    inherited = []
    summed = Summed(label='CELLS', inherit=inherited.append)
    parts = (report.Component('cell1', Status.PASS),)
    summed.found = dataclasses.replace(world.OK, components=parts), True
    summed.judge(100.0)
    last = summed.check.snapshot()
    assert (last.name, last.label, last.components) == ('cells', 'CELLS',
                                                        parts)
    other = Summed(inherit=inherited.append).check
    other.restore(last, 101.0)
    assert other.state.status is Status.PASS
    assert inherited == [parts]


def test_one_probe_is_published_as_it_is():
    one = check.Single('disk', world.Backend('disk', None), POLICY,
                       label='DISK', per_worker=True)
    assert one.watchlist.probes == (one.probe,)
    visited(one.probe, world.REFUSED, 5.0)
    seen = one.snapshot()
    assert (seen.name, seen.label, seen.per_worker, seen.reason) == (
        'disk', 'DISK', True, 'CONNECTION REFUSED')


class Test_probe:
    question = target.Question(lambda connection: None)

    def found(self, result, answer=None):
        return target.Findings(result, (
            {} if answer is None else {self.question: answer}))

    def test_the_answer_to_its_question_is_what_counts(self):
        one = a_probe(self.question)
        one.state.started(0.0)
        one.finished(self.found(world.OK, target.Answer(world.REFUSED)),
                     0.1, 1e9, 0.0)
        assert one.failed

    def test_the_target_speaks_for_a_question_that_was_not_put(self):
        one = a_probe(self.question)
        one.state.started(0.0)
        one.finished(self.found(world.REFUSED), 0.1, 1e9, 0.0)
        assert one.failed and one.state.result == world.REFUSED

    def test_the_last_value_is_kept(self):
        one = a_probe(self.question)
        assert not one.failed
        for answer, value in [(target.Answer(world.OK, 7), 7),
                              (target.Answer(world.REFUSED), 7),
                              (target.Answer(world.OK, 0), 0)]:
            one.state.started(0.0)
            one.finished(self.found(world.OK, answer), 0.1, 1e9, 0.0)
            assert one.value == value

    def test_its_next_visit_is_spread(self):
        one = a_probe()
        one.state.started(0.0)
        one.finished(self.found(world.OK), 0.1, 1e9, 0.05)
        assert one.state.due_at == 10.5


class Place(world.Backend):

    def __init__(self, place, *hosts):
        super().__init__(place, None)
        self.place = place
        self.hosts = frozenset(hosts or ['db.example.org'])


def looked_at(*places):
    return Summed(*(probe_module.Probe(place, POLICY)
                    for place in places)).check


def test_its_target_is_what_all_nodes_look_at():
    one = looked_at(Place('a'), Place('b'))
    assert one.target == looked_at(Place('b'), Place('a')).target != ''
    assert one.target != looked_at(Place('a')).target


def test_it_has_no_target_that_other_nodes_have():
    assert looked_at().target == ''
    assert looked_at(Place('a'), Place('')).target == ''
    assert looked_at(Place('a'), Place('b', 'localhost')).target == ''


def test_its_target_follows_its_probes():
    one = looked_at(Place('a'))
    before = one.target
    one.watchlist.probes = [probe_module.Probe(Place('b'), POLICY)]
    assert one.target not in (before, '')
    one.watchlist.probes = []
    assert one.target == ''
    one.watchlist.probes = [probe_module.Probe(Place('a'), POLICY)]
    assert one.target == before
    one.state.started(0.0)
    one.state.finished(world.OK, 0.0, 1e9, spread=0.0)
    assert one.snapshot().target == before
