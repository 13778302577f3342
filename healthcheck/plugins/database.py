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

"""Plugin ``database``: can the service work with its database?"""

from __future__ import annotations

from healthcheck import databases
from healthcheck.plugins import base
from healthcheck.plugins import connected
from healthcheck.plugins import database_target
from healthcheck.plugins import dialects


class Database(connected.ConnectedPlugin):
    """Probes the service's database over one connection of its own."""

    name = 'database'

    def set_up(self) -> None:
        self.target = target_of(self)


def target_of(plugin: base.ProbePlugin) -> database_target.DatabaseTarget:
    """The service's own database.

    :raises healthcheck.exceptions.ConfigError: if none is set
    """
    settings = plugin.settings
    option, url = databases.find_url(
        plugin.view, 'database_connection',
        f'{plugin.name}: there is no database to probe')
    return database_target.DatabaseTarget(
        url, option=option, bound=settings.timeout * database_target.BOUND,
        tolerance=dialects.Tolerance.of(settings))
