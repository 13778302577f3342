# SPDX-License-Identifier: Apache-2.0

"""The admin's pages, behind the door."""

from __future__ import annotations

import threading
import time

import pytest

from healthcheck.admin.auth import gate
from healthcheck.admin import paths
from healthcheck.answers import render
from healthcheck import engine
from healthcheck.probing import threads
from healthcheck.reports import report
from tests.unit import stubs
from tests.unit import wsgi

DETAIL, REFRESH = '/healthcheck/detail', '/healthcheck/refresh'
DRAIN = '/healthcheck/drain'
FAILED = report.Result.failed('CONNECTION REFUSED', 'db.example refused')
SEEN = {'detail_source_ranges': '127.0.0.0/8'}
QUICK = {'backends': 'scripted', 'interval': '60', 'retry_interval': '0.05',
         'timeout': '1', 'ttl': '300', 'fall': '1', 'startup_wait': '10'}
BROWSER = ('text/html,application/xhtml+xml,application/xml;q=0.9,'
           'image/avif,image/webp,*/*;q=0.8')


@pytest.fixture(autouse=True)
def scripted(plugin):
    plugin(scripted='tests.unit.stubs:Scripted',
           hanging='tests.unit.stubs:Hanging')
    stubs.Scripted.results = []
    stubs.Scripted.runs = 0
    stubs.Hanging.release.clear()
    yield
    stubs.Hanging.release.set()


@pytest.fixture
def app(door):
    """A door whose details are for callers of this host."""
    return lambda **options: door(wsgi.below, {**QUICK, **SEEN, **options})


@pytest.fixture
def let_in(monkeypatch):
    """Let everybody in; whom the gate is asked for is returned."""
    asked = []
    monkeypatch.setattr(gate.Gate, 'check', lambda self, environ, rule:
                        asked.append(rule))
    return asked


@pytest.mark.parametrize('accept, kind', [
    (None, render.JSON), ('*/*', render.JSON), ('image/png', render.JSON),
    (BROWSER, render.HTML), ('text/plain', render.TEXT),
    ('application/*', render.JSON), ('text/*', render.HTML),
    ('application/health+json', render.HEALTH_JSON)])
def test_format(app, accept, kind):
    answer = wsgi.ask(app(), DETAIL, accept=accept)
    assert answer.status == 200
    assert answer.headers['Content-Type'].partition(';')[0] == kind
    assert answer.headers['Cache-Control'] == 'no-store'
    assert answer.headers['X-Content-Type-Options'] == 'nosniff'
    assert int(answer.headers['Content-Length']) == len(answer.body)
    assert (kind == render.HTML) == ('Content-Security-Policy'
                                     in answer.headers)
    assert 'scripted' in answer.text


@pytest.mark.parametrize('kind', paths.FORMATS)
def test_head(app, kind):
    door = app()
    answer = wsgi.ask(door, DETAIL, 'HEAD', kind)
    assert (answer.status, answer.body) == (200, b'')
    whole = wsgi.ask(door, DETAIL, 'GET', kind)
    assert answer.headers.keys() == whole.headers.keys()
    assert int(answer.headers['Content-Length']) > 100


@pytest.mark.parametrize('path', [DETAIL, REFRESH, '/healthcheck/nothing'])
def test_head_has_no_body(app, let_in, path):
    assert wsgi.ask(app(), path, 'HEAD').body == b''


@pytest.mark.parametrize('kind, status', [
    (render.JSON, 200), (render.HTML, 200), (render.TEXT, 200),
    (render.HEALTH_JSON, 503)])
def test_a_node_that_is_out(app, kind, status):
    stubs.Scripted.results = [FAILED]
    door = app()
    assert wsgi.ask(door).status == 503
    answer = wsgi.ask(door, DETAIL, accept=kind)
    assert answer.status == status
    assert 'SCRIPTED: CONNECTION REFUSED' in answer.text
    assert 'db.example refused' in answer.text


