# SPDX-License-Identifier: Apache-2.0

"""A cloud of cells in simulated time: no servers, no threads, no waiting."""

from __future__ import annotations

from collections.abc import Callable
import functools
import heapq
import itertools
import math
import queue
import random
import threading
import types
from typing import Any

import pytest

from healthcheck.cells import fleet as fleet_module
from healthcheck.cells import look as look_module
from healthcheck.cells import mappings
from healthcheck.cells import watch as watch_module
from healthcheck import exceptions
from healthcheck.probing import check
from healthcheck.reports import report
from healthcheck.targets import connected
from healthcheck.targets import dialects
from tests.unit import world

POLICY = check.Policy()

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


class Target(connected.Connected):
    """Answers as the cloud says, by its URL."""

    def __init__(self, cloud: Cloud, url: str) -> None:
        super().__init__(4.0)
        if 'unparsable' in url:
            raise exceptions.ConfigError(['option: not a URL'])
        self.cloud = cloud
        self.url = url
        self.visits: list[float] = []
        self.closed = 0
        self.also: Callable[[Any], None] | None = None
        cloud.targets.append(self)

    @property
    def connected(self) -> bool:
        return False

    def ask(self) -> report.Result:
        self.visits.append(self.cloud.now)
        result, took = self.cloud.answer(self.url)(self.cloud.now)
        self.cloud.now += math.inf if took is None else took
        if self.also and result.status is not report.Status.FAIL:
            self.also(types.SimpleNamespace(
                execute=lambda statement: self.cloud.rows, url=self.url))
        return result

    def drop(self) -> None:
        self.closed += 1

    def reason(self, exc: BaseException) -> str:
        return 'FAILED'

    def describe(self, exc: BaseException) -> str:
        return f'{type(exc).__name__}: {exc}'


class Cloud:
    """What a watch looks at, and the time.

    :ivar rows: of cell_mappings
    :ivar answers: by the piece of a URL that stands for a server, what it
        does, see ``world.Behaviour``
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch,
                 rows: list[tuple[Any, ...]]) -> None:
        self.now = 1000.0
        self.rows = rows
        self.answers: dict[str, world.Behaviour] = {}
        self.targets: list[Target] = []
        self.uniform = random.Random(1).uniform
        here = self

        class Database(Target):
            def __init__(self, url: str, **kwargs: Any) -> None:
                super().__init__(here, url)

        class Queue(Target):
            def __init__(self, service: Any, url: str,
                         **kwargs: Any) -> None:
                super().__init__(here, url)
        monkeypatch.setattr(fleet_module, 'database_target',
                            types.SimpleNamespace(DatabaseTarget=Database))
        monkeypatch.setattr(fleet_module, 'queue_target',
                            types.SimpleNamespace(QueueTarget=Queue))
        monkeypatch.setattr('healthcheck.probing.monitor.UNIFORM',
                            lambda low, high: self.uniform(low, high))

    def clock(self) -> float:
        return self.now

    def wall_clock(self) -> float:
        return 1e9 + self.now

    def sources(self, policy: check.Policy = POLICY,
                templates: mappings.Templates = mappings.Templates(
                    None, None)) -> fleet_module.Sources:
        return fleet_module.Sources(
            None, API, 'o', templates, dialects.Tolerance(), policy, 4.0)

    def fleet(self, **kwargs: Any) -> fleet_module.Fleet:
        return fleet_module.Fleet(self.sources(**kwargs), self.clock,
                                  self.wall_clock)

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


class Calls(queue.Queue[Callable[[], None]]):
    """A watch's queue of calls; to wait for one lets time pass."""

    def __init__(self, driver: Driver) -> None:
        super().__init__()
        self._driver = driver

    def get(self, block: bool = True,
            timeout: float | None = None) -> Callable[[], None]:
        if block and self.empty():
            assert timeout is not None
            self._driver.pass_time(timeout)
        return super().get(block=False)


class Driver:
    """Drives a watch in the test's own thread.

    :ivar news: when members were told of news
    """

    def __init__(self, cloud: Cloud, *, workers: int = 16,
                 policy: check.Policy = POLICY, **kwargs: Any) -> None:
        self.cloud = cloud
        self.watch = watch_module.Watch(
            cloud.fleet(policy=policy, **kwargs), workers,
            clock=cloud.clock, wall_clock=cloud.wall_clock,
            uniform=lambda low, high: cloud.uniform(low, high))
        self.news: list[float] = []
        self.submitted = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.watch._calls = Calls(self)
        self.watch._thread = threading.current_thread()
        self.watch._pool = self  # type: ignore[assignment]

    def join(self, member: object = 'cells', *, queues: bool = True,
             count: Callable[[Any], Any] | None = None) -> None:
        self.watch.join(member, fleet_module.Wants(queues, count),
                        lambda: self.news.append(self.cloud.now))

    def look(self, *, anew: bool = False,
             patience: float = 4.5) -> look_module.Look:
        """Begin to look; what is seen is in its ``state``, once it is."""
        look = look_module.Look(anew, self.cloud.now + patience)
        self.watch._call(functools.partial(self.watch._begin_look, look))
        return look

    def state(self) -> look_module.State:
        """What is known now."""
        self.take_calls()
        return self.watch._state()

    def cell(self, name: str) -> Any:
        """What is known now of one cell."""
        return {one.component.name: one
                for one in self.state().cells}[name]

    def run(self, seconds: float) -> None:
        until = self.cloud.now + seconds
        reached: list[bool] = []
        self.at(until, lambda: reached.append(True))
        while not reached:
            self.watch._wait(self.watch.step())
        self.take_calls()
        self.watch.step()

    def take_calls(self) -> None:
        while not self.watch._calls.empty():
            self.watch._wait(self.cloud.now)

    def at(self, time: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._order), act))

    def pass_time(self, timeout: float) -> None:
        until = self.cloud.now + timeout
        if self._events and self._events[0][0] <= until:
            time, _, act = heapq.heappop(self._events)
            self.cloud.now = max(self.cloud.now, time)
            act()
        else:
            self.cloud.now = until

    def submit(self, job: Callable[[], None]) -> None:
        """As a pool does: what the job hands in comes when it is over."""
        self.submitted += 1
        calls, before = self.watch._calls, self.cloud.now
        self.watch._calls = handed_in = queue.Queue()
        job()
        over, self.cloud.now = self.cloud.now, before
        self.watch._calls = calls
        while not handed_in.empty() and over < math.inf:
            call = handed_in.get()
            if over > before:
                self.at(over, functools.partial(calls.put, call))
            else:
                calls.put(call)
