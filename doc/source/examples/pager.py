# SPDX-License-Identifier: Apache-2.0

"""An example of a listener: runs a command when a check fails."""

import subprocess

from oslo_config import cfg

from healthcheck.config import views
from healthcheck import exceptions
from healthcheck.reports import changes
from healthcheck.reports import report

OPTS = [
    cfg.StrOpt('pager_command', help='The program to run.'),
]


class Pager:
    def __init__(self, view: views.View) -> None:
        view.register_opts(OPTS, group='healthcheck')
        self._command = view.healthcheck.pager_command
        if not self._command:
            raise exceptions.ConfigError(['pager_command is not set'])

    def changed(self, change: changes.StateChange) -> None:
        if change.after is report.Status.FAIL:
            subprocess.run([self._command, str(change)], check=True,
                           timeout=30)
