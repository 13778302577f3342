# SPDX-License-Identifier: Apache-2.0

"""What callers are told of a node that is drained."""

from __future__ import annotations

import json
import os

import pytest

from healthcheck.answers import render
from healthcheck.config import opts
from healthcheck.config import views
from healthcheck import exceptions
from healthcheck.host import drainfile
from healthcheck.host import drains
from healthcheck.probing import simulated
from healthcheck.reports import drain
from tests.unit import stubs
from tests.unit import wsgi

QUICK = {'interval': '60', 'ttl': '600', 'startup_wait': '30', 'fall': '1',
         'timeout': '30', 'slow_threshold': '30'}


@pytest.fixture(autouse=True)
def scripted(plugin, monkeypatch):
    monkeypatch.setattr(drains, '_AGAIN', 0.0)
    plugin(scripted='tests.unit.stubs:Scripted',
           drain='tests.unit.stubs:Scripted')
    stubs.Scripted.results = []


@pytest.fixture
def host(tmp_path):
    (tmp_path / 'host').mkdir()
    return drains.of_host(str(tmp_path / 'host' / 'drain'))


@pytest.fixture
def service(tmp_path):
    (tmp_path / 'state').mkdir()
    return drains.of_service(str(tmp_path / 'state'))


@pytest.fixture
def app(door, tmp_path, host, service):
    def make(backends='scripted', **options):
        return door(wsgi.below, {
            **QUICK, 'backends': backends, 'drain_path': host.path,
            'state_path': str(tmp_path / 'state'), **options})
    return make


def told(app, path='/healthcheck', **kwargs):
    answer = wsgi.ask(app, path, **kwargs)
    return answer.status, answer.text


@pytest.mark.parametrize('scope', ['host', 'service'])
def test_a_drained_node_is_out_and_comes_back(app, scope, request):
    made, file = app(), request.getfixturevalue(scope)
    assert told(made) == (200, 'OK')
    file.begin('a new disk', 'alice', 60)
    assert told(made) == (503, 'OK\nDRAINED')
    assert told(made, method='HEAD') == (503, '')
    assert told(made, method='OPTIONS') == (503, 'OK\nDRAINED')
    assert told(made, '/healthcheck/ready') == (503, 'OK\nDRAINED')
    file.end()
    assert told(made) == (200, 'OK')


def test_two_drains_are_one_line(app, host, service):
    made = app()
    host.begin('kernel', 'alice')
    service.begin('a new disk', 'bob')
    assert told(made) == (503, 'OK\nDRAINED')
    host.end()
    assert told(made) == (503, 'OK\nDRAINED')
    service.end()
    assert told(made) == (200, 'OK')


def test_liveness_and_a_single_check_stay(app, host):
    made = app()
    host.begin('kernel', 'alice')
    assert told(made, '/healthcheck/live') == (200, 'OK')
    assert told(made, '/healthcheck/scripted') == (200, 'OK')


def test_each_format(app, host):
    made = app()
    host.begin('a secret reason', 'alice')
    answers = {kind: wsgi.ask(made, accept=kind) for kind in render.FORMATS}
    assert {answer.status for answer in answers.values()} == {503}
    assert answers[render.JSON].json == {'detailed': False,
                                         'reasons': ['OK', 'DRAINED']}
    assert 'DRAINED' in answers[render.HTML].text
    health = answers[render.HEALTH_JSON].json
    assert health['status'] == 'fail'
    assert health['checks']['drain'] == [{'status': 'fail',
                                          'output': 'DRAINED'}]
    for answer in answers.values():
        assert 'secret' not in answer.text and 'alice' not in answer.text


def test_beside_a_file_switch(app, host, tmp_path):
    made = app('disable_by_file,scripted',
               disable_by_file_path=str(tmp_path / 'out'))
    host.begin('kernel', 'alice')
    assert told(made) == (503, 'OK\nOK\nDRAINED')
    (tmp_path / 'out').touch()
    assert told(made) == (503, 'DISABLED BY FILE\nOK\nDRAINED')
    host.end()
    assert told(made) == (503, 'DISABLED BY FILE\nOK')


