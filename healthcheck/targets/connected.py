# SPDX-License-Identifier: Apache-2.0

"""What keeps one connection to a backend, and a plugin that has one."""

from __future__ import annotations

import abc
import time

from healthcheck.reports import report
from healthcheck.targets import failures
from healthcheck.targets import wire


class Connected(abc.ABC):
    """Keeps one connection, and replaces it when it breaks.

    It is made while the service loads, perhaps in a process that forks
    later: it must open nothing before the first :meth:`probe`.

    :ivar bound: seconds that the driver may wait in one attempt
    :ivar wire: follows the connection's socket, where it has to be cut from
        outside
    """

    def __init__(self, bound: float) -> None:
        self.bound = bound
        self.wire = wire.Wire()

    @property
    @abc.abstractmethod
    def connected(self) -> bool:
        """Whether there is a connection from an earlier probe."""

    @abc.abstractmethod
    def ask(self) -> report.Result:
        """Connect, if need be, and look at the backend once."""

    @abc.abstractmethod
    def drop(self) -> None:
        """Let the connection go, broken as it is. It must not raise."""

    @abc.abstractmethod
    def reason(self, exc: BaseException) -> str:
        """The fixed reason that an exception of :meth:`ask` stands for."""

    @abc.abstractmethod
    def describe(self, exc: BaseException) -> str:
        """An exception of :meth:`ask` for admins, without secrets."""

    def lost(self, exc: BaseException) -> bool:
        """Whether an exception of :meth:`ask` means a lost connection.

        Asked only of a connection that an earlier probe has used.
        """
        return self.reason(exc) == failures.CONNECTION_LOST

    def probe(self) -> report.Result:
        """Look at the backend once; one thread at a time."""
        kept = self.connected
        result, again = self._attempt(kept)
        if again:
            # A connection that was closed while nobody looked says nothing
            # about the backend as it is now.
            result, _ = self._attempt(kept=False)
        return result

    def overdue(self) -> tuple[str, str]:
        """(reason, detail) of a probe that has not come back in time.

        Called in another thread while :meth:`probe` runs. It does not block,
        and ends what the probe waits for, where that can be done.
        """
        self.wire.cut()
        return failures.NO_ANSWER, ''

    def close(self) -> None:
        """Give back what :meth:`probe` has opened."""
        self.drop()

    def _attempt(self, kept: bool) -> tuple[report.Result, bool]:
        """What was found, and whether a new connection may find another."""
        started_at = time.monotonic()
        try:
            return self.ask(), False
        except Exception as exc:
            elapsed = time.monotonic() - started_at
            self.drop()
            reason = failures.unless_timed_out(self.reason(exc), elapsed,
                                               self.bound)
            # What has used up its time has none left for another attempt.
            again = kept and reason != failures.NO_ANSWER and self.lost(exc)
            return report.Result.failed(reason, self.describe(exc)), again
