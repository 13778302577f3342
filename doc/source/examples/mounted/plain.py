from oslo_config import cfg

import healthcheck
from myservice import api

cfg.CONF([], project='service')
application = healthcheck.Healthcheck(api, cfg.CONF)
