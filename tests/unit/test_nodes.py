# SPDX-License-Identifier: Apache-2.0

"""What is asked of a node, and what is made of its answer."""

from __future__ import annotations

from http import server
import json
import socket
import socketserver
import ssl
import threading

import pytest

from healthcheck.cmd import nodes

ASKING = nodes.Asking(5.0)


@pytest.mark.parametrize('text, name, secure, path', [
    ('node1', 'node1', False, '/healthcheck'),
    ('node1:8774', 'node1:8774', False, '/healthcheck'),
    ('http://node1:8774/', 'node1:8774', False, '/healthcheck'),
    ('http://node1:8774/healthcheck', 'node1:8774', False, '/healthcheck'),
    ('https://node1/nova/healthcheck', 'node1/nova/healthcheck', True,
     '/nova/healthcheck'),
    ('http://[2001:db8::1]:80/h', '[2001:db8::1]:80/h', False, '/h'),
    ('unix:/run/a.sock', 'unix:/run/a.sock', False, '/healthcheck'),
])
def test_places(text, name, secure, path):
    place = nodes.Place(text)
    assert (place.name, place.needs_tls) == (name, secure)
    assert place._path == path
    assert place.is_local is text.startswith('unix:')


@pytest.mark.parametrize('text', [
    '', 'http://', 'ftp://node1', 'node1:port', 'node1:70000', 'unix:a.sock',
    'http://me:s3cret@node1/', 'http://me:s3cret@node1:port/', '[::1'])
def test_what_is_no_place(text):
    with pytest.raises(nodes.BadAddress) as caught:
        nodes.Place(text)
    assert 's3cret' not in str(caught.value)


class Stub(nodes.Place):
    """Says what a test wants, by the rest of the path."""

    def __init__(self, text='node1', **pages):
        super().__init__(text)
        self.pages = pages
        self.asked = []

    def get(self, below, accept, asking):
        self.asked.append((below, accept))
        found = self.pages[below.strip('/') or 'ready']
        if isinstance(found, Exception):
            raise found
        code, body = found
        return code, (body if isinstance(body, bytes)
                      else json.dumps(body).encode())


def health(status='pass', notes=(), **checks):
    body = {'status': status, 'checks': {
        name: [{'status': word, **({'output': output} if output else {})}]
        for name, (word, output) in checks.items()}}
    return {**body, 'notes': list(notes)} if notes else body


@pytest.mark.parametrize('code, body, status, reason', [
    (200, health(database=('pass', '')), 'pass', 'OK'),
    (200, health('warn', database=('warn', 'DATABASE: SLOW'),
                 queue=('pass', '')), 'warn', 'DATABASE: SLOW'),
    (503, health('fail', database=('fail', 'DATABASE: READ ONLY'),
                 queue=('fail', 'NO ANSWER')), 'fail',
     'DATABASE: READ ONLY; NO ANSWER'),
    (503, health('fail', ['STARTING']), 'fail', 'STARTING'),
    # Another health check, which knows nothing of our formats.
    (200, b'OK\n', 'pass', 'OK'), (204, b'', 'pass', 'OK'),
    (503, b'DISABLED BY FILE\nmore', 'fail', 'DISABLED BY FILE'),
    (503, b'', 'fail', 'HTTP status 503'),
    (200, {'status': 'healthy'}, 'pass', 'OK'),
    (200, [1], 'pass', 'OK'), (200, {'checks': [], 'notes': 1}, 'pass', 'OK'),
    (200, {'checks': {'a': [1], 'b': 2}}, 'pass', 'OK'),
    (404, b'', 'unknown', 'NO HEALTH CHECK AT THIS PATH'),
    (401, b'', 'unknown', 'HTTP STATUS 401'),
    (302, b'', 'unknown', 'HTTP STATUS 302'),
    (502, b'<html>', 'fail', 'HTTP STATUS 502'),
    # The code is what a balancer goes by.
    (503, health('pass'), 'fail', 'HTTP status 503'),
])
def test_what_everybody_reads(code, body, status, reason):
    place = Stub(ready=(code, body))
    reply = nodes.ask_one(place, ASKING)
    assert (reply.status, reply.reason) == (status, reason)
    assert reply.detail is None and reply.latency >= 0
    assert place.asked == [('', 'application/health+json')]


def test_one_check():
    asking = ASKING._replace(check='database')
    reply = nodes.ask_one(Stub(database=(503, health(
        'fail', database=('fail', 'NO ANSWER')))), asking)
    assert (reply.status, reply.reason) == ('fail', 'NO ANSWER')
    assert reply.checks == [{'name': 'database', 'status': 'fail',
                             'reason': 'NO ANSWER'}]
    reply = nodes.ask_one(Stub(database=(404, b'')), asking)
    assert (reply.status, reply.reason) == ('unknown', 'NO SUCH CHECK')


DETAIL = {'status': 'warn', 'reason': 'DATABASE: SLOW', 'since': None,
          'checks': [{'name': 'database', 'status': 'warn',
                      'reason': 'DATABASE: SLOW', 'detail': 'after 2 s'}],
          'switches': [{'name': 'disable_by_file', 'status': 'pass',
                        'reason': 'OK', 'critical': True}]}


