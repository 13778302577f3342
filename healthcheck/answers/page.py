# SPDX-License-Identifier: Apache-2.0

"""A page, and how a request is answered with one."""

from __future__ import annotations

from collections.abc import Iterable
import dataclasses
import http
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import wsgi

Headers = tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """An answer, ready to be sent. It is a WSGI application that sends it.

    Headers are a tuple, so no caller can change them for the next one.
    """

    status: str
    headers: Headers
    body: tuple[bytes, ...]

    def answer(self, environ: wsgi.WSGIEnvironment,
               start_response: wsgi.StartResponse) -> Iterable[bytes]:
        """Answer a request; HEAD gets the headers alone (RFC 9110, 9.3.2).

        ``Content-Length`` among them is that of the body that GET gets (8.6).
        """
        start_response(self.status, [*self.headers])
        return self.body if environ['REQUEST_METHOD'] != 'HEAD' else ()

    # For a poll the method is called by its name, which takes less time.
    __call__ = answer


def make(status: int, body: str | bytes, content_type: str = 'text/plain',
         extra: Headers = ()) -> Page:
    """Make a page that nobody keeps a copy of.

    :param content_type: of text it gets a charset, unless it has parameters
    :param extra: further headers
    """
    status = http.HTTPStatus(status)
    data = body if isinstance(body, bytes) else body.encode(errors='replace')
    if content_type.startswith('text/') and ';' not in content_type:
        content_type += '; charset=UTF-8'
    # A 204 has no content to have a type.
    kind = () if status == http.HTTPStatus.NO_CONTENT else (
        ('Content-Type', content_type),)
    return Page(f'{status.value} {status.phrase}', (
        *kind, ('Content-Length', str(len(data))),
        ('Cache-Control', 'no-store'), *extra), (data,))


def not_found() -> Page:
    return make(404, 'Not Found')


def method_not_allowed(allowed: Iterable[str]) -> Page:
    return make(405, 'Method Not Allowed',
                extra=(('Allow', ', '.join(allowed)),))
