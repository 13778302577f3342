# SPDX-License-Identifier: Apache-2.0

"""What the admin's document says, in each format but HTML."""

from __future__ import annotations

import doctest
import json
import pathlib

from hypothesis import given
from hypothesis import strategies as st
import jsonschema
from oslo_config import cfg
import pytest

from healthcheck.admin.views import detail
from healthcheck.admin.views import formats
from healthcheck.admin.views import plain
from healthcheck.admin.views import timeline
from healthcheck.config import views
from healthcheck.reports import drain
from healthcheck.reports import history
from healthcheck.reports import report
from tests.unit import documents

Status = report.Status
PASS, WARN, FAIL = Status
NOW = documents.NOW
SCHEMA = json.loads((pathlib.Path(__file__).parent
                     / 'health+json.schema.json').read_text())
a_check, a_document = documents.a_check, documents.a_document


def test_examples_in_docstrings():
    assert doctest.testmod(plain) == (0, 1)


@given(documents.reports, st.sampled_from(['', 'STARTING']))
def test_health_json_is_as_the_draft_has_it(found, silence):
    document = a_document(found=found, silence=silence)
    health = json.loads(formats.to_health_json(document))
    jsonschema.Draft202012Validator(SCHEMA).validate(health)
    assert list(health['checks']) == [one.name for one in found.checks]
    for one in found.checks:
        assert len(health['checks'][one.name]) == 1 + len(one.components)


@pytest.mark.parametrize('wrong', [
    {}, {'status': 'well'}, {'status': 'pass', 'output': 'OK'},
    {'status': 'pass', 'time': '12:00'},
    {'status': 'pass', 'checks': {'database': {'status': 'pass'}}},
    {'status': 'pass', 'checks': {'database': []}},
    {'status': 'pass', 'checks': {'database': [{'observedUnit': 's'}]}},
    {'status': 'pass', 'checks': {'database': [{'status': None}]}}])
def test_schema_finds_what_is_wrong(wrong):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(wrong)


def test_components_in_health_json():
    cell = report.Component('cell1', FAIL, 'CONNECTION REFUSED', 'db1',
                            0.25, NOW.time - 60)
    unknown = report.Component('cell2', None, 'NOT PROBED')
    disabled = report.Component('cell3', None, 'DISABLED', disabled=True)
    health = json.loads(formats.to_health_json(a_document(
        a_check('cells', components=(cell, unknown, disabled)))))
    whole, first, second, third = health['checks']['cells']
    assert whole['status'] == 'pass' and 'componentId' not in whole
    assert first == {
        'componentId': 'cell1', 'status': 'fail',
        'output': 'CONNECTION REFUSED: db1', 'observedValue': 0.25,
        'observedUnit': 's', 'time': whole['time'],
        'since': {'time': '2020-09-13T12:25:40.000Z', 'age_seconds': 60}}
    assert second == {'componentId': 'cell2', 'output': 'NOT PROBED',
                      'time': whole['time']}
    assert third == {'componentId': 'cell3', 'output': 'DISABLED',
                     'disabled': True, 'time': whole['time']}


@given(documents.reports, st.sampled_from(['', 'STARTING']))
def test_json_says_what_everybody_is_told(found, silence):
    document = json.loads(formats.to_json(a_document(found=found,
                                                     silence=silence)))
    status, judged = report.judge([c.verdict(NOW.now) for c in found.checks])
    assert document['status'] == ('fail' if silence else status.word)
    assert [(one['name'], one['status'], one['stale'])
            for one in document['checks']] == [
        (one.name, one.status.word, one.stale) for one in judged]


@given(documents.reports)
def test_text_tells_a_terminal_nothing(found):
    text = formats.to_text(a_document(found=found))
    assert all(line.isprintable() for line in text.split('\n'))


def test_what_to_check():
    found = a_document(
        a_check(status=FAIL, reason='NO SUCH VHOST', label='MESSAGE QUEUE'),
        a_check('other'), a_check('own', status=FAIL, reason='OF A PLUGIN'))
    first, second, third = found['checks']
    assert 'rabbitmqctl list_vhosts' in first['advice']
    assert second['advice'] == third['advice'] == ''
    assert 'what to check: The vhost in the URL' in formats.to_text(found)


def test_what_stood_in_for_a_probe():
    found = a_document(a_check(
        evidence=report.Evidence(NOW.now - 3, 1234),
        history=history.History(transitions=(
            history.Transition(NOW.time - 60, WARN, 'LOST', 'b',
                               history.TRAFFIC),))))
    (check,) = found['checks']
    assert check['traffic'] == {'time': '2020-09-13T12:26:37.000Z',
                                'age_seconds': 3, 'calls': 1234}
    assert check['transitions'][0]['cause'] == 'traffic'
    text = formats.to_text(found)
    assert 'by traffic' in text
    assert '1,234 calls of the service that worked, the last 3 s ago' in text
    assert 'LOST (b), set off by traffic' in text


