# SPDX-License-Identifier: Apache-2.0

"""The page ``drain``: an admin takes the node out, and puts it back."""

from __future__ import annotations

from collections.abc import Mapping
import http
import json
import time
from typing import Any, TYPE_CHECKING
from urllib import parse

from oslo_log import log as logging

from healthcheck.admin.auth import gate as gate_module
from healthcheck.admin.auth import refusals
from healthcheck.admin.views import detail
from healthcheck.admin.views import timeline
from healthcheck.answers import page as page_module
from healthcheck.answers import render
from healthcheck.host import drainfile
from healthcheck.host import drains as drains_module
from healthcheck.reports import drain

if TYPE_CHECKING:
    from _typeshed import wsgi

LOG = logging.getLogger(__name__)

_MAX_BODY = 4096
_FORM = 'application/x-www-form-urlencoded'
_FIELDS = ('for', 'reason')


class _RequestError(Exception):
    """A request that cannot be understood. The text is for the caller."""

    def __init__(self, message: str, status: http.HTTPStatus =
                 http.HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.status = status


class Draining:
    """Answers callers that the gate has let in.

    :param drains: those of this service
    :param gate: knows the names of callers
    """

    def __init__(self, drains: drains_module.Drains,
                 gate: gate_module.Gate) -> None:
        self._drains = drains
        self._gate = gate

    def page(self, environ: wsgi.WSGIEnvironment) -> page_module.Page:
        try:
            self._obey(environ)
        except _RequestError as exc:
            return refusals.Refusal(exc.status, str(exc)).page(environ)
        except drainfile.Unusable as exc:
            LOG.error('Healthcheck cannot drain or resume: %s', exc)
            return refusals.NO_DRAIN.page(environ)
        held = detail.drains(self._drains.look_now(), timeline.Moment(
            time.monotonic(), time.time()))
        return page_module.make(200, json.dumps({'drains': held}, indent=2),
                                render.JSON)

    def _obey(self, environ: wsgi.WSGIEnvironment) -> None:
        """:raises drainfile.Unusable: if the file cannot be written"""
        file = self._drains.service
        if file is None:
            raise _RequestError(
                'This service has no directory in which its workers share: '
                'set [healthcheck]state_path.', http.HTTPStatus.CONFLICT)
        if environ['REQUEST_METHOD'] == 'DELETE':
            file.end()
            return
        asked = _asked(environ)
        file.begin(_reason(asked), self._gate.caller(environ),
                   _seconds(asked))


def _asked(environ: wsgi.WSGIEnvironment) -> Mapping[str, Any]:
    """What a request asks for, in its query and in its body."""
    asked = _pairs(environ.get('QUERY_STRING', ''))
    body = _body(environ)
    if body:
        kind = environ.get('CONTENT_TYPE', '').partition(';')[0]
        kind = kind.strip().lower()
        if kind == render.JSON:
            asked |= _object(body)
        elif kind == _FORM:
            asked |= _pairs(body)
        else:
            raise _RequestError(
                f'Content-Type: neither {render.JSON} nor {_FORM}.',
                http.HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    for name in asked:
        if name not in _FIELDS:
            raise _RequestError(f'{name!r:.40}: there is no such field '
                                f'(allowed: {", ".join(_FIELDS)}).')
    return asked


def _body(environ: wsgi.WSGIEnvironment) -> str:
    length = environ.get('CONTENT_LENGTH') or '0'
    if environ.get('HTTP_TRANSFER_ENCODING') or not length.isdecimal():
        raise _RequestError('A body needs a Content-Length.',
                            http.HTTPStatus.LENGTH_REQUIRED)
    if len(length) > 9 or int(length) > _MAX_BODY:
        raise _RequestError(f'The body is longer than {_MAX_BODY} bytes.',
                            http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    if int(length) == 0:
        return ''
    try:
        data: bytes = environ['wsgi.input'].read(int(length))
        return data.decode()
    except OSError:
        raise _RequestError('The body is not complete.') from None
    except UnicodeDecodeError:
        raise _RequestError('The body is not UTF-8.') from None


def _pairs(text: str) -> dict[str, Any]:
    try:
        return dict(parse.parse_qsl(text, max_num_fields=len(_FIELDS) + 1))
    except ValueError:
        raise _RequestError('Too many fields.') from None


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _RequestError('The body is not a JSON object.')
    return found


def _reason(asked: Mapping[str, Any]) -> str:
    reason = asked.get('reason')
    if not isinstance(reason, str) or not reason.strip():
        raise _RequestError("'reason' is missing: say why.")
    return reason


def _seconds(asked: Mapping[str, Any]) -> float | None:
    given = asked.get('for')
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, (int, str)):
        raise _RequestError("'for' is neither seconds nor a text such as "
                            "30m.")
    try:
        return drain.seconds_of(str(given))
    except ValueError as exc:
        raise _RequestError(f"'for' = {exc}.") from None
