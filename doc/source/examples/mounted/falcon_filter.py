# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

import falcon
from oslo_config import cfg

import healthcheck


class Servers:
    def on_get(self, request, response):
        response.content_type = falcon.MEDIA_TEXT
        response.text = 'the servers'


cfg.CONF([], project='service')
api = falcon.App()
api.add_route('/v1/servers', Servers())
application = healthcheck.Healthcheck(api, cfg.CONF)