def test_facts_of_a_check():
    past = history.History(
        transitions=(history.Transition(NOW.time - 90, WARN, 'SLOW', 'a'),
                     history.Transition(NOW.time - 60, PASS, 'OK')),
        last_failure=history.Transition(NOW.time - 80, WARN, 'LOST', 'b'),
        last_passed=NOW.time - 2, latencies=(0.1, 0.2))
    (found,) = a_document(a_check(
        history=past, passes=9, latency=0.2, due_at=NOW.now + 7,
        judged_at=NOW.now - 2))['checks']
    assert found['since'] == {'time': '2020-09-13T12:25:40.000Z',
                              'age_seconds': 60}
    assert found['judged']['age_seconds'] == 2
    assert found['next_probe'] == {'time': '2020-09-13T12:26:47.000Z',
                                   'in_seconds': 7}
    assert found['last_failure'] == {
        'time': '2020-09-13T12:25:20.000Z', 'age_seconds': 80,
        'status': 'warn', 'reason': 'LOST', 'detail': 'b', 'cause': 'probe'}
    assert found['traffic'] is None
    assert [each['status'] for each in found['transitions']] == [
        'warn', 'pass']
    assert (found['passes_in_row'], found['fails_in_row']) == (9, 0)
    assert found['latencies_seconds'] == [0.1, 0.2]
    assert found['running_seconds'] is None


def test_a_drain():
    now = NOW.time
    document = a_document(a_check(), drains=(
        drain.Drain('service', 'a new disk', 'alice', now - 60, now + 600),
        drain.Drain('host', '', '', now - 90, None)))
    assert (document['status'], document['reason']) == ('fail', 'DRAINED')
    assert document['since']['age_seconds'] == 90
    service, host = document['drains']
    assert service == {
        'scope': 'service', 'reason': 'a new disk', 'by': 'alice',
        'since': {'time': '2020-09-13T12:25:40.000Z', 'age_seconds': 60},
        'ends': {'time': '2020-09-13T12:36:40.000Z', 'in_seconds': 600}}
    assert (host['scope'], host['ends']) == ('host', None)
    text = formats.to_text(document)
    assert ('\nThis service: drained since 2020-09-13 12:25:40 UTC, until '
            '2020-09-13 12:36:40 UTC, by alice: a new disk\n') in text
    assert ('\nAll services of this host: drained since 2020-09-13 12:25:10 '
            'UTC, without an end, by somebody: no reason given\n') in text
    health = json.loads(formats.to_health_json(document))
    jsonschema.Draft202012Validator(SCHEMA).validate(health)
    assert health['output'] == 'DRAINED'
    assert a_document(a_check())['drains'] == []


def test_a_node_that_fails_and_is_drained():
    """It is out for as long as the first of both."""
    for ago, drained, longest in ((60, 30, 60), (30, 60, 60)):
        document = a_document(
            a_check('database', FAIL, (500, PASS), (ago, FAIL)),
            drains=(drain.Drain('host', 'x', 'x', NOW.time - drained, None),))
        assert document['since']['age_seconds'] == longest
        assert document['reason'] == 'CONNECTION REFUSED; DRAINED'


def test_a_probe_that_runs():
    (found,) = a_document(a_check(started_at=NOW.now - 3,
                                  due_at=NOW.now + 2))['checks']
    assert found['running_seconds'] == 3
    assert found['next_probe'] is None


def test_age_is_no_affair_of_the_wall_clock():
    check = a_check(judged_at=NOW.now - 4)
    (found,) = a_document(check, moment=timeline.Moment(
        NOW.now, NOW.time + 86400))['checks']
    assert found['judged']['age_seconds'] == 4
    (found,) = a_document(check, moment=timeline.Moment(
        NOW.now + 10, NOW.time - 86400))['checks']
    assert found['judged']['age_seconds'] == 14


def since(*checks, switched=()):
    document = a_document(*checks, switched=switched)
    return document['status'], (document['since'] or {}).get('age_seconds')


def test_out_since_the_first_of_the_failures_that_overlap():
    database = a_check('database', FAIL, (500, PASS), (90, WARN), (80, FAIL))
    queue = a_check('queue', PASS, (400, PASS), (120, FAIL), (60, PASS))
    assert since(database, queue) == ('fail', 120)
    assert since(database) == ('fail', 80)
    assert since(queue) == ('pass', 60)


def test_what_is_not_critical_is_a_warning():
    assert since(a_check('database', PASS, (500, PASS)),
                 a_check('cells', FAIL, (400, PASS), (80, FAIL),
                         critical=False)) == ('warn', 80)


def test_stale_since_it_was_too_old():
    old = a_check('database', PASS, (500, PASS), judged_at=NOW.now - 50)
    young = a_check('queue', PASS, (500, PASS))
    assert since(old, young) == ('warn', 20)
    assert since(old) == ('fail', 20)
    assert since(a_check('database', FAIL, (500, FAIL),
                         judged_at=NOW.now - 50)) == ('fail', 500)
    # What a worker knows of itself does not speak for a backend.
    assert since(old, a_check('worker', PASS, (400, PASS),
                              per_worker=True)) == ('fail', 20)
    (found,) = a_document(old)['checks']
    assert (found['status'], found['reason'], found['stale']) == (
        'fail', 'STALE', True)


