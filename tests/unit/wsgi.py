# SPDX-License-Identifier: Apache-2.0

"""Ask a WSGI application, without a library in between."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
import dataclasses
import io
import json
import sys
from typing import Any


def below(environ: dict[str, Any], start_response: Callable[..., Any],
          ) -> Iterable[bytes]:
    """What is below the filter."""
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'below']


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def environ(path: str = '/healthcheck', method: str = 'GET',
            accept: str | None = None, **more: Any) -> dict[str, Any]:
    """What a server hands on; HTTP/1.0 and no Host, as HAProxy sends it."""
    path, _, query = path.partition('?')
    made = {'REQUEST_METHOD': method, 'SCRIPT_NAME': '', 'PATH_INFO': path,
            'QUERY_STRING': query, 'SERVER_NAME': 'localhost',
            'SERVER_PORT': '80', 'SERVER_PROTOCOL': 'HTTP/1.0',
            'REMOTE_ADDR': '127.0.0.1', 'wsgi.version': (1, 0),
            'wsgi.url_scheme': 'http', 'wsgi.input': io.BytesIO(),
            'wsgi.errors': sys.stderr, 'wsgi.multithread': True,
            'wsgi.multiprocess': True, 'wsgi.run_once': False}
    if accept is not None:
        made['HTTP_ACCEPT'] = accept
    made.update(more)
    return made


def ask(application: Callable[..., Any], *args: Any, **kwargs: Any) -> Answer:
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]],
                       exc_info: Any = None) -> Callable[[bytes], None]:
        started[:] = [status, headers]
        return lambda data: None
    body = b''.join(application(environ(*args, **kwargs), start_response))
    status, headers = started
    assert len(dict(headers)) == len(headers)
    return Answer(int(status.split()[0]), dict(headers), body)
