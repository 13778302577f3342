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

"""A plugin's place in the watch of its section."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence

from healthcheck.cells import fleet
from healthcheck.cells import look as look_module
from healthcheck.cells import watches
from healthcheck import config
from healthcheck.probing import check
from healthcheck import report

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

    def __init__(self, view: config.View, policy: check.Policy,
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
