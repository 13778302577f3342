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

"""An example of a listener: runs a command when a check fails."""

import subprocess

from oslo_config import cfg

from healthcheck import changes
from healthcheck import config
from healthcheck import exceptions
from healthcheck import report

OPTS = [
    cfg.StrOpt('pager_command', help='The program to run.'),
]


class Pager:
    def __init__(self, view: config.View) -> None:
        view.register_opts(OPTS, group='healthcheck')
        self._command = view.healthcheck.pager_command
        if not self._command:
            raise exceptions.ConfigError(['pager_command is not set'])

    def changed(self, change: changes.StateChange) -> None:
        if change.after is report.Status.FAIL:
            subprocess.run([self._command, str(change)], check=True,
                           timeout=30)
