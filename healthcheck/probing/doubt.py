# SPDX-License-Identifier: Apache-2.0

"""Whether it is this host that is at fault, and not its backends.

Backends that have nothing in common do not break in the same moment. When
they do, this host's network, its DNS or its descriptors are likelier. That is
a hint for people: it changes no status.
"""

from __future__ import annotations

from oslo_log import log as logging

from healthcheck.probing import target as target_module
from healthcheck.reports import report

LOG = logging.getLogger(__name__)

MANY = 3
"""How many targets have to fail, none of them on a host of another."""

HINT = 'THIS HOST?'


class Doubt:
    """What failed since any target answered. Owned by the scheduler.

    :ivar count: how many targets that share no host fail, if they are many;
        else 0
    """

    def __init__(self) -> None:
        self._failed: dict[frozenset[str], str] = {}
        self.count = 0

    def took(self, target: target_module.Target,
             result: report.Result | None) -> None:
        """A target was visited, or did not answer in time."""
        if not target.hosts or result is None:
            return  # it is on this host, or it is not known where it is
        if result.status is not report.Status.FAIL or target.answered(result):
            if self.count:
                LOG.info('Healthcheck: %s answers; it is not this host that '
                         'is at fault, or no longer', target.name)
            self._failed.clear()
            self.count = 0
            return
        self._failed[target.hosts] = result.reason
        self._weigh()

    @property
    def holds(self) -> bool:
        """Whether this host is likelier to be at fault."""
        return bool(self.count)

    def hint(self, detail: str) -> str:
        """The detail of something that fails, with what is in doubt."""
        if not self.count:
            return detail
        return (f'{HINT} {self.count} targets that have no host in common '
                f'fail; {detail}')

    def _weigh(self) -> None:
        hosts: set[str] = set()
        count = 0
        for group in self._failed:
            if hosts.isdisjoint(group):
                hosts |= group
                count += 1
        if count < MANY:
            return
        if not self.count:
            LOG.warning(
                'Healthcheck: %(hint)s No target has answered since %(count)d '
                'failed that have no host in common (%(reasons)s). Look at '
                'the network, the DNS and the descriptors of this host. What '
                'else fails meanwhile is not logged one by one.',
                {'hint': HINT, 'count': count,
                 'reasons': ', '.join(sorted(set(self._failed.values())))})
        self.count = count