def test_it_cannot_be_excluded(app, host):
    made = app()
    host.begin('kernel', 'alice')
    assert told(made, '/healthcheck/ready?exclude=scripted') == (
        503, 'DRAINED')
    status, text = told(made, '/healthcheck/ready?exclude=drain')
    assert status == 503 and text.startswith('OK\nDRAINED\n')


def test_before_there_is_a_report(app, host, plugin):
    plugin(scripted='tests.unit.stubs:Hanging')
    stubs.Hanging.release.clear()
    made = app(startup_wait='0')
    try:
        assert told(made) == (503, 'STARTING')
        host.begin('kernel', 'alice')
        assert told(made) == (503, 'DRAINED\nSTARTING')
        assert told(made, '/healthcheck/ready?exclude=scripted') == (
            503, 'DRAINED\nSTARTING')
        assert told(made, '/healthcheck/scripted') == (503, 'STARTING')
    finally:
        stubs.Hanging.release.set()


def test_while_no_probe_runs(app, host, monkeypatch):
    made = app()
    assert told(made) == (200, 'OK')
    running = made._engine.get()
    monkeypatch.setattr(running._threads, 'stalled', lambda: True)
    page = running._board.without('PROBES NOT RUNNING', ('DRAINED',))
    assert b''.join(page.ready.pages[render.TEXT].body) == (
        b'DRAINED\nPROBES NOT RUNNING')


def test_a_node_without_checks(app, host):
    made = app('')
    assert told(made) == (200, '')
    host.begin('kernel', 'alice')
    assert told(made) == (503, 'DRAINED')


def test_what_the_probes_found_is_told_apart(app, host):
    made = app()
    host.begin('kernel', 'alice')
    assert made.probed(wsgi.environ()).word == 'pass'


def test_no_host_is_drained_where_that_is_off(app, host, service):
    made = app(drain_path='')
    host.begin('kernel', 'alice')
    assert told(made) == (200, 'OK')
    service.begin('a new disk', 'alice')
    assert told(made) == (503, 'OK\nDRAINED')


def test_a_service_without_a_place(app, host, service, monkeypatch):
    monkeypatch.setattr(drains.group, 'find_place', lambda view: None)
    made = app()
    service.begin('a new disk', 'alice')
    assert told(made) == (200, 'OK')
    host.begin('kernel', 'alice')
    assert told(made) == (503, 'OK\nDRAINED')


def test_a_flood_of_requests_looks_a_hundred_times_a_second(monkeypatch,
                                                            tmp_path):
    monkeypatch.setattr(drains, '_AGAIN', 0.01)
    clock, looks = simulated.Clock(), []
    made = drains.Drains(drains.of_service(str(tmp_path)),
                         drains.of_host(str(tmp_path / 'drain')), clock)
    stat = os.stat
    monkeypatch.setattr(drainfile.os, 'stat', lambda *args, **kwargs:
                        looks.append(args) or stat(*args, **kwargs))
    for _ in range(10000):
        clock.now += 0.0001
        assert made.reason() == ''
    assert 198 <= len(looks) <= 202
    drains.of_service(str(tmp_path)).begin('a new disk', 'alice')
    clock.now += 0.011
    assert made.reason() == drain.DRAINED


def test_the_path_of_the_host_is_absolute(app):
    with pytest.raises(exceptions.ConfigError) as caught:
        app(drain_path='run/drain')
    assert "drain_path = 'run/drain': not an absolute path" in str(
        caught.value)


def test_a_check_cannot_be_called_drain(app):
    with pytest.raises(exceptions.ConfigError, match='name of a page'):
        app('scripted,drain')


def test_where_a_service_is_drained(conf, tmp_path):
    view = views.View(conf(f'[oslo_concurrency]\nlock_path = {tmp_path}\n'),
                      {})
    assert drains.of(view).service.path == f'{tmp_path}/healthcheck.drain'


def test_processes_that_differ_in_it_share_a_prober():
    assert 'drain_path' in opts.NOT_PROBED


def test_json_has_its_detailed_shape(app, host):
    made = app(detailed='true')
    host.begin('kernel', 'alice')
    reasons = json.loads(wsgi.ask(made, accept=render.JSON).body)['reasons']
    assert [each['details'] for each in reasons] == ['scripted: pass',
                                                     'drain: fail']
