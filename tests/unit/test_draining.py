# SPDX-License-Identifier: Apache-2.0

"""An admin drains a node over HTTP, and puts it back."""

from __future__ import annotations

import io
import json

import pytest

from healthcheck.admin.auth import gate
from healthcheck.host import drains
from healthcheck.host import statefiles
from tests.unit import stubs
from tests.unit import wsgi

DRAIN = '/healthcheck/drain'
JSON, FORM = 'application/json', 'application/x-www-form-urlencoded'
QUICK = {'backends': 'scripted', 'interval': '60', 'ttl': '600',
         'timeout': '30', 'slow_threshold': '30',
         'startup_wait': '10', 'detail_source_ranges': '127.0.0.1/32'}


@pytest.fixture(autouse=True)
def scripted(plugin, monkeypatch):
    monkeypatch.setattr(drains, '_AGAIN', 0.0)
    plugin(scripted='tests.unit.stubs:Scripted')
    stubs.Scripted.results = []


@pytest.fixture
def let_in(monkeypatch):
    """Let everybody in, as alice."""
    asked = []
    monkeypatch.setattr(gate.Gate, 'check', lambda self, environ, rule:
                        asked.append(rule))
    monkeypatch.setattr(gate.Gate, 'caller',
                        lambda self, environ: 'alice (0123)')
    return asked


@pytest.fixture
def host(tmp_path):
    (tmp_path / 'host').mkdir()
    return drains.of_host(str(tmp_path / 'host' / 'drain'))


@pytest.fixture
def app(door, tmp_path, host):
    (tmp_path / 'state').mkdir()

    def make(**options):
        return door(wsgi.below, {
            **QUICK, 'state_path': str(tmp_path / 'state'),
            'drain_path': host.path, **options})
    return make


def post(app, body=b'', kind=JSON, query='', **more):
    return wsgi.ask(app, DRAIN + query, 'POST', CONTENT_TYPE=kind, **{
        'CONTENT_LENGTH': str(len(body)), 'wsgi.input': io.BytesIO(body),
        **more})


def told(app):
    answer = wsgi.ask(app)
    return answer.status, answer.text


@pytest.mark.parametrize('body, kind, query', [
    (json.dumps({'for': '30m', 'reason': 'a new disk'}).encode(), JSON, ''),
    (json.dumps({'for': 1800, 'reason': 'a new disk'}).encode(),
     'Application/JSON; charset=utf-8', ''),
    (b'for=30m&reason=a+new+disk', FORM, ''),
    (b'', '', '?for=30m&reason=a%20new%20disk'),
    (b'{"for": "30m"}', JSON, '?for=1h&reason=a+new+disk')])
def test_drain_and_resume(app, let_in, body, kind, query):
    made = app()
    assert told(made) == (200, 'OK')
    answer = post(made, body, kind, query)
    assert (answer.status, answer.headers['Content-Type']) == (200, JSON)
    assert answer.headers['Cache-Control'] == 'no-store'
    held, = answer.json['drains']
    assert (held['scope'], held['reason'], held['by']) == (
        'service', 'a new disk', 'alice (0123)')
    assert 1790 < held['ends']['in_seconds'] <= 1800
    assert told(made) == (503, 'OK\nDRAINED')
    answer = wsgi.ask(made, DRAIN, 'DELETE')
    assert (answer.status, answer.json) == (200, {'drains': []})
    assert told(made) == (200, 'OK')
    assert wsgi.ask(made, DRAIN, 'DELETE').status == 200
    assert set(let_in) == {'drain'}


def test_what_it_is_shown_as(app, let_in):
    made = app()
    post(made, b'{"reason": "<b>new</b>\\ndisk"}')
    assert wsgi.ask(made, '/healthcheck/detail').json['drains'][0][
        'reason'] == '<b>new</b> disk'
    page = wsgi.ask(made, '/healthcheck/detail', accept='text/html').text
    assert '&lt;b&gt;new&lt;/b&gt; disk' in page and '<b>new' not in page
    assert 'healthcheck_drained 1.0' in wsgi.ask(
        made, '/healthcheck/metrics').text
    for kind in ('text/plain', 'text/html', JSON, 'application/health+json'):
        answer = wsgi.ask(made, accept=kind)
        assert 'disk' not in answer.text and 'alice' not in answer.text


def test_before_there_is_a_report_the_detail_has_one_line(app, let_in,
                                                          plugin):
    plugin(scripted='tests.unit.stubs:Hanging')
    stubs.Hanging.release.clear()
    made = app(startup_wait='0')
    try:
        post(made, b'{"reason": "x"}')
        assert wsgi.ask(made, '/healthcheck/detail').json['reason'] == (
            'DRAINED; STARTING')
    finally:
        stubs.Hanging.release.set()


