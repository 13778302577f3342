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

"""The options of group ``[healthcheck]``.

oslo.middleware's own options are used as it defines them, never defined
again: both may be loaded in one process, and oslo.config refuses a second
definition that differs.
"""

from __future__ import annotations

from oslo_config import cfg
from oslo_middleware.healthcheck import opts as oslo_opts

GROUP = 'healthcheck'

_PATH_OPT = cfg.StrOpt(
    'path',
    default='/healthcheck',
    help='The path that a filter answers, with what is below it. A paste app '
         'ignores it and answers relative to where it is mounted.')

PROBE_OPTS = [
    cfg.FloatOpt(
        'interval',
        default=10.0, min=0.1, max=3600,
        help='Seconds from the start of one probe of a check to the start of '
             'the next one, give or take "jitter".'),
    cfg.FloatOpt(
        'retry_interval',
        default=2.0, min=0.05, max=3600,
        help='Seconds until a check is probed again while a change of its '
             'state is being confirmed, that is, after a first failure that '
             '"fall" asks to be repeated, or a first success that "rise" '
             'asks to be repeated.'),
    cfg.FloatOpt(
        'timeout',
        default=5.0, min=0.1, max=300,
        help='Seconds after which a probe that has no answer is a failure. '
             'A probe that hangs longer is not started a second time.'),
    cfg.FloatOpt(
        'ttl',
        default=30.0, min=0.2, max=86400,
        help='Seconds after which a result is stale: a warning, and when '
             'every check is stale, a failure. It must be longer than a live '
             'prober can take between two verdicts, '
             'interval * (1 + jitter) + timeout.'),
    cfg.IntOpt(
        'fall',
        default=2, min=1, max=100,
        help='How many failures in a row make a check fail. Until then it '
             'is a warning.'),
    cfg.IntOpt(
        'rise',
        default=1, min=1, max=100,
        help='How many successes in a row make a failed check pass again.'),
    cfg.FloatOpt(
        'slow_threshold',
        default=1.0, min=0.001, max=300,
        help='Seconds after which an answer is a slow one, which is a '
             'warning.'),
    cfg.FloatOpt(
        'jitter',
        default=0.1, min=0.0, max=0.5,
        help='By which part of itself "interval" varies at random, so that '
             'the processes of a fleet do not probe in step.'),
    cfg.FloatOpt(
        'startup_wait',
        default=1.0, min=0.0, max=60,
        help='Seconds that the first request of a process may wait for the '
             'first report, before it is answered 503 STARTING.'),
    cfg.ListOpt(
        'noncritical',
        default=[],
        help='Names of checks whose failure is a warning for the node: it '
             'stays in the balancer.'),
]

DATABASE_OPTS = [
    cfg.StrOpt(
        'database_connection',
        secret=True,
        help='The SQLAlchemy URL of the database to probe. Default: '
             '[database]connection of the service, with its '
             'connection_parameters.'),
    cfg.BoolOpt(
        'database_read_only_ok',
        default=False,
        help='Whether a database that is read-only, or a replica in '
             'recovery, is well: for a service that never writes.'),
    cfg.BoolOpt(
        'database_galera_donor_ok',
        default=False,
        help='Whether a Galera node that is a donor, or desynced, is well. '
             'Such a node lags behind while it feeds another one; with a '
             'backup method that does not block it still takes work.'),
]

MESSAGE_QUEUE_OPTS = [
    cfg.StrOpt(
        'message_queue_transport_url',
        secret=True,
        help='The transport URL of the message queue to probe. Default: '
             '[DEFAULT]transport_url of the service.'),
]


def all_opts() -> list[cfg.Opt]:
    """Every option that this package reads, oslo.middleware's included."""
    theirs = [*oslo_opts.HEALTHCHECK_OPTS, *oslo_opts.DISABLE_BY_FILE_OPTS,
              *oslo_opts.DISABLE_BY_FILES_OPTS,
              *oslo_opts.ENABLE_BY_FILES_OPTS]
    return [*theirs, *_own_opts()]


def _own_opts() -> list[cfg.Opt]:
    # oslo.middleware before 7.0 defines "path" itself.
    taken = {opt.dest for opt in oslo_opts.HEALTHCHECK_OPTS}
    return [opt for opt in (_PATH_OPT, *PROBE_OPTS, *DATABASE_OPTS,
                            *MESSAGE_QUEUE_OPTS) if opt.dest not in taken]


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Our options for oslo-config-generator and its Sphinx extension.

    Use it together with namespace ``oslo.middleware.healthcheck``, which
    lists oslo.middleware's.
    """
    return [(GROUP, _own_opts())]
