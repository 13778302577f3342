# SPDX-License-Identifier: Apache-2.0

"""All that takes evidence in one process."""

from __future__ import annotations

from collections.abc import Collection

from healthcheck.evidence import engines
from healthcheck.evidence import ledger as ledger_module
from healthcheck.evidence import ledgers
from healthcheck.evidence import observing
from healthcheck.host import group as group_module


class Witness:
    """Sees what the service's own calls meet. One for an engine.

    :param group: who shares a prober; None if this process has its own
    :param names: the checks under whose name functions are observed
    :ivar ledger: where it writes
    :ivar traffic: what all processes of the group saw, for the prober
    """

    def __init__(self, group: group_module.Group | None,
                 names: Collection[str]) -> None:
        self.ledger = ledger_module.Ledger()
        self.traffic = ledgers.Ledgers(self.ledger, group)
        self._names = names
        self._engines = engines.Engines(self.ledger)

    def listen(self) -> None:
        """Begin to see."""
        self._engines.listen()
        observing.listen(self.ledger, self._names)

    def ignore(self) -> None:
        """See nothing any more."""
        self._engines.ignore()
        observing.ignore(self.ledger)
