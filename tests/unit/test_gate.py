# SPDX-License-Identifier: Apache-2.0

"""Who may see the admin's pages.

keystonemiddleware is the real one; it talks to a Keystone of ours.
"""

from __future__ import annotations

from concurrent import futures
import datetime
import logging
import subprocess
import sys
import threading
from unittest import mock

from hypothesis import given
from hypothesis import HealthCheck
from hypothesis import settings
from hypothesis import strategies
from keystoneauth1 import access
from keystoneauth1 import fixture
import pytest
import requests_mock

from healthcheck.admin import auth
from healthcheck.admin.auth import gate
from healthcheck.admin.auth import tokens
from healthcheck.config import reading
from healthcheck.config import views
from healthcheck.probing import simulated
from tests.unit import keystone as fake
from tests.unit import wsgi

RANGES = """
[healthcheck]
detail_source_ranges = 192.0.2.0/24
metrics_source_ranges = 192.0.2.0/24, 2001:db8::/32
"""


@pytest.fixture
def log():
    handler, root = fake.Log(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler.lines
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.fixture
def keystone():
    with requests_mock.Mocker() as mocker:
        yield fake.Keystone(mocker)


@pytest.fixture
def make(conf):
    def make(text=fake.CONF):
        view = views.View(conf(text), {})
        made = gate.Gate(view)
        view.check()
        return made
    return make


@pytest.fixture
def clock(monkeypatch):
    """The clock of whatever is made from now on."""
    clock, real = simulated.Clock(), tokens.Tokens
    monkeypatch.setattr(tokens, 'Tokens',
                        lambda conf: real(conf, clock=clock))
    return clock


def _ask(made, rule='detail', token=None, method='GET', **more):
    if token is not None:
        more['HTTP_X_AUTH_TOKEN'] = token
    page = made.check(wsgi.environ(f'/healthcheck/{rule}', method, **more),
                      rule)
    if page is None:
        return 200
    assert dict(page.headers)['Cache-Control'] == 'no-store'
    return int(page.status.split()[0])


def _all(made, token=None, **more):
    return [_ask(made, rule, token, **more) for rule in gate.RULES]


@pytest.mark.parametrize('roles, scope, expected', [
    (['admin'], 'project', [200, 200, 200, 200, 200]),
    (['admin', 'member', 'reader'], 'system', [200, 200, 200, 200, 200]),
    (['reader'], 'system', [200, 403, 200, 403, 200]),
    (['reader'], 'project', [403] * 5),
    (['member', 'reader'], 'project', [403] * 5),
    (['admin'], 'domain', [403] * 5),
    ([], 'none', [403] * 5)])
def test_a_valid_token(keystone, make, roles, scope, expected):
    assert _all(make(), keystone.token(*roles, scope=scope)) == expected


@pytest.mark.parametrize('token', [
    None, '', ' ', 'garbage', 'two tokens', 'a\nb', 'caf\xe9', 'x' * 9000])
def test_no_token(keystone, make, token):
    made = make()
    assert _all(made, token) == [401] * 5
    page = made.check(wsgi.environ(), 'detail')
    assert dict(page.headers)['WWW-Authenticate'] == (
        f'Keystone uri="{fake.PUBLIC}"')
    # Nothing that can be no token is sent on.
    assert set(keystone.asked) <= {'garbage'}


def test_an_internal_url_is_not_told(keystone, make):
    made = make(fake.CONF.replace('www_authenticate_uri', '#'))
    page = made.check(wsgi.environ(HTTP_X_AUTH_TOKEN='garbage'), 'detail')
    assert dict(page.headers)['WWW-Authenticate'] == 'Keystone'


def test_revoked(keystone, make):
    token = keystone.token('admin')
    keystone.revoke(token)
    assert _all(make(), token) == [401] * 5


def test_expired(keystone, make):
    token = keystone.token('admin', expires=-datetime.timedelta(seconds=1))
    assert _all(make(), token) == [401] * 5


def test_expires_while_it_is_remembered(keystone, conf):
    made = tokens.Tokens(reading.Private(conf(fake.CONF)),
                         wall_clock=lambda: late)
    environ = wsgi.environ(HTTP_X_AUTH_TOKEN=keystone.token('admin'))
    late = 0.0
    assert isinstance(made.identify(environ), tokens.Identity)
    late = 1e12
    assert made.identify(environ) is made.unauthorized


def test_a_service_token_makes_no_expired_one_good(keystone, make):
    """As it does for long tasks of services, which this is none of."""
    service = keystone.token('service')
    expired = keystone.token('admin', expires=-datetime.timedelta(seconds=1))
    assert _all(make(), expired, HTTP_X_SERVICE_TOKEN=service) == [401] * 5


@pytest.mark.parametrize('roles, expected', [
    (['service'], 200), (['admin'], 401)])
def test_a_service_token_that_came_along_must_be_one(keystone, make, roles,
                                                     expected):
    user, service = keystone.token('admin'), keystone.token(*roles)
    assert _ask(make(), 'detail', user,
                HTTP_X_SERVICE_TOKEN=service) == expected
    assert _ask(make(), 'detail', user, HTTP_X_SERVICE_TOKEN='forged') == 401


def test_a_service_token_gives_no_role_to_who_came_with_it(keystone, make):
    user, service = keystone.token('member'), keystone.token(
        'service', 'admin')
    assert _all(make(), user, HTTP_X_SERVICE_TOKEN=service) == [403] * 5
    assert _all(make(), HTTP_X_SERVICE_TOKEN=service) == [401] * 5


FORGED = {
    'HTTP_X_ROLES': ['admin', 'admin,reader'],
    'HTTP_X_ROLE': ['admin'],
    'HTTP_X_IDENTITY_STATUS': ['Confirmed'],
    'HTTP_X_SERVICE_IDENTITY_STATUS': ['Confirmed', 'Invalid'],
    'HTTP_X_SERVICE_ROLES': ['admin', 'service'],
    'HTTP_X_SERVICE_USER_ID': ['nova'],
    'HTTP_X_SERVICE_TOKEN': ['', 'forged'],
    'HTTP_X_SERVICE_CATALOG': ['[]'],
    'HTTP_X_STORAGE_TOKEN': ['forged'],
    'HTTP_X_IS_ADMIN_PROJECT': ['True'],
    'HTTP_X_USER_ID': ['admin'],
    'HTTP_X_PROJECT_ID': ['admin'],
    'HTTP_X_TENANT': ['admin'],
    'HTTP_X_DOMAIN_ID': ['default'],
    'HTTP_OPENSTACK_SYSTEM_SCOPE': ['all'],
    'HTTP_X_FORWARDED_FOR': ['192.0.2.1', '127.0.0.1'],
    'HTTP_FORWARDED': ['for=192.0.2.1'],
    'HTTP_X_REAL_IP': ['192.0.2.1'],
    'HTTP_REMOTE_ADDR': ['192.0.2.1'],
    'HTTP_REMOTE_USER': ['admin'],
    'HTTP_KEYSTONE.TOKEN_INFO': ['{"token": {"roles": [{"name": "admin"}]}}'],
    'HTTP_AUTHORIZATION': ['Bearer x', 'Basic YWRtaW46YWRtaW4='],
    'REMOTE_USER': ['admin'],
    'AUTH_TYPE': ['Negotiate'],
    # No header can set those; a careless middleware in front could.
    'keystone.token_info': [{'token': {'roles': [{'name': 'admin'}]}}],
    'keystone.token_auth': [object()],
}
FORGERIES = strategies.fixed_dictionaries({}, optional={
    name: strategies.sampled_from(values) for name, values in FORGED.items()})
GENUINE = {'none': None, 'garbage': None, 'member': (['member'], 'project'),
           'reader': (['reader'], 'project'),
           'domain admin': (['admin'], 'domain'),
           'system reader': (['reader'], 'system'),
           'admin': (['admin'], 'project')}


@pytest.fixture
def made(make):
    return make()


@settings(max_examples=300, deadline=None, suppress_health_check=[
    HealthCheck.function_scoped_fixture])
@given(forgery=FORGERIES, who=strategies.sampled_from(sorted(GENUINE)),
       rule=strategies.sampled_from(gate.RULES),
       address=strategies.sampled_from(['198.51.100.1', '127.0.0.1', '']))
def test_forged_headers_gain_nothing(keystone, made, forgery, who, rule,
                                     address):
    token = (None if who == 'none' else 'garbage' if who == 'garbage'
             else keystone.token(*GENUINE[who][0], scope=GENUINE[who][1]))
    honest = _ask(made, rule, token, REMOTE_ADDR=address)
    forged = _ask(made, rule, token, REMOTE_ADDR=address, **forgery)
    if forgery.get('HTTP_X_SERVICE_TOKEN'):
        assert forged == 401
    else:
        assert forged == honest
    if who in ('none', 'garbage'):
        assert honest == 401
    elif who not in ('admin', 'system reader'):
        assert honest == 403


@pytest.fixture
def ranged(make):
    return make(RANGES)


@settings(max_examples=300, deadline=None, suppress_health_check=[
    HealthCheck.function_scoped_fixture])
@given(forgery=FORGERIES, rule=strategies.sampled_from(gate.RULES),
       address=strategies.sampled_from(['198.51.100.1', '127.0.0.1', '']))
def test_forged_headers_gain_no_source_range(ranged, forgery, rule, address):
    assert _ask(ranged, rule, REMOTE_ADDR=address, **forgery) in (403, 404)


def test_the_request_is_left_as_it_is(keystone, make):
    """Whoever comes later reads what the caller sent, and no more."""
    environ = wsgi.environ(HTTP_X_AUTH_TOKEN=keystone.token('admin'),
                           HTTP_X_ROLES='forged')
    before = dict(environ)
    assert make().check(environ, 'detail') is None
    assert environ == before


@pytest.mark.parametrize('address, expected', [
    ('192.0.2.1', [200, 404, 200, 404, 200]),
    ('::ffff:192.0.2.1', [200, 404, 200, 404, 200]),
    ('2001:db8::1', [403, 404, 200, 404, 403]),
    ('198.51.100.1', [403, 404, 403, 404, 403]),
    ('', [403, 404, 403, 404, 403]), (None, [403, 404, 403, 404, 403])])
def test_source_ranges_without_keystone(make, address, expected):
    assert _all(make(RANGES), REMOTE_ADDR=address) == expected


@pytest.mark.parametrize('header', ['HTTP_X_FORWARDED_FOR', 'HTTP_VIA',
                                    'HTTP_FORWARDED', 'HTTP_X_REAL_IP'])
def test_a_forwarded_request_needs_a_token(keystone, make, header):
    made = make(RANGES + fake.CONF)
    where = {'REMOTE_ADDR': '192.0.2.1', header: '192.0.2.1'}
    assert _ask(made, 'detail', REMOTE_ADDR='192.0.2.1') == 200
    assert _ask(made, 'refresh', REMOTE_ADDR='192.0.2.1') == 401
    assert _all(made, **where) == [401] * 5
    assert _all(made, keystone.token('admin'), **where) == [200] * 5


def test_source_ranges_that_are_none(make):
    with pytest.raises(Exception, match='metrics_source_ranges = .all.*'):
        make('[healthcheck]\nmetrics_source_ranges = all\n')


def test_no_address_lets_anybody_drain(make):
    made = make(fake.CONF + RANGES.replace('192.0.2.0/24', '0.0.0.0/0'))
    assert _ask(made, 'drain', REMOTE_ADDR='127.0.0.1',
                method='POST') == 401
    made = make(RANGES.replace('192.0.2.0/24', '0.0.0.0/0'))
    assert _ask(made, 'drain', REMOTE_ADDR='127.0.0.1',
                method='POST') == 404


def test_who_the_caller_is(keystone, make):
    made, token = make(), keystone.token('member')
    name = made.caller(wsgi.environ(HTTP_X_AUTH_TOKEN=token,
                                    HTTP_X_USER_NAME='forged'))
    known = keystone._tokens[token]
    assert name == f'{known.user_name} ({known.user_id})'
    assert made.caller(wsgi.environ(HTTP_X_AUTH_TOKEN='garbage')) == ''
    assert make(RANGES).caller(wsgi.environ(HTTP_X_AUTH_TOKEN=token)) == ''


def test_nothing_configured(make, caplog):
    caplog.set_level(logging.INFO)
    made = make('[keystone_authtoken]\nmemcached_servers = localhost\n')
    assert _all(made, 'token', REMOTE_ADDR='127.0.0.1') == [404] * 5
    assert [r.getMessage() for r in caplog.records] == [
        'Healthcheck lets nobody see detail, refresh, metrics, drain, with '
        'the answer 404: no Keystone is configured in [keystone_authtoken]']


@pytest.mark.parametrize('name', ['keystonemiddleware', 'oslo_policy'])
def test_the_extra_is_missing(make, caplog, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    for module in ('tokens', 'policies'):
        monkeypatch.delitem(sys.modules, f'healthcheck.admin.auth.{module}',
                            raising=False)
        monkeypatch.delattr(auth, module, raising=False)
    made = make(fake.CONF + RANGES)
    assert _all(made, 'token') == [403, 404, 403, 404, 403]
    assert _all(made, REMOTE_ADDR='192.0.2.1') == [200, 404, 200, 404, 200]
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert ('pip install openstack-healthcheck[keystone]'
            in record.getMessage())


def test_nothing_is_imported_that_is_not_needed(tmp_path):
    (tmp_path / 'service.conf').write_text(RANGES)
    subprocess.run([sys.executable, '-c', f"""
import sys
from oslo_config import cfg
from healthcheck.admin.auth import gate
from healthcheck.config import views
cfg.CONF([], default_config_files=['{tmp_path}/service.conf'])
gate.Gate(views.View(cfg.CONF, {{}}))
assert not {{'keystonemiddleware', 'keystoneauth1', 'oslo_policy',
            'healthcheck.admin.auth.tokens',
            'healthcheck.admin.auth.policies'}} & set(sys.modules)
"""], check=True)


def test_options_that_are_wrong(make):
    with pytest.raises(Exception, match='auth_url') as caught:
        make(fake.CONF.replace('auth_url', '#'))
    assert '[keystone_authtoken]: ' in str(caught.value)
    assert fake.PASSWORD not in str(caught.value)


def test_nothing_is_registered_where_the_service_is(keystone, make, conf):
    service = conf(fake.CONF)
    before = set(service)
    made = gate.Gate(views.View(service, {}))
    assert _ask(made, 'detail', keystone.token('admin')) == 200
    assert set(service) == before | {'healthcheck'}


@pytest.mark.parametrize('setting, expected', [
    ('delay_auth_decision = true', 401), ('http_connect_timeout = 600', 401)])
def test_what_the_service_sets_for_itself(keystone, make, setting, expected):
    made = make(fake.CONF + setting)
    assert _ask(made) == _ask(made, 'detail', 'garbage') == expected
    keystone.away = fake.SILENT
    assert _ask(made, 'detail', 'other') == 503


@pytest.mark.parametrize('setting, seconds', [
    ('', 3), ('http_connect_timeout = 600', 3),
    ('http_connect_timeout = 1', 1)])
def test_each_request_to_keystone_is_bounded(conf, setting, seconds):
    with requests_mock.Mocker() as mocker:
        keystone = fake.Keystone(mocker)
        made = gate.Gate(views.View(conf(fake.CONF + setting), {}))
        assert _ask(made, 'detail', keystone.token('admin')) == 200
        assert {request.timeout for request in mocker.request_history} == {
            seconds}
        keystone.away = fake.SILENT
        before = mocker.call_count
        assert _ask(made, 'detail', 'other') == 503
        assert mocker.call_count == before + 1


@pytest.mark.parametrize('fault', [fake.REFUSED, fake.SILENT, 500, 503, 403])
def test_keystone_away(keystone, make, clock, fault):
    made = make()
    known = keystone.token('admin')
    assert _ask(made, 'detail', known) == 200
    _break(keystone, fault)
    page = made.check(wsgi.environ(
        HTTP_X_AUTH_TOKEN=keystone.token('admin')), 'detail')
    assert page.status == '503 Service Unavailable'
    assert b'the identity service cannot be reached' in page.body[0]
    assert b'http' not in page.body[0]
    # Who is known, and who has no token, needs no Keystone.
    assert _ask(made, 'detail', known) == 200
    assert _ask(made) == 401


@pytest.mark.parametrize('answer', [
    {'text': '<html>404 Not Found</html>'}, {'text': ''},
    {'text': 'default backend - 404'}, {'json': ['error']},
    {'json': {'error': 'not found'}}, {'json': 404},
    {'json': {'itemNotFound': {'code': 404, 'message': 'no such thing'}}}])
@pytest.mark.parametrize('forged', [{}, {'HTTP_X_IDENTITY_STATUS': 'Invalid'}])
def test_something_else_answers_for_keystone(keystone, make, answer, forged,
                                             log):
    """A proxy without a Keystone knows no token, and that is no word on it."""
    made = make()
    known, other = keystone.token('admin'), keystone.token('admin')
    assert _ask(made, 'detail', known) == 200
    keystone.replace(status_code=404, **answer)
    assert _ask(made, 'detail', other, **forged) == 503
    assert _ask(made, 'detail', known) == 200
    assert _ask(made) == 401
    assert 'NotKeystoneError: 404 is not from Keystone' in '\n'.join(log)
    assert other not in '\n'.join(log)


@pytest.mark.parametrize('fault', [fake.REFUSED, fake.SILENT, 500])
def test_keystone_away_from_the_start(keystone, make, clock, fault):
    made = make()
    token = keystone.token('admin')
    _break(keystone, fault)
    assert _ask(made, 'detail', token) == 503
    _break(keystone, 200)
    # It is not tried again at once.
    assert _ask(made, 'detail', token) == 503
    clock.now += 5
    assert _ask(made, 'detail', token) == 200


def _break(keystone, fault):
    keystone.away = fault if isinstance(fault, Exception) else None
    keystone.status = fault if isinstance(fault, int) else 200


def test_a_policy_file_that_cannot_be_read(keystone, make, tmp_path):
    made = make()
    (tmp_path / 'policy.yaml').write_text('[')
    assert _all(made, keystone.token('admin')) == [503] * 5


def test_a_bad_token_is_asked_about_once(keystone, make, clock):
    made = make()
    for _ in range(10):
        assert _all(made, 'garbage') == [401] * 5
    # Once for each page: what a token is good for depends on the path.
    assert len(keystone.asked) == 5
    clock.now += 10
    assert _ask(made, 'detail', 'garbage') == 401
    assert len(keystone.asked) == 6


@pytest.mark.parametrize('cache_time, asked', [(300, 1), (10, 1), (-1, 2)])
def test_a_good_token_is_remembered_as_the_service_does(
        keystone, make, clock, cache_time, asked):
    made = make(fake.CONF + f'token_cache_time = {cache_time}')
    token = keystone.token('admin')
    for _ in range(2):
        assert _ask(made, 'detail', token) == 200
    assert len(keystone.asked) == asked


def test_a_revoked_token_is_forgotten(keystone, make, clock):
    made = make(fake.CONF + 'token_cache_time = 1')
    token = keystone.token('admin')
    assert _ask(made, 'detail', token) == 200
    keystone.revoke(token)
    clock.now += 1
    with pytest.MonkeyPatch.context() as patch:
        # auth_token's own clock.
        later = datetime.datetime.now().timestamp() + 2
        patch.setattr('oslo_utils.timeutils.utcnow_ts', lambda: later)
        assert _ask(made, 'detail', token) == 401


class SlowAuthToken:
    """In place of auth_token: it vouches for good tokens, when it may."""

    def __init__(self):
        self.asked: list[str] = []
        self.answering = threading.Event()
        self.failing = False

    def __call__(self, environ, start_response):
        self.asked.append(environ['HTTP_X_AUTH_TOKEN'])
        assert self.answering.wait(30)
        if self.failing:
            start_response('503 Service Unavailable', [])
            return []
        if 'good' not in environ['HTTP_X_AUTH_TOKEN']:
            start_response('401 Unauthorized', [])
            return []
        token = fixture.V3Token()
        token.add_role('admin')
        environ['keystone.token_info'] = token
        environ['keystone.token_auth'] = mock.Mock(
            user=access.create(body=token))
        return tokens._vouched_for(environ, start_response)


@pytest.fixture
def slow(monkeypatch):
    made = SlowAuthToken()
    monkeypatch.setattr('healthcheck.admin.auth.tokens._AuthToken',
                        lambda app, conf: made)
    return made


def test_who_is_let_through_without_proof_is_nobody(make, monkeypatch):
    """Should auth_token ever learn another way to put off its decision."""
    monkeypatch.setattr('healthcheck.admin.auth.tokens._AuthToken',
                        lambda app, conf: app)
    assert _ask(make(), 'detail', 'token', **{
        'keystone.token_info': {}, 'HTTP_X_IDENTITY_STATUS': 'Confirmed',
    }) == 503


def test_a_flood_is_not_queued(slow, make):
    made = make()
    slow.answering.set()
    assert _ask(made, 'detail', 'good1') == 200
    slow.answering.clear()
    with futures.ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(_ask, made, 'detail', f'bogus{n}')
                 for n in range(2)]
        _wait(lambda: len(slow.asked) == 3)
        for n in range(2, 200):
            assert _ask(made, 'detail', f'bogus{n}') == 503
        page = made.check(wsgi.environ(HTTP_X_AUTH_TOKEN='good2'), 'detail')
        assert (page.status, dict(page.headers)['Retry-After']) == (
            '503 Service Unavailable', '1')
        # Who is known passes by, and who has no token is told so.
        assert _ask(made, 'detail', 'good1') == 200
        assert _ask(made) == 401
        slow.answering.set()
        assert [each.result(30) for each in asked] == [401, 401]
    assert len(slow.asked) == 3
    assert _ask(made, 'detail', 'good2') == 200


def _busy(asked, count):
    """Those of ``asked`` that are answered while Keystone is silent."""
    answered = futures.as_completed(asked, 30)
    busy = {next(answered) for _ in range(count)}
    assert {each.result() for each in busy} == {503}
    return busy


def _rest(asked, busy):
    return [each.result(30) for each in asked if each not in busy]


def test_few_who_come_with_the_same_token_share_the_answer(
        slow, make, monkeypatch):
    monkeypatch.setattr(tokens, '_PATIENCE', 60.0)
    made = make()
    with futures.ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(_ask, made, 'refresh', 'good', 'POST')
                 for _ in range(20)]
        # One asks Keystone and two wait for it. The rest are not held.
        busy = _busy(asked, 17)
        slow.answering.set()
        assert _rest(asked, busy) == [200] * 3
    assert slow.asked == ['good']


