# SPDX-License-Identifier: Apache-2.0

"""Hostile requests, tokens, reports and plugins, at random.

Used by the unit tests with a seed that is always the same, and by
``make soak`` for longer, with another one.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
import copy
import io
import json
import random
import sys
from typing import Any

SECRETS = ('hunter2', 'db.internal', 'gAAAAsecret')

# What the contract knows, and what is below the filter answers 299.
BELOW = 299
STATUSES = {200, 204, 401, 403, 404, 405, 503, BELOW}

_NAMES = ('', '/', '/live', '/ready', '/detail', '/refresh', '/metrics',
          '/scripted', '/drain', '/fleet', '/nothing')
_METHODS = ('GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'DELETE', 'PATCH',
            'TRACE', 'CONNECT', 'get', 'PROPFIND', 'G\x00ET', '')
_PIECES = ('\r\nX-Injected: 1', '\r\n\r\n<script>', '\x00', '\x7f', '\x1b[2J',
           '%0d%0a', '../', '//', '..;/', '%2e%2e', '\xff\xfe', '\xc3\x28',
           '\xed\xa0\x80', '{{7*7}}', '${x}', "'--",
           '<script>alert(1)</script>', 'exclude=', '&', '=', ';', '\t', ' ',
           'a' * 9000)
_TYPES = ('text/plain', 'text/html', 'application/json', '*/*', 'text/*;q=0',
          'application/health+json', 'image/png;q=0.5', ',,,', ';q=',
          'q=1e999', 'text/html;q=nan', 'application/json;q=-1')
_HEADERS = ('HTTP_X_ROLES', 'HTTP_X_IDENTITY_STATUS', 'HTTP_HOST',
            'HTTP_OPENSTACK_SYSTEM_SCOPE', 'HTTP_X_FORWARDED_FOR',
            'HTTP_FORWARDED', 'HTTP_X_SERVICE_TOKEN', 'HTTP_AUTHORIZATION',
            'HTTP_X_HAPROXY_SERVER_STATE', 'HTTP_USER_AGENT', 'HTTP_COOKIE',
            'HTTP_ACCEPT_ENCODING', 'CONTENT_TYPE', 'CONTENT_LENGTH',
            'HTTP_IF_NONE_MATCH', 'HTTP_RANGE', 'REMOTE_USER')


def text(chance: random.Random) -> str:
    """Bytes as latin-1, as WSGI has them (PEP 3333)."""
    kind = chance.randrange(4)
    if kind == 0:
        return ''.join(map(chr, chance.choices(range(256),
                                               k=chance.randrange(40))))
    if kind == 1:
        return chance.choice(_NAMES) + chance.choice(_PIECES)
    return ''.join(chance.choices(_PIECES[:-1], k=chance.randrange(1, 5)))


def token(chance: random.Random) -> str:
    """None that Keystone has made."""
    return chance.choice((
        lambda: '', lambda: text(chance), lambda: 'gAAAA' + text(chance),
        lambda: 'gAAAA%x' % chance.getrandbits(256),
        lambda: 'x' * chance.choice((8191, 8192, 8193, 100_000))))()


def request(chance: random.Random) -> dict[str, Any]:
    """What a server may hand on that lets everything through."""
    path = chance.choice((
        lambda: '/healthcheck' + chance.choice(_NAMES),
        lambda: '/healthcheck' + chance.choice(_NAMES) + text(chance),
        lambda: '/healthcheck/' + text(chance), lambda: text(chance)))()
    script = chance.choice(('', '', '', '/compute', '/healthcheck'))
    made = {'REQUEST_METHOD': chance.choice(_METHODS), 'SCRIPT_NAME': script,
            'PATH_INFO': path, 'QUERY_STRING': '',
            'SERVER_NAME': 'localhost', 'SERVER_PORT': '80',
            'SERVER_PROTOCOL': chance.choice(('HTTP/1.0', 'HTTP/1.1')),
            'REMOTE_ADDR': chance.choice(
                ('127.0.0.1', '::1', '', text(chance))),
            'wsgi.version': (1, 0), 'wsgi.url_scheme': 'http',
            'wsgi.input': io.BytesIO(text(chance).encode('latin-1')),
            'wsgi.errors': sys.stderr, 'wsgi.multithread': True,
            'wsgi.multiprocess': True, 'wsgi.run_once': False}
    if chance.random() < 0.1:
        made['SCRIPT_NAME'] = text(chance)
    if chance.random() < 0.5:
        made['QUERY_STRING'] = chance.choice(('exclude=', '')) + text(chance)
    if chance.random() < 0.7:
        made['HTTP_ACCEPT'] = chance.choice((
            chance.choice(_TYPES), ','.join(chance.choices(_TYPES, k=30)),
            text(chance)))
    for header in chance.sample(_HEADERS, chance.randrange(4)):
        made[header] = chance.choice(('admin', 'Confirmed', text(chance)))
    if chance.random() < 0.2:
        made['HTTP_X_AUTH_TOKEN'] = token(chance)
    # A server need not set those, by PEP 3333.
    for name in ('QUERY_STRING', 'REMOTE_ADDR', 'SCRIPT_NAME'):
        if not made[name] and chance.random() < 0.2:
            del made[name]
    return made


def below(environ: dict[str, Any], start_response: Callable[..., Any],
          ) -> Iterable[bytes]:
    """What is below the filter, and is left to itself."""
    start_response(f'{BELOW} Below', [('Content-Length', '0')])
    return []


def check_answer(application: Callable[..., Any], environ: dict[str, Any],
                 secrets: Iterable[str] = SECRETS) -> int:
    """Ask, and see that the answer is one of the contract's; its status."""
    started: list[tuple[str, list[tuple[str, str]]]] = []
    method = environ['REQUEST_METHOD']
    body = application(environ, lambda status, headers, exc_info=None:
                       started.append((status, headers)))
    data = b''.join(body)
    if hasattr(body, 'close'):
        body.close()
    (line, headers), = started
    status = int(line[:3])
    assert status in STATUSES, (status, environ)
    for name, value in [('', line), *headers]:
        assert (name + value).isprintable() and (name + value).isascii(), (
            name, value, environ)
    assert 'X-Injected' not in dict(headers)
    assert len(dict(headers)) == len(headers)
    assert status == BELOW or dict(headers)['Cache-Control'] == 'no-store'
    length = dict(headers)['Content-Length']
    assert not data if method == 'HEAD' else int(length) == len(data), environ
    if status == 204:
        assert not data
    said = data.decode()
    assert not [secret for secret in secrets if secret in said], environ
    return status


