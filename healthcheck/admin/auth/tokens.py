# SPDX-License-Identifier: Apache-2.0

"""Who somebody is, by the word of Keystone.

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

# How many tokens a process has Keystone check at once. More are not queued:
# they would hold the threads that balancers are answered with.
_AT_ONCE = 2
# How many callers of a process wait, in all, for a token that another caller
# is having checked. With those above that is how many threads of a server
# can be held by callers who have not shown who they are.
_WAITING = 2
# Seconds for one request to Keystone. The service's own limit, which is none
# by default, holds where it is shorter.
_TIMEOUT = 3
# Seconds that a caller waits for another one who came with the same token.
_PATIENCE = 3.0
# Seconds without another try after Keystone did not answer. From then on,
# until it does, one caller at a time tries, and nobody waits for that one.
_AWAY_FOR = 5.0
# Seconds that an outcome is remembered, a good one not for longer than the
# service has auth_token remember it.
_VALID_FOR = 30
_INVALID_FOR = 10
_REMEMBERED = 1024

# Anything else is no token that Keystone makes, and no header either.
_TOKEN = re.compile(r'[!-~]{1,8192}')
# Of a request, what auth_token may see. It is told nothing that a caller
# could have said about himself but his tokens. The method and the path are
# there for the access rules of application credentials.
_PASSED_ON = ('REQUEST_METHOD', 'SCRIPT_NAME', 'PATH_INFO', 'SERVER_NAME',
              'SERVER_PORT', 'SERVER_PROTOCOL', 'wsgi.url_scheme')


@dataclasses.dataclass(frozen=True)
class Identity:
    """Who somebody is.

    :param credentials: for oslo.policy, all of it from the validated token
    :param expires: when the token does, in seconds since the epoch
    """

    credentials: Mapping[str, Any] = dataclasses.field(repr=False)
    expires: float


Outcome = Identity | refusals.Refusal


class Tokens:
    """Has ``auth_token`` check tokens, few at a time, for one process.

    :param conf: private to us, with what the service's files say: options
        are registered there
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
        self._auth_token = auth_token.AuthProtocol(_vouched_for, {
            'oslo_config_config': conf,
            # Whether the service decides later is its own affair: here it
            # would make a Keystone that is away look like a bad token.
            'delay_auth_decision': False,
            'http_connect_timeout': min(
                section.http_connect_timeout or _TIMEOUT, _TIMEOUT),
            'http_request_max_retries': 0,
            'service_token_roles_required': True})
        # auth_token would name its own, internal URL if it had no other.
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
        """Tell who asks; it takes no longer than a few of ``_TIMEOUT``."""
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
                # Swift's cache, which its middleware has put there.
                request[self._cache_key] = environ[self._cache_key]
            outcome = self._ask(request)
        finally:
            with self._lock:
                self._remember(key, outcome)
                del self._checking[key]
            mine.set_result(outcome)
        return outcome

    def _wait(self, checking: futures.Future[Outcome]) -> Outcome:
        """What another caller is told about the same token."""
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
        # Nobody but auth_token can have put that into our own environ.
        if told != [_VOUCHED_FOR] or 'keystone.token_info' not in request:
            return refusals.AWAY
        return _identity(request['keystone.token_auth'].user)


_VOUCHED_FOR = '204 No Content'


def _vouched_for(environ: wsgi.WSGIEnvironment,
                 start_response: wsgi.StartResponse) -> Iterable[bytes]:
    """What is below ``auth_token``: whoever gets here has a valid token."""
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
        # As auth_token and oslo.context have it.
        'system_scope': ('all' if token.system_scoped
                         and token.system.get('all') else None)}
    return Identity(credentials, token.expires.timestamp())
