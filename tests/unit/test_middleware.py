# SPDX-License-Identifier: Apache-2.0

"""The HTTP contract, for anonymous callers."""

import logging
import threading
from wsgiref import validate

from oslo_config import cfg
import paste.urlmap
import pytest

import healthcheck
from healthcheck.answers import switches
from healthcheck.reports import report
from tests.unit import stubs
from tests.unit import wsgi

FAILED = report.Result.failed('CONNECTION REFUSED', 'db.example refused')
QUICK = {'interval': '0.1', 'retry_interval': '0.05', 'timeout': '1',
         'jitter': '0'}


@pytest.fixture(autouse=True)
def scripted(plugin):
    plugin(scripted='tests.unit.stubs:Scripted',
           hanging='tests.unit.stubs:Hanging',
           foreign='tests.unit.stubs:Foreign')
    stubs.Scripted.results = []
    stubs.Scripted.runs = 0
    stubs.Hanging.release.clear()
    stubs.Foreign.ports.clear()
    yield
    stubs.Hanging.release.set()


@pytest.fixture
def passing(door):
    return door(wsgi.below, {'backends': 'scripted'})


@pytest.fixture
def failing(door):
    stubs.Scripted.results = [FAILED]
    made = door(wsgi.below, {'backends': 'scripted', 'fall': '1', **QUICK})
    wsgi.ask(made)
    return made


@pytest.fixture(params=['', '/', '/ready'])
def readiness(request):
    return '/healthcheck' + request.param


def test_ready_when_all_is_well(passing, readiness):
    answer = wsgi.ask(passing, readiness)
    assert (answer.status, answer.body) == (200, b'OK')
    assert answer.headers == {'Content-Type': 'text/plain; charset=UTF-8',
                              'Content-Length': '2',
                              'Cache-Control': 'no-store'}
    head = wsgi.ask(passing, readiness, 'HEAD')
    assert (head.status, head.body) == (204, b'')
    assert head.headers == {'Content-Length': '0',
                            'Cache-Control': 'no-store'}
    assert wsgi.ask(passing, readiness, 'OPTIONS').status == 200


def test_not_ready_when_a_check_fails(failing, readiness):
    answer = wsgi.ask(failing, readiness)
    assert (answer.status, answer.text) == (
        503, 'SCRIPTED: CONNECTION REFUSED')
    assert answer.headers['Cache-Control'] == 'no-store'
    head = wsgi.ask(failing, readiness, 'HEAD')
    assert (head.status, head.body) == (503, b'')
    assert wsgi.ask(failing, readiness, 'OPTIONS').status == 503


def test_live_looks_at_nothing(failing):
    assert wsgi.ask(failing, '/healthcheck/live').body == b'OK'
    assert wsgi.ask(failing, '/healthcheck/live', 'HEAD').status == 204


def test_live_starts_no_probe(passing):
    assert wsgi.ask(passing, '/healthcheck/live').status == 200
    assert stubs.Scripted.runs == 0


def test_one_check_by_its_name(failing):
    assert wsgi.ask(failing, '/healthcheck/scripted').status == 503
    answer = wsgi.ask(failing, '/healthcheck/unheard-of')
    assert (answer.status, answer.body) == (404, b'Not Found')
    assert answer.headers['Cache-Control'] == 'no-store'


@pytest.mark.parametrize('name', ['detail', 'refresh', 'metrics', 'drain'])
@pytest.mark.parametrize('method', ['GET', 'POST'])
def test_the_admins_pages_are_not_there(passing, name, method):
    assert wsgi.ask(passing, f'/healthcheck/{name}', method).status == 404


@pytest.mark.parametrize('method', ['POST', 'PUT', 'DELETE', 'TRACE', ''])
def test_other_methods_are_not_allowed(passing, method):
    answer = wsgi.ask(passing, '/healthcheck', method)
    assert answer.status == 405
    assert answer.headers['Allow'] == 'GET, HEAD, OPTIONS'
    answer = wsgi.ask(passing, '/healthcheck/scripted', method)
    assert answer.status == 405
    assert answer.headers['Allow'] == 'GET, HEAD'


def test_options_is_for_readiness_alone(passing):
    assert wsgi.ask(passing, '/healthcheck/live', 'OPTIONS').status == 405
    assert wsgi.ask(passing, '/healthcheck/scripted',
                    'OPTIONS').status == 405


