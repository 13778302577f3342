import os

from oslo_config import cfg
from paste import deploy

cfg.CONF([], project='service')
application = deploy.loadapp(
    'config:' + os.path.expanduser('~/api-paste.ini'), 'main')