_VALUES = (None, True, False, 0, -1, 7, 10 ** 12, 1.5, -0.0, 1e308, '', 'x',
           'pass', '\x00', '\n', '\u202e', [], {}, [[]], [None], {'x': 1})


def mutated(chance: random.Random, data: bytes) -> bytes:
    """A report that has been tampered with."""
    if chance.random() < 0.5:
        changed = bytearray(data)
        for _ in range(chance.randrange(1, 5)):
            at = chance.randrange(len(changed) + 1)
            kind = chance.randrange(4)
            if kind == 0:
                del changed[at:at + chance.randrange(60)]
            elif kind == 1:
                changed[at:at] = bytes(chance.choices(
                    range(256), k=chance.randrange(1, 5)))
            elif kind == 2:
                changed[at:at + 1] = bytes([chance.randrange(256)])
            else:
                changed[at:at] = changed[:chance.randrange(60)]
        return bytes(changed)
    tree = json.loads(data)
    for _ in range(chance.randrange(1, 4)):
        parent, key = chance.choice(list(_places(tree)))
        what = chance.randrange(3)
        if what == 0:
            parent[key] = copy.deepcopy(chance.choice(_VALUES))
        elif isinstance(parent, list):
            parent.append(copy.deepcopy(parent[key]))
        elif what == 1:
            del parent[key]
        else:
            parent[chance.choice(('more', ''))] = copy.deepcopy(
                parent[key])
    return json.dumps(tree).encode()


def _places(tree: Any) -> Iterable[tuple[Any, Any]]:
    for key in (tree if isinstance(tree, dict) else range(len(tree))):
        yield tree, key
        if isinstance(tree[key], (dict, list)):
            yield from _places(tree[key])


class Unspeakable(BaseException):
    """It cannot even be shown."""

    def __str__(self) -> str:
        raise self

    __repr__ = __str__


def probe(chance: random.Random) -> Callable[[], object]:
    """What a plugin may do instead of returning a result."""
    def failing(exc: BaseException) -> Callable[[], object]:
        def run() -> object:
            raise exc
        return run
    secret = chance.choice(SECRETS)
    return chance.choice((
        failing(chance.choice((
            RuntimeError(secret), SystemExit(secret), KeyboardInterrupt(),
            GeneratorExit(), MemoryError(), RecursionError(), Unspeakable(),
            UnicodeEncodeError('utf-8', secret, 0, 1, secret),
            OSError(111, secret), StopIteration(secret)))),
        lambda: chance.choice(_VALUES), lambda: secret, object, type,
        lambda: Unspeakable()))
