# SPDX-License-Identifier: Apache-2.0

from oslo_config import cfg
import pecan

import healthcheck


class V1:
    @pecan.expose(content_type='text/plain')
    def servers(self):
        return 'the servers'


class Root:
    v1 = V1()


cfg.CONF([], project='service')
application = healthcheck.Healthcheck(pecan.make_app(Root()), cfg.CONF)