def test_excluded_checks_do_not_count(failing):
    answer = wsgi.ask(failing, '/healthcheck/ready?exclude=scripted')
    assert (answer.status, answer.body) == (200, b'')
    assert wsgi.ask(failing, '/healthcheck?exclude=scripted').status == 503


def test_an_unknown_exclusion_is_reported_and_no_error(passing):
    answer = wsgi.ask(
        passing, '/healthcheck/ready?exclude=databse&exclude=%3Cb%3E')
    assert answer.status == 200
    assert answer.text.splitlines() == [
        'OK', 'NO CHECK NAMED databse', 'NO CHECK OF THAT NAME']
    many = '&'.join(f'exclude=x{n}' for n in range(100))
    assert len(wsgi.ask(passing, f'/healthcheck/ready?{many}').text) < 200


def test_everything_else_goes_below(passing):
    for path in ('', '/', '/v2.1/servers', '/healthcheckup', '/HEALTHCHECK'):
        assert wsgi.ask(passing, path).body == b'below'


def test_the_path_can_be_set(door):
    made = door(wsgi.below, {'path': '/status/', 'backends': 'scripted'})
    assert wsgi.ask(made, '/status').body == b'OK'
    assert wsgi.ask(made, '/status/live').body == b'OK'
    assert wsgi.ask(made, '/healthcheck').body == b'below'


def test_the_path_may_be_spelt_with_the_mount_point(door):
    made = door(wsgi.below, {'path': '/v2.1/healthcheck',
                             'backends': 'scripted'})
    mounted = {'SCRIPT_NAME': '/v2.1'}
    assert wsgi.ask(made, '/healthcheck', **mounted).body == b'OK'
    assert wsgi.ask(made, '/healthcheck/nope', **mounted).status == 404
    assert wsgi.ask(made, '/servers', **mounted).body == b'below'


def test_a_mounted_filter_answers_its_path(passing):
    mounted = {'SCRIPT_NAME': '/compute'}
    assert wsgi.ask(passing, '/healthcheck', **mounted).body == b'OK'
    assert wsgi.ask(passing, '/healthcheck/nope', **mounted).status == 404


def test_an_app_answers_relative_to_its_mount_point(door):
    made = door(None, {'backends': 'scripted'})
    mounted = {'SCRIPT_NAME': '/healthcheck'}
    for path in ('', '/', '/ready', '/live', '/scripted'):
        assert wsgi.ask(made, path, **mounted).body == b'OK'
    assert wsgi.ask(made, '/healthcheck', **mounted).status == 404
    assert wsgi.ask(made, '/nope', **mounted).status == 404


class Empty:
    """An application that is falsy, as a urlmap without mounts is."""

    def __len__(self):
        return 0

    def __call__(self, environ, start_response):
        return wsgi.below(environ, start_response)


def test_a_filter_around_what_is_empty_is_a_filter(door):
    made = door(Empty(), {'backends': 'scripted', 'path': '/alive'})
    assert wsgi.ask(made, '/servers').body == b'below'
    assert wsgi.ask(made, '/alive').body == b'OK'


def test_mounts_may_come_later(door):
    below = paste.urlmap.URLMap()
    made = door(below, {'backends': 'scripted'})
    below['/v2'] = wsgi.below
    assert wsgi.ask(made, '/v2').body == b'below'


def test_an_app_answers_404_to_whom_it_declines(door):
    made = door(None, {'allowed_source_ranges': '10.0.0.0/8'})
    assert wsgi.ask(made, '').status == 404
    assert wsgi.ask(made, '', REMOTE_ADDR='10.1.1.1').status == 200


@pytest.mark.parametrize('address, allowed', [
    ('192.0.2.7', True), ('192.0.3.7', False), ('2001:db8::1', True),
    ('2001:db9::1', False), ('::ffff:192.0.2.7', True), ('', False),
    ('unix:', False), (None, False)])
def test_source_ranges(door, address, allowed):
    made = door(wsgi.below, {
        'backends': 'scripted',
        'allowed_source_ranges': '192.0.2.0/24, 2001:db8::/32'})
    answer = wsgi.ask(made, REMOTE_ADDR=address)
    assert answer.body == (b'OK' if allowed else b'below')


