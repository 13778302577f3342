# SPDX-License-Identifier: Apache-2.0

"""What Prometheus is told, and what is made of it."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client import parser
import pytest
import yaml

from healthcheck.admin import views
from healthcheck.admin.views import collector
from healthcheck.admin.views import metrics
from healthcheck.answers import switches
from healthcheck.host import drains
from healthcheck.reports import drain
from healthcheck.reports import history
from healthcheck.reports import report
from tests.unit import documents
from tests.unit import fleet_views
from tests.unit import settings
from tests.unit import wsgi

ETC = pathlib.Path(__file__).parents[2] / 'etc'
DOCS = ETC.parent / 'doc' / 'source'
NOW = documents.NOW
Status = report.Status

NO_SWITCHES = switches.Switches([], settings.make(), [])
NO_DRAINS = drains.Drains(None, None)
OUT = report.Verdict.of('drain', report.Status.FAIL, 'DRAINED')
PROBER = report.ProberProcess(7, 'node1', 'nova-api', NOW.time - 100)
EVENTS = st.lists(st.tuples(st.booleans(), st.floats(0, 100)), max_size=20)


def text_of(found, switched=(), *, shared=True, openmetrics=False,
            drained=(), fleet=None):
    known = collector.Scrape(found, {one.name: one for one in switched},
                             shared, [OUT] if drained else [], drained,
                             fleet=fleet)
    _, text = collector.written(collector.Collector(known, NOW), openmetrics)
    return text.decode()


def samples(text, parse=parser.text_string_to_metric_families):
    """From (name, label values in the order of their names) to the value."""
    found = {}
    for family in parse(text):
        for sample in family.samples:
            key = (sample.name, *(value for _, value in sorted(
                sample.labels.items())))
            assert key not in found, key
            found[key] = sample.value
    return found


def told(*args, **kwargs):
    return samples(text_of(*args, **kwargs))


def past(*events):
    """The history of a check, of (whether a probe passed, its seconds)."""
    made = history.History()
    for at, (passed, seconds) in enumerate(events):
        made = made.probed(passed, seconds, NOW.time - 50 + at)
        if not passed:
            made = made.failed(history.Transition(
                NOW.time - 50 + at, Status.FAIL, 'REFUSED'))
        made = made.changed(history.Transition(
            NOW.time - 50 + at, Status.PASS if passed else Status.FAIL, ''))
    return made


FULL = report.Report((
    documents.a_check(
        'database', Status.FAIL, history=past((True, 0.01), (False, 7.0)),
        fails=2, time=NOW.time - 1,
        components=(report.Component('cell1', Status.PASS),
                    report.Component('cell2', Status.FAIL),
                    report.Component('cell3', None),
                    report.Component('cell4', None, disabled=True),
                    report.Component('cell5', None, disabled=True))),
    documents.a_check('message_queue', history=past((True, 0.3)), passes=1,
                      critical=False),
    documents.a_check('worker', Status.FAIL, per_worker=True)), PROBER)
DRAIN = report.Verdict.of('disable_by_file', Status.FAIL, 'DISABLED BY FILE')


def test_figures():
    found = told(FULL)
    assert found['healthcheck_status', 'fail'] == 1
    assert found['healthcheck_status', 'pass'] == 0
    assert found['healthcheck_check_status', 'database', 'fail'] == 1
    assert found['healthcheck_check_status', 'message_queue', 'pass'] == 1
    assert found['healthcheck_check_critical', 'message_queue'] == 0
    assert found['healthcheck_check_consecutive_failures', 'database'] == 2
    assert found['healthcheck_check_consecutive_passes',
                 'message_queue'] == 1
    name = 'healthcheck_check_last_{}_timestamp_seconds'.format
    assert found[name('verdict'), 'database'] == NOW.time - 1
    assert found[name('success'), 'database'] == NOW.time - 50
    assert found[name('failure'), 'database'] == NOW.time - 49
    assert found[name('transition'), 'database'] == NOW.time - 49
    assert (name('failure'), 'message_queue') not in found
    assert found['healthcheck_verdicts_total', 'database', 'pass'] == 1
    assert found['healthcheck_verdicts_total', 'database', 'fail'] == 1
    assert found['healthcheck_transitions_total', 'database'] == 2
    assert [found['healthcheck_components', 'database', status] for status in
            ('pass', 'warn', 'fail', 'unknown', 'disabled')] == [
                1, 0, 1, 1, 2]
    assert found['healthcheck_prober_info', 'node1', 'nova-api'] == 1
    assert found['healthcheck_prober_start_timestamp_seconds',
                 ] == NOW.time - 100
    assert found['healthcheck_drained',] == 0
    assert found['healthcheck_report_shared',] == 1
    assert any(key[0] == 'healthcheck_build_info' for key in found)


FLEET = fleet_views.a_fleet(*fleet_views.ODD, read=2)


def test_fleet():
    found = told(FULL, fleet=FLEET)
    assert {key[1]: value for key, value in found.items()
            if key[0] == 'healthcheck_fleet_nodes'} == {
        'in': 2, 'out': 1, 'held': 0, 'unknown': 0, 'drained': 0, 'warns': 0}
    assert found['healthcheck_fleet_store_up',] == 1
    assert found['healthcheck_fleet_view_age_seconds',] == 2
    assert not [key for key in told(FULL) if 'fleet' in key[0]]


@pytest.mark.parametrize('read, trouble', [
    (2, 'refused'), (fleet_views.TTL + 1, ''), (None, '')])
def test_a_store_that_is_away(read, trouble):
    found = told(FULL, fleet=fleet_views.a_fleet(
        *fleet_views.ODD, read=read, trouble=trouble))
    assert found['healthcheck_fleet_store_up',] == 0
    assert found.get(('healthcheck_fleet_view_age_seconds',)) == read
    assert found['healthcheck_fleet_nodes', 'unknown'] == (
        0 if trouble else 3)


@pytest.mark.parametrize('until, drained, held, status', [
    (9, False, 1, 'warn'), (0, False, 0, 'fail'), (9, True, 0, 'fail')])
def test_held_by_the_others(until, drained, held, status):
    check = documents.a_check('database', Status.FAIL, shared=True)
    found = told(report.Report((check,), holds=(report.HeldCheck(
        'database', ', ON 3 OF 3 NODES', NOW.now + until),)),
        drained=(drain.Drain('host', '', '', 1e9, None),) if drained else ())
    assert found['healthcheck_held',] == held
    assert found['healthcheck_status', status] == 1
    assert found['healthcheck_check_status', 'database', 'fail'] == 1


def test_durations():
    found = told(FULL)
    name = 'healthcheck_probe_duration_seconds'
    assert [(float(key[2]), value) for key, value in found.items()
            if key[:2] == (f'{name}_bucket', 'database')] == [
        (bound, (bound >= 0.01) + (bound >= 7.0))
        for bound in (*history.BUCKETS, float('inf'))]
    assert found[f'{name}_count', 'database'] == 2
    assert found[f'{name}_sum', 'database'] == pytest.approx(7.01)


def test_a_duration_on_a_bound_is_in_its_bucket():
    found = told(report.Report((documents.a_check(history=past(
        (True, history.BUCKETS[3]))),)))
    name = 'healthcheck_probe_duration_seconds_bucket'
    assert found[name, 'database', str(history.BUCKETS[2])] == 0
    assert found[name, 'database', str(history.BUCKETS[3])] == 1


def test_what_stood_in_for_probes():
    past = history.History().stood_in(1e9).stood_in(2e9)
    found = told(report.Report((
        documents.a_check('database', history=past,
                          evidence=report.Evidence(NOW.now - 2, 300)),
        documents.a_check('message_queue', history=history.History()))))
    assert found['healthcheck_stand_ins_total', 'database'] == 2
    assert found['healthcheck_check_traffic_calls', 'database'] == 300
    assert ('healthcheck_check_traffic_calls', 'message_queue') not in found
    assert found['healthcheck_check_last_success_timestamp_seconds',
                 'database'] == 2e9


def test_what_a_worker_finds_of_itself_is_left_out():
    assert not [key for key in told(FULL) if 'worker' in key]
    only = report.Report(FULL.checks[2:])
    assert told(only)['healthcheck_status', 'pass'] == 1


def test_what_each_worker_counts_for_itself_is_left_out():
    alone = told(FULL, shared=False)
    missing = {key[0] for key in told(FULL)} - {key[0] for key in alone}
    assert missing == {
        'healthcheck_verdicts_total', 'healthcheck_stand_ins_total',
        'healthcheck_transitions_total',
        'healthcheck_probe_duration_seconds_bucket',
        'healthcheck_probe_duration_seconds_count',
        'healthcheck_probe_duration_seconds_sum'}
    assert alone['healthcheck_report_shared',] == 0


def test_before_there_is_a_report():
    found = told(None)
    assert found['healthcheck_status', 'fail'] == 1
    assert found['healthcheck_status', 'pass'] == 0


def test_a_report_that_is_old():
    old = report.Report((documents.a_check(judged_at=NOW.now - 31),
                         documents.a_check('message_queue',
                                           judged_at=NOW.now - 1)))
    found = told(old)
    assert found['healthcheck_check_stale', 'database'] == 1
    assert found['healthcheck_check_status', 'database', 'warn'] == 1
    assert found['healthcheck_check_stale', 'message_queue'] == 0
    assert found['healthcheck_status', 'warn'] == 1
    dead = report.Report(old.checks[:1])
    assert told(dead)['healthcheck_status', 'fail'] == 1


def test_drained():
    found = told(report.Report((documents.a_check(),)), [DRAIN])
    assert found['healthcheck_drained',] == 1
    assert found['healthcheck_status', 'fail'] == 1
    assert found['healthcheck_check_status', 'disable_by_file', 'fail'] == 1
    # A switch of another kind is nobody's wish.
    other = dataclasses.replace(DRAIN, name='application')
    found = told(report.Report((documents.a_check(),)), [other])
    assert found['healthcheck_drained',] == 0
    assert found['healthcheck_status', 'fail'] == 1


def test_drained_by_an_operator():
    until = NOW.time + 60
    found = told(report.Report((documents.a_check(),)), drained=[
        drain.Drain('service', 'a secret reason', 'alice', NOW.time, until),
        drain.Drain('host', '', '', NOW.time, None)])
    assert found['healthcheck_drained',] == 1
    assert found['healthcheck_status', 'fail'] == 1
    assert found['healthcheck_drain_ends_timestamp_seconds',
                 'service'] == until
    assert ('healthcheck_drain_ends_timestamp_seconds', 'host') not in found
    # A drain is no check, and its reason is no label.
    assert {key[1] for key in found if key[0] == (
        'healthcheck_check_status')} == {'database'}
    assert 'secret' not in str(found)
    found = told(report.Report((documents.a_check(),)))
    assert ('healthcheck_drain_ends_timestamp_seconds',
            'service') not in found


@given(documents.reports, st.booleans())
def test_both_parsers_take_it(found, shared):
    plain = told(found, shared=shared)
    strict = samples(text_of(found, shared=shared, openmetrics=True),
                     openmetrics_parser.text_string_to_metric_families)
    assert plain == strict
    assert all(key[0].startswith('healthcheck_') for key in plain)
    for check in found.checks:
        assert (('healthcheck_check_stale', check.name) in plain) is (
            not check.per_worker)


@given(st.text(st.characters(exclude_categories=['Cs']), max_size=20),
       st.text(max_size=20))
def test_labels_are_escaped(name, host):
    found = told(report.Report(
        (documents.a_check(name),),
        dataclasses.replace(PROBER, host=host)))
    assert found['healthcheck_check_stale', name] == 0
    printable = host.encode(errors='replace').decode()
    assert found['healthcheck_prober_info', printable, 'nova-api'] == 1


@given(EVENTS, EVENTS)
def test_counters_never_go_back(earlier, later):
    first, second = (
        told(report.Report((documents.a_check(history=past(*events)),)))
        for events in (earlier, earlier + later))
    for key, value in first.items():
        if key[0].endswith(('_total', '_bucket', '_count', '_sum')):
            assert second[key] >= value, key


def test_a_thousand_components_cost_five_series():
    many = tuple(report.Component(f'cell{n}', Status.PASS)
                 for n in range(1000))
    lines = text_of(report.Report((documents.a_check(
        components=many),))).splitlines()
    assert len([line for line in lines
                if line.startswith('healthcheck_components{')]) == 5
    assert len(lines) < 100


class Engine:
    """One that knows what it is told."""

    shared = True
    started = True

    def __init__(self, known, shared=None):
        self._known = known
        self.reports = type('Reports', (), {'shared': shared})

    def known(self):
        return self._known

    def pages(self, state):
        return self


def page_of(engine_, accept=None):
    made = metrics.Metrics(lambda environ: engine_,
                           NO_SWITCHES, NO_DRAINS)
    return made.page(wsgi.environ(accept=accept))


PROMETHEUS = ('application/openmetrics-text;version=1.0.0;'
              'escaping=allow-utf-8;q=0.6,application/openmetrics-text;'
              'version=0.0.1;q=0.5,text/plain;version=1.0.0;'
              'escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,'
              '*/*;q=0.2')
PREFERS_TEXT = ('text/plain;version=0.0.4;q=0.6,application/openmetrics-text;'
                'version=1.0.0; q=0.5,*/*;q=0.4')


@pytest.mark.parametrize('accept, kind', [
    (None, 'text/plain'), ('*/*', 'text/plain'), ('text/html', 'text/plain'),
    (PROMETHEUS, metrics.OPENMETRICS), (PREFERS_TEXT, 'text/plain'),
    (metrics.OPENMETRICS, metrics.OPENMETRICS),
    ('application/openmetrics-text; version=many', metrics.OPENMETRICS)])
def test_format(accept, kind):
    page = page_of(Engine(FULL), accept)
    headers = dict(page.headers)
    assert page.status == '200 OK'
    assert headers['Content-Type'].startswith(f'{kind};')
    assert headers['Content-Length'] == str(len(page.body[0]))
    assert headers['Cache-Control'] == 'no-store'
    assert page.body[0].endswith(b'# EOF\n') is (
        kind == metrics.OPENMETRICS)


@given(st.text(st.characters(max_codepoint=255), max_size=60)
       | st.text(';,=q0123. /*', max_size=60).map(
           lambda text: f'{metrics.OPENMETRICS};version={text}'))
def test_whatever_is_accepted_is_answered(accept):
    page = page_of(Engine(FULL), accept)
    assert page.status == '200 OK'
    assert dict(page.headers)['Content-Type'] in (
        'text/plain; version=0.0.4; charset=utf-8',
        dict(page_of(Engine(FULL), metrics.OPENMETRICS).headers)[
            'Content-Type'])


def test_a_worker_that_knows_nothing_of_itself_yet():
    page = page_of(Engine(None, shared=FULL.brief()))
    found = samples(page.body[0].decode())
    assert found['healthcheck_check_status', 'database', 'fail'] == 1
    assert ('healthcheck_verdicts_total', 'database', 'fail') not in found


def test_without_the_extra(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, 'prometheus_client', None)
    monkeypatch.delitem(sys.modules, 'healthcheck.admin.views.collector')
    monkeypatch.delattr(views, 'collector')
    made = metrics.Metrics(lambda environ: Engine(FULL),
                           NO_SWITCHES, NO_DRAINS)
    assert [made.page(wsgi.environ()).status for _ in range(3)] == [
        '404 Not Found'] * 3
    line, = caplog.messages
    assert 'extra [metrics]' in line
    assert 'openstack-healthcheck[metrics]' in line


def test_is_not_imported_until_somebody_asks():
    """Nobody else pays for it, in memory and at start."""
    code = ('import sys; before = set(sys.modules); import healthcheck; '
            'from healthcheck import admin; '
            'print("healthcheck.admin.views.collector" in sys.modules)')
    done = subprocess.run([sys.executable, '-c', code], check=True,
                          capture_output=True, text=True)
    assert done.stdout.strip() == 'False'


def test_served(door):
    """For whom the gate lets pass, before and after the first report."""
    app = door(wsgi.below, {'backends': '', 'metrics_source_ranges':
                            '127.0.0.0/8'})
    answer = wsgi.ask(app, '/healthcheck/metrics')
    assert answer.status == 200
    assert samples(answer.text)['healthcheck_status', 'pass'] == 1
    head = wsgi.ask(app, '/healthcheck/metrics', 'HEAD')
    assert (head.status, head.body) == (200, b'')
    assert wsgi.ask(app, '/healthcheck/metrics', 'POST').status == 405
    assert wsgi.ask(app, '/healthcheck/metrics',
                    REMOTE_ADDR='192.0.2.1').status == 403


def _named(text):
    return set(re.findall(r'\bhealthcheck_[a-z_]+', text))


def _emitted():
    return {key[0] for key in told(FULL, [DRAIN], fleet=FLEET)}


def test_alerts_are_on_what_there_is():
    text = (ETC / 'prometheus' / 'alerts.yaml').read_text()
    rules = [rule for group in yaml.safe_load(text)['groups']
             for rule in group['rules']]
    assert len({rule['alert'] for rule in rules}) == len(rules)
    assert _named(text) <= _emitted()
    for rule in rules:
        assert _named(rule['expr'])
        assert rule['labels']['severity'] in ('info', 'warning', 'critical')


def test_dashboard():
    text = (ETC / 'grafana' / 'healthcheck-dashboard.json').read_text()
    board = json.loads(text)
    assert _named(text) <= _emitted()
    assert board['schemaVersion'] >= 36
    variables = {one['name']: one for one in board['templating']['list']}
    assert variables['datasource']['type'] == 'datasource'
    panels = board['panels']
    assert len({panel['id'] for panel in panels}) == len(panels)
    assert len({panel['title'] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        place = panel['gridPos']
        cells = {(x, y) for x in range(place['x'], place['x'] + place['w'])
                 for y in range(place['y'], place['y'] + place['h'])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
        for target in panel['targets']:
            assert target['datasource']['uid'] == '${datasource}'
            used = set(re.findall(r'\$(\w+)', target['expr']))
            assert used <= {*variables, '__rate_interval'}
            assert {'job', 'instance'} <= used


def test_documented():
    """Each of them, and no other."""
    listed = re.findall(r'^   \* - ``(healthcheck_[a-z_]+)``',
                        (DOCS / 'metrics.rst').read_text(), re.MULTILINE)
    families = {family.name + ('_total' if family.type == 'counter' else '')
                for family in parser.text_string_to_metric_families(
                    text_of(FULL, [DRAIN], fleet=FLEET))}
    assert sorted(listed) == sorted(families)


def test_data_files_are_installed():
    installed = (ETC.parent / 'setup.cfg').read_text()
    for path in ('prometheus/alerts.yaml',
                 'grafana/healthcheck-dashboard.json'):
        assert f'etc/{path}' in installed
