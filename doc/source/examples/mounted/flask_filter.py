# SPDX-License-Identifier: Apache-2.0

import flask
from oslo_config import cfg

import healthcheck

cfg.CONF([], project='service')
application = flask.Flask('service')


@application.route('/v1/servers')
def servers():
    return 'the servers'


application.wsgi_app = healthcheck.Healthcheck(application.wsgi_app, cfg.CONF)