@pytest.mark.parametrize('header', [
    'HTTP_X_FORWARDED', 'HTTP_X_FORWARDED_FOR', 'HTTP_X_FORWARDED_PROTO',
    'HTTP_X_FORWARDED_HOST', 'HTTP_X_FORWARDED_PREFIX', 'HTTP_FORWARDED'])
def test_proxied_requests_can_be_ignored(door, header):
    made = door(wsgi.below, {'backends': 'scripted',
                             'ignore_proxied_requests': 'true'})
    assert wsgi.ask(made).body == b'OK'
    for path in ('/healthcheck', '/healthcheck/live', '/healthcheck/nope'):
        assert wsgi.ask(made, path, **{header: 'x'}).body == b'below'


def test_starting_until_the_first_report(door):
    made = door(wsgi.below, {'backends': 'hanging,scripted',
                             'startup_wait': '0', 'timeout': '60',
                             'interval': '60', 'ttl': '600'})
    for path in ('/healthcheck', '/healthcheck/ready?exclude=hanging',
                 '/healthcheck/hanging'):
        answer = wsgi.ask(made, path)
        assert (answer.status, answer.text) == (503, 'STARTING')
    answer = wsgi.ask(made, accept='application/health+json')
    assert answer.json['status'] == 'fail'
    assert answer.json['notes'] == ['STARTING']
    assert wsgi.ask(made, '/healthcheck/live').status == 200


def test_the_first_request_waits_for_the_first_report(passing):
    assert wsgi.ask(passing).status == 200


def test_who_comes_beside_the_first_waits_as_well(door):
    made = door(wsgi.below, {'backends': 'hanging', 'startup_wait': '30'})
    told = []
    callers = [threading.Thread(
        target=lambda: told.append(wsgi.ask(made).text)) for _ in range(4)]
    for caller in callers:
        caller.start()
    while not made._engine.peek():
        pass
    assert told == []
    stubs.Hanging.release.set()
    for caller in callers:
        caller.join(30)
    assert told == ['OK'] * 4


def test_nobody_waits_twice(door):
    made = door(wsgi.below, {'backends': 'hanging', 'startup_wait': '0.05'})
    assert wsgi.ask(made).text == 'STARTING'
    running = made._engine.peek()
    running._board.reported.wait = None  # would be called if it waited
    assert wsgi.ask(made).text == 'STARTING'
    stubs.Hanging.release.set()


def test_a_node_that_was_never_well_is_never_green(door):
    stubs.Scripted.results = [FAILED]
    made = door(wsgi.below, {'backends': 'scripted', 'interval': '60',
                             'ttl': '600', 'retry_interval': '60'})
    answer = wsgi.ask(made)
    assert (answer.status, answer.text) == (503, 'STARTING')


def test_that_no_thread_can_be_started_is_said_once(
        passing, monkeypatch, caplog):
    def refuse(self):
        raise RuntimeError("can't start new thread")
    with monkeypatch.context() as without_threads:
        without_threads.setattr(threading.Thread, 'start', refuse)
        for _ in range(3):
            answer = wsgi.ask(passing)
            assert (answer.status, answer.body) == (503, b'STARTING')
    assert wsgi.ask(passing).body == b'OK'
    assert [r.getMessage() for r in caplog.records
            if r.levelno >= logging.WARNING] == [
        'Healthcheck cannot start probing and answers 503 until it can: '
        "can't start new thread"]


def test_a_noncritical_failure_keeps_the_node(door):
    stubs.Scripted.results = [FAILED]
    made = door(wsgi.below, {'backends': 'scripted,foreign', 'fall': '1',
                             'noncritical': 'scripted'})
    answer = wsgi.ask(made)
    assert (answer.status, answer.text) == (
        200, 'OK (SCRIPTED: CONNECTION REFUSED)\nOK')
    assert wsgi.ask(made, '/healthcheck/scripted').status == 503
    body = wsgi.ask(made, accept='application/health+json').json
    assert body['status'] == 'warn'
    assert body['checks']['scripted'][0]['status'] == 'fail'


def test_no_backends_is_liveness_and_says_so_once(door, caplog):
    caplog.set_level(logging.INFO)
    made = door(wsgi.below, {})
    for _ in range(3):
        answer = wsgi.ask(made)
        assert (answer.status, answer.body) == (200, b'')
    assert len([r for r in caplog.records
                if 'no backends' in r.getMessage()]) == 1


