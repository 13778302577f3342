# SPDX-License-Identifier: Apache-2.0

"""What oslo.middleware answers, and health+json."""

from hypothesis import given
from hypothesis import strategies as st
from oslo_config import cfg
import oslo_middleware
from oslo_middleware.healthcheck import opts as oslo_opts
import pytest
import webob
from webob import acceptparse

from healthcheck.answers import render
from healthcheck.reports import report
from tests.unit import wsgi

Status = report.Status


def verdict(name='database', status=Status.PASS, reason='OK', **kwargs):
    return report.Verdict.of(name, status, reason, **kwargs)


@pytest.mark.parametrize('drained', [False, True])
@pytest.mark.parametrize('accept', [None, 'text/html', 'application/json'])
@pytest.mark.parametrize('method', ['GET', 'HEAD'])
def test_bodies_are_those_of_oslo_middleware(tmp_path, drained, accept,
                                             method, door):
    drain = tmp_path / 'drain'
    if drained:
        drain.touch()
    section = {'backends': 'disable_by_file',
               'disable_by_file_path': str(drain)}
    ours = wsgi.ask(door(None, section), '', method, accept)
    theirs = wsgi.ask(stock(section), '', method, accept)
    assert (ours.status, ours.body) == (theirs.status, theirs.body)
    assert ours.headers.pop('Cache-Control') == 'no-store'
    if ours.status == 204:  # where webob leaves the length out
        assert ours.headers.pop('Content-Length') == '0'
    assert ours.headers == theirs.headers


def stock(section):
    """Theirs, with a configuration that nobody else reads."""
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[])
    conf.register_opts(oslo_opts.HEALTHCHECK_OPTS, group='healthcheck')
    conf.register_opts(oslo_opts.DISABLE_BY_FILE_OPTS, group='healthcheck')
    for name, value in section.items():
        conf.set_override(name, value, group='healthcheck')
    made = oslo_middleware.Healthcheck(None, conf)
    made._ignore_path = True  # what app_factory does in 6.3
    return made


def test_html_is_escaped():
    view = render.Rendering([verdict(status=Status.FAIL, reason='<B>')],
                            Status.FAIL)
    assert b'<TD>&lt;B&gt;</TD>' in view.pages[render.HTML].body[0]


def test_health_json():
    view = render.Rendering(
        [verdict(time=1.5), verdict('queue', Status.FAIL, 'NO ANSWER',
                                    label='QUEUE', critical=False, time=2.0),
         verdict('disable_by_file')], Status.WARN, time=3.0)
    page = view.pages[render.HEALTH_JSON]
    assert dict(page.headers)['Content-Type'] == 'application/health+json'
    answer = wsgi.Answer(200, {}, page.body[0])
    assert answer.json == {
        'status': 'warn', 'time': '1970-01-01T00:00:03.000Z', 'checks': {
            'database': [{'status': 'pass',
                          'time': '1970-01-01T00:00:01.500Z'}],
            'queue': [{'status': 'fail', 'output': 'QUEUE: NO ANSWER',
                       'time': '1970-01-01T00:00:02.000Z'}],
            'disable_by_file': [{'status': 'pass'}]}}


@pytest.mark.parametrize('status, line', [
    (Status.PASS, 'OK'), (Status.WARN, 'OK (DATABASE: SLOW)'),
    (Status.FAIL, 'DATABASE: SLOW')])
def test_a_line_begins_with_ok_unless_the_node_is_out(status, line):
    reason = 'OK' if status is Status.PASS else 'SLOW'
    assert verdict(status=status, reason=reason,
                   label='DATABASE').line == line


_TYPES = ['text/plain', 'text/html', 'application/json',
          'application/health+json', 'text/*', 'application/*', '*/*',
          'image/png', 'application/xml', 'TEXT/HTML',
          'text/html;level=1', 'application/json;charset=utf-8']
_QUALITIES = ['', ';q=0', ';q=0.0', ';q=0.001', ';q=0.5', ';q=1', ';q=1.000',
              '; q=0.8', ';q=0.5;ext=1']


@given(st.lists(st.tuples(st.sampled_from(_TYPES),
                          st.sampled_from(_QUALITIES)), max_size=6,
                unique_by=lambda item: item[0].lower()))
def test_negotiation_is_webobs(items):
    header = ', '.join(kind + quality for kind, quality in items)
    offers = acceptparse.create_accept_header(
        header or None).acceptable_offers(list(render.FORMATS))
    expected = offers[0][0] if offers else render.TEXT
    assert render.negotiate(header) == expected


@given(st.text(max_size=40))
def test_any_header_is_answered(header):
    assert render.negotiate(header) in render.FORMATS


def test_a_browser_gets_html():
    assert render.negotiate('text/html,application/xhtml+xml,application/xml;'
                            'q=0.9,image/avif,*/*;q=0.8') == render.HTML


def test_webob_does_not_run_for_an_anonymous_caller(door, monkeypatch):
    made = door(wsgi.below, {})

    def fail(*args, **kwargs):
        raise AssertionError('webob ran')
    monkeypatch.setattr(webob.Request, '__init__', fail)
    monkeypatch.setattr(webob.Response, '__init__', fail)
    monkeypatch.setattr(acceptparse, 'create_accept_header', fail)
    for accept in (None, 'text/html;q=0.3, application/json;q=0.7'):
        assert wsgi.ask(made, accept=accept).status == 200
    assert wsgi.ask(made, '/elsewhere').body == b'below'