def test_those_that_wait_are_counted_over_all_tokens(slow, make,
                                                     monkeypatch):
    monkeypatch.setattr(tokens, '_PATIENCE', 60.0)
    made = make()
    with futures.ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(_ask, made, 'detail', f'bogus{n % 2}')
                 for n in range(12)]
        busy = _busy(asked, 8)
        assert _ask(made) == 401
        slow.answering.set()
        assert _rest(asked, busy) == [401] * 4


def test_a_place_to_wait_is_given_back(slow, make, monkeypatch):
    made = make()
    with futures.ThreadPoolExecutor(4) as pool:
        monkeypatch.setattr(tokens, '_PATIENCE', 0.0)
        asked = [pool.submit(_ask, made, 'detail', 'good')]
        _wait(lambda: slow.asked)
        for _ in range(10):
            assert _ask(made, 'detail', 'good') == 503
        monkeypatch.setattr(tokens, '_PATIENCE', 60.0)
        asked += [pool.submit(_ask, made, 'detail', 'good')
                  for _ in range(3)]
        busy = _busy(asked, 1)
        slow.answering.set()
        assert _rest(asked, busy) == [200] * 3


def test_nobody_waits_for_another_one_for_long(slow, make, monkeypatch):
    monkeypatch.setattr(tokens, '_PATIENCE', 0.01)
    made = make()
    with futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(_ask, made, 'detail', 'good')
        _wait(lambda: slow.asked)
        assert _ask(made, 'detail', 'good') == 503
        slow.answering.set()
        assert first.result(30) == 200


