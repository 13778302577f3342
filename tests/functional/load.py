# SPDX-License-Identifier: Apache-2.0

"""Clients of a service who ask as fast as they get answers."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

from tests.functional import callers
from tests.functional import servers
from tests.functional.servers import client

if TYPE_CHECKING:
    import typing_extensions


class Load(callers.Callers):
    """Some clients, until the block ends.

    :param port: whom they ask
    :param path: what they ask for
    :param clients: how many there are
    :ivar failures: what they got in place of 200, one line each
    """

    def __init__(self, port: int, path: str = '/', clients: int = 4) -> None:
        self.failures: list[str] = []
        self._port = port
        self._path = path
        self._counts = [0] * clients
        super().__init__(*(functools.partial(self._ask, index)
                           for index in range(clients)))

    def __enter__(self) -> typing_extensions.Self:
        super().__enter__()
        self.goes_on()
        return self

    @property
    def count(self) -> int:
        """How many requests were answered."""
        return sum(self._counts)

    def goes_on(self, requests: int = 20) -> None:
        """Wait until some more were answered."""
        before = self.count
        servers.wait_until(lambda: self.count >= before + requests,
                           f'{requests} more requests; {self.failures[:3]}')

    def _ask(self, index: int) -> None:
        while not self._over.is_set():
            try:
                answer = client.ask(self._port, self._path)
                if answer.status != 200:
                    self._fail(f'{answer.status} {answer.text!r:.80}')
            except OSError as exc:
                self._fail(repr(exc))
            self._counts[index] += 1

    def _fail(self, what: str) -> None:
        self.failures.append(f'{time.monotonic():.3f} {what}')
        time.sleep(0.01)
