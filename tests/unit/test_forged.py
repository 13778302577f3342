# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Requests that nobody meant, with the real Keystone middleware behind.

``make soak`` runs these, and those of reports and results, for longer and
with another seed each time.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import HealthCheck
from hypothesis import settings
from hypothesis import strategies
import pytest
import requests_mock

from tests.unit import keystone as fake
from tests.unit import stubs
from tests.unit import wsgi

# What servers hand on: bytes, as latin-1 (PEP 3333).
LATIN = strategies.text(
    strategies.characters(min_codepoint=0, max_codepoint=255), max_size=60)
PIECES = strategies.sampled_from([
    '/healthcheck', '/', '//', '/live', '/ready', '/detail', '/refresh',
    '/metrics', '/scripted', '/.', '/..', '%2f', '\x00', '\r\nX-Forged: 1',
    '?exclude=scripted', '/drain', '/fleet', '\xff', 'a' * 5000])
PATHS = strategies.lists(PIECES | LATIN, max_size=4).map(''.join)
METHODS = strategies.sampled_from([
    'GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'DELETE', 'TRACE', 'get',
    'BREW', '']) | LATIN
QUERIES = strategies.lists(strategies.sampled_from([
    'exclude=', 'scripted', '&', ';', '=', '%00', '%ff', '+',
    'exclude=scripted', 'exclude=%3Cscript%3E',
]) | LATIN, max_size=40).map(''.join)
HEADERS = strategies.dictionaries(
    strategies.sampled_from([
        'HTTP_ACCEPT', 'HTTP_X_AUTH_TOKEN', 'HTTP_X_SERVICE_TOKEN',
        'HTTP_X_ROLES', 'HTTP_X_IDENTITY_STATUS',
        'HTTP_OPENSTACK_SYSTEM_SCOPE', 'HTTP_X_FORWARDED_FOR', 'HTTP_HOST',
        'HTTP_ORIGIN', 'REMOTE_ADDR', 'SERVER_PORT', 'CONTENT_LENGTH',
        'HTTP_X_HAPROXY_SERVER_STATE']),
    strategies.sampled_from([
        'admin', 'Confirmed', 'all', '127.0.0.1', 'text/html;q=nan', '-1',
        '*/*;q=1e999', 'application/health+json']) | LATIN, max_size=6)

STATUSES = {'GET': {200, 401, 404, 405, 503}, 'POST': {401, 404, 405}}
"""What each method can be answered where nobody has a token."""


@pytest.fixture
def keystone():
    with requests_mock.Mocker() as mocker:
        yield fake.Keystone(mocker)


@pytest.fixture
def application(conf, door, plugin, keystone):
    plugin(scripted='tests.unit.stubs:Scripted')
    made = door(None, conf(
        '[healthcheck]\nbackends = scripted\nsharing = process\n' + fake.CONF))
    assert wsgi.ask(made, '').status == 200
    return made


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=METHODS, path=PATHS, script=PATHS, query=QUERIES,
       headers=HEADERS)
def test_a_request_is_answered_by_the_contract(
        application, method, path, script, query, headers):
    answer = wsgi.ask(application, '', method, PATH_INFO=path,
                      SCRIPT_NAME=script, QUERY_STRING=query, **headers)
    allowed = STATUSES.get(method, {200, 204, 401, 404, 405, 503})
    assert answer.status in allowed
    assert method != 'HEAD' or not answer.body
    if method != 'HEAD':
        assert int(answer.headers['Content-Length']) == len(answer.body)
    assert answer.headers['Cache-Control'] == 'no-store'
    assert not any(char in text for pair in answer.headers.items()
                   for text in pair for char in '\r\n\x00')
    # Nothing said back but names of ours, and no secret.
    assert b'<script' not in answer.body.lower()
    assert fake.PASSWORD.encode() not in answer.body


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=PATHS, headers=HEADERS, query=QUERIES)
def test_who_has_no_token_sets_off_nothing(
        application, keystone, path, headers, query):
    for token in ('HTTP_X_AUTH_TOKEN', 'HTTP_X_SERVICE_TOKEN'):
        headers.pop(token, None)
    before = stubs.Scripted.runs
    for method in ('GET', 'HEAD', 'POST', 'DELETE'):
        wsgi.ask(application, '', method, PATH_INFO=path,
                 QUERY_STRING=query, **headers)
    assert not keystone.asked
    assert stubs.Scripted.runs == before
