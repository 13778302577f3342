# SPDX-License-Identifier: Apache-2.0

"""From a section's options to a node's part in its fleet."""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import hashlib
import re
import socket

from healthcheck.answers import holding
from healthcheck.config import views
from healthcheck import exceptions
from healthcheck.fleet import majority
from healthcheck.fleet import member
from healthcheck.fleet import pace
from healthcheck.fleet import scans as scans_module
from healthcheck.fleet import thread
from healthcheck.fleet import tooz_store
from healthcheck.host import group as group_module
from healthcheck.probing import policy as policy_module
from healthcheck.reports import release

_NAME = re.compile(r'[A-Za-z0-9_.-]{1,100}')


@dataclasses.dataclass(frozen=True, slots=True)
class Joining:
    """How the nodes of a section join their fleet.

    :param url: of the store
    :param membership: how they take part
    """

    url: str = dataclasses.field(repr=False)
    membership: member.Membership

    def make_scans(self) -> scans_module.Scans:
        """The results of expensive statements, for one process.

        A result is waited for as long as two intervals, and the time that it
        is on its way. When it is taken, it still holds until the next visit.
        """
        policy = self.membership.policy
        return scans_module.Scans(self.membership.node, min(
            2 * policy.interval + pace.BEAT + pace.LOOK,
            policy.ttl - policy.freshness))

    def make(self, group: group_module.Group, scans: scans_module.Scans,
             drained: Callable[[], str]) -> thread.FleetThread:
        """The part of one process, in case it probes for the host.

        :param group: the processes that share a prober
        :param drained: see :class:`member.Member`
        """
        # Two services of a host may be in one fleet. The digest of a digest
        # that contains a random number tells nothing of their secrets.
        key = hashlib.blake2b(group.identity.encode(), digest_size=4)
        node = self.membership.node
        return thread.FleetThread(lambda: member.Member(
            self.membership, tooz_store.ToozStore(
                self.url, self.membership.group, f'{node}.{key.hexdigest()}'),
            scans, drained))


def of(view: views.View, policy: policy_module.Policy) -> Joining | None:
    """What a section configures; None without a fleet.

    Mistakes go to the view's ``problems``.
    """
    settings, problems = view.settings, view.problems
    holds = settings.shared_failure == holding.MAJORITY_STAYS
    url = settings.fleet_url
    if not url:
        if holds:
            problems.append(
                f'shared_failure = {holding.MAJORITY_STAYS}: what other nodes '
                f'find is not known (allowed: set fleet_url to a store that '
                f'all nodes share)')
        return None
    if settings.sharing != group_module.HOST:
        problems.append(
            f'sharing = {settings.sharing}: each process would be a node of '
            f'the fleet (allowed with fleet_url: {group_module.HOST})')
    name = _name(view)
    if not name:
        problems.append('fleet_name: it is not known which service this is '
                        '(allowed: set fleet_name, such as nova)')
    for option, value in (('fleet_name', name),
                          ('fleet_node', settings.fleet_node)):
        if value and not _NAME.fullmatch(value):
            problems.append(f'{option} = {value!r:.120}: not a name (allowed: '
                            f'1 to 100 letters, digits, dots, dashes and '
                            f'underscores)')
    try:
        tooz_store.validate(url)
    except exceptions.ConfigError as exc:
        problems.extend(exc.problems)
    return Joining(url, member.Membership(
        name, settings.fleet_node or socket.gethostname(),
        release.version(), policy, holds,
        majority.quorum(settings.fleet_quorum)))


def _name(view: views.View) -> str:
    """The name of the fleet: a service, and its region if that is known."""
    region = views.service_option(view, 'keystone_authtoken', 'region_name')
    return view.settings.fleet_name or '.'.join(
        filter(None, (view.project, region)))
