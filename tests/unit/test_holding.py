# SPDX-License-Identifier: Apache-2.0

"""Who may stay in although it fails, and what it answers then."""

from __future__ import annotations

import json
import logging
import socket

from hypothesis import given
from hypothesis import strategies as st
import pytest

from healthcheck.answers import holding
from healthcheck import exceptions
from healthcheck.probing import check as check_module
from healthcheck.probing import policy
from healthcheck.probing import probe as probe_module
from healthcheck.probing import target as target_module
from healthcheck.reports import report
from healthcheck.targets import database_target
from healthcheck.targets import dialects
from tests.unit import documents
from tests.unit import stubs
from tests.unit import wsgi

Status = report.Status
FAILED = report.Result.failed('NO ANSWER', 'db.example.org hangs')
ANYWHERE = {'balancer_source_ranges': '192.0.2.0/24',
            'shared_failure': 'last_stays'}
QUICK = {'fall': '1', 'interval': '0.1', 'retry_interval': '0.05',
         'jitter': '0', 'startup_wait': '10', **ANYWHERE}
LAST = {'HTTP_X_HAPROXY_SERVER_STATE':
        'UP; name=api/one; node=lb1; weight=1/1', 'REMOTE_ADDR': '192.0.2.1'}
NOT_LAST = {**LAST, 'HTTP_X_HAPROXY_SERVER_STATE':
            'UP; name=api/one; node=lb1; weight=1/2'}


class Place(target_module.Target):
    def __init__(self, *hosts):
        self.hosts = frozenset(hosts)

    def probe(self, questions=()):
        return target_module.Findings(FAILED)


@pytest.mark.parametrize('hosts', [
    ['db.example.org'], ['192.0.2.1'], ['2001:db8::1', 'db'], ['[fd00::1]']])
def test_what_other_nodes_look_at(hosts):
    assert Place(*hosts).shared


@pytest.mark.parametrize('hosts', [
    [], ['localhost'], ['LOCALHOST.'], ['db.localhost'], ['127.0.0.1'],
    ['127.1'], ['::1'], ['[::1]'], ['::ffff:127.0.0.1'], ['0.0.0.0'], ['::'],
    ['db.example.org', '127.0.0.1'], [socket.gethostname()]])
def test_what_is_this_nodes_own(hosts):
    assert not Place(*hosts).shared


@given(st.text())
def test_any_host_can_be_judged(host):
    assert Place(host).shared in (True, False)


@pytest.mark.parametrize('url, shared', [
    ('mysql+pymysql://u:p@db.example.org/nova', True),
    ('mysql+pymysql://u:p@localhost/nova', False),
    ('mysql+pymysql://u:p@db/nova?unix_socket=/run/mysql.sock', False),
    ('sqlite:////var/lib/nova.db', False)])
def test_databases(url, shared):
    assert database_target.DatabaseTarget(
        url, option='x', bound=1, tolerance=dialects.Tolerance()
    ).shared is shared


@pytest.mark.parametrize('places, shared', [
    ([Place('db1'), Place('db2')], True), ([Place('db1'), Place()], False),
    ([], False)])
def test_a_summary_is_shared_if_all_of_it_is(places, shared):
    probes = probe_module.Fixed(*(
        probe_module.Probe(place, policy.Policy()) for place in places))
    made = check_module.Summary('cells', probes, lambda now: (FAILED, True),
                                policy.Policy())
    made.judge(0.0, 0.0, 0.0)
    assert made.snapshot().shared is shared


def test_a_summary_may_come_to_look_elsewhere():
    probes = probe_module.Fixed(
        probe_module.Probe(Place('db1'), policy.Policy()))
    made = check_module.Summary('cells', probes, lambda now: (FAILED, True),
                                policy.Policy())
    made.judge(0.0, 0.0, 0.0)
    assert made.snapshot().shared
    probes.probes = (*probes.probes,
                     probe_module.Probe(Place(), policy.Policy()))
    assert not made.snapshot().shared


