# SPDX-License-Identifier: Apache-2.0

"""Fleets in simulated time: real schedulers and members, a scripted store."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import math
import random
from unittest import mock

from healthcheck.answers import holding
from healthcheck.fleet import majority
from healthcheck.fleet import member as member_module
from healthcheck.fleet import members
from healthcheck.fleet import scans
from healthcheck.probing import check
from healthcheck.probing import policy as policy_module
from healthcheck.probing import scheduler
from healthcheck.reports import report
from tests.unit import world

Status = report.Status

_LOAD = members.load

State = tuple[report.Result, float | None]

UP: State = (world.OK, 0.01)
REFUSED = (world.REFUSED, 0.01)
HANGS = (report.Result.failed('NO ANSWER'), 4.0)
NEVER = (world.OK, None)


class Records:
    """What a store keeps, for as long as its nodes give signs of life.

    :ivar away: whether no node reaches it
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.away = False
        self._records: dict[str, bytes] = {}
        self._until: dict[str, float] = {}
        self.reads = self.records_read = self.writes = 0
        self.written = 0

    def beat(self, key: str) -> None:
        self._until[key] = self._clock() + member_module.LEASE

    def write(self, key: str, record: bytes) -> None:
        self.beat(key)
        self._records[key] = record
        self.writes += 1
        self.written += len(record)

    def read(self) -> Mapping[str, bytes]:
        now = self._clock()
        found = {key: record for key, record in self._records.items()
                 if now < self._until[key]}
        self.reads += 1
        self.records_read += len(found)
        return found

    def forget(self, key: str) -> None:
        """Drop the record of one node."""
        del self._records[key], self._until[key]

    def keep(self, key: str) -> None:
        """Keep the record of one node although it is dead."""
        self._until[key] = math.inf

    @property
    def keys(self) -> list[str]:
        """Of all that is kept."""
        return list(self._records)

    def empty(self) -> None:
        """It was restarted."""
        self._records, self._until = {}, {}


class Handle:
    """A node's way to the store.

    :ivar cut: whether it is cut
    """

    def __init__(self, records: Records, key: str) -> None:
        self._records = records
        self._key = key
        self.cut = False
        self.reached_at = -math.inf

    def beat(self) -> None:
        self._reach().beat(self._key)

    def write(self, record: bytes) -> None:
        self._reach().write(self._key, record)

    def read(self) -> Mapping[str, bytes]:
        found = self._reach().read()
        self.reached_at = self._records._clock()
        return found

    def _reach(self) -> Records:
        if self.cut or self._records.away:
            raise member_module.StoreAway('it is away')
        return self._records


class Shared(world.Backend):
    """A node's way to what all nodes share.

    :ivar state: UP, REFUSED, HANGS (its driver gives up) or NEVER (does not)
    """

    hosts = frozenset(('db.example.org',))
    place = 'mysql db.example.org 3306 nova'

    def __init__(self, fleet: world.Timeline) -> None:
        super().__init__('database', lambda now: self.state)
        self.state = UP
        self.world = fleet


