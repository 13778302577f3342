# SPDX-License-Identifier: Apache-2.0

"""Who has the right to what: the rules, in terms of oslo.policy.

Imported only where tokens are checked: it needs the extra ``[keystone]``.
"""

from __future__ import annotations

from collections.abc import Mapping
import threading
from typing import Any

from oslo_config import cfg
from oslo_policy import policy

PREFIX = 'healthcheck:'

ADMIN = 'role:admin'
# A project's reader must not do: whoever has any role in a project reads it.
ADMIN_OR_SYSTEM_READER = 'role:admin or (role:reader and system_scope:all)'

# The admin of a domain looks after its users, and not after nodes.
_SCOPES = ['system', 'project']


def list_rules() -> list[policy.RuleDefault]:
    """The rules, for an enforcer and for oslo.policy's generators."""
    return [
        policy.DocumentedRuleDefault(
            name=PREFIX + 'detail',
            check_str=ADMIN_OR_SYSTEM_READER, scope_types=_SCOPES,
            description='Show everything that is known about the checks of '
                        'a node.',
            operations=[{'path': '/healthcheck/detail', 'method': 'GET'}]),
        policy.DocumentedRuleDefault(
            name=PREFIX + 'refresh',
            check_str=ADMIN, scope_types=_SCOPES,
            description='Probe now, and show what came of it.',
            operations=[{'path': '/healthcheck/refresh', 'method': 'POST'}]),
        policy.DocumentedRuleDefault(
            name=PREFIX + 'metrics',
            check_str=ADMIN_OR_SYSTEM_READER, scope_types=_SCOPES,
            description='Show the metrics of the checks of a node.',
            operations=[{'path': '/healthcheck/metrics', 'method': 'GET'}]),
    ]


def make_enforcer(conf: cfg.ConfigOpts) -> policy.Enforcer:
    """An enforcer of our rules, and of what the policy file makes of them.

    :param conf: where oslo.policy finds the file; it registers its options
        there
    """
    enforcer = policy.Enforcer(conf)
    # The file is the service's: its other rules build on the service's own.
    enforcer.skip_undefined_check = True
    enforcer.register_defaults(list_rules())
    return enforcer


def get_enforcer() -> policy.Enforcer:
    """What oslo.policy's command line tools ask for."""
    return make_enforcer(cfg.CONF)


class Rules:
    """The policy of one process. The file is read again when it changes."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._enforcer = make_enforcer(conf)
        # While an enforcer reads its file again, it has no rules of ours for
        # a moment, and another thread would be refused.
        self._lock = threading.Lock()

    def allows(self, rule: str, credentials: Mapping[str, Any]) -> bool:
        """Whether ``rule``, without its prefix, lets somebody pass.

        :raises Exception: of many kinds, if the policy file is not valid
        """
        with self._lock:
            return bool(self._enforcer.authorize(
                PREFIX + rule, {}, dict(credentials)))
