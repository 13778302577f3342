# SPDX-License-Identifier: Apache-2.0

"""Who may see the admin's pages, by the word of a real Keystone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
import contextlib
import datetime
import http.server
import itertools
import json
import os
import pathlib
import threading
import time
from typing import Any

import pytest

from healthcheck.admin.auth import gate
from healthcheck.admin.auth import tokens
from healthcheck.config import views
from tests.functional import served
from tests.functional import servers
from tests.functional.servers import keystone as keystone_server
from tests.functional.servers import wsgi
from tests.functional import service
from tests.functional import stalls

RULES = ('detail', 'refresh', 'metrics', 'drain')

NOBODY = {'detail': 401, 'refresh': 401, 'metrics': 401, 'drain': 401}
NO_RIGHT = {'detail': 403, 'refresh': 403, 'metrics': 403, 'drain': 403}
ADMIN = {'detail': 200, 'refresh': 200, 'metrics': 200, 'drain': 200}
READER = {'detail': 200, 'refresh': 403, 'metrics': 200, 'drain': 403}

# A request of ours may make two to Keystone before it gives up.
BOUND = 2 * 3 + service.ALLOWANCE


@pytest.fixture(scope='module')
def users(keystone_server: servers.Keystone) -> None:
    """Users who have one role each, and what it is."""
    add = keystone_server.add_user
    keystone_server.add_project('demo')
    add('project-reader', 'reader', project='demo')
    add('project-member', 'member', project='demo')
    add('project-admin', 'admin', project='demo')
    add('domain-admin', 'admin', domain='default')
    add('system-reader', 'reader', system=True)
    add('system-admin', 'admin', system=True)


class Gated:
    """A gate, configured as a service is."""

    def __init__(self, path: pathlib.Path, keystone: servers.Keystone,
                 **options: Any) -> None:
        self.policy_file = path / 'policy.yaml'
        self._gate = gate.Gate(views.View(service.configured(
            path / 'service.conf',
            {'keystone_authtoken': {**keystone.authtoken(), **options}}, ()),
            {}))

    def ask(self, rule: str, token: str = '', **environ: str) -> int:
        page = self.page(rule, token, **environ)
        return 200 if page is None else int(page.status.split()[0])

    def page(self, rule: Any, token: str = '', **environ: str) -> Any:
        return self._gate.check({
            'REQUEST_METHOD': (
                'POST' if rule in ('refresh', 'drain') else 'GET'),
            'SCRIPT_NAME': '', 'PATH_INFO': f'/healthcheck/{rule}',
            'QUERY_STRING': '', 'SERVER_NAME': 'localhost',
            'SERVER_PORT': '8774', 'SERVER_PROTOCOL': 'HTTP/1.1',
            'REMOTE_ADDR': '127.0.0.1', 'wsgi.url_scheme': 'http',
            'HTTP_X_AUTH_TOKEN': token, **environ}, rule)

    def answers(self, token: str = '', **environ: str) -> dict[str, int]:
        return {rule: self.ask(rule, token, **environ) for rule in RULES}

    def write_policy(self, text: str) -> None:
        self.policy_file.write_text(text)
        # Read again when it is newer, and the clock of a file is coarse.
        later = time.time() + next(_later)
        os.utime(self.policy_file, (later, later))


_later = itertools.count(10, 10)


@pytest.fixture
def gated(tmp_path: pathlib.Path, keystone: servers.Keystone, users: None,
          ) -> Gated:
    return Gated(tmp_path, keystone)


@pytest.fixture
def log() -> Iterator[service.Log]:
    """See that nobody logs a password or a token, whatever happens."""
    with service.Log.of_everybody() as log:
        yield log
    text = '\n'.join(line for _, line in log.lines)
    for spelling in service.spellings(keystone_server.PASSWORD):
        if len(spelling) > 4:
            assert spelling not in text
    assert 'gAAAA' not in text


@pytest.mark.parametrize('user, scope, expected', [
    ('admin', {'project': 'admin'}, ADMIN),
    ('project-admin', {'project': 'demo'}, ADMIN),
    ('system-admin', {'system': True}, ADMIN),
    ('system-reader', {'system': True}, READER),
    ('project-reader', {'project': 'demo'}, NO_RIGHT),
    ('project-member', {'project': 'demo'}, NO_RIGHT),
    ('domain-admin', {'domain': 'default'}, NO_RIGHT),
    ('system-admin', {}, NO_RIGHT),
], ids=lambda value: value if isinstance(value, str) else None)
def test_valid_tokens(keystone, gated, log, user, scope, expected):
    token = keystone.token(user, **scope)
    assert gated.answers(token) == expected
    assert gated.answers(token) == expected


@pytest.mark.parametrize('token', [
    '', 'garbage', 'gAAAAABm' + 'x' * 150 + '==', 'a b', '\xff\xfe', "'--",
    '../../', '{}', '%s%n'])
def test_garbage(gated, log, token):
    page = gated.page('detail', token)
    assert page.status == '401 Unauthorized'
    assert dict(page.headers)['WWW-Authenticate'] == (
        'Keystone uri="https://keystone.example.org/v3"')
    assert gated.answers(token) == NOBODY


def test_revoked(keystone, gated, log):
    token = keystone.token('admin', project='admin')
    keystone.revoke(token)
    assert gated.answers(token) == NOBODY


def test_revoked_after_it_was_seen(keystone, users, log, tmp_path):
    gated = Gated(tmp_path, keystone, token_cache_time=-1)
    token = keystone.token('admin', project='admin')
    assert gated.answers(token) == ADMIN
    keystone.revoke(token)
    assert gated.answers(token) == NOBODY


def test_expired(keystone, gated, log):
    """The one it has seen, and remembers, and the one it has not."""
    answers = {}
    # The longer ones are for a machine that was too slow for the first.
    for seconds in (4, 10, 30):
        moment = (datetime.datetime.now(datetime.timezone.utc)
                  + datetime.timedelta(seconds=seconds))
        with contextlib.suppress(servers.ServerError):
            seen, unseen = (
                keystone.brief_token('admin', 'admin', one.isoformat())
                for one in (moment.replace(tzinfo=None, microsecond=n)
                            for n in (1, 2)))
            answers = gated.answers(seen)
            if datetime.datetime.now(datetime.timezone.utc) < moment:
                break
    assert answers == ADMIN
    servers.wait_until(lambda: not keystone.is_valid(unseen), 'expired')
    assert gated.answers(seen) == NOBODY
    assert gated.answers(unseen) == NOBODY


def test_policy_file(keystone, gated, log):
    token = keystone.token('project-member', project='demo')
    admin = keystone.token('admin', project='admin')
    gated.write_policy('"healthcheck:refresh": "role:member"\n')
    assert gated.answers(token) == {**NO_RIGHT, 'refresh': 200}
    gated.write_policy('"healthcheck:detail": "role:reader"\n'
                       '"healthcheck:metrics": "!"\n')
    assert gated.answers(token) == {**NO_RIGHT, 'detail': 200}
    assert gated.answers(admin) == {**ADMIN, 'metrics': 403}


FORGED = {
    'HTTP_X_ROLES': 'admin', 'HTTP_X_IDENTITY_STATUS': 'Confirmed',
    'HTTP_OPENSTACK_SYSTEM_SCOPE': 'all', 'REMOTE_USER': 'admin',
    'HTTP_X_SERVICE_ROLES': 'admin,service',
    'HTTP_X_SERVICE_IDENTITY_STATUS': 'Confirmed',
    'HTTP_X_FORWARDED_FOR': '127.0.0.1', 'HTTP_X_USER_ID': 'admin'}


def test_forged_headers_gain_nothing(keystone, gated, log):
    """One at a time, and all; the unit tests try the combinations."""
    reader = keystone.token('project-reader', project='demo')
    for forgery in (*({name: value} for name, value in FORGED.items()),
                    FORGED):
        assert gated.answers(**forgery) == NOBODY
        assert gated.answers('garbage', **forgery) == NOBODY
        assert gated.answers(reader, **forgery) == NO_RIGHT


def test_service_token(keystone, gated, log):
    """It must be one, and gives nothing to who came with it."""
    nova = keystone.token('nova', project='service')
    reader = keystone.token('project-reader', project='demo')
    admin = keystone.token('admin', project='admin')
    assert gated.answers(admin, HTTP_X_SERVICE_TOKEN=nova) == ADMIN
    assert gated.answers(admin, HTTP_X_SERVICE_TOKEN=admin) == NOBODY
    assert gated.answers(admin, HTTP_X_SERVICE_TOKEN='garbage') == NOBODY
    assert gated.answers(reader, HTTP_X_SERVICE_TOKEN=nova) == NO_RIGHT
    assert gated.answers(HTTP_X_SERVICE_TOKEN=nova) == NOBODY


def test_source_range(keystone, users, log, tmp_path):
    conf = service.configured(
        tmp_path / 'service.conf',
        {'keystone_authtoken': keystone.authtoken()}, (),
        metrics_source_ranges='127.0.0.0/8')
    made = gate.Gate(views.View(conf, {}))
    gated = Gated(tmp_path, keystone)
    gated._gate = made
    assert gated.answers() == {**NOBODY, 'metrics': 200}
    assert gated.answers(HTTP_X_FORWARDED_FOR='127.0.0.1') == NOBODY
    assert gated.answers(REMOTE_ADDR='192.0.2.1') == NOBODY


def _timed(gated: Gated, token: str) -> tuple[int, float]:
    """The status, and how long it took while this process did not stall."""
    began = time.monotonic()
    status = gated.ask('detail', token)
    seconds = time.monotonic() - began
    if seconds > 1:
        seconds -= stalls.of_this_process().seconds(began)
    return status, seconds


class _Elsewhere(http.server.BaseHTTPRequestHandler):
    """A proxy that does not know where Keystone is."""

    def do_GET(self) -> None:
        self.send_error(404)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *args: Any) -> None:
        pass


@pytest.mark.parametrize('seen_before', [False, True])
def test_something_else_answers_for_keystone(keystone, gated, log,
                                             seen_before):
    known, other = (keystone.token('admin', project='admin')
                    for _ in range(2))
    if seen_before:
        assert gated.ask('detail', known) == 200
    keystone.stop()
    with http.server.ThreadingHTTPServer(
            (keystone.host, keystone.port), _Elsewhere) as elsewhere:
        threading.Thread(target=elsewhere.serve_forever).start()
        try:
            page = gated.page('detail', other, **FORGED)
        finally:
            elsewhere.shutdown()
    assert page.status == '503 Service Unavailable'
    assert b'cannot be reached' in page.body[0]
    if seen_before:
        assert gated.ask('detail', known) == 200
    assert gated.ask('detail') == 401


@pytest.mark.parametrize('fault, seen_before', [
    ('freeze', False), ('freeze', True), ('stop', False)])
def test_keystone_away(keystone, gated, log, monkeypatch, fault,
                       seen_before):
    monkeypatch.setattr(tokens, '_AWAY_FOR', 1.0)
    known, other, third = (keystone.token('admin', project='admin')
                           for _ in range(3))
    if seen_before:
        assert gated.ask('detail', known) == 200
    getattr(keystone, fault)()
    status, seconds = _timed(gated, other)
    assert status == 503
    assert seconds < BOUND
    if seen_before:
        assert gated.ask('detail', known) == 200
    assert gated.ask('detail') == 401
    page = gated.page('detail', third)
    assert page.status == '503 Service Unavailable'
    assert b'identity service' in page.body[0]
    assert str(keystone.port).encode() not in page.body[0]
    keystone.heal()
    servers.wait_until(lambda: gated.ask('detail', third) == 200, 'healed')


def test_a_flood_while_keystone_is_frozen(keystone, gated, log):
    """It holds few threads, and who asks for readiness is not held."""
    known = keystone.token('admin', project='admin')
    assert gated.ask('detail', known) == 200
    keystone.freeze()
    numbers = itertools.count()
    slow: list[float] = []
    stop = threading.Event()

    def flood() -> None:
        while not stop.is_set():
            status, seconds = _timed(gated, f'bogus{next(numbers)}')
            assert status == 503
            if seconds > 1:
                slow.append(seconds)
            stop.wait(0.005)

    flooding = [threading.Thread(target=flood) for _ in range(8)]
    with service.Service() as polled:
        for thread in flooding:
            thread.start()
        servers.wait_until(lambda: len(slow) == 2, 'two have given up')
        polled.stays('', 1.0)
        assert gated.ask('detail', known) == 200
        stop.set()
        for thread in flooding:
            thread.join()
        polled.answers_at_once()
    # All others were answered at once, and many they were.
    assert len(slow) == 2
    assert max(slow) < BOUND
    assert next(numbers) > 100


def test_many_with_one_token_while_keystone_is_frozen(
        keystone, gated, log, monkeypatch):
    """Most are answered while it is checked: they hold no thread."""
    monkeypatch.setattr(tokens, '_PATIENCE', 60.0)
    keystone.freeze()
    with futures.ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(gated.page, 'detail', 'bogus')
                 for _ in range(8)]
        pages = [each.result() for each in futures.as_completed(asked)]
    # The first five come while one asks and two wait, who are told later
    # that Keystone is away.
    assert [dict(page.headers)['Retry-After'] for page in pages] == [
        '1'] * 5 + ['5'] * 3


@pytest.fixture(scope='module')
def workers(keystone_server: servers.Keystone,
            users: None) -> Iterator[served.Served]:
    """A service of several workers, one of which probes."""
    files = served.files(sharing='host')
    files['service.conf'] += '\n'.join([
        '[keystone_authtoken]',
        *(f'{key} = {str(value).replace("$", "$$")}'
          for key, value in keystone_server.authtoken().items()), ''])
    with served.running(lambda: wsgi.UWSGI(files, workers=4)) as service:
        yield service


@contextlib.contextmanager
def frozen(keystone: servers.Keystone) -> Iterator[None]:
    keystone.freeze()
    try:
        yield
    finally:
        keystone.thaw()


def each(workers: served.Served, *args: str, **headers: str) -> dict[int, Any]:
    """What each worker answers."""
    answers: dict[int, Any] = {}

    def all_have() -> bool:
        answer = workers.server.ask(*args, **headers)
        if answer.status != 503:  # Keystone, or the machine, is busy
            answers.setdefault(answer.pid, answer)
        return len(answers) == workers.workers
    servers.wait_until(all_have, f'{workers.workers} workers', 30,
                       interval=0.0)
    return answers


def test_every_worker_knows_who_probes(workers, keystone):
    token = keystone.token('admin', project='admin')
    told = {pid: json.loads(answer.body) for pid, answer in each(
        workers, '/healthcheck/detail', X_Auth_Token=token).items()}
    probers = {document['prober']['pid'] for document in told.values()}
    assert len(probers) == 1 and probers < told.keys()
    assert {document['answered_by']['pid'] for document in told.values()
            } == told.keys()
    assert {check['name'] for document in told.values()
            for check in document['checks']} == {'database'}


def test_every_worker_reaches_the_prober(workers, keystone):
    """Whichever is asked to refresh, the one that probes does so."""
    token = keystone.token('admin', project='admin')
    asked = time.time()
    for answer in each(workers, '/healthcheck/refresh', 'POST',
                       X_Auth_Token=token).values():
        assert answer.status == 200
        refreshed = json.loads(answer.body)['refreshed']['time']
        # Callers within a second share a round.
        assert datetime.datetime.fromisoformat(
            refreshed.replace('Z', '+00:00')).timestamp() > asked - 1.5


def test_every_worker_has_the_same_figures(workers, keystone):
    token = keystone.token('system-reader', system=True)
    names = {frozenset(line.partition(' ')[0]
                       for line in answer.text.splitlines()
                       if not line.startswith('#'))
             for answer in each(workers, '/healthcheck/metrics',
                                X_Auth_Token=token).values()}
    assert len(names) == 1


@pytest.mark.parametrize('page, method', [
    ('detail', 'GET'), ('refresh', 'POST'), ('metrics', 'GET'),
    ('drain', 'POST'), ('drain', 'DELETE')])
def test_every_worker_asks_who_it_is(workers, keystone, page, method):
    for token, status in [
            ('', 401), ('garbage', 401),
            (keystone.token('project-member', project='demo'), 403)]:
        assert {answer.status for answer in each(
            workers, f'/healthcheck/{page}', method, X_Auth_Token=token,
            X_Roles='admin', X_Identity_Status='Confirmed',
            OpenStack_System_Scope='all').values()} == {status}


def test_an_admin_drains_every_worker(workers, keystone):
    token = keystone.token('project-admin', project='demo')
    answer = _obeyed(
        workers, 'POST', b'{"for": "10m", "reason": "a disk"}', token,
        Content_Type='application/json', X_User_Name='mallory')
    held, = json.loads(answer.text)['drains']
    assert held['by'].startswith('project-admin (')
    workers.everyone(503, f'{served.WELL}\nDRAINED')
    shown = each(workers, '/healthcheck/detail', X_Auth_Token=token)
    for answer in shown.values():
        assert json.loads(answer.text)['drains'][0]['reason'] == 'a disk'
    answer = _obeyed(workers, 'DELETE', b'', token)
    assert json.loads(answer.text) == {'drains': []}
    workers.everyone(200, served.WELL)


def _obeyed(workers: served.Served, method: str, body: bytes, token: str,
            **headers: str) -> Any:
    def obeyed() -> Any:
        answer = workers.server.ask('/healthcheck/drain', method, body,
                                    X_Auth_Token=token, **headers)
        if answer.status != 503:  # Keystone, or the machine, is busy
            assert answer.status == 200, answer.text
            return answer
    return servers.wait_until(obeyed, f'{method} drain')


def test_a_keystone_that_is_away_is_not_the_balancers_business(
        workers, keystone):
    with frozen(keystone):
        refused = workers.server.ask('/healthcheck/detail',
                                     X_Auth_Token='never-seen-before')
        assert refused.status == 503
        assert {answer.text for answer in each(workers).values()} == {
            served.WELL}