def test_resume_leaves_the_drain_of_the_host(app, let_in, host):
    made = app()
    host.begin('kernel', 'bob')
    post(made, b'{"reason": "x"}')
    held, = wsgi.ask(made, DRAIN, 'DELETE').json['drains']
    assert (held['scope'], held['by'], held['ends']) == ('host', 'bob', None)


@pytest.mark.parametrize('body, kind, status, why', [
    (b'', '', 400, "'reason' is missing"),
    (b'{"for": "1h"}', JSON, 400, "'reason' is missing"),
    (b'{"reason": " "}', JSON, 400, "'reason' is missing"),
    (b'{"reason": 7}', JSON, 400, "'reason' is missing"),
    (b'{"reason": "x", "for": "soon"}', JSON, 400, "'for' = 'soon': not a"),
    (b'{"reason": "x", "for": 0}', JSON, 400, "'for' = '0': not a duration"),
    (b'{"reason": "x", "for": -1}', JSON, 400, 'not a duration'),
    (b'{"reason": "x", "for": true}', JSON, 400, 'neither seconds nor'),
    (b'{"reason": "x", "for": 1.5}', JSON, 400, 'neither seconds nor'),
    (b'{"reason": "x", "for": [1]}', JSON, 400, 'neither seconds nor'),
    (b'{"reason": "x", "by": "root"}', JSON, 400, "'by': there is no such"),
    (b'["reason"]', JSON, 400, 'not a JSON object'),
    (b'[' * 4000, JSON, 400, 'not a JSON object'),
    (b'{', JSON, 400, 'not a JSON object'),
    (b'\xff', JSON, 400, 'not UTF-8'),
    (b'a=1&b=2&c=3&d=4', FORM, 400, 'Too many fields'),
    (b'reason=x', 'text/plain', 415, 'Content-Type'),
    (b'reason=x', '', 415, 'Content-Type'),
    (b'reason=' + b'x' * 4096, FORM, 413, 'longer than 4096 bytes')])
def test_what_is_wrong_is_said(app, let_in, body, kind, status, why):
    made = app()
    answer = post(made, body, kind)
    assert answer.status == status
    assert why in answer.text
    assert wsgi.ask(made, DRAIN, 'POST', accept=JSON).json['error'][
        'code'] == 400
    assert told(made) == (200, 'OK')


@pytest.mark.parametrize('length', ['x', '-1', '1' * 5000, '9' * 10])
def test_a_length_that_is_none(app, let_in, length):
    def read(size):
        raise AssertionError('nothing is read')
    given = io.BytesIO()
    given.read = read
    assert post(app(), b'', CONTENT_LENGTH=length,
                **{'wsgi.input': given}).status in (411, 413)


def test_a_body_of_unknown_length_is_not_read(app, let_in):
    assert post(app(), b'{"reason": "x"}', CONTENT_LENGTH='',
                HTTP_TRANSFER_ENCODING='chunked').status == 411


def test_a_caller_who_goes_away(app, let_in):
    class Gone:
        def read(self, size):
            raise ConnectionResetError
    made = app()
    assert post(made, b'{}', **{'wsgi.input': Gone()}).status == 400
    assert told(made) == (200, 'OK')


def test_a_service_without_a_place(app, let_in, monkeypatch):
    monkeypatch.setattr(drains.group, 'find_place', lambda view: None)
    for method in ('POST', 'DELETE'):
        answer = wsgi.ask(app(), DRAIN + '?reason=x', method)
        assert answer.status == 409
        assert 'state_path' in answer.text


def test_a_full_disk(app, let_in, monkeypatch, caplog):
    def full(descriptor):
        raise OSError(28, 'No space left on device')
    made = app()
    monkeypatch.setattr(statefiles.os, 'fsync', full)
    answer = post(made, b'{"reason": "x"}')
    assert answer.status == 503
    assert 'see the log' in answer.text and 'No space' not in answer.text
    assert 'No space left on device' in caplog.messages[-1]
    assert told(made) == (200, 'OK')


@pytest.mark.parametrize('method', ['POST', 'DELETE'])
def test_an_address_drains_nothing(app, method):
    """Not even that of the agent's UNIX socket, nor a form in a browser."""
    made = app()
    assert wsgi.ask(made, '/healthcheck/detail').status == 200
    answer = wsgi.ask(made, DRAIN + '?reason=x', method, CONTENT_TYPE=FORM)
    assert answer.status == 404
    assert told(made) == (200, 'OK')