@pytest.mark.parametrize('text, token', [
    ('node1', 'token'), ('unix:/run/a.sock', None)])
def test_details_where_they_may_be_seen(text, token):
    place = Stub(text, detail=(200, DETAIL))
    reply = nodes.ask_one(place, ASKING._replace(token=token))
    assert (reply.status, reply.reason) == ('warn', 'DATABASE: SLOW')
    assert reply.detail == DETAIL
    assert [one['name'] for one in reply.checks] == ['database',
                                                     'disable_by_file']
    assert place.asked == [('/detail', 'application/json')]


@pytest.mark.parametrize('check, status, reason', [
    ('database', 'warn', 'DATABASE: SLOW'), ('disable_by_file', 'pass', 'OK'),
    ('nothing', 'unknown', 'NO SUCH CHECK')])
def test_one_check_of_the_details(check, status, reason):
    reply = nodes.ask_one(
        Stub('unix:/run/a.sock', detail=(200, DETAIL)),
        ASKING._replace(check=check))
    assert (reply.status, reply.reason) == (status, reason)
    assert reply.detail is None


@pytest.mark.parametrize('text, token, note', [
    ('node1', 'token', 'no details: HTTP status 403'),
    # Nobody has said that there would be any.
    ('unix:/run/a.sock', None, '')])
def test_details_that_may_not_be_seen(text, token, note):
    place = Stub(text, detail=(403, b''), ready=(200, health()))
    reply = nodes.ask_one(place, ASKING._replace(token=token))
    assert (reply.status, reply.reason, reply.note) == ('pass', 'OK', note)


@pytest.mark.parametrize('exc, reason', [
    (ConnectionRefusedError(111, 'refused'), 'CONNECTION REFUSED'),
    (TimeoutError('timed out'), 'NO ANSWER'),
    (socket.gaierror(-2, 'Name or service not known'), 'UNKNOWN HOST'),
    (FileNotFoundError(2, 'no such file'), 'CONNECTION REFUSED'),
    (ssl.SSLCertVerificationError(1, 'self-signed'), 'CERTIFICATE REFUSED'),
    (nodes.http.client.BadStatusLine('nonsense'), 'NO HTTP ANSWER'),
    (nodes.http.client.RemoteDisconnected('closed'), 'CONNECTION LOST'),
])
def test_no_answer_is_a_failure(exc, reason):
    """A balancer would take it out, and a container's check must fail."""
    reply = nodes.ask_one(Stub(ready=exc), ASKING)
    assert (reply.status, reply.reason, reply.latency) == (
        'fail', reason, None)
    assert reply.note


def test_what_a_node_says_cannot_move_the_cursor():
    reply = nodes.ask_one(Stub(ready=(503, health(
        'fail', **{'\x1b[2Jname': ('fail', '\x1b[1A\nOK')}))), ASKING)
    assert reply.reason == '\\x1b[1A\\nOK'
    assert reply.checks[0]['name'] == '\\x1b[2Jname'


def test_nodes_are_asked_at_once_and_none_is_waited_for_too_long(
        monkeypatch):
    together = threading.Barrier(2, timeout=5)
    never = threading.Event()

    def ask_one(place, asking):
        if place.name == 'hangs':
            never.wait(60)
        else:
            together.wait()
        return nodes.Reply(place.name, 'pass', 'OK')
    monkeypatch.setattr(nodes, 'ask_one', ask_one)
    try:
        found = nodes.ask_all(
            [nodes.Place(name) for name in ('a', 'hangs', 'b')],
            nodes.Asking(0.2))
    finally:
        never.set()
    assert [(one.node, one.status, one.reason) for one in found] == [
        ('a', 'pass', 'OK'), ('hangs', 'fail', 'NO ANSWER'),
        ('b', 'pass', 'OK')]


class Handler(server.BaseHTTPRequestHandler):
    """Answers every request, and keeps what came."""

    def do_GET(self):
        self.server.came.append((self.path, dict(self.headers)))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"status": "warn"}')

    def address_string(self):  # a UNIX socket has none
        return ''

    def log_message(self, *args):
        pass


@pytest.fixture(params=['tcp', 'unix'])
def real(request, tmp_path):
    """A server: (what to ask it as, the requests that came)."""
    kind, address = (
        (socketserver.TCPServer, ('127.0.0.1', 0)) if request.param == 'tcp'
        else (socketserver.UnixStreamServer, str(tmp_path / 'a.sock')))
    with kind(address, Handler) as running:
        running.came = []
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield (f'unix:{address}' if request.param == 'unix' else
               'http://127.0.0.1:%d/a b?exclude=database'
               % running.server_address[1]), running.came
        running.shutdown()
        thread.join()


def test_a_real_request(real):
    text, came = real
    place = nodes.Place(text)
    reply = nodes.ask_one(place, ASKING._replace(token='secret'))
    assert (reply.status, reply.node) == ('warn', place.name)
    (detail, first), (ready, second) = came
    base = '/healthcheck' if place.is_local else '/a%20b'
    query = '' if place.is_local else '?exclude=database'
    assert (detail, ready) == (f'{base}/detail', f'{base}{query}')
    # Nobody needs a token for what everybody may read.
    assert first['X-Auth-Token'] == 'secret'
    assert 'X-Auth-Token' not in second
