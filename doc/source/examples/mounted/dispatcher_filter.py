# SPDX-License-Identifier: Apache-2.0

import flask
from oslo_config import cfg
from werkzeug.middleware import dispatcher

import healthcheck

cfg.CONF([], project='service')
v1 = flask.Flask('v1')


@v1.route('/servers')
def servers():
    return 'the servers'


root = flask.Flask('root')
application = healthcheck.Healthcheck(
    dispatcher.DispatcherMiddleware(root, {'/v1': v1}), cfg.CONF)
