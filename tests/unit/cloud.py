# SPDX-License-Identifier: Apache-2.0

"""A cloud of cells in simulated time: no servers, no threads, no waiting."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import math
import random
import types
from typing import Any, cast

from healthcheck.cells import cell as cell_module
from healthcheck.cells import inventory as inventory_module
from healthcheck.cells import mappings
from healthcheck import exceptions
from healthcheck.probing import check
from healthcheck.probing import policy as policy_module
from healthcheck.probing import pool
from healthcheck.probing import scheduler
from healthcheck.probing import target as target_module
from healthcheck.reports import report
from healthcheck.targets import dialects
from tests.unit import world

POLICY = policy_module.Policy()

# Characters that a careless log, or a careless quote, would show.
PASSWORD = 's3sam/e@{0}%25:#?'

API = 'mysql://nova:s3same@api/nova_api'


def uuid(number: int) -> str:
    return f'00000000-0000-0000-0000-{number:012}'


def row(number: int, name: str | None = None, **columns: Any) -> (
        tuple[Any, ...]):
    """A row of cell_mappings; number 0 is cell0."""
    values = {'transport_url': f'rabbit://nova:s3same@q{number}/',
              'database_connection': f'mysql://nova:s3same@d{number}/nova',
              'disabled': False, **columns}
    return (uuid(number), name or f'cell{number}', values['transport_url'],
            values['database_connection'], values['disabled'])


@dataclasses.dataclass(frozen=True, slots=True)
class Sources(inventory_module.Sources):
    """Those of a simulated cloud."""

    cloud: Cloud

    def database(self, url: str, option: str) -> Target:
        return Target(self.cloud, url)

    def queue(self, url: str, option: str) -> Target:
        return Target(self.cloud, url)


class Target(target_module.Target):
    """Answers as the cloud says, by its URL."""

    def __init__(self, cloud: Cloud, url: str) -> None:
        if 'unparsable' in url:
            raise exceptions.ConfigError(['option: not a URL'])
        self.cloud = cloud
        self.url = self.name = url
        self.visits: list[float] = []
        self.closed = 0
        cloud.targets.append(self)

    @property
    def key(self) -> str:
        return self.url

    def probe(self, questions: Sequence[target_module.Question] = (),
              ) -> target_module.Findings:
        cloud = self.cloud
        self.visits.append(cloud.now)
        result, takes = cloud.answer(self.url)(cloud.now)
        connection = types.SimpleNamespace(
            execute=lambda statement: cloud.rows, url=self.url)
        found = target_module.Findings(result, {
            question: question.ask(connection) for question in questions
            if result.status is not report.Status.FAIL})
        cloud.spend(takes)
        return found

    def close(self) -> None:
        self.closed += 1


class Cloud(world.Timeline):
    """A cloud whose cells a scheduler looks at, and the time.

    :param queues: whether message queues are looked at
    :param count: what is asked of each cell's database
    :ivar rows: of cell_mappings
    :ivar answers: by the piece of a URL that stands for a server, what it
        does, see ``world.Behaviour``
    :ivar targets: all that were made, those that are not used too
    :ivar resting: whether another process probes
    :ivar judged: (time, what was known) each time that it was judged
    :ivar reports: (time, report) of all that was published
    """

    def __init__(self, rows: list[tuple[Any, ...]], *,
                 policy: policy_module.Policy = POLICY, workers: int = 16,
                 queues: bool = True,
                 count: target_module.Question | None = None,
                 templates: mappings.Templates = mappings.Templates(
                     None, None)) -> None:
        super().__init__(1000.0)
        self.rows = rows
        self.answers: dict[str, world.Behaviour] = {}
        self.targets: list[Target] = []
        self.uniform = random.Random(1).uniform
        self.judged: list[tuple[float, inventory_module.InventoryState]] = []
        self.reports: list[tuple[float, report.Report]] = []
        self.inventory = inventory_module.Inventory(
            Sources(None, API, 'o', templates, dialects.Tolerance(), policy,
                    4.0, self))
        self.inventory.queues = queues
        self.inventory.count = count and (lambda cell: count)
        self.check = check.Summary('cells', self.inventory, self._judge,
                                   policy, inherit=self.inventory.inherit)
        self._policy, self._workers = policy, workers
        self._wakes_at = math.inf
        self.resting = False
        self.schedule(self.check)

    def schedule(self, *checks: check.Check) -> None:
        """Have these checks made, and no others."""
        self.scheduler = scheduler.Scheduler(
            checks, self._policy,
            lambda published: self.reports.append((self.now, published)),
            workers=self._workers, clock=self.clock,
            wall_clock=self.wall_clock,
            uniform=lambda low, high: self.uniform(low, high),
            pool=cast(pool.Pool, self))

    def clock(self) -> float:
        return self.now

    def wall_clock(self) -> float:
        return 1e9 + self.now

    def step(self) -> float:
        if self.resting:
            self.scheduler.rest()
            return math.inf
        self.scheduler._excuse(self.now - self._wakes_at)
        self.scheduler.take()
        self._wakes_at = self.scheduler.step()
        return self._wakes_at

    def go_on(self) -> None:
        """Probe again, after a rest."""
        self.resting = False
        self._wakes_at = math.inf
        self.scheduler.run(lambda: False)

    def pass_by(self, seconds: float) -> None:
        """Let so much time pass."""
        self.run(self.now + seconds)

    def state(self) -> inventory_module.InventoryState:
        """What is known now."""
        return self.inventory.state(self.now)

    def cell(self, name: str) -> cell_module.CellState:
        """What is known now of one cell."""
        return {one.component.name: one for one in self.state().cells}[name]

    def _judge(self, now: float) -> tuple[report.Result, bool]:
        state = self.inventory.state(now)
        self.judged.append((now, state))
        return dataclasses.replace(report.Result.ok(), components=tuple(
            one.component for one in state.cells), latency=0.0), True

    def answer(self, url: str) -> world.Behaviour:
        for piece, behaviour in self.answers.items():
            if piece in url:
                return behaviour
        return lambda now: (world.OK, 0.02)

    def target(self, piece: str) -> Target:
        """The last one that was made for it."""
        return [one for one in self.targets if piece in one.url][-1]


def refused(now: float) -> tuple[report.Result, float | None]:
    return world.REFUSED, 0.02


def slow(now: float) -> tuple[report.Result, float | None]:
    return world.OK, 2.0


def frozen(now: float) -> tuple[report.Result, float | None]:
    """A driver that comes back by itself, at its bound."""
    return report.Result.failed('NO ANSWER', 'no answer for 4.0 s'), 4.0


def never(now: float) -> tuple[report.Result, float | None]:
    return world.OK, None
