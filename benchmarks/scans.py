# SPDX-License-Identifier: Apache-2.0

"""How many statements a fleet needs to count the services of all cells.

Simulated time, and a store that answers at once: what decides is when nodes
write and read their records, and who owns which scan. That is the real code.
"""

from __future__ import annotations

import dataclasses
import math
import random

from healthcheck.fleet import joining
from healthcheck.fleet import majority
from healthcheck.fleet import member as member_module
from healthcheck.fleet import scans as scans_module
from healthcheck.host import codec
from healthcheck.plugins import heartbeats
from healthcheck.probing import policy as policy_module
from healthcheck.probing import simulated
from healthcheck.reports import report
from tests.unit import fleets

POLICY = policy_module.Policy()

SIZES = ((1, 60), (10, 60), (100, 60))
"""Hosts and cells."""

# Of a cell of medium size.
_VALUE = codec.dump(heartbeats.Found((
    heartbeats.Kind('nova-compute', 90, 10),
    heartbeats.Kind('nova-conductor', 2)))).decode()


@dataclasses.dataclass(frozen=True)
class Load:
    """What a fleet needs.

    :param statements: of all hosts in an interval, on average
    :param oldest: age of the oldest result that a host took, in seconds
    :param largest: bytes of the largest record
    """

    hosts: int
    cells: int
    statements: float
    oldest: float
    largest: int

    @property
    def ratio(self) -> float:
        """Statements, in those that one host would need."""
        return self.statements / self.cells


class Host:
    """A node of a simulated fleet.

    :ivar scanned: when it made a scan, and of which cell
    :ivar oldest: age of the oldest result that it took, in seconds
    :ivar alive: set to False to kill it
    """

    def __init__(self, fleet: Fleet, name: str) -> None:
        membership = member_module.Membership(
            'nova', name, '1.0', fleet.policy, False, majority.quorum('1'))
        self._fleet = fleet
        self.name = name
        self._scans = joining.Joining('', membership).make_scans()
        clock = fleet.timeline.clock
        self._member = member_module.Member(
            membership, fleets.Handle(fleet.records, name), self._scans,
            lambda: '',
            clock=clock, wall_clock=lambda: 1e9 + clock.now,
            uniform=fleet.random.uniform)
        self._report = report.Report((report.CheckReport(
            'services', report.Status.PASS, report.OK, '', clock.now,
            math.inf, 1e9, target='cells'),))
        self.scanned: list[tuple[float, str]] = []
        self.oldest = 0.0
        self.alive = True
        # The fleet was started within a minute, not in step.
        at = clock.now + fleet.random.uniform(0, fleet.policy.interval)
        fleet.timeline.at(at, self._step)
        for cell in fleet.cells:
            fleet.timeline.at(
                at + fleet.random.uniform(0, fleet.policy.interval),
                lambda cell=cell: self._visit(cell))  # type: ignore[misc]

    def _step(self) -> None:
        if self.alive:
            self._fleet.timeline.at(self._member.step(self._report),
                                    self._step)

    def _visit(self, cell: str) -> None:
        if not self.alive:
            return
        now, policy = self._fleet.timeline.clock.now, self._fleet.policy
        subject = scans_module.Subject('services', 'cells', cell)
        taken = self._scans.take(subject, now)
        if taken is None:
            self.scanned.append((now, cell))
            self._scans.put(subject, _VALUE, now)
        else:
            self.oldest = max(self.oldest, now - taken.at)
        spread = self._fleet.random.uniform(-policy.jitter, policy.jitter)
        self._fleet.timeline.at(now + policy.interval * (1 + spread),
                                lambda: self._visit(cell))


class Fleet:
    """Hosts that all look at the same cells, and the time.

    :ivar records: what the store holds
    """

    def __init__(self, hosts: int, cells: int,
                 policy: policy_module.Policy = POLICY) -> None:
        self.policy = policy
        self.random = random.Random(1)
        self.timeline = simulated.Timeline(simulated.Clock())
        self.records = fleets.Records(self.timeline.clock)
        self.cells = [f'{cell:016x}' for cell in range(cells)]
        self.hosts = [Host(self, f'api-{number}.example.org')
                      for number in range(hosts)]

    def run(self, intervals: float) -> float:
        """Let time pass; return when that began."""
        began_at = self.timeline.clock.now
        self.timeline.run(lambda: math.inf,
                          began_at + intervals * self.policy.interval)
        return began_at

    def scanned(self, since: float) -> list[str]:
        """The cells of all scans since then."""
        return [cell for host in self.hosts for at, cell in host.scanned
                if at >= since]


def measure(hosts: int, cells: int, intervals: int = 6) -> Load:
    fleet = Fleet(hosts, cells)
    fleet.run(4)
    for host in fleet.hosts:
        host.oldest = 0.0
    since = fleet.run(intervals)
    return Load(hosts, cells, len(fleet.scanned(since)) / intervals,
                max(host.oldest for host in fleet.hosts),
                max(map(len, fleet.records.read().values())))


if __name__ == '__main__':
    for size in SIZES:
        print(measure(*size))
