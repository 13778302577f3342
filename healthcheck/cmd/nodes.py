# SPDX-License-Identifier: Apache-2.0

"""Asks nodes for their health, over HTTP.

A container runs this every few seconds. So it imports no library of
OpenStack, only the standard library and modules that load in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
import http.client
import json
import os
import socket
import ssl
import time
from typing import Any, NamedTuple
from urllib import parse

from healthcheck.cmd import output
from healthcheck.probing import daemons
from healthcheck.reports import lines

PATH = '/healthcheck'

_UNIX = 'unix:'
_HEALTH_JSON = 'application/health+json'
JSON = 'application/json'

DETAIL, FLEET = '/detail', '/fleet'
"""The pages of a node that may need a token."""

# Bytes. The details of 5,000 cells are 3 MB.
_MOST = 1 << 24

# Characters of one line from a node.
_LINE = 300

Document = dict[str, Any]


class BadAddress(ValueError):
    """A text is no address of a node. The message says why."""


class Asking(NamedTuple):
    """How to ask.

    :param timeout: seconds that each node has to answer
    :param token: of Keystone, for the details
    :param check: the name of a single check to ask for
    :param tls: for https
    """

    timeout: float
    token: str | None = None
    check: str | None = None
    tls: ssl.SSLContext | None = None


class Reply(NamedTuple):
    """A node's answer, or why there is none.

    :param status: pass, warn, fail or unknown
    :param checks: name, status and reason of each
    :param latency: seconds until the answer came; None if there is none
    :param detail: the document for admins; None if the node did not show it
    :param note: for admins: why there is no answer, or no details
    """

    node: str
    status: str
    reason: str
    checks: Sequence[Document] = ()
    latency: float | None = None
    detail: Document | None = None
    note: str = ''


class Place:
    """The address of a node.

    :param text: a URL, ``HOST:PORT``, or ``unix:PATH``
    :param path: of the health check, if the text has none
    :raises BadAddress: if it is none of these
    """

    def __init__(self, text: str, path: str = PATH) -> None:
        self._socket = self._query = ''
        self._secure = False
        self._host, self._port = 'localhost', 80
        self.name = _shown(text)
        """Its name in the output."""
        if text.startswith(_UNIX):
            self._socket = text.removeprefix(_UNIX)
            if not os.path.isabs(self._socket):
                raise BadAddress(f'{text}: not an absolute path')
        else:
            path = self._take_url(text, path)
        self._path = parse.quote(path.rstrip('/'), safe="/%:@!$&'()*+,;=~")

    def _take_url(self, text: str, path: str) -> str:
        """Take the parts of a URL; return its path."""
        try:
            url = parse.urlsplit(text if '://' in text else f'http://{text}')
            port = url.port
        except ValueError:
            url, port = parse.urlsplit(''), None
        if url.scheme not in ('http', 'https') or not url.hostname:
            raise BadAddress(
                f'{_shown(text.rpartition("@")[2])}: not an address '
                f'(allowed: http://HOST:PORT/PATH, https://HOST:PORT/PATH, '
                f'HOST:PORT and unix:PATH)')
        if url.username or url.password:
            raise BadAddress(f'{_shown(url.hostname)}: a user or password in '
                             f'a URL is not sent (set OS_TOKEN to a token)')
        self._secure = url.scheme == 'https'
        self._host = url.hostname
        self._port = port or (443 if self._secure else 80)
        self._query = parse.quote(url.query, safe='=&%+,:;/?')
        self.name = _shown(url.netloc + (
            url.path.rstrip('/') if url.path != path else '') + (
                f'?{url.query}' if url.query else ''))
        return url.path if url.path.strip('/') else path

    @property
    def is_local(self) -> bool:
        """Whether it is a UNIX socket; its mode says who may ask."""
        return bool(self._socket)

    @property
    def needs_tls(self) -> bool:
        return self._secure

    def get(self, below: str, accept: str, asking: Asking,
            ) -> tuple[int, bytes]:
        """(status code, body) of a page.

        :param below: the rest of its path
        :raises OSError: or http.client.HTTPException, if there is no answer
        """
        path = self._path + below
        if self._query and not below:
            path += f'?{self._query}'
        headers = {'Accept': accept, 'Connection': 'close'}
        if asking.token and below in (DETAIL, FLEET):
            headers['X-Auth-Token'] = asking.token
        connection = self._connection(asking)
        try:
            connection.request('GET', path or '/', headers=headers)
            response = connection.getresponse()
            return response.status, response.read(_MOST)
        finally:
            connection.close()

    def _connection(self, asking: Asking) -> http.client.HTTPConnection:
        if self._socket:
            return _UnixConnection(self._socket, asking.timeout)
        if self._secure:
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=asking.timeout,
                context=asking.tls)
        return http.client.HTTPConnection(self._host, self._port,
                                          timeout=asking.timeout)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a UNIX socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__('localhost', timeout=timeout)
        self._socket_path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._socket_path)


def ask_all(places: Sequence[Place], asking: Asking,
            ask: Callable[[Place, Asking], Reply] | None = None,
            ) -> list[Reply]:
    """Ask all nodes at the same time; return their replies in order.

    A node that does not answer in time is left behind in a daemon thread,
    because some things that hang cannot be bounded, such as a DNS look-up.

    :param ask: how to ask each; default: ask_one
    """
    replies: dict[int, Reply] = {}

    def run(number: int, place: Place) -> None:
        replies[number] = (ask or ask_one)(place, asking)
    deadline = time.monotonic() + asking.timeout
    threads = [daemons.start(run, f'ask-{place.name}', number, place)
               for number, place in enumerate(places)]
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [replies.get(number) or Reply(
        place.name, output.FAIL, 'NO ANSWER',
        note=f'no answer within {asking.timeout:g} s')
        for number, place in enumerate(places)]


def ask_one(place: Place, asking: Asking) -> Reply:
    """Ask a node; raises nothing."""
    began = time.monotonic()
    note = ''
    try:
        if asking.token or place.is_local:
            code, body = place.get(DETAIL, JSON, asking)
            document = parsed(body)
            if code == 200 and 'checks' in document:
                return _detailed(place, document, asking.check,
                                 time.monotonic() - began)
            if asking.token:
                note = f'no details: HTTP status {code}'
        code, body = place.get(f'/{parse.quote(asking.check, safe="")}'
                               if asking.check else '', _HEALTH_JSON, asking)
    except (OSError, http.client.HTTPException, ValueError) as exc:
        return unreachable(place, exc)
    return _brief(place, code, body, asking.check)._replace(
        latency=time.monotonic() - began, note=note)


def _detailed(place: Place, document: Document, check: str | None,
              latency: float) -> Reply:
    """The reply from the document for admins."""
    found = [each for each in (*document.get('checks', ()),
                               *document.get('switches', ()))
             if isinstance(each, dict) and check in (None, each.get('name'))]
    told = document
    if check is not None:
        if not found:
            return Reply(place.name, output.UNKNOWN, 'NO SUCH CHECK',
                         latency=latency)
        told = found[0]
    return Reply(place.name, word_of(told, output.UNKNOWN),
                 _shown(told.get('reason', '')), list(map(_check, found)),
                 latency, document if check is None else None)


def _brief(place: Place, code: int, body: bytes,
           check: str | None) -> Reply:
    """The reply from the public answer, of ours or another health check."""
    document = parsed(body)
    checks = document.get('checks')
    found = [_check({'name': name, **entries[0]})
             for name, entries in checks.items()
             if isinstance(entries, list) and entries
             and isinstance(entries[0], dict)
             ] if isinstance(checks, dict) else []
    said = [one['reason'] for one in found if one['status'] != output.PASS]
    notes = document.get('notes')
    said += map(_shown, notes if isinstance(notes, list) else ())
    first = _shown(body.decode(errors='replace').strip().partition('\n')[0])
    if code in (200, 204):
        word = word_of(document, output.PASS)
        return Reply(place.name, word, '; '.join(said) or 'OK', found)
    if code == 503:
        return Reply(place.name, output.FAIL, '; '.join(said) or (
            f'HTTP status {code}' if document or not first else first), found)
    if code == 404:
        return Reply(place.name, output.UNKNOWN, 'NO SUCH CHECK' if check
                     else 'NO HEALTH CHECK AT THIS PATH')
    return Reply(place.name, output.FAIL if code >= 500 else output.UNKNOWN,
                 f'HTTP STATUS {code}')


def unreachable(place: Place, exc: Exception) -> Reply:
    """The reply for a node that gives no answer."""
    # Imported here because it is seldom needed.
    from healthcheck.targets import failures
    return Reply(place.name, output.FAIL,
                 failures.network_reason(exc) or 'NO HTTP ANSWER',
                 note=_shown(exc) or lines.kind_of(exc))


def parsed(body: bytes) -> Document:
    """The object in a JSON text; empty if there is none."""
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _check(one: Document) -> Document:
    """Name, status and reason of a check, from either document."""
    reason = one.get('reason', one.get('output', 'OK'))
    return {'name': _shown(one.get('name', '')),
            'status': word_of(one, output.UNKNOWN), 'reason': _shown(reason)}


def word_of(one: Document, otherwise: str) -> str:
    """The status in a document of a node."""
    word = one.get('status')
    return word if word in (output.PASS, output.WARN,
                            output.FAIL) else otherwise


def _shown(text: object) -> str:
    """Text from a node, made safe for a terminal."""
    return lines.one(str(text), _LINE)
