# SPDX-License-Identifier: Apache-2.0

"""When this host is likelier to be at fault than its backends."""

import logging

import pytest

from healthcheck.probing import doubt as doubt_module
from healthcheck.probing import policy
from healthcheck.probing import target
from healthcheck.reports import report
from healthcheck.targets import connected
from healthcheck.targets import failures
from tests.unit import cloud as cloud_module
from tests.unit import world

Result = report.Result
POLICY = policy.Policy(jitter=0.0)
UNKNOWN = Result.failed('UNKNOWN HOST')


class Backend(world.Backend):
    """One on a host of its own, if it has one."""

    def __init__(self, name, behaviour, hosts=None):
        super().__init__(name, behaviour)
        self.hosts = frozenset([name] if hosts is None else hosts)

    def answered(self, result):
        return result.reason == 'LOGIN REFUSED'


def target_on(*hosts):
    return Backend('one', None, hosts)


@pytest.fixture
def doubt():
    return doubt_module.Doubt()


def test_few_failures_are_theirs(doubt):
    for host in 'ab':
        doubt.took(target_on(host), UNKNOWN)
    assert doubt.count == 0
    assert doubt.hint('refused') == 'refused'


def test_many_that_share_no_host_are_in_doubt(doubt):
    for host in 'abcd':
        doubt.took(target_on(host), UNKNOWN)
    assert doubt.count == 4
    assert doubt.hint('refused') == (
        'THIS HOST? 4 targets that have no host in common fail; refused')


def test_one_that_fails_often_counts_once(doubt):
    for host in 'ababab':
        doubt.took(target_on(host), UNKNOWN)
    assert doubt.count == 0


def test_those_on_one_host_count_once(doubt):
    for hosts in ('ab', 'bc', 'cb', 'a'):
        doubt.took(target_on(*hosts), UNKNOWN)
    assert doubt.count == 0


@pytest.mark.parametrize('result', [
    Result.ok(), Result(report.Status.WARN, 'SLOW'),
    Result.failed('LOGIN REFUSED')])
def test_any_answer_ends_it(doubt, result):
    for host in 'abc':
        doubt.took(target_on(host), UNKNOWN)
    doubt.took(target_on('d'), result)
    assert doubt.count == 0
    doubt.took(target_on('a'), UNKNOWN)
    assert doubt.count == 0


def test_what_is_on_this_host_says_nothing(doubt):
    for number in range(9):
        doubt.took(target_on(), UNKNOWN)
    assert doubt.count == 0
    for host in 'abc':
        doubt.took(target_on(host), UNKNOWN)
    doubt.took(target_on(), Result.ok())
    assert doubt.count == 3


@pytest.mark.parametrize('reason, answered', [
    (failures.NO_ANSWER, False), (failures.UNKNOWN_HOST, False),
    (failures.UNREACHABLE, False), (failures.CONNECTION_REFUSED, False),
    (failures.CONNECTION_LOST, False), (failures.FAILED, False),
    (failures.LOGIN_REFUSED, True), (failures.PERMISSION_DENIED, True),
    (failures.TOO_MANY_CONNECTIONS, True), ('READ ONLY', True)])
def test_what_only_a_backend_can_say(reason, answered):
    class Target(connected.Connected):
        connected = False
        ask = drop = reason = describe = None
    assert Target(1.0).answered(Result.failed(reason)) is answered


class TestInAScheduler:

    names = ('database', 'message_queue', 'images')

    def world(self, failing, until=1e9, **kwargs):
        return world.World([
            Backend(name, lambda now, name=name: (
                UNKNOWN if name in failing and 30 <= now < until
                else world.OK, 0.01)) for name in self.names],
            POLICY, **kwargs)

    def details(self, here):
        return {one.name: one.detail for one in here.reports[-1][1].checks}

    def test_the_detail_says_it_first(self):
        here = self.world(self.names)
        here.run(40)
        assert all(detail.startswith('THIS HOST? 3 targets')
                   for detail in self.details(here).values())
        assert {one.reason for one in here.reports[-1][1].checks} == {
            'UNKNOWN HOST'}

    def test_nothing_is_said_while_one_answers(self):
        here = self.world(self.names[:2])
        here.run(40)
        assert not any('THIS HOST' in detail
                       for detail in self.details(here).values())

    def test_the_status_is_the_same(self):
        one, all_ = self.world(self.names[:1]), self.world(self.names)
        for here in (one, all_):
            here.run(60)
        assert one.statuses('database') == all_.statuses('database')

    def test_one_line_in_place_of_many(self, caplog):
        caplog.set_level(logging.INFO, 'healthcheck')
        here = self.world(self.names, until=50)
        here.run(29)
        caplog.clear()
        here.run(49)
        messages = caplog.messages
        # Two had failed before it was many, and none of them is named again.
        assert len(messages) == 3
        assert 'THIS HOST?' in messages[-1]
        caplog.clear()
        here.run(100)
        assert 'not this host' in caplog.messages[0]
        assert sum('-> pass' in message for message in caplog.messages) == 3

    def test_one_that_stays_down_is_named_in_the_end(self, caplog):
        here = world.World([
            Backend(name, lambda now, name=name: (
                UNKNOWN if 30 <= now and (now < 50 or name == 'images')
                else world.OK, 0.01)) for name in self.names], POLICY)
        here.run(49)
        caplog.clear()
        here.run(100)
        assert [message for message in caplog.messages
                if 'images' in message and 'UNKNOWN HOST' in message]

    def test_listeners_hear_of_each(self):
        changes = []
        here = self.world(self.names, changed=changes.append)
        here.run(60)
        assert [one.check for one in changes
                if one.after is report.Status.FAIL] == list(self.names)


def test_those_that_hang_are_in_doubt(caplog):
    here = world.World([
        Backend(name, lambda now: (world.OK, 0.01 if now < 30 else None))
        for name in 'abc'], POLICY)
    here.run(60)
    assert here.reports[-1][1].checks[0].detail.startswith('THIS HOST?')


def test_cells_are_not_named_one_by_one(caplog, monkeypatch):
    monkeypatch.setattr(
        cloud_module.Target, 'hosts', property(
            lambda self: frozenset([self.url.partition('@')[2]])))
    cloud = cloud_module.Cloud([cloud_module.row(n) for n in range(20)])
    cloud.pass_by(25)
    caplog.clear()
    cloud.answers = {'://': cloud_module.refused}
    cloud.pass_by(60)
    assert not any(one.up for one in cloud.state().cells)
    assert len([message for message in caplog.messages
                if 'THIS HOST?' in message]) == 1
    assert len(caplog.messages) < 8


def test_a_target_has_no_hosts_unless_it_says_so():
    class Target(target.Target):
        def probe(self, questions=()):
            raise AssertionError
    assert not Target().hosts
