# SPDX-License-Identifier: Apache-2.0

"""The same answers, whichever server serves the service."""

from __future__ import annotations

from collections.abc import Iterator
import json
import re

import pytest

from healthcheck.answers import render
from tests.functional import served
from tests.functional import servers
from tests.functional.servers import wsgi

SERVERS = {
    'uwsgi-prefork': lambda: wsgi.UWSGI(served.files(), workers=2),
    'uwsgi-lazy-apps': lambda: wsgi.UWSGI(
        served.files(), ['--lazy-apps'], workers=2),
    'uwsgi-threads': lambda: wsgi.UWSGI(
        served.files(), ['--threads', '4'], workers=2),
    'uwsgi-debian': lambda: wsgi.DebianUWSGI(
        served.files(), ['--enable-threads'], workers=2),
    'gunicorn-sync': lambda: wsgi.Gunicorn(served.files(), workers=2),
    'gunicorn-gthread': lambda: wsgi.Gunicorn(
        served.files(), ['--threads', '4'], workers=2),
    'gunicorn-preload': lambda: wsgi.Gunicorn(
        served.files(), ['--preload'], workers=2),
    'gunicorn-gevent': lambda: wsgi.Gunicorn(
        served.files(), ['--worker-class', 'gevent'], workers=2),
    'apache': lambda: wsgi.Apache(served.files(), workers=2),
    'waitress': lambda: wsgi.Script('serve_waitress.py', served.files()),
    'cheroot': lambda: wsgi.Script('serve_cheroot.py', served.files()),
    # One process probes for both.
    'uwsgi-host': lambda: wsgi.UWSGI(
        served.files(sharing='host'), workers=2),
    'gunicorn-gthread-host': lambda: wsgi.Gunicorn(
        served.files(sharing='host'), ['--threads', '4'], workers=2),
    'apache-host': lambda: wsgi.Apache(
        served.files(sharing='host'), workers=2),
}


