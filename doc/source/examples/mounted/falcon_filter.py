# SPDX-License-Identifier: Apache-2.0

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
