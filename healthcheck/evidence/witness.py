# SPDX-License-Identifier: Apache-2.0

"""Collects all evidence of one process."""

from __future__ import annotations

from collections.abc import Collection

from healthcheck.evidence import engines
from healthcheck.evidence import ledger as ledger_module
from healthcheck.evidence import ledgers
from healthcheck.evidence import observing
from healthcheck.host import group as group_module


class Witness:
    """Collects evidence from the service's own calls. One for each engine.

    :param group: the processes that share a prober; None if this process has
        its own
    :param names: the checks for which functions may be observed
    :ivar ledger: the evidence of this process
    :ivar traffic: the evidence of all processes of the group, for the prober
    """

    def __init__(self, group: group_module.Group | None,
                 names: Collection[str]) -> None:
        self.ledger = ledger_module.Ledger()
        self.traffic = ledgers.Ledgers(self.ledger, group)
        self._names = names
        self._engines = engines.Engines(self.ledger)

    def listen(self) -> None:
        """Begin to collect."""
        self._engines.listen()
        observing.listen(self.ledger, self._names)

    def ignore(self) -> None:
        """Stop collecting."""
        self._engines.ignore()
        observing.ignore(self.ledger)