def test_the_first_request_waits_for_the_first_report(app):
    """The page would say that the node is out."""
    threading.Timer(0.05, stubs.Hanging.release.set).start()
    answer = wsgi.ask(app(backends='hanging'), DETAIL)
    assert (answer.json['status'], answer.json['reason']) == ('pass', 'OK')


def test_before_the_first_report(app):
    answer = wsgi.ask(app(backends='hanging', startup_wait='0'), DETAIL)
    assert answer.status == 200
    assert (answer.json['status'], answer.json['reason']) == (
        'fail', 'STARTING')
    stubs.Hanging.release.set()


def test_nothing_is_checked(app):
    answer = wsgi.ask(app(backends=''), DETAIL)
    assert (answer.json['status'], answer.json['reason']) == ('pass', 'OK')


def test_probes_that_do_not_run(app, monkeypatch):
    door = app(backends='hanging', startup_wait='0')
    monkeypatch.setattr(threads.Threads, 'stalled', lambda self: True)
    answer = wsgi.ask(door, DETAIL)
    assert answer.json['reason'] == engine.NOT_RUNNING
    stubs.Hanging.release.set()


def test_what_others_published_in_full_is_gone(app, monkeypatch):
    stubs.Scripted.results = [FAILED]
    door = app()
    monkeypatch.setattr(engine.Engine, 'known', lambda self: None)
    answer = wsgi.ask(door, DETAIL)
    assert answer.json['reason'] == 'SCRIPTED: CONNECTION REFUSED'


def test_switches_are_read_now(app, tmp_path):
    door = app(backends='scripted,disable_by_file',
               disable_by_file_path=str(tmp_path / 'drain'))
    assert wsgi.ask(door, DETAIL).json['status'] == 'pass'
    (tmp_path / 'drain').touch()
    answer = wsgi.ask(door, DETAIL).json
    assert (answer['status'], answer['reason']) == ('fail',
                                                    'DISABLED BY FILE')
    assert answer['switches'][0]['status'] == 'fail'


def test_no_secret_is_shown(app):
    door = app(database_connection='mysql://me:verysecret@db/nova')
    for kind in paths.FORMATS:
        assert 'verysecret' not in wsgi.ask(door, DETAIL, accept=kind).text


def test_refresh(app, let_in):
    door = app()
    assert wsgi.ask(door, DETAIL).json['refreshed'] is None
    stubs.Scripted.results = [FAILED]
    answer = wsgi.ask(door, REFRESH, 'POST')
    assert answer.status == 200
    assert answer.json['reason'] == 'SCRIPTED: CONNECTION REFUSED'
    assert answer.json['refreshed']['age_seconds'] < 10
    assert stubs.Scripted.runs == 2
    assert let_in == ['detail', 'refresh']
    assert wsgi.ask(door, REFRESH, 'POST', 'text/html').text.startswith(
        '<!DOCTYPE html>')


def test_refresh_needs_a_token(app):
    door = app()
    assert wsgi.ask(door, REFRESH, 'POST').status == 404
    assert stubs.Scripted.runs == 0


@pytest.mark.parametrize('path, allowed', [
    (DETAIL, {'GET', 'HEAD'}), (REFRESH, {'POST'}),
    (DRAIN, {'POST', 'DELETE'})])
def test_other_methods(app, let_in, path, allowed):
    door = app()
    for method in {'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS',
                   'PATCH'} - allowed:
        answer = wsgi.ask(door, path, method)
        assert answer.status == 405
        assert set(answer.headers['Allow'].split(', ')) == allowed
    assert stubs.Scripted.runs == 0


