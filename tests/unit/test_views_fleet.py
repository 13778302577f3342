# SPDX-License-Identifier: Apache-2.0

"""What an admin sees of a fleet."""

from __future__ import annotations

import json
import math

from hypothesis import given
import pytest

from healthcheck.admin.auth import gate
from healthcheck.admin.views import fleet as fleet_view
from healthcheck.admin.views import fleetformats
from healthcheck.admin.views import fleetpage
from healthcheck.admin.views import webpage
from healthcheck.answers import render
from healthcheck.fleet import member
from healthcheck.fleet import tooz_store
from healthcheck.host import hostprober
from healthcheck.reports import fleet
from healthcheck.reports import report
from tests.unit import documents
from tests.unit import fleet_views
from tests.unit import stubs
from tests.unit import test_statuspage
from tests.unit import wsgi

NOW, TTL = fleet_views.NOW, fleet_views.TTL
a_check, a_node = fleet_views.a_check, fleet_views.a_node
a_document, a_fleet = fleet_views.a_document, fleet_views.a_fleet
HOSTILE = test_statuspage.HOSTILE


def states(document):
    return {node['node']: node['state'] for node in document['nodes']}


def spreads(document):
    return [(one['name'], one['target'], one['spread'], one['failing'],
             one['nodes']) for one in document['checks']]


def test_facts_of_a_node():
    document = a_document(a_node(
        'node1', fleet.OUT, a_check(True, since=NOW.time - 90,
                                    down=('cell1',)),
        reason='DATABASE: NO ANSWER', age=2, since=60))
    (node,) = document['nodes']
    assert node == {
        'node': 'node1', 'this': True, 'state': 'out',
        'reason': 'DATABASE: NO ANSWER', 'odd': [],
        'since': {'time': '2020-09-13T12:25:40.000Z', 'age_seconds': 60},
        'version': '1.2.3',
        'record': {'time': '2020-09-13T12:26:38.000Z', 'age_seconds': 2},
        'checks': [{'name': 'database', 'status': 'fail',
                    'reason': 'NO ANSWER', 'failing': True, 'critical': True,
                    'target': 'here', 'down': ['cell1'],
                    'since': {'time': '2020-09-13T12:25:10.000Z',
                              'age_seconds': 90}}]}
    assert document['group'] == 'nova' and document['node'] == 'node1'
    assert document['answered_by'] == documents.ANSWERING
    assert document['read']['age_seconds'] == 0.5
    assert document['ttl_seconds'] == TTL
    assert document['states']['out'] == 1


@pytest.mark.parametrize('read, fresh, usable, state', [
    (0.0, True, True, 'in'), (TTL, True, True, 'in'),
    # The prober died: nobody reads the store any more.
    (TTL + 0.1, True, False, 'unknown'), (None, True, False, 'unknown'),
    # The host restarted: these are times of another clock.
    (-0.1, True, False, 'unknown'),
    # The node died: the store was read, and its record was too old.
    (0.0, False, True, 'unknown')])
def test_freshness_is_judged_at_reading(read, fresh, usable, state):
    known = a_fleet(a_node('node1', fresh=fresh), read=read)
    document = fleet_view.document(known, documents.ANSWERING, NOW)
    assert states(document) == {'node1': state}
    assert known.states(NOW.now)[state] == document['states'][state] == 1
    assert document['store']['usable'] is known.usable(NOW.now) is usable
    assert document['status'] == ('pass' if (usable, state) == (True, 'in')
                                  else 'warn')
    (node,) = document['nodes']
    assert (node['since'] is None) is (state == 'unknown')
    if state == 'unknown':
        assert node['reason'] == 'ITS RECORD IS TOO OLD; it was in'


def test_a_record_that_was_seen_once_has_no_age():
    (node, _) = a_document(
        a_node('node2', age=NOW.now, fresh=False), a_node('node1'))['nodes']
    assert node['record'] is None
    assert node['reason'] == fleet_view.FIRST_RECORD


