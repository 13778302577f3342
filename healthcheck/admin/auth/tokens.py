# SPDX-License-Identifier: Apache-2.0

"""Identifies callers by their token, through Keystone.

Imported only where Keystone is configured: it needs the extra
``[keystone]``, and takes a while.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from concurrent import futures
import dataclasses
import hashlib
import re
import threading
import time
from typing import Any, TYPE_CHECKING

import cachetools
from keystonemiddleware import auth_token
from oslo_config import cfg
from oslo_log import log as logging

from healthcheck.admin.auth import refusals
from healthcheck.config import redact

if TYPE_CHECKING:
    from _typeshed import wsgi

LOG = logging.getLogger(__name__)

# How many tokens a process lets Keystone check at once. More are not queued:
# they would hold the threads that answer balancers.
_AT_ONCE = 2
# How many callers of a process may wait, in all, for another caller's check
# of the same token. Both limits together are the number of threads that
# callers without a valid token can hold.
_WAITING = 2
# Seconds for one request to Keystone. The service's own limit, which is none
# by default, applies if it is shorter.
_TIMEOUT = 3
# Seconds that a caller waits for another caller's check of the same token.
_PATIENCE = 3.0
# Seconds without another try after Keystone did not answer. After that, until
# it answers, one caller at a time tries, and no other waits for that one.
_AWAY_FOR = 5.0
# Seconds that an outcome is remembered. A good one is not remembered for
# longer than the service lets auth_token remember it.
_VALID_FOR = 30
_INVALID_FOR = 10
_REMEMBERED = 1024

# Keystone makes no other token, and nothing else is a valid header.
_TOKEN = re.compile(r'[!-~]{1,8192}')
# The parts of a request that auth_token gets. Of the caller's own claims, it
# only gets the tokens. The method and the path are for the access rules of
# application credentials.
_PASSED_ON = ('REQUEST_METHOD', 'SCRIPT_NAME', 'PATH_INFO', 'SERVER_NAME',
              'SERVER_PORT', 'SERVER_PROTOCOL', 'wsgi.url_scheme')


@dataclasses.dataclass(frozen=True)
class Identity:
    """The identity of a caller.

    :param name: of the user, with the id
    :param credentials: for oslo.policy, all of it from the validated token
    :param expires: when the token does, in seconds since the epoch
    """

    name: str = dataclasses.field(repr=False)
    credentials: Mapping[str, Any] = dataclasses.field(repr=False)
    expires: float


Outcome = Identity | refusals.Refusal


class Tokens:
    """Lets ``auth_token`` check tokens, few at a time, for one process.

    :param conf: private to us, with the contents of the service's files;
        options are registered there
    :param clock: monotonic, in seconds
    :param wall_clock: in seconds since the epoch
    :raises Exception: of many kinds, if the configuration is not valid
    """

    def __init__(self, conf: cfg.ConfigOpts, *,
                 clock: Callable[[], float] = time.monotonic,
                 wall_clock: Callable[[], float] = time.time) -> None:
        for group, options in auth_token.list_opts():
            conf.register_opts(options, group=group)
        section = conf.keystone_authtoken
        self._auth_token = _AuthToken(_vouched_for, {
            'oslo_config_config': conf,
            # The service may set it for itself. Here it would make a Keystone
            # that is down look like a bad token.
            'delay_auth_decision': False,
            'http_connect_timeout': min(
                section.http_connect_timeout or _TIMEOUT, _TIMEOUT),
            'http_request_max_retries': 0,
            'service_token_roles_required': True})
        # Without another one, auth_token would name its own, internal URL.
        uri = section.www_authenticate_uri
        self.unauthorized = refusals.unauthorized(
            f'Keystone uri="{uri}"' if uri else 'Keystone')
        self._cache_key = section.cache
        self._clock = clock
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        self._checking: dict[bytes, futures.Future[Outcome]] = {}
        self._waiting = 0
        self._valid: cachetools.TTLCache[bytes, Outcome] = (
            cachetools.TTLCache(_REMEMBERED, max(0, min(
                _VALID_FOR, section.token_cache_time)), clock))
        self._invalid: cachetools.TTLCache[bytes, Outcome] = (
            cachetools.TTLCache(_REMEMBERED, _INVALID_FOR, clock))
        self._away_until: float | None = None

    def identify(self, environ: wsgi.WSGIEnvironment) -> Outcome:
        """Identify the caller. Takes a few times ``_TIMEOUT`` at most."""
        request = {key: environ[key] for key in _PASSED_ON if key in environ}
        for header in ('HTTP_X_AUTH_TOKEN', 'HTTP_X_SERVICE_TOKEN'):
            token = environ.get(header, '').strip()
            if token and not _TOKEN.fullmatch(token):
                return self.unauthorized
            if token:
                request[header] = token
        if 'HTTP_X_AUTH_TOKEN' not in request:
            return self.unauthorized
        outcome = self._look_up(_digest(request), request, environ)
        if (isinstance(outcome, Identity)
                and outcome.expires <= self._wall_clock()):
            return self.unauthorized
        return outcome

    def _look_up(self, key: bytes, request: dict[str, Any],
                 environ: wsgi.WSGIEnvironment) -> Outcome:
        with self._lock:
            known = self._valid.get(key) or self._invalid.get(key)
            if known is not None:
                return known
            if self._away_until is not None and (
                    self._checking or self._clock() < self._away_until):
                return refusals.AWAY
            checking = self._checking.get(key)
            if checking is None:
                if len(self._checking) >= _AT_ONCE:
                    return refusals.BUSY
                mine = self._checking[key] = futures.Future()
            elif self._waiting >= _WAITING:
                return refusals.BUSY
            else:
                self._waiting += 1
        if checking is not None:
            return self._wait(checking)
        outcome: Outcome = refusals.AWAY
        try:
            if self._cache_key in environ:
                # Swift's cache, from its own middleware.
                request[self._cache_key] = environ[self._cache_key]
            outcome = self._ask(request)
        finally:
            with self._lock:
                self._remember(key, outcome)
                del self._checking[key]
            mine.set_result(outcome)
        return outcome

    def _wait(self, checking: futures.Future[Outcome]) -> Outcome:
        """The outcome of another caller's check of the same token."""
        try:
            return checking.result(_PATIENCE)
        except futures.TimeoutError:
            return refusals.BUSY
        finally:
            with self._lock:
                self._waiting -= 1

    def _remember(self, key: bytes, outcome: Outcome) -> None:
        if outcome is refusals.AWAY:
            self._away_until = self._clock() + _AWAY_FOR
            return
        self._away_until = None
        remembered = (self._valid if isinstance(outcome, Identity)
                      else self._invalid)
        remembered[key] = outcome

    def _ask(self, request: dict[str, Any]) -> Outcome:
        told: list[str] = []
        try:
            self._auth_token(request, lambda status, *_: told.append(status))
        except Exception as exc:
            LOG.error('Healthcheck cannot have a token checked: %(type)s: '
                      '%(error)s', {'type': type(exc).__name__,
                                    'error': redact.Redactor()(exc)})
            LOG.debug('Where it failed:', exc_info=True)
            return refusals.AWAY
        if told == ['401 Unauthorized']:
            return self.unauthorized
        # Only auth_token can have put that into our own environ.
        if told != [_VOUCHED_FOR] or 'keystone.token_info' not in request:
            return refusals.AWAY
        return _identity(request['keystone.token_auth'].user)