@pytest.mark.parametrize('method', ['GET', 'HEAD', 'POST', 'PUT', 'OPTIONS'])
@pytest.mark.parametrize('path', [DETAIL, REFRESH, DRAIN])
def test_nobody_is_let_in_by_default(door, path, method):
    app = door(wsgi.below, QUICK)
    for kind in (None, *paths.FORMATS):
        assert wsgi.ask(app, path, method, kind) == wsgi.ask(
            app, '/healthcheck/nothing', method, kind)
    assert wsgi.ask(app, path, method).status == 404
    assert stubs.Scripted.runs == 0


@pytest.mark.parametrize('path', ['/healthcheck/detail/', '/healthcheck//'
                                  'detail', '/healthcheck/details'])
def test_no_other_path(app, path):
    assert wsgi.ask(app(), path).status == 404


def test_below_the_path_of_an_app(door):
    mounted = door(None, {**QUICK, **SEEN})
    assert wsgi.ask(mounted, '/detail').status == 200
    assert wsgi.ask(mounted, '/healthcheck/detail').status == 404


@pytest.mark.parametrize('option, header', [
    ({'allowed_source_ranges': '192.0.2.0/24'}, {}),
    ({'ignore_proxied_requests': 'True'}, {'HTTP_X_FORWARDED': 'for=me'})])
@pytest.mark.parametrize('path', [DETAIL, REFRESH])
def test_who_is_not_answered_at_all(app, let_in, path, option, header):
    for method in ('GET', 'POST'):
        answer = wsgi.ask(app(**option), path, method, **header)
        assert answer.body == b'below'
    assert let_in == []


@pytest.mark.parametrize('header, button', [
    ({}, False), ({'HTTP_X_AUTH_TOKEN': 'x'}, True)])
def test_button_for_who_sends_a_token(app, header, button):
    page = wsgi.ask(app(), DETAIL, accept='text/html', **header).text
    assert ('<button' in page) == button


def test_a_worker_waits_once(app, let_in):
    """While one thread waits for a probe that hangs, others come back."""
    door = app(backends='hanging', startup_wait='0', timeout='60',
               ttl='600')
    first = threading.Thread(target=wsgi.ask, args=(door, REFRESH, 'POST'))
    first.start()
    waiting = door._admin._waiting.get()
    deadline = time.monotonic() + 10
    while waiting._over is None:
        assert time.monotonic() < deadline
    answer = wsgi.ask(door, REFRESH, 'POST')
    assert answer.status == 202
    assert answer.headers['Retry-After'] == '1'
    assert answer.json['reason'] == 'STARTING'
    stubs.Hanging.release.set()
    first.join(30)
    assert not first.is_alive()


@pytest.mark.parametrize('began, over, fresh', [
    (0.9, True, True), (1.0, True, False), (0.999, False, False)])
def test_who_comes_while_a_round_is_waited_for(monkeypatch, began, over,
                                               fresh):
    monkeypatch.setattr(paths.time_module, 'monotonic', lambda: 100.0)
    waiting = paths.Waiting()
    waiting._over, waiting._began_at = threading.Event(), 100.0 - began
    if over:
        waiting._over.set()
    assert waiting.wait(lambda: pytest.fail('a second round')) is fresh


def test_those_who_wait_are_told_when_it_is_over():
    waiting = paths.Waiting()
    began, go_on = threading.Event(), threading.Event()

    def refresh():
        began.set()
        assert go_on.wait(30)
    first = threading.Thread(target=waiting.wait, args=(refresh,))
    first.start()
    assert began.wait(30)
    over = waiting._over
    wait_for = over.wait

    def wait(timeout):
        go_on.set()
        return wait_for(30)
    over.wait = wait
    waiting._began_at = time.monotonic()
    assert waiting.wait(lambda: pytest.fail('a second round'))
    first.join(30)


def test_a_round_that_failed_holds_nobody():
    waiting = paths.Waiting()

    def fail():
        raise RuntimeError('no')
    for _ in range(2):
        with pytest.raises(RuntimeError):
            waiting.wait(fail)
    assert waiting.wait(lambda: None)