def a_check(name='database', status=Status.FAIL, **more):
    return documents.a_check(name, status, shared=more.pop('shared', True),
                             **more)


def hold(*checks):
    now = documents.NOW.now
    _, judged = report.judge([one.verdict(now) for one in checks])
    found = holding.hold(judged, holding.as_last(
        holding.shared(checks, now)))
    return found and [one.line for one in found]


def test_what_is_shared_is_held():
    assert hold(a_check(label='DATABASE'),
                a_check('message_queue', Status.PASS, shared=False),
                a_check('worker', critical=False, shared=False)) == [
        'OK (DATABASE: CONNECTION REFUSED; LAST NODE)', 'OK',
        'OK (CONNECTION REFUSED)']


@pytest.mark.parametrize('checks', [
    [a_check(status=Status.PASS)], [a_check(status=Status.WARN)],
    [a_check(critical=False)], [],
    [a_check(shared=False)], [a_check(), a_check('worker', shared=False)],
    # The prober of this node is dead.
    [a_check(judged_at=0.0)],
    [a_check(status=Status.PASS, judged_at=0.0)],
    *([a_check(reason=reason)] for reason in holding.OWN)])
def test_what_is_not(checks):
    assert hold(*checks) is None


@given(documents.reports)
def test_a_hold_takes_only_failures_away(found):
    now = documents.NOW.now
    status, judged = report.judge([one.verdict(now) for one in found.checks])
    names = holding.shared(found.checks, now)
    held = holding.hold(judged, holding.as_last(names))
    own = [one for one in judged if one.weight is Status.FAIL
           and one.name not in names]
    assert (held is not None) is (status is Status.FAIL and not own)
    if held is not None:
        assert report.judge(held)[0] is Status.WARN
        assert [one for one in held if not one.line.endswith('LAST NODE)')
                ] == [one for one in judged if one.weight is not Status.FAIL]


@pytest.fixture(autouse=True)
def remote(plugin):
    plugin(remote='tests.unit.stubs:Remote',
           scripted='tests.unit.stubs:Scripted')
    stubs.Remote.result = FAILED
    stubs.Scripted.results = []


@pytest.fixture
def out(door):
    made = door(wsgi.below, {'backends': 'remote', **QUICK})
    assert wsgi.ask(made).text == 'REMOTE: NO ANSWER'
    return made


HELD = 'OK (REMOTE: NO ANSWER; LAST NODE)'


@pytest.mark.parametrize('path', ['/healthcheck', '/healthcheck/ready',
                                  '/healthcheck/ready?exclude=nothing'])
def test_the_last_one_stays(out, path):
    answer = wsgi.ask(out, path, **LAST)
    assert (answer.status, answer.text.splitlines()[0]) == (200, HELD)
    assert wsgi.ask(out, path, 'HEAD', **LAST).status == 204
    health = wsgi.ask(out, path, accept='application/health+json', **LAST)
    assert health.json['status'] == 'warn'
    assert health.json['checks']['remote'][0]['output'] == (
        'REMOTE: NO ANSWER; LAST NODE')
    assert wsgi.ask(out, path, **NOT_LAST).status == 503
    assert wsgi.ask(out, path).status == 503


def test_from_elsewhere_nobody_is_the_last(out):
    assert wsgi.ask(out, **{**LAST, 'REMOTE_ADDR': '198.51.100.1'}
                    ).status == 503


def test_one_check_says_how_it_is(out):
    assert wsgi.ask(out, '/healthcheck/remote', **LAST).status == 503
    assert wsgi.ask(out, '/healthcheck/ready?exclude=remote', **LAST
                    ).status == 200


def test_what_is_left_out_is_kept_for_the_last_and_for_others(door):
    stubs.Scripted.results = [FAILED]
    made = door(wsgi.below, {'backends': 'remote,scripted', **QUICK})
    path = '/healthcheck/ready?exclude=scripted'
    for _ in range(2):
        assert wsgi.ask(made, path, **LAST).text == HELD
        assert wsgi.ask(made, path, **NOT_LAST).text == 'REMOTE: NO ANSWER'