def test_what_an_old_record_says_does_not_count():
    document = a_document(a_node('node1'), a_node('node2', fleet.OUT,
                                                  fresh=False))
    assert spreads(document) == [('database', 'here', 'nowhere', 0, 1)]
    assert document['status'] == 'warn'


def test_this_node_before_the_store_has_its_record():
    document = a_document(a_node('node2'), trouble='ConnectionError: refused')
    assert states(document) == {'node1': 'unknown', 'node2': 'in'}
    assert document['nodes'][0]['reason'] == fleet_view.NO_RECORD
    assert document['states']['unknown'] == 1
    assert not document['store']['usable']
    assert document['status'] == 'warn'


def test_before_anything_is_known():
    known = fleet_view.KnownFleet('nova', 'node1', TTL, None)
    document = fleet_view.document(known, documents.ANSWERING, NOW)
    assert (document['nodes'], document['checks'], document['read']) == (
        [], [], None)
    assert document['status'] == 'warn'
    for text in (fleetformats.to_text(document),
                 test_statuspage.Seen(fleetpage.render(document, 10)).text):
        assert 'No node is known yet.' in text
        assert 'Nothing is known of the fleet yet' in text


@pytest.mark.parametrize('found, status', [
    ([fleet.IN, fleet.IN], 'pass'), ([fleet.IN, fleet.WARNS], 'warn'),
    ([fleet.IN, fleet.HELD], 'warn'), ([fleet.IN, fleet.DRAINED], 'warn'),
    ([fleet.HELD, fleet.OUT], 'fail')])
def test_status_of_a_fleet(found, status):
    assert a_document(*(a_node(f'node{number}', state) for number, state
                        in enumerate(found, 1)))['status'] == status


def test_the_odd_one_comes_first():
    document = a_document(
        a_node('node1'), a_node('node2', fleet.WARNS),
        a_node('node3', fleet.DRAINED, a_check()),
        a_node('node4', fresh=False), a_node('node5', fleet.HELD, a_check()),
        a_node('node6', fleet.OUT, a_check()),
        # It does not yet know that it fails.
        a_node('node7', fleet.IN, a_check(True)), a_node('node0'))
    assert list(states(document)) == [
        'node7', 'node6', 'node5', 'node4', 'node3', 'node2', 'node0',
        'node1']
    assert [node['odd'] for node in document['nodes']] == [
        ['database'], *[[]] * 7]


def test_a_node_that_passes_alone_is_odd():
    document = a_document(*(
        a_node(f'node{number}', fleet.OUT if number != 2 else fleet.IN)
        for number in (1, 2, 3)))
    assert [(node['node'], node['odd']) for node in document['nodes']] == [
        ('node2', ['database']), ('node1', []), ('node3', [])]
    assert 'not on node2' in fleetformats.to_text(document)


def test_of_two_that_differ_none_is_odd():
    document = a_document(a_node('node1'), a_node('node2', fleet.OUT))
    assert not any(node['odd'] for node in document['nodes'])


def test_what_fails_where():
    queue = [a_check(failing, 'message_queue')
             for failing in (True, False, True, False, False)]
    cells = [a_check(True, 'cells') for _ in queue]
    other = [a_check(number == 4, 'other') for number in range(5)]
    document = a_document(*(
        a_node(f'node{number}', fleet.OUT, a_check(), *each)
        for number, each in enumerate(zip(queue, cells, other), 1)))
    assert spreads(document) == [
        ('other', 'here', 'one', 1, 5),
        ('message_queue', 'here', 'some', 2, 5),
        ('cells', 'here', 'everywhere', 5, 5),
        ('database', 'here', 'nowhere', 0, 5)]
    assert document['checks'][1]['failing_on'] == ['node1', 'node3']
    assert document['checks'][1]['passing_on'] == ['node2', 'node4', 'node5']
    assert document['checks'][1]['reasons'] == ['NO ANSWER']


def test_since_when_it_fails_somewhere():
    document = a_document(
        a_node('node1', fleet.OUT, a_check(True, since=NOW.time - 9)),
        a_node('node2', fleet.OUT, a_check(True, since=NOW.time - 60)),
        a_node('node3', fleet.IN, a_check(since=NOW.time - 9000)))
    assert document['checks'][0]['since']['age_seconds'] == 60


