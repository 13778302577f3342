# SPDX-License-Identifier: Apache-2.0

"""Whether this host is at fault rather than its backends.

Unrelated backends rarely fail at the same moment. When they seem to, the
likelier cause is this host's network, DNS or descriptors. That is a hint for
people: it changes no status.
"""

from __future__ import annotations

from oslo_log import log as logging

from healthcheck.probing import target as target_module
from healthcheck.reports import report

LOG = logging.getLogger(__name__)

MANY = 3
"""Number of failing targets, no two of them on the same host, that raise the
doubt."""

HINT = 'THIS HOST?'


class Doubt:
    """The targets that failed since any target last answered.

    Owned by the scheduler.

    :ivar count: number of failing targets that share no host; 0 if they are
        fewer than :data:`MANY`
    """

    def __init__(self) -> None:
        self._failed: dict[frozenset[str], str] = {}
        self.count = 0

    def took(self, target: target_module.Target,
             result: report.Result | None) -> None:
        """A target was visited, or did not answer in time."""
        if not target.hosts or result is None:
            return  # it is on this host, or its host is unknown
        if result.status is not report.Status.FAIL or target.answered(result):
            if self.count:
                LOG.info('Healthcheck: %s answers, so the fault is not this '
                         "host's, or no longer", target.name)
            self._failed.clear()
            self.count = 0
            return
        self._failed[target.hosts] = result.reason
        self._weigh()

    @property
    def holds(self) -> bool:
        """Whether this host is probably at fault."""
        return bool(self.count)

    def hint(self, detail: str) -> str:
        """The detail of a failure, with the hint if there is one."""
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
                'Healthcheck: %(hint)s %(count)d targets that have no host in '
                'common have failed (%(reasons)s), and none has answered '
                'since. Check the network, the DNS and the descriptors of '
                'this host. Until one answers, further failures are not '
                'logged one by one.',
                {'hint': HINT, 'count': count,
                 'reasons': ', '.join(sorted(set(self._failed.values())))})
        self.count = count
