# SPDX-License-Identifier: Apache-2.0

"""Access to the admin's pages: detail, refresh, metrics, drain and fleet.

A caller needs an address in a source range, or a token that Keystone
validates and the policy accepts. Nothing else in the request counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TYPE_CHECKING

from oslo_config import cfg
from oslo_log import log as logging

from healthcheck.admin.auth import refusals
from healthcheck.answers import access
from healthcheck.answers import page
from healthcheck.config import reading
from healthcheck.config import redact
from healthcheck.config import views
from healthcheck.host import processes

if TYPE_CHECKING:
    from _typeshed import wsgi

LOG = logging.getLogger(__name__)

Rule = Literal['detail', 'refresh', 'metrics', 'drain', 'fleet']
RULES: tuple[Rule, ...] = ('detail', 'refresh', 'metrics', 'drain', 'fleet')

_GROUP = 'keystone_authtoken'
# Any of these says how the service authenticates itself to Keystone, which
# every token check needs. "auth_plugin" is the old name of the first.
_MARKS = ('auth_type', 'auth_plugin', 'auth_section')


class Gate:
    """Decides who has access.

    It is made when a section is loaded, and opens nothing then.

    :param view: the configuration; mistakes go to its ``problems``
    """

    def __init__(self, view: views.View) -> None:
        settings = view.settings
        detail = _ranges(settings.detail_source_ranges,
                         'detail_source_ranges', view.problems)
        self._ranges: dict[Rule, access.Ranges] = {
            'detail': detail, 'fleet': detail,
            'metrics': _ranges(settings.metrics_source_ranges,
                               'metrics_source_ranges', view.problems)}
        self._keystone: Keystone | None = None
        try:
            self._keystone = _keystone(view)
        except _NoKeystoneError as exc:
            closed = [rule for rule in RULES if not self._ranges.get(rule)
                      and (rule != 'fleet' or settings.fleet_url)]
            LOG.log(exc.level,
                    'Healthcheck lets nobody see %(closed)s, with the answer '
                    '404: %(reason)s', {'closed': ', '.join(closed),
                                        'reason': exc.reason})

    def check(self, environ: wsgi.WSGIEnvironment,
              rule: Rule) -> page.Page | None:
        """None for whom ``rule`` lets pass, else the answer to him.

        That is 404 if nobody can have access, 401 without a valid token, 403
        without the right, and 503 while Keystone cannot be reached or too
        many others are asking. It waits for Keystone for seconds at most,
        and raises nothing.
        """
        refusal = self._refusal(environ, rule)
        return None if refusal is None else refusal.page(environ)

    def caller(self, environ: wsgi.WSGIEnvironment) -> str:
        """The name of a caller, as Keystone knows him; empty if unknown."""
        return '' if self._keystone is None else (
            self._keystone.caller(environ))

    def _refusal(self, environ: wsgi.WSGIEnvironment,
                 rule: Rule) -> refusals.Refusal | None:
        ranges = self._ranges.get(rule)
        if ranges and ranges.hold(environ) and not access.is_forwarded(
                environ):
            return None
        if self._keystone is not None:
            return self._keystone.refusal(environ, rule)
        return refusals.FORBIDDEN if ranges else refusals.NOT_FOUND


class Keystone:
    """Asks Keystone who a caller is, and the policy what the caller may do.

    :param conf: private to us
    :raises Exception: of many kinds, if the configuration is not valid
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        # Not at the top: they do not exist without the extra.
        from healthcheck.admin.auth import policies
        from healthcheck.admin.auth import tokens

        self._tokens = processes.PerProcess(lambda: tokens.Tokens(conf))
        self._policy = processes.PerProcess(lambda: policies.Rules(conf))
        # They open nothing yet, but report wrong options now.
        self._tokens.get()
        self._policy.get()

    def refusal(self, environ: wsgi.WSGIEnvironment,
                rule: Rule) -> refusals.Refusal | None:
        """Why ``rule`` does not allow a caller; None if it does."""
        outcome = self._tokens.get().identify(environ)
        if isinstance(outcome, refusals.Refusal):
            return outcome
        try:
            allowed = self._policy.get().allows(rule, outcome.credentials)
        except Exception as exc:
            LOG.error('Healthcheck cannot apply the policy: %(type)s: '
                      '%(error)s', {'type': type(exc).__name__,
                                    'error': redact.Redactor()(exc)})
            return refusals.NO_POLICY
        return None if allowed else refusals.FORBIDDEN

    def caller(self, environ: wsgi.WSGIEnvironment) -> str:
        """The name of a caller; empty without a valid token."""
        outcome = self._tokens.get().identify(environ)
        return ('' if isinstance(outcome, refusals.Refusal)
                else outcome.name)


class _NoKeystoneError(Exception):
    """No token can be checked.

    :param level: of the line in the log
    """

    def __init__(self, reason: str, level: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.level = level


def _keystone(view: views.View) -> Keystone:
    if not any(views.service_option(view.service, _GROUP, name)
               for name in _MARKS):
        raise _NoKeystoneError(
            f'no Keystone is configured in [{_GROUP}]', logging.INFO)
    try:
        # keystonemiddleware and oslo.policy register options where they
        # read them, in groups that belong to the service.
        return Keystone(reading.Private(view.service))
    except ImportError as exc:
        raise _NoKeystoneError(
            f'tokens are checked with the extra [keystone], which is not '
            f'installed ({exc}): pip install openstack-healthcheck[keystone]',
            logging.WARNING) from exc
    except Exception as exc:
        view.problems.append(
            f'[{_GROUP}]: {redact.Redactor()(exc)} (allowed: what '
            f'keystonemiddleware and oslo.policy can use)')
        raise _NoKeystoneError('its configuration is not valid',
                               logging.ERROR) from exc


def _ranges(ranges: Iterable[str], option: str,
            problems: list[str]) -> access.Ranges:
    return access.Ranges(access.parse_ranges(ranges, problems, option))
