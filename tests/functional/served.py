# SPDX-License-Identifier: Apache-2.0

"""A service under a real server, whose backend can be taken away."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from concurrent import futures
import contextlib
from typing import Any

from tests.functional import servers
from tests.functional.servers import client
from tests.functional.servers import wsgi
from tests.functional import service

WELL = 'OK\nOK'
DOWN = 'DATABASE: NO SUCH DATABASE\nOK'
DRAINED = 'OK\nDISABLED BY FILE'
"""The answer in each state, database first."""

# A machine that stands still for some seconds is no fault of the backend.
OPTIONS = {**service.QUICK, 'startup_wait': 20.0, 'fall': 1,
           'timeout': 20, 'slow_threshold': 20,
           'backends': 'database,disable_by_file',
           'disable_by_file_path': '{directory}/drain'}

# Seconds from a fault to an answer of any worker: an interval, and time for a
# busy machine.
WITHIN = service.QUICK['interval'] * 1.1 + 30

SHARING = {
    'process': {'sharing': 'process'},
    'host': {'sharing': 'host', 'state_path': '{directory}'},
}
"""How the processes of a service share the work, and the options for it."""


def files(example: str = 'plain', *, sharing: str = 'process',
          polled: bool = False,
          database: str = 'sqlite:///{directory}/service.db',
          **options: Any) -> dict[str, str]:
    """What is in the directory of a server.

    :param example: the service, one of the documentation's
    :param sharing: one of SHARING
    :param polled: whether its health is asked for while it is loaded
    :param database: the URL of the backend
    :param options: of ``[healthcheck]``, in place of those in OPTIONS
    """
    text = (wsgi.EXAMPLES / 'mounted' / f'{example}.py').read_text()
    settings = {**OPTIONS, **SHARING[sharing], **options}
    return {
        'service.py': f'{text}\n\nfrom tests.functional import bench\n'
                      f'application = bench.Bench(application, {polled})\n',
        'myservice.py': 'from tests.functional.bench import api\n',
        'service.conf': '\n'.join([
            '[database]', f'connection = {database}', '[healthcheck]',
            *(f'{key} = {value}' for key, value in settings.items()), '']),
        'service.db': ''}


class Served:
    """A server that runs, and its service.

    :ivar first: the answer to the first question for its health
    """

    def __init__(self, server: wsgi.WSGIServer) -> None:
        self.server = server
        server.start()
        self.first = server.ask()
        self._database = server.directory / 'service.db'
        self._drain = server.directory / 'drain'
        self._callers = futures.ThreadPoolExecutor(4 * server.workers)

    @property
    def workers(self) -> int:
        return self.server.workers

    @contextlib.contextmanager
    def broken(self) -> Iterator[None]:
        """The backend is down for a time."""
        away = self._database.with_suffix('.away')
        self._database.rename(away)
        try:
            yield
        finally:
            away.rename(self._database)

    @contextlib.contextmanager
    def drained(self) -> Iterator[None]:
        """The operator wants the node out for a time."""
        self._drain.touch()
        try:
            yield
        finally:
            self._drain.unlink()

    def everyone(self, status: int, text: str,
                 within: float = WITHIN) -> set[int]:
        """Ask until each of the workers has said so; return their ids.

        A worker counts with the last that it said.
        """
        said: dict[int, tuple[int, str]] = {}

        def agreed() -> bool:
            for answer in self.round():
                said[answer.pid] = answer.status, answer.text
            return len(said) >= self.workers and (
                set(said.values()) == {(status, text)})

        try:
            servers.wait_until(agreed, f'everyone says {status} {text!r}',
                               within)
        except servers.ServerError as error:
            raise AssertionError(f'{error}; they say {said}\n'
                                 f'{self.server.log_tail()}') from None
        return set(said)

    def round(self) -> list[client.Answer]:
        """The answers to several requests at once.

        Others keep workers busy, so that those that are seldom free get a
        turn, too.
        """
        held = [self.later('/bench/hold') for _ in range(self.workers)]
        asked = [self.later() for _ in range(2 * self.workers)]
        futures.wait(held)
        return [one.result() for one in asked]

    def later(self, *args: Any, **kwargs: Any,
              ) -> futures.Future[client.Answer]:
        """Ask without waiting for the answer."""
        return self._callers.submit(self.server.ask, *args, **kwargs)


@contextlib.contextmanager
def running(make: Callable[[], wsgi.WSGIServer]) -> Iterator[Served]:
    """A server for some time, which must then leave in good order."""
    server = make()
    try:
        yield Served(server)
        unclean = server.leave()
        assert not unclean, unclean
    finally:
        server.close()
