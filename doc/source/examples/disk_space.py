# SPDX-License-Identifier: Apache-2.0

"""An example of a plugin: is there room left for images?"""

import shutil

from oslo_config import cfg

from healthcheck import plugin

OPTS = [
    cfg.StrOpt('disk_space_path', help='The directory to look at.'),
    cfg.FloatOpt('disk_space_min_free', default=5.0, min=0.0, max=100.0,
                 help='Percent that must be free.'),
]


class DiskSpace(plugin.ProbePlugin):
    name = 'disk_space'

    def set_up(self):
        self.view.register_opts(OPTS, group='healthcheck')
        self._path = self.settings.disk_space_path
        if not self._path:
            raise plugin.ConfigError(
                ['disk_space: disk_space_path is not set'])

    def probe(self):
        try:
            usage = shutil.disk_usage(self._path)
        except OSError as exc:
            return plugin.Result.failed('NO SUCH DIRECTORY', str(exc))
        free = 100 * usage.free / usage.total
        detail = f'{free:.1f} % of {self._path} is free'
        if free >= self.settings.disk_space_min_free:
            return plugin.Result(plugin.Status.PASS, detail=detail)
        return plugin.Result.failed('DISK FULL', detail)