def test_repeated_backends_are_repeated_lines_and_one_check(door):
    made = door(wsgi.below, {'backends': 'scripted,scripted',
                             'interval': '60', 'ttl': '600'})
    assert wsgi.ask(made).text == 'OK\nOK'
    assert stubs.Scripted.runs == 1


def test_what_is_probed_is_told_from_the_report_alone(door, tmp_path,
                                                      monkeypatch):
    """No file is looked at, and nothing else that is read per request."""
    def looked(*args):
        raise AssertionError('something else than the report is looked at')
    (tmp_path / 'drain').touch()
    reads = []
    made = door(wsgi.below, {
        'backends': 'disable_by_file,scripted', 'fall': '1', **QUICK,
        'disable_by_file_path': str(tmp_path / 'drain')},
        switches={'mine': lambda environ: reads.append(environ) or 'OUT'})
    assert wsgi.ask(made).text == 'DISABLED BY FILE\nOK\nMINE: OUT'
    assert len(reads) == 1
    monkeypatch.setattr(switches.os, 'access', looked)
    assert made.probed({}) is report.Status.PASS
    stubs.Scripted.results = [FAILED]
    made._engine.get().refresh()
    assert made.probed({}) is report.Status.FAIL
    assert len(reads) == 1


@pytest.mark.parametrize('method', ['GET', 'HEAD', 'OPTIONS'])
def test_an_answer_is_valid_wsgi(passing, method):
    environ = wsgi.environ(method=method)
    result = validate.validator(passing)(environ, lambda *args: None)
    assert b''.join(result) == (b'' if method == 'HEAD' else b'OK')
    result.close()


def test_nobody_can_change_what_the_next_one_gets(passing):
    def spoil(status, headers, exc_info=None):
        headers.append(('X-Spoilt', '1'))
    passing(wsgi.environ(), spoil)
    assert 'X-Spoilt' not in wsgi.ask(passing).headers


def test_paste_factories(door, plugin):
    made = healthcheck.Healthcheck.factory(
        {'here': '/somewhere', 'detailed': 'false'}, backends='scripted')(
            wsgi.below)
    assert wsgi.ask(made).body == b'OK'
    made.stop(5)
    made = healthcheck.Healthcheck.app_factory({'here': '/'},
                                               backends='scripted')
    assert wsgi.ask(made, '').body == b'OK'
    made.stop(5)


def test_a_section_keeps_its_options(door):
    one = door(wsgi.below, {'backends': 'scripted', 'path': '/one'})
    two = door(wsgi.below, {})
    assert wsgi.ask(one, '/one').body == b'OK'
    assert wsgi.ask(two, '/healthcheck').body == b''
    assert cfg.CONF.healthcheck.backends == []


def test_the_services_own_configuration(door, conf):
    made = door(wsgi.below, conf('''
        [healthcheck]
        backends = scripted
        path = /alive
        '''))
    assert wsgi.ask(made, '/alive').body == b'OK'


def test_a_foreign_plugin_runs_in_the_background(door):
    made = door(wsgi.below, {'backends': 'foreign', 'interval': '60',
                             'ttl': '600', 'foreign_greeting': 'good day'})
    for _ in range(5):
        assert wsgi.ask(made, SERVER_PORT='8774').body == b'OK'
    assert stubs.Foreign.ports == [8774]
    assert stubs.Foreign.seen[-1] == 'good day'


def test_a_plugin_that_cannot_be_made_again_fails(door, plugin):
    plugin(fickle='tests.unit.stubs:Fickle')
    stubs.Fickle.made = 0
    made = door(wsgi.below, {'backends': 'fickle', 'fall': '1'})
    answer = wsgi.ask(made)
    assert (answer.status, answer.text) == (503, 'PROBE ERROR')


def test_detailed_gives_json_its_shape_and_tells_nothing_more(door):
    made = door(wsgi.below, {'backends': 'scripted', 'detailed': True})
    body = wsgi.ask(made, accept='application/json').json
    assert body == {'detailed': True, 'reasons': [
        {'class': 'HealthcheckResult', 'reason': 'OK',
         'details': 'scripted: pass'}]}
    assert b'Python' not in wsgi.ask(made, accept='text/html').body
