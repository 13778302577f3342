# SPDX-License-Identifier: Apache-2.0

"""A page, and how a request is answered with one."""

import ast
import pathlib
from wsgiref import validate

import pytest

from healthcheck.answers import page
from healthcheck.cmd import demo
from healthcheck import middleware
from tests.unit import wsgi

SOURCES = pathlib.Path(middleware.__file__).parent


def test_a_page():
    answer = wsgi.ask(page.make(404, 'Näh', extra=(('X-Mine', '1'),)))
    assert (answer.status, answer.text) == (404, 'Näh')
    assert answer.headers == {
        'Content-Type': 'text/plain; charset=UTF-8', 'Content-Length': '4',
        'Cache-Control': 'no-store', 'X-Mine': '1'}


@pytest.mark.parametrize('given, sent', [
    ('text/html', 'text/html; charset=UTF-8'),
    ('application/json', 'application/json'),
    ('text/plain; version=0.0.4; charset=utf-8',
     'text/plain; version=0.0.4; charset=utf-8')])
def test_the_type_of_a_page(given, sent):
    assert wsgi.ask(page.make(200, '', given)).headers['Content-Type'] == sent


def test_bytes_are_sent_as_they_are():
    assert wsgi.ask(page.make(200, b'\xff')).body == b'\xff'


def test_what_cannot_be_sent_is_replaced():
    assert wsgi.ask(page.make(200, 'a\udcff')).body == b'a?'


def test_no_content_has_no_type():
    answer = wsgi.ask(page.make(204, ''))
    assert (answer.status, answer.body) == (204, b'')
    assert 'Content-Type' not in answer.headers


def test_the_status_has_its_phrase():
    assert page.make(405, '').status == '405 Method Not Allowed'


def below_nothing(door):
    return door(None, {}), '/nowhere'


def not_a_page(door):
    return door(wsgi.below, {}), '/healthcheck/nowhere'


def closed(door):
    """To this caller, of the admin's pages."""
    return door(wsgi.below, {'detail_source_ranges': '192.0.2.0/24'}), (
        '/healthcheck/detail')


def not_allowed(door):
    return door(wsgi.below, {'detail_source_ranges': '127.0.0.0/8'}), (
        '/healthcheck/refresh')


def detail(door):
    return door(wsgi.below, {'detail_source_ranges': '127.0.0.0/8'}), (
        '/healthcheck/detail')


def demonstration(door):
    return demo.app_factory({}), '/'


@pytest.mark.parametrize('made', [below_nothing, not_a_page, closed,
                                  not_allowed, detail, demonstration])
def test_head_is_answered_as_get_without_the_body(made, door):
    """RFC 9110, 8.6: Content-Length is that of the answer to a GET."""
    application, path = made(door)
    valid = validate.validator(application)

    def ask(method):
        started = []
        result = valid(wsgi.environ(path, method),
                       lambda *args: started.extend(args[:2]))
        body = b''.join(result)
        result.close()
        return started[0], dict(started[1]), body
    status, headers, body = ask('HEAD')
    assert body == b''
    whole = ask('GET')
    assert (status, headers.keys()) == (whole[0], whole[1].keys())
    if made is detail:  # which has a time in it
        assert int(headers['Content-Length']) > 100
    else:
        assert headers == whole[1]
    assert int(whole[1]['Content-Length']) == len(whole[2]) > 0


def test_one_place_answers_a_request():
    """So that there is one rule for HEAD."""
    places = {
        str(path.relative_to(SOURCES))
        for path in SOURCES.rglob('*.py')
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == 'start_response'}
    # What keystonemiddleware calls for a token that is valid: no caller gets
    # to see that answer. And what hands on the service's own answers.
    assert places - {'admin/auth/tokens.py', 'evidence/responses.py'} == {
        'answers/page.py'}
