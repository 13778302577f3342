# SPDX-License-Identifier: Apache-2.0

"""An example of a listener: runs a command when a check fails."""

import subprocess

from oslo_config import cfg

from healthcheck import plugin

OPTS = [
    cfg.StrOpt('pager_command', help='The program to run.'),
]


class Pager(plugin.Listener):
    def __init__(self, view: plugin.View) -> None:
        view.register_opts(OPTS, group='healthcheck')
        self._command = view.healthcheck.pager_command
        if not self._command:
            raise plugin.ConfigError(['pager_command is not set'])

    def changed(self, change: plugin.StateChange) -> None:
        if change.after is plugin.Status.FAIL:
            subprocess.run([self._command, str(change)], check=True,
                           timeout=30)