def test_a_node_that_is_well_says_nothing_of_it(door):
    stubs.Remote.result = report.Result.ok()
    made = door(wsgi.below, {'backends': 'remote', **QUICK})
    assert wsgi.ask(made, **LAST).text == 'OK'


@pytest.mark.parametrize('backends', ['remote,scripted', 'scripted'])
def test_what_is_its_own_takes_the_last_one_out(door, backends):
    stubs.Scripted.results = [FAILED]
    made = door(wsgi.below, {'backends': backends, **QUICK})
    assert wsgi.ask(made, **LAST).status == 503


def test_a_drain_takes_the_last_one_out(door, tmp_path):
    drain = tmp_path / 'drain'
    made = door(wsgi.below, {
        'backends': 'remote,disable_by_file', **QUICK,
        'disable_by_file_path': str(drain)})
    assert wsgi.ask(made, **LAST).text == f'{HELD}\nOK'
    drain.touch()
    answer = wsgi.ask(made, **LAST)
    assert (answer.status, answer.text) == (
        503, 'REMOTE: NO ANSWER\nDISABLED BY FILE')


def test_off_by_default(door):
    made = door(wsgi.below, {'backends': 'remote', **QUICK,
                             'shared_failure': 'fail'})
    assert wsgi.ask(made, **LAST).status == 503


def test_somebody_must_be_believed(door):
    with pytest.raises(exceptions.ConfigError,
                       match='balancer_source_ranges is not set'):
        door(wsgi.below, {'backends': 'remote',
                          'shared_failure': 'last_stays'})
    with pytest.raises(exceptions.ConfigError) as caught:
        door(wsgi.below, {'backends': 'remote', **ANYWHERE,
                          'balancer_source_ranges': '192.0.2.0/33'})
    assert len(caught.value.problems) == 1


def test_the_detail_says_how_this_node_is_seen(door):
    made = door(wsgi.below, {
        'backends': 'remote', **QUICK, 'detail_source_ranges': '127.0.0.1',
        'metrics_source_ranges': '127.0.0.1'})

    def detail(accept=None):
        return wsgi.ask(made, '/healthcheck/detail', accept=accept)
    assert wsgi.ask(made).status == 503
    assert detail().json['balancers'] == []
    assert detail().json['status'] == 'fail'
    wsgi.ask(made, **NOT_LAST)
    (seen,) = detail().json['balancers']
    assert seen.pop('seen')['age_seconds'] < 60
    assert seen == {'balancer': 'lb1', 'address': '192.0.2.1',
                    'server': 'api/one', 'state': 'UP', 'weight': 1,
                    'usable_weight': 2, 'last': False, 'held': False}
    assert detail().json['status'] == 'fail'
    assert 'healthcheck_held 0.0' in wsgi.ask(
        made, '/healthcheck/metrics').text

    wsgi.ask(made, **LAST)
    document = detail().json
    assert (document['status'], document['reason']) == (
        'warn', 'REMOTE: NO ANSWER; LAST NODE')
    assert document['since']['age_seconds'] < 60
    assert document['balancers'][0]['held'] is True
    text = detail('text/plain').text
    assert 'Balancer lb1: api/one UP; weight 1 of 1; no other server is ' \
           'usable; this node stays in although it fails; just now' in text
    assert 'no other server is usable' in detail('text/html').text
    health = detail('application/health+json')
    assert (health.status, health.json['status']) == (200, 'warn')
    assert json.dumps(document).count('192.0.2.1') == 1
    metrics = wsgi.ask(made, '/healthcheck/metrics').text
    assert 'healthcheck_held 1.0' in metrics
    assert 'healthcheck_status{status="warn"} 1.0' in metrics


def test_a_hold_is_in_the_log(out, caplog):
    caplog.set_level(logging.INFO)
    for _ in range(3):
        wsgi.ask(out, **LAST)
    assert [line for line in caplog.messages if 'stays in' in line] == [
        'Healthcheck stays in although it fails (REMOTE: NO ANSWER): lb1 has '
        'no other usable server than api/one']