def test_nobody_waits_for_a_keystone_that_was_away(slow, make, clock):
    """Else a flood with one token would hold every thread there is."""
    made = make()
    slow.failing = True
    slow.answering.set()
    assert _ask(made, 'detail', 'good') == 503
    clock.now += 5
    slow.answering.clear()
    with futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(_ask, made, 'detail', 'good')
        _wait(lambda: len(slow.asked) == 2)
        assert _ask(made, 'detail', 'good') == 503
        assert _ask(made, 'detail', 'other') == 503
        slow.failing = False
        slow.answering.set()
        assert first.result(30) == 200
    assert len(slow.asked) == 2
    assert _ask(made, 'detail', 'good') == 200
    assert _ask(made, 'detail', 'other') == 401


def _wait(condition):
    for _ in range(3000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError('not within 30 s')


def test_access_rules_of_an_application_credential(keystone, make):
    token = keystone.token('admin')
    body = keystone._tokens[token]
    body.set_application_credential('id', access_rules=[
        {'service': 'compute', 'method': 'GET',
         'path': '/healthcheck/detail'}])
    body.add_service('compute').add_endpoint('public', 'http://nova')
    made = make(fake.CONF + 'service_type = compute')
    assert _all(made, token) == [200, 401, 401, 401, 401]
    assert _ask(made, 'detail', token, 'POST') == 401


def test_each_process_has_its_own(keystone, make, monkeypatch):
    """A connection to Keystone that was open before a fork is not used."""
    made = make()
    token = keystone.token('admin')
    assert _ask(made, 'detail', token) == 200
    monkeypatch.setattr('os.getpid', lambda: -1)
    assert _ask(made, 'detail', token) == 200
    assert len(keystone.asked) == 2


def test_no_secret_is_logged(keystone, make, log):
    made = make()
    good, bad = keystone.token('admin'), 'gAAAAbogus'
    assert _all(made, good) + _all(made, bad) == [200] * 5 + [401] * 5
    keystone.away = fake.REFUSED
    assert _ask(made, 'detail', keystone.token('admin')) == 503
    assert log
    text = '\n'.join(log)
    assert fake.PASSWORD not in text
    assert keystone._own not in text
    assert good not in text
