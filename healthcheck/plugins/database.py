# SPDX-License-Identifier: Apache-2.0

"""Plugin ``database``: can the service work with its database?"""

from __future__ import annotations

from typing import Any

from healthcheck.config import databases
from healthcheck.plugins import base
from healthcheck.probing import check
from healthcheck.targets import connected
from healthcheck.targets import database_target
from healthcheck.targets import dialects


class Database(base.ProbePlugin):
    """Probes the service's database over one connection of its own."""

    name = 'database'

    def set_up(self) -> None:
        self._target = target_of(self)

    def check(self, name: str, common: dict[str, Any]) -> check.Check:
        return check.Single(name, self._target, self.policy,
                            label=self.label)


def target_of(plugin: base.ProbePlugin) -> database_target.DatabaseTarget:
    """The service's own database.

    :raises healthcheck.exceptions.ConfigError: if none is set
    """
    settings = plugin.view.settings
    option, url = databases.find_url(
        plugin.view, 'database_connection',
        f'{plugin.name}: there is no database to probe')
    return database_target.DatabaseTarget(
        url, option=option, bound=settings.timeout * connected.BOUND,
        tolerance=dialects.Tolerance.of(settings))
