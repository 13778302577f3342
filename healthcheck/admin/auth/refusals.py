# SPDX-License-Identifier: Apache-2.0

"""The answers to callers without access to an admin's page."""

from __future__ import annotations

import dataclasses
import http
import json
from typing import TYPE_CHECKING

from healthcheck.answers import page as page_module
from healthcheck.answers import render

if TYPE_CHECKING:
    from _typeshed import wsgi


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """One reason to refuse.

    :param status: of the answer
    :param message: for the caller; a fixed text, because anybody may get it
    :param headers: in addition to those that every answer has
    """

    status: http.HTTPStatus
    message: str
    headers: page_module.Headers = ()

    def page(self, environ: wsgi.WSGIEnvironment) -> page_module.Page:
        """The answer: text, or JSON in the form of OpenStack's APIs."""
        kind, body = render.TEXT, self.message
        if render.negotiate(environ.get('HTTP_ACCEPT', '')) in (
                render.JSON, render.HEALTH_JSON):
            kind = render.JSON
            body = json.dumps({'error': {
                'code': self.status.value, 'title': self.status.phrase,
                'message': self.message}})
        return page_module.make(self.status, body, kind, self.headers)


def _not_now(message: str, seconds: int) -> Refusal:
    return Refusal(http.HTTPStatus.SERVICE_UNAVAILABLE, message,
                   (('Retry-After', str(seconds)),))


NOT_FOUND = Refusal(http.HTTPStatus.NOT_FOUND, 'Not Found')
FORBIDDEN = Refusal(http.HTTPStatus.FORBIDDEN,
                    'You have no right to see this page.')
BUSY = _not_now('Too many tokens are being checked. Try again.', 1)
AWAY = _not_now('No token can be checked: the identity service cannot be '
                'reached. See the log or the readiness page, also on the '
                "agent's UNIX socket, or ask from an address in "
                'detail_source_ranges.', 5)
NO_DRAIN = _not_now('The file of the drain cannot be written: see the log.', 5)
NO_POLICY = _not_now('The policy cannot be read: see the log.', 5)


def unauthorized(challenge: str) -> Refusal:
    """:param challenge: value of ``WWW-Authenticate`` (RFC 9110, 11.6.1)"""
    return Refusal(http.HTTPStatus.UNAUTHORIZED,
                   'A valid token is needed, in the header X-Auth-Token.',
                   (('WWW-Authenticate', challenge),))
