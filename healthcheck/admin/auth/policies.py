# SPDX-License-Identifier: Apache-2.0

"""Who may do what: our rules for oslo.policy.

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
# Not a project's reader: every member of a project is one.
ADMIN_OR_SYSTEM_READER = 'role:admin or (role:reader and system_scope:all)'

# No domain: its admin manages users, not nodes.
_SCOPES = ['system', 'project']


def list_rules() -> list[policy.RuleDefault]:
    """The rules, for an enforcer and for oslo.policy's generators."""
    return [
        policy.DocumentedRuleDefault(
            name=PREFIX + 'detail',
            check_str=ADMIN_OR_SYSTEM_READER, scope_types=_SCOPES,
            description='Show all that is known about the checks of a node.',
            operations=[{'path': '/healthcheck/detail', 'method': 'GET'}]),
        policy.DocumentedRuleDefault(
            name=PREFIX + 'refresh',
            check_str=ADMIN, scope_types=_SCOPES,
            description='Probe now and show the result.',
            operations=[{'path': '/healthcheck/refresh', 'method': 'POST'}]),
        policy.DocumentedRuleDefault(
            name=PREFIX + 'metrics',
            check_str=ADMIN_OR_SYSTEM_READER, scope_types=_SCOPES,
            description='Show the metrics of the checks of a node.',
            operations=[{'path': '/healthcheck/metrics', 'method': 'GET'}]),
        policy.DocumentedRuleDefault(
            name=PREFIX + 'drain',
            check_str=ADMIN, scope_types=_SCOPES,
            description='Take a node out of the balancer, and put it back.',
            operations=[{'path': '/healthcheck/drain', 'method': 'POST'},
                        {'path': '/healthcheck/drain',
                         'method': 'DELETE'}]),
        policy.DocumentedRuleDefault(
            name=PREFIX + 'fleet',
            check_str=ADMIN_OR_SYSTEM_READER, scope_types=_SCOPES,
            description='Show all nodes of the fleet of a node.',
            operations=[{'path': '/healthcheck/fleet', 'method': 'GET'}]),
    ]


def make_enforcer(conf: cfg.ConfigOpts) -> policy.Enforcer:
    """An enforcer of our rules and of the policy file's changes to them.

    :param conf: where oslo.policy finds the file and registers its options
    """
    enforcer = policy.Enforcer(conf)
    # The file is the service's, so its other rules use the service's own.
    enforcer.skip_undefined_check = True
    enforcer.register_defaults(list_rules())
    return enforcer


def get_enforcer() -> policy.Enforcer:
    """The enforcer for oslo.policy's command line tools."""
    return make_enforcer(cfg.CONF)


class Rules:
    """The policy of one process. The file is read again when it changes."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._enforcer = make_enforcer(conf)
        # An enforcer that reads its file again has none of our rules for a
        # moment, and would refuse another thread.
        self._lock = threading.Lock()

    def allows(self, rule: str, credentials: Mapping[str, Any]) -> bool:
        """Whether ``rule``, without its prefix, allows this caller.

        :raises Exception: of many kinds, if the policy file is not valid
        """
        with self._lock:
            return bool(self._enforcer.authorize(
                PREFIX + rule, {}, dict(credentials)))