class NotKeystoneError(Exception):
    """Something else has answered in Keystone's place."""


class _AuthToken(auth_token.AuthProtocol):
    """``auth_token`` that does not take any 404 for Keystone's word.

    Keystone says 404 of a token that it does not know. So does a proxy that
    has no Keystone behind it, of every token.
    """

    def fetch_token(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().fetch_token(*args, **kwargs)
        except auth_token.InvalidToken as exc:
            # That of keystoneauth's exception, which has led to this one.
            response = getattr(exc.__context__, 'response', None)
            if response is None or _is_keystones(response):
                raise
            raise NotKeystoneError(
                f'{response.status_code} is not from Keystone') from None


def _is_keystones(response: Any) -> bool:
    """Whether an error has the form of Keystone's API.

    :param response: of ``requests``
    """
    try:
        return isinstance(response.json()['error'], dict)
    except (ValueError, LookupError, TypeError):
        return False


_VOUCHED_FOR = '204 No Content'


def _vouched_for(environ: wsgi.WSGIEnvironment,
                 start_response: wsgi.StartResponse) -> Iterable[bytes]:
    """The application below ``auth_token``: the token is valid."""
    start_response(_VOUCHED_FOR, [])
    return []


def _digest(request: Mapping[str, str]) -> bytes:
    parts = (f'{key}={value}' for key, value in sorted(request.items()))
    return hashlib.sha256('\n'.join(parts).encode()).digest()


def _identity(token: Any) -> Identity:
    """:param token: keystoneauth's ``AccessInfo``"""
    credentials = {
        'user_id': token.user_id,
        'user_domain_id': token.user_domain_id,
        'project_id': token.project_id,
        'project_domain_id': token.project_domain_id,
        'domain_id': token.domain_id,
        'is_admin_project': token.is_admin_project,
        'roles': list(token.role_names),
        # As in auth_token and oslo.context.
        'system_scope': ('all' if token.system_scoped
                         and token.system.get('all') else None)}
    return Identity(f'{token.username} ({token.user_id})', credentials,
                    token.expires.timestamp())
