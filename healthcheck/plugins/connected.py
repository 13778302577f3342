# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""What plugins that keep a connection have in common."""

from __future__ import annotations

import abc
from collections.abc import Mapping
import time
from typing import Any

from healthcheck.plugins import base
from healthcheck.plugins import failures
from healthcheck.plugins import wire


class ConnectedPlugin(base.ProbePlugin):
    """Keeps one connection, and replaces it when it breaks.

    :ivar bound: seconds that the driver may wait in one attempt
    :ivar wire: follows the connection's socket, where it has to be cut from
        outside
    """

    bound: float

    def __init__(self, oslo_conf: Any, conf: Mapping[str, Any]) -> None:
        self.wire = wire.Wire()
        super().__init__(oslo_conf, conf)

    @property
    @abc.abstractmethod
    def connected(self) -> bool:
        """Whether there is a connection from an earlier probe."""

    @abc.abstractmethod
    def ask(self) -> base.Result:
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

    def probe(self) -> base.Result:
        kept = self.connected
        result = self._attempt()
        if kept and result.reason == failures.CONNECTION_LOST:
            # A connection that was closed while nobody looked says nothing
            # about the backend as it is now.
            result = self._attempt()
        return result

    def overdue(self) -> tuple[str, str]:
        self.wire.cut()
        return super().overdue()

    def close(self) -> None:
        self.drop()

    def _attempt(self) -> base.Result:
        started_at = time.monotonic()
        try:
            return self.ask()
        except Exception as exc:
            elapsed = time.monotonic() - started_at
            self.drop()
            return base.Result.failed(
                failures.unless_timed_out(self.reason(exc), elapsed,
                                          self.bound),
                self.describe(exc))
