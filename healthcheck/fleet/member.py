# SPDX-License-Identifier: Apache-2.0

"""This node's part in its fleet.

It tells the others what it found, reads what they found, and draws its
conclusions. What others find is evidence, never authority: there is no
leader, no lock and no election, and nothing of this node waits for the store.
If the store is away, its last answer counts until it is older than ``ttl``.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import math
import time
from typing import Protocol

from oslo_log import log as logging

from healthcheck.fleet import majority
from healthcheck.fleet import members
from healthcheck.fleet import pace
from healthcheck.fleet import records
from healthcheck.fleet import scans as scans_module
from healthcheck.probing import policy as policy_module
from healthcheck.reports import fleet
from healthcheck.reports import report

LOG = logging.getLogger(__name__)

LEASE = 15
"""Seconds after which the store forgets a node that gives no sign of life."""

LONGEST = 10.0
"""Seconds between two attempts to reach the store, at most."""


class StoreAway(Exception):
    """The store cannot be used. The text says why, without a secret."""


class Store(Protocol):
    """Where the nodes of a fleet leave their records.

    Every method may take seconds, a minute at worst, and raises StoreAway.
    """

    def write(self, record: bytes) -> None:
        """Replace this node's record."""

    def beat(self) -> None:
        """Give a sign of life; to be called within each third of a lease."""

    def read(self) -> Mapping[str, bytes]:
        """The records of all nodes that are alive, by their keys."""


@dataclasses.dataclass(frozen=True, slots=True)
class Membership:
    """How a node takes part.

    :param group: the name of the fleet
    :param node: the name of this node
    :param version: of this package
    :param policy: of its checks
    :param holds: whether the others may hold a check of this node
    :param needed: of the others
    """

    group: str
    node: str
    version: str
    policy: policy_module.Policy
    holds: bool
    needed: majority.Quorum


