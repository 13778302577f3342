# SPDX-License-Identifier: Apache-2.0

"""Looks at all cells, all the time, and tells what is known of them.

One thread owns everything that is known; others hand it calls through a
queue, and get frozen data back. So there is no lock that a visit could hold.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
import contextlib
import functools
import math
import queue
import threading
import time as time_module

from oslo_log import log as logging

from healthcheck.cells import cell as cell_module
from healthcheck.cells import fleet as fleet_module
from healthcheck.cells import look as look_module
from healthcheck.cells import pool as pool_module
from healthcheck.cells import rota as rota_module
from healthcheck.probing import guard
from healthcheck.probing import monitor
from healthcheck.reports import report

LOG = logging.getLogger(__name__)

Backend = cell_module.Backend
Component = report.Component
Wants = fleet_module.Wants

_TICK = 60.0
"""The longest time, in seconds, to wait for something to happen."""

_NEWS = 1.0
"""Seconds between two times that members are told of changes: they look at
all cells then, and a thousand may change in a moment."""

_GRACE = 1.0
"""Seconds beyond its patience in which somebody who looks is answered."""


class Watch:
    """Goes on looking as long as it has members. One for each process.

    :param fleet: what is looked at; it is used by the watch alone
    :param workers: how many visits there may be at a time
    :param clock: monotonic seconds
    :param wall_clock: seconds since the epoch
    """

    def __init__(self, fleet: fleet_module.Fleet, workers: int, *,
                 clock: Callable[[], float] = time_module.monotonic,
                 wall_clock: Callable[[], float] = time_module.time,
                 uniform: Callable[[float, float], float] = monitor.UNIFORM,
                 ) -> None:
        self._fleet = fleet
        self._clock = clock
        self._wall_clock = wall_clock
        self._pool = pool_module.Pool(workers, 'healthcheck-cells')
        self._rota = rota_module.Rota(workers, self._visit, clock,
                                      wall_clock, uniform)
        # Not SimpleQueue, which is not replaced under eventlet.
        self._calls: queue.Queue[Callable[[], None]] = queue.Queue()
        self._members: dict[object, tuple[Wants, Callable[[], None]]] = {}
        self._looks: list[look_module.Look] = []
        self._api_status: report.Status | None = None
        self._told_at = -math.inf
        self._tell_at = math.inf
        # Held to start and to end the thread, never during I/O.
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def join(self, member: object, wants: Wants,
             news: Callable[[], None]) -> None:
        """Have it look, until this member leaves.

        :param news: called, in the thread of the watch, when the list of
            the cells, or the status of one or of the list's database, has
            changed
        :raises RuntimeError: if no thread can be started
        """
        self._call(functools.partial(self._take_in, member, wants, news))

    def leave(self, member: object) -> None:
        """With the last member, all connections are given back.

        It is waited for a moment, so that servers see connections that were
        closed, and none that were lost with the process.
        """
        with self._lock:
            if self._thread is None:
                return
        closed: queue.Queue[int] = queue.Queue()
        until = self._clock() + _GRACE
        self._call(functools.partial(self._let_go, member, closed))
        with contextlib.suppress(queue.Empty):
            for _ in range(closed.get(timeout=_GRACE)):
                closed.get(timeout=max(0.0, until - self._clock()))

    def inherit(self, components: Sequence[Component]) -> None:
        """What another process has found holds until more is known."""
        self._call(functools.partial(self._fleet.inherit, components))

    def look(self, *, anew: bool, patience: float) -> look_module.State:
        """What is known, once everything has been seen.

        :param anew: whether everything has to be looked at again
        :param patience: seconds after which what is known is enough
        :raises look_module.Stuck: if there is no answer
        """
        look = look_module.Look(anew, self._clock() + patience)
        self._call(functools.partial(self._begin_look, look))
        if not look.answered.wait(patience + _GRACE):
            raise look_module.Stuck
        assert look.state is not None
        return look.state

    # What follows is done by the thread alone.

    def step(self) -> float:
        """Do what is due, and say when to look again."""
        now = self._clock()
        for backend in self._rota.step(_why_overdue):
            self._judged(backend)
        for look in [one for one in self._looks
                     if not one.awaited or one.until <= now]:
            self._looks.remove(look)
            look.state = self._state()
            look.answered.set()
        if self._tell_at <= now:
            self._told_at, self._tell_at = now, math.inf
            for _, news in self._members.values():
                news()
        return min(self._rota.wakes_at, self._tell_at,
                   *(look.until for look in self._looks))

    def _call(self, call: Callable[[], None]) -> None:
        """Have the thread do something.

        :raises RuntimeError: if there is none, and none can be started
        """
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, daemon=True,
                                          name='healthcheck-watch')
                thread.start()
                self._thread = thread
            self._calls.put(call)

    def _run(self) -> None:
        failing = False
        while not self._ended():
            try:
                self._wait(self.step())
                failing = False
            except Exception:
                # What is known goes stale meanwhile, which is the truth.
                if not failing:
                    LOG.exception('Healthcheck cannot look at the cells; it '
                                  'goes on trying')
                failing = True
                time_module.sleep(1.0)

    def _ended(self) -> bool:
        """End if there is nothing left to do."""
        with self._lock:
            if self._members or self._looks or self._rota.visited or (
                    not self._calls.empty()):
                return False
            self._thread = None
            return True

    def _wait(self, wake_at: float) -> None:
        call: Callable[[], None] | None = None
        with contextlib.suppress(queue.Empty):
            call = self._calls.get(
                timeout=max(0.0, min(wake_at - self._clock(), _TICK)))
        # As the monitor does, see its _excuse.
        late = self._clock() - wake_at
        if late > monitor.LATE:
            self._rota.excuse(late)
        # One by one: a call that fails costs none of the others.
        while call is not None:
            call()
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                call = None

    def _take_in(self, member: object, wants: Wants,
                 news: Callable[[], None]) -> None:
        if not self._members:
            self._rota.add([self._fleet.api])
        self._members[member] = wants, news
        self._want()

    def _let_go(self, member: object, closed: queue.Queue[int]) -> None:
        """Do without a member.

        :param closed: is given how many connections are closed, and then
            something for each of them
        """
        self._members.pop(member, None)
        if self._members:
            self._want()
            closed.put(0)
        else:
            self._give_back(self._fleet.forget(), closed)
            for look in self._looks:
                look.awaited = {}

    def _want(self) -> None:
        wanted = [wants for wants, _ in self._members.values()]
        self._follow(*self._fleet.want(Wants(
            any(wants.queues for wants in wanted),
            next((wants.count for wants in wanted if wants.count), None))))

    def _follow(self, come: Sequence[Backend],
                gone: Sequence[Backend]) -> None:
        self._give_back(gone)
        self._rota.add(come)
        for look in self._looks:
            for backend in gone:
                look.gone(backend)
            for backend in come:
                look.come(backend)

    def _give_back(self, gone: Sequence[Backend],
                   closed: queue.Queue[int] | None = None) -> None:
        idle = self._rota.remove(gone)
        told = closed or queue.Queue()
        told.put(len(idle))
        for backend in gone:
            if backend in idle:
                self._close(backend, functools.partial(told.put, 1))
            else:
                _why_overdue(backend)  # it cuts the connection

    def _begin_look(self, look: look_module.Look) -> None:
        if look.anew:
            self._rota.hurry()
        for backend in self._fleet.backends():
            # A visit that goes on may have passed what is asked for.
            visited = self._rota.visited.get(backend.place) is backend
            look.come(backend, 1 + (look.anew and visited))
        self._looks.append(look)

    def _visit(self, backend: Backend) -> None:
        def visit() -> None:
            result = guard.probe_once(backend.label,
                                      backend.target.probe)
            self._call(functools.partial(self._visited, backend, result,
                                         self._clock()))
        try:
            self._pool.submit(visit)
        except RuntimeError as exc:  # no more threads to be had
            self._calls.put(functools.partial(
                self._visited, backend, report.Result.failed(
                    guard.PROBE_ERROR, str(exc)), self._clock()))

    def _visited(self, backend: Backend, result: report.Result,
                 at: float) -> None:
        if not self._rota.finished(backend, result, at):
            self._close(backend)
            return
        for look in self._looks:
            look.visited(backend)
        if backend is self._fleet.api and (
                result.status is not report.Status.FAIL):
            if backend.found != self._fleet.rows:
                self._follow(*self._fleet.follow(backend.found))
                self._tell()
        self._judged(backend)

    def _judged(self, backend: Backend) -> None:
        now, place = self._clock(), backend.place
        if isinstance(place, cell_module.Cell):
            changed = place.noted(now, self._wall_clock())
        else:
            before = self._api_status
            self._api_status = backend.component(now).status
            changed = before is not self._api_status
        if changed:
            self._tell()

    def _tell(self) -> None:
        self._tell_at = max(self._clock(), self._told_at + _NEWS)

    def _state(self) -> look_module.State:
        return look_module.State(
            self._fleet.listed, self._fleet.api.component(self._clock()),
            self._fleet.states())

    def _close(self, backend: Backend,
               closed: Callable[[], None] = lambda: None) -> None:
        def close() -> None:
            guard.quietly(backend.target.close)
            closed()
        # Without a thread to be had, that is left to the collector.
        with contextlib.suppress(RuntimeError):
            self._pool.submit(close)


def _why_overdue(backend: Backend) -> tuple[str, str]:
    return guard.why_overdue(backend.label, backend.target.overdue)