def test_what_is_no_shared_check():
    document = a_document(a_node('node1', fleet.OUT, a_check(
        True, target=''), a_check(status=None, target='stale')))
    assert document['checks'] == []


def test_a_node_fails_what_all_of_its_services_fail():
    failing, passing = (a_node('node2', fleet.OUT, a_check(fails))
                        for fails in (True, False))
    assert spreads(a_document(a_node('node1'), failing, passing)) == [
        ('database', 'here', 'nowhere', 0, 2)]
    assert spreads(a_document(a_node('node1'), failing, failing)) == [
        ('database', 'here', 'one', 1, 2)]


def test_a_node_that_looks_elsewhere_is_named():
    document = a_document(
        a_node('node1'), a_node('node2'),
        a_node('node3', fleet.IN, a_check(target='elsewhere')))
    assert [(one['target'], one['other_target'])
            for one in document['checks']] == [('elsewhere', True),
                                               ('here', False)]
    text = fleetformats.to_text(document)
    assert 'another target than most nodes, on node3' in text


@pytest.mark.parametrize('since', [math.inf, -math.inf, math.nan, 1e300])
def test_a_time_that_is_none(since):
    (node,) = a_document(fleet.NodeSeen(fleet.NodeRecord(
        'node1', '', 1, 2.0, fleet.OUT, '', since,
        (a_check(True, since=since),)), NOW.now, True))['nodes']
    assert node['since'] is node['checks'][0]['since'] is None


@given(fleet_views.known)
def test_every_fleet_can_be_shown(known):
    document = fleet_view.document(known, documents.ANSWERING, NOW)
    assert sum(document['states'].values()) == len(document['nodes'])
    for state, number in document['states'].items():
        assert number == list(node['state'] for node in document['nodes']
                              ).count(state)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    text = fleetformats.to_text(document)
    assert all(line.isprintable() for line in text.split('\n'))
    page = test_statuspage.Seen(fleetpage.render(document, 10))
    assert page.tags.count('script') == page.tags.count('style') == 1
    assert not {'b', 'i'} & set(page.tags)


def test_text():
    assert fleetformats.to_text(a_document(*fleet_views.ODD)) == '''\
Fleet nova has 3 nodes, 1 out, 2 in: Unlike the others: node3
Seen at 2020-09-13 12:26:40 UTC by node1; the store was read just now

NODE   STATE  FOR    RECORD  VERSION  REASON
node3  OUT    1 min  1 s     1.2.3    DATABASE: NO ANSWER (unlike the others: \
database)
node1  IN     1 min  1 s     1.2.3    OK
node2  IN     1 min  1 s     1.2.3    OK

CHECK     FAILS ON      TARGET  WHERE          REASON
database  1 of 3 nodes  here    only on node3  NO ANSWER
'''


def test_text_of_an_outage_of_all():
    text = fleetformats.to_text(a_document(*(
        a_node(f'node{number}', fleet.HELD, a_check(True),
               reason='DATABASE: NO ANSWER, ON 3 OF 3 NODES')
        for number in (1, 2, 3))))
    assert text.startswith('Fleet nova has 3 nodes, 3 held: Fails on every '
                           'node: database\n')
    assert '3 of 3 nodes  here    on every node  NO ANSWER' in text


def test_many_nodes_are_not_all_named():
    document = a_document(*(a_node(f'node{number:02}', fleet.OUT)
                            for number in range(15)),
                          *(a_node(f'well{number:02}')
                            for number in range(20)))
    (line,) = [line for line in fleetformats.to_text(document).splitlines()
               if line.startswith('database')]
    assert 'node09 and 5 more' in line and 'node10' not in line


@pytest.mark.parametrize('more, line', [
    ({'trouble': 'ConnectionError: refused', 'read': 12},
     'WARNING: The store cannot be used: ConnectionError: refused'),
    ({'read': 300}, 'WARNING: Nothing has been read from the store for '
                    '5 min')])
