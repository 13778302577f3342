# SPDX-License-Identifier: Apache-2.0

"""What a host's prober works with, and other rooms provide."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from healthcheck.reports import fleet
from healthcheck.reports import report


class SharedEvidence(Protocol):
    """What traffic sees in one process, kept where the prober reads it."""

    def attach(self) -> None:
        """Keep it there; to be called from time to time."""

    def forget(self) -> None:
        """Let go of what other processes see, as this one probes no more."""

    def detach(self) -> None:
        """Leave no file behind."""


class SharedFleet(Protocol):
    """The host's part in its fleet, which the prober leaves to a thread.

    Nothing here waits.

    :ivar holds: the checks that may fail now; replaced when that changes
    """

    holds: tuple[report.HeldCheck, ...]

    def lead(self, holds: tuple[report.HeldCheck, ...]) -> None:
        """Take part from now on.

        :param holds: of the process that did so before
        """

    def rest(self) -> None:
        """Another process takes part, or none."""

    def stop(self) -> None:
        """End the thread."""

    def took(self, found: report.Report) -> None:
        """Take a report of this host."""

    def others_differ(self) -> Collection[str]:
        """Checks of which other nodes have found something new."""

    def view(self) -> fleet.FleetView | None:
        """What is known of all nodes; None if that is not new."""