class Contract:
    """What is asked of a service that is ``running``."""

    def test_first_answer(self, running: served.Served) -> None:
        """It is the truth, not that nothing is known yet."""
        assert (running.first.status, running.first.text) == (
            200, served.WELL)

    @pytest.mark.parametrize('method', ['GET', 'HEAD', 'OPTIONS'])
    @pytest.mark.parametrize(('path', 'text'), [
        ('', served.WELL), ('/', served.WELL), ('/live', 'OK'),
        ('/ready', served.WELL), ('/ready?exclude=database', 'OK'),
        ('/ready?exclude=nothing', f'{served.WELL}\nNO CHECK NAMED nothing'),
        ('/database', 'OK'), ('/nothing', 'Not Found')])
    def test_pages(self, path: str, text: str, method: str,
                   running: served.Served) -> None:
        answer = running.server.ask(f'/healthcheck{path}', method)
        status, body = 404 if path == '/nothing' else 200, text
        if method == 'OPTIONS' and path in ('/live', '/database'):
            status, body = 405, 'Method Not Allowed'
            assert answer.headers['allow'] == 'GET, HEAD'
        if method == 'HEAD':
            status, body = 204 if status == 200 else status, ''
        assert (answer.status, answer.text) == (status, body)
        assert answer.headers['cache-control'] == 'no-store'
        if method != 'HEAD':
            assert answer.headers['content-length'] == str(len(answer.body))

    @pytest.mark.parametrize('method', ['POST', 'PUT', 'DELETE', 'PATCH'])
    def test_other_methods(self, method: str,
                           running: served.Served) -> None:
        answer = running.server.ask(method=method)
        assert (answer.status, answer.text) == (405, 'Method Not Allowed')
        assert answer.headers['allow'] == 'GET, HEAD, OPTIONS'
        answer = running.server.ask('/healthcheck/live', method)
        assert (answer.status, answer.headers['allow']) == (405, 'GET, HEAD')

    @pytest.mark.parametrize('accept', render.FORMATS)
    def test_formats(self, accept: str, running: served.Served) -> None:
        answer = running.server.ask(Accept=accept)
        assert answer.status == 200
        assert answer.headers['content-type'].partition(';')[0] == accept
        assert answer.headers['content-length'] == str(len(answer.body))
        if accept == render.TEXT:
            assert answer.text == served.WELL
        elif accept == render.HTML:
            assert answer.text.count('OK') == 2
        elif accept == render.JSON:
            assert json.loads(answer.body) == {
                'detailed': False, 'reasons': ['OK', 'OK']}
        else:
            told = json.loads(answer.body)
            assert told['status'] == 'pass'
            assert list(told['checks']) == ['database', 'disable_by_file']

    @pytest.mark.parametrize(('method', 'status', 'text'), [
        ('GET', 200, served.WELL), ('OPTIONS', 200, served.WELL),
        ('HEAD', 204, '')])
    def test_http_1_0_without_host(self, method: str, status: int, text: str,
                                   running: served.Served) -> None:
        answer = running.server.ask(method=method, version='1.0')
        assert (answer.status, answer.text) == (status, text)

    @pytest.mark.parametrize('path', ['/healthchecks', '/v1/healthcheck',
                                      '/health', '/healthcheck.json'])
    def test_paths_of_others(self, path: str,
                             running: served.Served) -> None:
        answer = running.server.ask(path)
        assert 'no-store' not in answer.headers.get('cache-control', '')
        assert served.WELL not in answer.text

    def test_backend_down_and_up(self, running: served.Served) -> None:
        workers = running.everyone(200, served.WELL)
        with running.broken():
            assert running.everyone(503, served.DOWN) == workers
            head = running.server.ask(method='HEAD')
            assert (head.status, head.body) == (503, b'')
            one = running.server.ask('/healthcheck/database')
            assert one.status == 503
            assert running.server.ask('/healthcheck/live').status == 200
            assert running.server.ask(
                '/healthcheck/ready?exclude=database').status == 200
        assert running.everyone(200, served.WELL) == workers

    def test_drain_acts_at_once(self, running: served.Served) -> None:
        running.everyone(200, served.WELL)
        with running.drained():
            assert {(a.status, a.text) for a in running.round()} == {
                (503, served.DRAINED)}
        assert {(a.status, a.text) for a in running.round()} == {
            (200, served.WELL)}

    def test_signals_are_left_to_the_server(
            self, running: served.Served) -> None:
        """A handler of uWSGI ends the process, in the thread that it got."""
        running.everyone(200, served.WELL)
        found: dict[str, bool] = {}

        def one_probes() -> bool:
            found.update(json.loads(running.server.ask('/bench/signals').body))
            return 'healthcheck-scheduler' in found and any(
                re.fullmatch(r'healthcheck-\d+', name) for name in found)
        if 'gevent' not in running.server.arguments:
            servers.wait_until(one_probes, 'one that probes was asked')
        assert not any(found.values()), found

    def test_fork_in_a_worker(self, running: served.Served) -> None:
        """A child of a worker tells the truth, and so does the worker."""
        if 'gevent' in running.server.arguments:
            pytest.skip('there a child goes on with all greenlets of the '
                        'worker, those that accept requests among them')
        running.everyone(200, served.WELL)
        for _ in range(5):
            asked = [running.later() for _ in range(4)]
            child = running.server.ask('/bench/fork')
            assert child.text == repr(('200 OK', served.WELL))
            assert {one.result().text for one in asked} == {served.WELL}
        running.everyone(200, served.WELL)


@pytest.fixture(scope='module', params=SERVERS)
def running(request: pytest.FixtureRequest) -> Iterator[served.Served]:
    with served.running(SERVERS[request.param]) as service:
        yield service


class TestServers(Contract):

    def test_application_gets_what_was_sent(
            self, running: served.Served) -> None:
        answer = running.server.ask(
            '/v1/healthcheck/x%20y?limit=1&x=%20', 'POST', b'a body',
            X_Anything='some thing')
        assert json.loads(answer.body) == {
            'REQUEST_METHOD': 'POST', 'SCRIPT_NAME': '',
            'PATH_INFO': '/v1/healthcheck/x y',
            'QUERY_STRING': 'limit=1&x=%20', 'HTTP_X_ANYTHING': 'some thing',
            'body': 'a body'}
        assert answer.headers['content-length'] == str(len(answer.body))
