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

"""An example of a plugin: is there room left for images?"""

import shutil

from oslo_config import cfg

from healthcheck import exceptions
from healthcheck.plugins import base

OPTS = [
    cfg.StrOpt('disk_space_path', help='The directory to look at.'),
    cfg.FloatOpt('disk_space_min_free', default=5.0, min=0.0, max=100.0,
                 help='Percent that must be free.'),
]


class DiskSpace(base.ProbePlugin):
    name = 'disk_space'

    def set_up(self):
        self.view.register_opts(OPTS, group='healthcheck')
        self._path = self.settings.disk_space_path
        if not self._path:
            raise exceptions.ConfigError(
                ['disk_space: disk_space_path is not set'])

    def probe(self):
        try:
            usage = shutil.disk_usage(self._path)
        except OSError as exc:
            return base.Result.failed('NO SUCH DIRECTORY', str(exc))
        free = 100 * usage.free / usage.total
        detail = f'{free:.1f} % of {self._path} is free'
        if free >= self.settings.disk_space_min_free:
            return base.Result(base.Status.PASS, detail=detail)
        return base.Result.failed('DISK FULL', detail)