class Member:
    """One node. Used by one thread.

    :param scans: results of expensive statements
    :param drained: returns why an operator has taken this node out; empty if
        none has
    :param clock: monotonic seconds, the same for all processes of the host
    :ivar holds: the checks that may fail now
    """

    def __init__(self, membership: Membership, store: Store,
                 scans: scans_module.Scans, drained: Callable[[], str], *,
                 clock: Callable[[], float] = time.monotonic,
                 wall_clock: Callable[[], float] = time.time,
                 uniform: Callable[[float, float], float] = (
                     policy_module.UNIFORM)) -> None:
        policy = membership.policy
        self._membership = membership
        self._store = store
        self._drained = drained
        self._clock = clock
        self._wall_clock = wall_clock
        self._uniform = uniform
        self._ttl = policy.ttl
        self._members = members.Members(membership.node)
        self._majority = majority.Majority(
            membership.needed, policy.fall * policy.retry_interval)
        self._scans = scans
        self.holds: tuple[report.HeldCheck, ...] = ()
        self._sequence = 0
        self._written: fleet.NodeRecord | None = None
        self._shown: fleet.NodeSeen | None = None
        self._wrote_at = self._beat_at = -math.inf
        self._fresh: list[fleet.NodeRecord] = []
        self._state: tuple[str, float | None] = ('', None)
        self._trouble = ''
        self._failures = 0
        self._again_at = -math.inf
        self._found: dict[tuple[str, str, str], bool] = {}
        self._news: frozenset[str] = frozenset()

    def others_differ(self) -> frozenset[str]:
        """The checks of which another node has found something else.

        Each time that it does, this returns it once.
        """
        news, self._news = self._news, frozenset()
        return news

    def begin(self, holds: tuple[report.HeldCheck, ...] = ()) -> None:
        """Begin, or begin again after another process took part.

        :param holds: what that one held; it stays so until the others'
            records count, which takes longer than a hold may be missing
        """
        self._written = self._shown = None
        self._wrote_at = -math.inf
        now = self._clock()
        self.holds = tuple(one for one in holds if now < one.until)
        self._majority.restore({one.name: one.note for one in self.holds})

    def step(self, own: report.Report) -> float:
        """Do what is due; return when to call this again.

        :param own: the last report of this node
        """
        now = self._clock()
        checks = records.checks_of(own, now)
        if now >= self._again_at:
            try:
                self._exchange(own, checks, now)
                self._reached()
            except StoreAway as exc:
                self._lost(str(exc))
        now = self._clock()
        if self._membership.holds:
            self._hold(self._majority.judge(
                records.passed_once(own), checks, self._others(now), now),
                now)
        return max(self._again_at, min(
            self._members.read_at + self._look_for(checks),
            self._wrote_at + self._beat, self._beat_at + LEASE / 3))

    @property
    def _size(self) -> int:
        """The number of nodes, including this one."""
        return len(self._members.heard) + 1

    @property
    def _look(self) -> float:
        """Seconds between two reads of the store."""
        return pace.look(self._size, self._membership.policy)

    @property
    def _beat(self) -> float:
        """Seconds between two records of this node."""
        return pace.beat(self._size, self._membership.policy)

    def _look_for(self, checks: tuple[fleet.NodeCheck, ...]) -> float:
        # While a failure is being confirmed, the others' view decides whether
        # this node goes out.
        return self._look / (2 if any(one.failing for one in checks) else 1)

    def _exchange(self, own: report.Report,
                  checks: tuple[fleet.NodeCheck, ...], now: float) -> None:
        if now >= self._beat_at + LEASE / 3:
            self._store.beat()
            self._beat_at = now
        record = self._record(own, checks, now)
        if self._written is None or now >= self._wrote_at + self._beat or (
                self._told(record) != self._told(self._written)):
            record = dataclasses.replace(record, scans=self._scans.own(now))
            self._store.write(members.dump(record))
            self._written, self._wrote_at = record, now
            # Also while the store is away: it is what the others know.
            self._shown = fleet.NodeSeen(
                dataclasses.replace(record, scans=()), now, True)
        if now >= self._members.read_at + self._look_for(checks):
            found = self._store.read()
            self._members.took(found, self._clock())
            fresh = self._members.fresh(self._look)
            self._scans.took(fresh)
            self._fresh = [one.record for one in fresh]
            self._compare(checks)

    def _record(self, own: report.Report,
                checks: tuple[fleet.NodeCheck, ...],
                now: float) -> fleet.NodeRecord:
        state, reason = records.state_of(
            dataclasses.replace(own, holds=self.holds), self._drained(), now)
        if state != self._state[0]:
            self._state = state, self._wall_clock()
        # Increases for all processes of this host that take part in turn.
        self._sequence = max(self._sequence + 1, int(now * 1000))
        return fleet.NodeRecord(
            self._membership.node, self._membership.version, self._sequence,
            self._beat, state, reason, self._state[1], checks)

    @staticmethod
    def _told(record: fleet.NodeRecord) -> fleet.NodeRecord:
        """What the others should know at once."""
        return dataclasses.replace(record, sequence=0, beat=0.0, scans=())

    def _others(self, now: float) -> list[fleet.NodeRecord] | None:
        """Fresh records of the other nodes; None if the view is too old."""
        if now - self._members.read_at > self._ttl:
            return None
        return self._fresh

    def _compare(self, checks: tuple[fleet.NodeCheck, ...]) -> None:
        """Note what others have found lately and this node has not.

        It probes then. Each change sets off one probe, or a node that fails
        alone would keep all the others probing.
        """
        before, self._found = self._found, {}
        for own in checks:
            for record in self._fresh:
                found = record.check(own) if own.target else None
                if found is None:
                    continue
                key = record.node, own.name, own.target
                self._found[key] = found.failing
                if (before.get(key, found.failing) is not found.failing
                        and own.failing is not found.failing):
                    self._news |= {own.name}

    def _hold(self, notes: Mapping[str, str], now: float) -> None:
        until = self._members.read_at + self._ttl
        before = {one.name: one.note for one in self.holds}
        for name in notes.keys() - before.keys():
            LOG.warning('Healthcheck %(check)s fails%(note)s, so it does not '
                        'take this node out', {'check': name,
                                               'note': notes[name].lower()})
        for name in before.keys() - notes.keys():
            LOG.info('Healthcheck %(check)s is no longer held: a failure '
                     'takes this node out', {'check': name})
        # Not published at each read of the store, except for the last.
        step = 0.0 if self._trouble else self._ttl / 4
        if notes != before or any(until - one.until > step
                                  for one in self.holds):
            self.holds = tuple(report.HeldCheck(name, note, until)
                               for name, note in sorted(notes.items()))

    @property
    def view(self) -> fleet.FleetView:
        """What is known of all nodes, for admins."""
        slack = self._look
        seen = [fleet.NodeSeen(
            dataclasses.replace(one.record, scans=()),
            max(0.0, one.changed_at), self._members.is_fresh(one, slack))
            for one in self._members.heard]
        if self._shown is not None:
            seen.append(self._shown)
        read_at = self._members.read_at
        return fleet.FleetView(
            self._membership.group, self._membership.node,
            read_at if math.isfinite(read_at) else None, self._trouble,
            tuple(sorted(seen, key=lambda one: one.record.node)))

    def _reached(self) -> None:
        if self._trouble:
            LOG.info('Healthcheck: the store of the fleet can be used again')
        self._trouble, self._failures = '', 0

    def _lost(self, why: str) -> None:
        if not self._trouble:
            LOG.warning('Healthcheck: the store of the fleet cannot be used, '
                        'so this node soon judges alone: %s', why)
        self._trouble = why
        # It may have forgotten this node, and all nodes come back at once.
        self._beat_at, self._written = -math.inf, None
        self._failures += 1
        self._again_at = self._clock() + self._uniform(0.5, 1.5) * min(
            LONGEST, max(self._look * 2 ** min(self._failures - 1, 10),
                         pace.rejoin(self._size)))