def test_a_store_that_is_away(more, line):
    document = a_document(*fleet_views.ODD, **more)
    assert ('It is not known how they are.' in fleetformats.to_text(document)
            ) is (more['read'] > TTL)
    assert line in fleetformats.to_text(document).splitlines()
    page = test_statuspage.Seen(fleetpage.render(document, 10))
    assert line.removeprefix('WARNING: ') in page.text


def a_page_of(text):
    return test_statuspage.Seen(fleetpage.render(fleet_view.document(
        fleet_view.KnownFleet(text, text, TTL, fleet.FleetView(
            text, text, NOW.now - 1, text, (a_node(
                text, fleet.OUT, a_check(True, text, text, reason=text),
                reason=text), a_node('node2', fleet.IN, a_check(
                    False, text, text)), a_node('node3', fleet.IN, a_check(
                        False, text, text))))),
        {'pid': 7, 'host': text, 'program': text}, NOW), 10))


def test_hostile_text_stays_text():
    test_statuspage.stays_text(a_page_of('fine'), a_page_of(HOSTILE))


def test_page_asks_for_nothing_else():
    links = {value for tag, name, value in a_page_of('fine').attributes
             if name in ('src', 'href', 'action', 'srcset', 'style')
             and not value.startswith(('#', 'data:'))}
    assert links == {'detail'}  # to be clicked


def test_page():
    page = test_statuspage.Seen(fleetpage.render(
        a_document(*fleet_views.ODD), 10))
    assert page.text.startswith('✕ FAIL 1 out, 2 in · node1')
    assert 'Fleet nova has 3 nodes, 1 out, 2 in Unlike the others: node3' in (
        page.text)
    assert [value for tag, name, value in page.attributes
            if (tag, name) == ('tr', 'data-status')] == ['out', 'in', 'in']
    assert 'database target here only on node3: NO ANSWER' in page.text


def test_every_state_has_words():
    assert set(fleetformats.KINDS) == set(fleet_view.STATES)
    assert set(fleetformats.SPREADS) == {
        fleet_view.EVERYWHERE, fleet_view.SOME, fleet_view.ONE,
        fleet_view.NOWHERE}


class Away:
    """A store that nobody reaches."""

    def __init__(self, url, group, key):
        pass

    def beat(self):
        raise member.StoreAway('refused')


PATH = '/healthcheck/fleet'
FLEET = {'backends': 'scripted', 'interval': '60', 'ttl': '300',
         'startup_wait': '10', 'detail_source_ranges': '127.0.0.1',
         'metrics_source_ranges': '127.0.0.1', 'fleet_name': 'nova',
         'fleet_node': 'node1', 'fleet_url': 'redis://me:s3cret@store:6379'}


@pytest.fixture
def made(door, plugin, monkeypatch):
    """A door in a fleet; what its worker reads is ``made.view``."""
    plugin(scripted='tests.unit.stubs:Scripted')
    stubs.Scripted.results = []
    monkeypatch.setattr(tooz_store, 'ToozStore', Away)
    monkeypatch.setattr(hostprober.HostProber, 'fleet',
                        lambda self: made.view)
    made = door(wsgi.below, FLEET)
    made.view = fleet_views.a_fleet(*fleet_views.ODD).view
    return made


@pytest.mark.parametrize('accept, kind, text', [
    (None, render.JSON, '"group": "nova"'),
    ('text/plain', render.TEXT, 'node3'),
    ('text/html', render.HTML, '<!DOCTYPE html>'),
    ('application/health+json', render.JSON, '"nodes"')])
def test_format(made, accept, kind, text):
    answer = wsgi.ask(made, PATH, accept=accept)
    assert answer.status == 200
    assert answer.headers['Content-Type'].partition(';')[0] == kind
    assert answer.headers['Cache-Control'] == 'no-store'
    assert answer.headers['X-Content-Type-Options'] == 'nosniff'
    assert answer.headers.get('Content-Security-Policy') == (
        dict(webpage.headers())['Content-Security-Policy']
        if kind == render.HTML else None)
    assert text in answer.text and 's3cret' not in answer.text
    head = wsgi.ask(made, PATH, 'HEAD', accept)
    assert (head.status, head.body) == (200, b'')
    assert head.headers.keys() == answer.headers.keys()
    assert wsgi.ask(made, PATH, 'POST').headers['Allow'] == 'GET, HEAD'


