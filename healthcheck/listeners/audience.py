# SPDX-License-Identifier: Apache-2.0

"""Listeners: code that is notified when a check changes its status.

A listener is an entry point in :data:`NAMESPACE`. It runs in a thread of its
own, behind a bounded queue. So a listener that hangs or raises delays no probe
and no other listener.
"""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import functools
import queue
import threading
from typing import Any, Protocol

from oslo_log import log as logging

from healthcheck.config import entrypoints
from healthcheck.config import views
from healthcheck import exceptions
from healthcheck.probing import daemons
from healthcheck.reports import changes
from healthcheck.reports import lines

LOG = logging.getLogger(__name__)

NAMESPACE = 'openstack.healthcheck.listeners'

_WAITING = 100
"""How many changes may wait for a listener. The oldest are dropped first."""


class Listener(Protocol):
    """The object that an entry point returns, called with the configuration.

    It is made once while the service loads, and once more in each process. It
    must open nothing before the first change. It may have a method ``close``,
    which releases what it holds, and runs in the same thread.
    """

    def changed(self, change: changes.StateChange) -> None:
        """A check has changed."""


class Listeners:
    """The listeners that a section configures.

    Problems are added to ``view.problems``; nothing is opened.
    """

    def __init__(self, view: views.View) -> None:
        self._view = view
        names = [name.strip() for name in view.settings.listeners
                 if name.strip()]
        self._kinds = entrypoints.load(
            NAMESPACE, 'listeners', 'listener', list(dict.fromkeys(names)),
            view.problems)
        for name, kind in self._kinds.items():
            view.note_plugin(f'listener {name}', kind)
            try:
                kind(view)
            except exceptions.ConfigError as exc:
                view.problems.extend(exc.problems)
            except KeyboardInterrupt:
                raise
            except BaseException as exc:  # SystemExit is no Exception
                view.problems.append(
                    entrypoints.cannot_load('listeners', name, exc))

    def make(self) -> Audience:
        """New listeners, for one process."""
        return Audience([Courier(name, functools.partial(kind, self._view))
                         for name, kind in self._kinds.items()])


class Audience:
    """The listeners of one process."""

    def __init__(self, couriers: list[Courier]) -> None:
        self._couriers = couriers

    def changed(self, change: changes.StateChange) -> None:
        """Notify all of them. Returns at once and raises nothing."""
        for courier in self._couriers:
            courier.take(change)

    def stop(self) -> list[threading.Thread]:
        """Let each listener end after the changes in its queue.

        :return: the threads that end now
        """
        return [thread for courier in self._couriers
                for thread in courier.stop()]


class Courier:
    """Passes changes to one listener, in that listener's own thread.

    The thread and the listener are made with the first change. Most processes
    of a service never see one, because they do not probe.

    :param make: makes the listener
    :param waiting: how many changes may wait for it
    """

    def __init__(self, name: str, make: Callable[[], Any],
                 waiting: int = _WAITING) -> None:
        self._name = name
        self._make = make
        # Not SimpleQueue, see probing.pool.Pool. One slot is for the end.
        self._changes: queue.Queue[changes.StateChange | None] = queue.Queue(
            waiting + 1)
        self._waiting = waiting
        self._thread: threading.Thread | None = None
        self._dropped = 0
        self._said: set[str] = set()

    def take(self, change: changes.StateChange) -> None:
        """Queue a change for the listener. One thread only may call this."""
        while self._changes.qsize() >= self._waiting:
            self._drop()
        if self._dropped and self._changes.empty():
            LOG.warning('Healthcheck listener %(name)s keeps up again; it '
                        'missed %(count)d changes',
                        {'name': self._name, 'count': self._dropped})
            self._dropped = 0
        self._changes.put_nowait(change)
        if self._thread is None:
            try:
                self._thread = daemons.start(
                    self._run, f'healthcheck-listener-{self._name}')
            except RuntimeError as exc:  # the process has no threads left
                self._complain(exc)

    def stop(self) -> list[threading.Thread]:
        if self._thread is None:
            return []
        # If there is no room, the end is queued already, and not read yet.
        with contextlib.suppress(queue.Full):
            self._changes.put_nowait(None)
        return [self._thread]

    def _drop(self) -> None:
        try:
            self._changes.get_nowait()
        except queue.Empty:  # it has just been taken
            return
        if not self._dropped:
            LOG.warning('Healthcheck listener %s does not keep up: it misses '
                        'the oldest changes in its queue', self._name)
        self._dropped += 1

    def _run(self) -> None:
        listener: Any = None
        while (change := self._changes.get()) is not None:
            # BaseException: as for a probe, see guard.py.
            try:
                if listener is None:
                    listener = self._make()
                listener.changed(change)
            except BaseException as exc:
                self._complain(exc)
        try:
            getattr(listener, 'close', lambda: None)()
        except BaseException as exc:
            self._complain(exc)

    def _complain(self, exc: BaseException) -> None:
        """Log each kind of exception once; its text may hold a secret."""
        kind = lines.kind_of(exc)
        if kind not in self._said:
            self._said.add(kind)
            LOG.warning('Healthcheck listener %(name)s raised %(kind)s; that '
                        'is logged once', {'name': self._name, 'kind': kind})