class Node:
    """One node: a scheduler, and its part in the fleet.

    :ivar statuses: (time, status) at each change, as balancers see it
    :ivar drained: why an operator has taken it out
    """

    def __init__(self, fleet: Fleet, name: str,
                 policy: policy_module.Policy, quorum: str,
                 uniform: Callable[[float, float], float]) -> None:
        self.name = name
        self._fleet = fleet
        self.database = Shared(fleet)
        self.store = Handle(fleet.records, name)
        self.drained = ''
        self.reports: list[report.Report] = []
        self._found: report.Report | None = None
        self.scheduler = scheduler.Scheduler(
            [check.Single('database', self.database, policy,
                          label='DATABASE')], policy, self._publish,
            clock=lambda: fleet.now, wall_clock=lambda: 1e9 + fleet.now,
            uniform=uniform, pool=Pool(self, fleet))  # type: ignore[arg-type]
        self.member = member_module.Member(
            member_module.Membership('nova', name, '1', policy, True,
                                     majority.quorum(quorum)),
            self.store, scans.Scans(name, 20), lambda: self.drained,
            clock=lambda: fleet.now, wall_clock=lambda: 1e9 + fleet.now,
            uniform=uniform)
        self.statuses: list[tuple[float, Status | None]] = []
        self._member_at = fleet.now
        self._at = math.inf
        self.wake(fleet.now + uniform(0, policy.interval))

    def _publish(self, found: report.Report) -> None:
        self._found = found
        self._member_at = self._fleet.now

    def wake(self, at: float) -> None:
        """Step at that time, if not before."""
        if at < self._at:
            self._at = at
            self._fleet.at(at, lambda: self._step(at))

    def _step(self, at: float) -> None:
        if at != self._at:
            return  # it was woken earlier
        self._at = math.inf
        now = self._fleet.now
        self.scheduler.take()
        wake_at = self.scheduler.step()
        if self._found is not None and now >= self._member_at:
            self._member_at = self.member.step(self._found)
            for name in self.member.others_differ():
                self.scheduler.suspects.others_differ(name, now)
            wake_at = self.scheduler.step()
        status = self.status
        if not self.statuses or self.statuses[-1][1] is not status:
            self.statuses.append((now, status))
        self.wake(max(now + 1e-3, min(wake_at, self._member_at)))

    @property
    def found(self) -> report.Report | None:
        """The report as it is published."""
        return None if self._found is None else dataclasses.replace(
            self._found, holds=self.member.holds)

    @property
    def held(self) -> Mapping[str, str]:
        """What does not take it out now, by the notes."""
        return holding.held(self.found, self._fleet.now)

    @property
    def status(self) -> Status | None:
        """As a balancer sees it, but for drains."""
        found = self.found
        if found is None:
            return None
        status, judged = report.judge([
            one.verdict(self._fleet.now) for one in found.checks])
        held = holding.hold(judged, self.held)
        return status if held is None else report.judge(held)[0]

    @property
    def lines(self) -> list[str]:
        """Of its checks, for anonymous callers."""
        assert self.found is not None
        judged = [one.verdict(self._fleet.now) for one in self.found.checks]
        return [one.line for one in holding.hold(judged, self.held) or judged]

    def out(self, since: float = 0.0) -> bool:
        """Whether it has been out since then."""
        before = [status for at, status in self.statuses if at <= since]
        # A hold ends by itself, also between two steps.
        last = before[-1:] if since < self._fleet.now else []
        return Status.FAIL in (self.status, *last, *(
            status for at, status in self.statuses if at > since))

    def out_spans(self, since: float,
                  until: float) -> list[tuple[float, float]]:
        """When it was out between these times: (from, to) of each."""
        ends = [at for at, _ in self.statuses[1:]] + [until]
        return [(max(at, since), min(end, until))
                for (at, status), end in zip(self.statuses, ends)
                if status is Status.FAIL and end > since and at < until]


class Pool:
    """Runs a node's visits, and wakes the node when one is over."""

    size = 0

    def __init__(self, node: Node, fleet: Fleet) -> None:
        self._node = node
        self._fleet = fleet

    def submit(self, act: Callable[[], object],
               done: Callable[..., None]) -> None:
        def over(found: object) -> None:
            done(found)
            self._node.wake(self._fleet.now)
        self._fleet.submit(act, over)


class Fleet(world.Timeline):
    """Nodes that share a database and a store."""

    def __init__(self, nodes: int, policy: policy_module.Policy, *,
                 seed: int = 0, quorum: str = '100%') -> None:
        super().__init__(1000.0)
        self._loaded: dict[bytes, members.NodeRecord] = {}
        self.records = Records(lambda: self.now)
        generator = random.Random(seed)
        self.nodes = [Node(self, f'n{number}', policy, quorum,
                           generator.uniform) for number in range(nodes)]

    def step(self) -> float:
        return math.inf

    def go_on(self, seconds: float) -> None:
        # All nodes read the same records; it is enough to do it once.
        with mock.patch.object(members, 'load', self._load):
            self.run(self.now + seconds)

    def _load(self, data: bytes, before: object = None,
              ) -> members.NodeRecord:
        found = self._loaded.get(data)
        if found is None:
            found = self._loaded[data] = _LOAD(data)
        return found

    def database(self, state: State) -> None:
        """The one database is in that state, for all nodes."""
        for node in self.nodes:
            node.database.state = state