def test_nobody_knows_since_when_a_switch_is_thrown():
    drained = report.Verdict.of('disable_by_file', FAIL, 'DISABLED BY FILE')
    check = a_check('database', PASS, (500, PASS))
    assert since(check, switched=(drained,)) == ('fail', None)
    document = a_document(check, switched=(drained,))
    assert document['reason'] == 'DISABLED BY FILE'
    assert document['switches'] == [{
        'name': 'disable_by_file', 'status': 'fail', 'critical': True,
        'reason': 'DISABLED BY FILE'}]
    assert formats.headline(document) == 'This node is out of the balancer'


@pytest.mark.parametrize('status, changes, expected', [
    (PASS, [(60, PASS)], 'in the balancer since 12:25:40 UTC: OK'),
    (WARN, [(60, WARN)], 'in the balancer, with a warning since 12:25:40 '
     'UTC: CONNECTION REFUSED'),
    (FAIL, [(100000, FAIL)], 'out of the balancer since 2020-09-12 08:40:00 '
     'UTC: CONNECTION REFUSED')])
def test_text_answers_first(status, changes, expected):
    text = formats.to_text(a_document(a_check('database', status, *changes)))
    assert text.partition('\n')[0] == f'This node is {expected}'


def test_text_has_what_went_wrong():
    failure = history.Transition(NOW.time - 60, FAIL, 'READ ONLY', 'db1')
    text = formats.to_text(a_document(a_check(
        fails=3, latency=0.0123, due_at=NOW.now + 7,
        history=history.History(last_failure=failure),
        components=(report.Component('cell1', PASS),
                    report.Component('cell2', FAIL, 'LOST', 'db2'))),
        found=None))
    assert '  last failure: 2020-09-13 12:25:40 UTC  FAIL  READ ONLY (db1)' \
        in text
    assert '12.3 ms' in text and '3 failed' in text and '7 s' in text
    assert ('  FAIL     cell2: LOST: db2\n  2 in all: 1 fail, 1 pass\n'
            in text)
    assert 'cell1' not in text


def told_of(*components):
    """The lines of a text about the components of its only check."""
    text = formats.to_text(a_document(a_check('x', components=components)))
    return text.partition('\nx\n')[2].splitlines()


def test_text_has_what_is_known_of_a_few_that_are_well():
    assert told_of(
        report.Component('gone', None, 'DISABLED', disabled=True),
        report.Component('cell2', PASS, detail='nova-conductor 2 up'),
        report.Component('off', None, 'NOT WANTED', 'by me', disabled=True),
        report.Component('cell1', PASS),
        report.Component('new', None, 'NOT PROBED'),
        report.Component('cell3', FAIL, 'NO CONDUCTOR UP', 'none')) == [
            '  FAIL     cell3: NO CONDUCTOR UP: none',
            '  UNKNOWN  new: NOT PROBED',
            '  PASS     cell2: nova-conductor 2 up',
            '  DISABLED gone',
            '  DISABLED off: NOT WANTED: by me',
            '  6 in all: 1 fail, 1 unknown, 2 pass, 2 disabled']


def test_text_has_of_many_those_that_are_not_well():
    many = [report.Component(f'cell{n}', PASS, detail='2 up')
            for n in range(20)]
    assert len(told_of(*many)) == 21
    assert told_of(*many, report.Component('bad', WARN, 'SLOW')) == [
        '  WARN     bad: SLOW', '  21 in all: 1 warn, 20 pass']


def test_disabled_is_no_status():
    disabled, unknown = a_document(a_check(components=(
        report.Component('cell1', None, 'DISABLED', disabled=True),
        report.Component('cell2', None, 'NOT PROBED'))))['checks'][0][
            'components']
    assert (disabled['status'], disabled['disabled']) == (None, True)
    assert (unknown['status'], unknown['disabled']) == (None, False)
    assert formats.count([disabled, unknown]) == {
        'fail': 0, 'warn': 0, 'unknown': 1, 'pass': 0, 'disabled': 1}


def test_worst_first():
    found = formats.worst_first(
        {'name': name, 'status': status, 'disabled': name == 'a'}
        for name, status in zip('cbaed', ['pass', 'pass', None, None, 'fail']))
    assert [one['name'] for one in found] == ['d', 'e', 'b', 'c', 'a']


def test_effective_options_hold_no_secret(conf):
    view = views.View(conf('''
        [healthcheck]
        database_connection = mysql://me:verysecret@db/nova
        interval = 7
        '''), {'state_path': 'http://me:alsosecret@host/'})
    view.register_opts([cfg.StrOpt('foreign_url'),
                        cfg.ListOpt('foreign_key', secret=True)],
                       group='healthcheck')
    shown = detail.effective(view)
    assert 'secret' not in json.dumps(shown)
    assert shown['database_connection'] == '***'
    assert shown['message_queue_transport_url'] is None
    assert shown['foreign_key'] is None
    assert shown['interval'] == 7
    assert set(shown) == set(view.options)