def test_who_may_see_it(made, monkeypatch):
    assert wsgi.ask(made, PATH, REMOTE_ADDR='192.0.2.1').status == 403
    asked = []
    monkeypatch.setattr(gate.Gate, 'check', lambda self, environ, rule:
                        asked.append(rule))
    assert wsgi.ask(made, PATH).status == 200
    assert asked == ['fleet']


def test_without_a_fleet_there_is_no_page(door, made):
    other = door(wsgi.below, {**{name: value for name, value in FLEET.items()
                                 if not name.startswith('fleet_')}})
    for method in ('GET', 'HEAD', 'POST'):
        assert wsgi.ask(other, PATH, method) == wsgi.ask(
            other, '/healthcheck/nothing', method)
    assert wsgi.ask(other, '/healthcheck/detail').json['fleet'] is None
    assert 'healthcheck_fleet' not in wsgi.ask(
        other, '/healthcheck/metrics').text


def test_before_the_prober_has_a_view(made):
    made.view = None
    document = wsgi.ask(made, PATH).json
    assert (document['group'], document['node'], document['nodes']) == (
        'nova', 'node1', [])
    assert wsgi.ask(made, '/healthcheck/detail').json['fleet'][
        'read'] is None


def test_what_else_is_said_of_the_fleet(made):
    detail = wsgi.ask(made, '/healthcheck/detail').json['fleet']
    assert detail['group'] == 'nova'
    assert sum(detail['states'].values()) == 3
    for accept in ('text/plain', 'text/html'):
        assert 'Fleet nova has 3 nodes' in wsgi.ask(
            made, '/healthcheck/detail', accept=accept).text
    metrics = wsgi.ask(made, '/healthcheck/metrics').text
    assert 'healthcheck_fleet_nodes{state="in"}' in metrics


def test_summary_of_a_fleet():
    found = documents.a_document(documents.a_check(), fleet=a_fleet(
        *fleet_views.ODD, read=2))['fleet']
    assert found == {
        'group': 'nova', 'node': 'node1',
        'store': {'usable': True, 'trouble': ''},
        'read': {'time': '2020-09-13T12:26:38.000Z', 'age_seconds': 2},
        'states': {'out': 1, 'held': 0, 'unknown': 0, 'drained': 0,
                   'warns': 0, 'in': 2}}
    assert fleetformats.brief(found) == (
        'Fleet nova has 3 nodes, 1 out, 2 in; the store was read 2 s ago')


@pytest.mark.parametrize('trouble, shown, kind', [
    ('', 'the store was read just now', 'card switches'),
    ('refused', 'The store cannot be used: refused', 'card switches warn')])
def test_the_line_on_the_status_page(trouble, shown, kind):
    page = test_statuspage.seen(documents.a_check(), fleet=a_fleet(
        *fleet_views.ODD, trouble=trouble))
    assert shown in page.text
    assert ('div', 'class', kind) in page.attributes
    assert ('a', 'href', 'fleet') in page.attributes


def held(name='database', until=NOW.now + 9):
    check = documents.a_check(name, fleet_views.FAIL, label='DATABASE',
                              shared=True)
    return report.Report((check,), holds=(report.HeldCheck(
        'database', ', ON 3 OF 3 NODES', until),))


@pytest.mark.parametrize('found, status, reason', [
    (held(), 'warn', 'DATABASE: CONNECTION REFUSED, ON 3 OF 3 NODES'),
    (held(until=NOW.now), 'fail', 'DATABASE: CONNECTION REFUSED'),
    (held('other'), 'fail', 'DATABASE: CONNECTION REFUSED')])
def test_held_by_the_others(found, status, reason):
    document = documents.a_document(found=found)
    assert (document['status'], document['reason']) == (status, reason)
    (check,) = document['checks']
    assert (check['status'], check['reason']) == (status, reason)
    page = test_statuspage.seen(found=found)
    assert reason in page.text
