# SPDX-License-Identifier: Apache-2.0

"""A plugin's place in the watch of its section."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence

from healthcheck.cells import fleet
from healthcheck.cells import look as look_module
from healthcheck.cells import watches
from healthcheck.config import views
from healthcheck.probing import check
from healthcheck.reports import report

PATIENCE = 0.9
"""The part of a check's timeout that a probe waits for what is not known yet.
It is longer than a driver may wait, so a first visit that fails tells why."""


class Member:
    """Joins the watch when it first looks, and again after it has left.

    :param wants: what the plugin wants to know
    :param news: called in another thread when something has changed
    :raises healthcheck.exceptions.ConfigError: if the API database is not
        configured well
    """

    def __init__(self, view: views.View, policy: check.Policy,
                 wants: fleet.Wants, news: Callable[[], None]) -> None:
        self._watches = watches.of(view, policy)
        self._patience = policy.timeout * PATIENCE
        self._wants = wants
        self._news = news
        self._joined = False
        self._anew = False
        self._inherited: Sequence[report.Component] = ()

    def hurry(self) -> None:
        """Look at everything anew the next time."""
        self._anew = True

    def inherit(self, components: Sequence[report.Component]) -> None:
        """Before joining: what another process has found of the cells."""
        self._inherited = components

    def look(self) -> look_module.State:
        """What is known of the cells.

        :raises look_module.Stuck: if nobody answers
        :raises RuntimeError: if no thread can be started
        """
        here = self._watches.get()
        if not self._joined:
            if self._inherited:
                here.inherit(self._inherited)
            here.join(self, self._wants, self._news)
            self._joined, self._inherited = True, ()
        anew, self._anew = self._anew, False
        return here.look(anew=anew, patience=self._patience)

    def leave(self) -> None:
        """Give back what was opened for this member."""
        if self._joined:
            self._joined = False
            self._watches.get().leave(self)
