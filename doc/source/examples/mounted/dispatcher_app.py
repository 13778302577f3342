# SPDX-License-Identifier: Apache-2.0

import flask
from oslo_config import cfg
from werkzeug.middleware import dispatcher

import healthcheck

cfg.CONF([], project='service')
service = flask.Flask('service')


@service.route('/v1/servers')
def servers():
    return 'the servers'


application = dispatcher.DispatcherMiddleware(service, {
    '/healthcheck': healthcheck.Healthcheck(None, cfg.CONF)})
