# SPDX-License-Identifier: Apache-2.0

"""The options of group ``[healthcheck]``.

oslo.middleware's own options are used as it defines them, never defined
again: both may be loaded in one process, and oslo.config refuses a second
definition that differs.
"""

from __future__ import annotations

from oslo_config import cfg
from oslo_config import types
from oslo_middleware.healthcheck import opts as oslo_opts

GROUP = 'healthcheck'

NONCRITICAL = ['services', 'worker']
"""The checks that warn by default."""

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
        help='Seconds that the first request of a process, and those that '
             'come beside it, may wait for the first report, before they are '
             'answered 503 STARTING.'),
    cfg.ListOpt(
        'noncritical',
        default=NONCRITICAL,
        help='Names of checks whose failure is a warning for the node: it '
             'stays in the balancer.'),
]

SHARING_OPTS = [
    cfg.StrOpt(
        'sharing',
        default='host', choices=[
            ('host', 'One process of a host probes, and the others answer '
                     'from its report, where a place for that is known (see '
                     '"state_path"); otherwise as with "process".'),
            ('process', 'Each worker process probes for itself.')],
        help='Who probes. Those processes share that would probe the same '
             'with the same options, and run as the same user.'),
    cfg.StrOpt(
        'state_path',
        help='A directory in which the workers of a service share a report; '
             'a directory of mode 700 is made in it. It has to be on a local '
             'file system, best one in memory. Default: [oslo_concurrency]'
             'lock_path of the service, else $RUNTIME_DIRECTORY, which '
             'systemd sets.'),
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

CELLS_OPTS = [
    cfg.StrOpt(
        'cells_api_connection',
        secret=True,
        help='The SQLAlchemy URL of the database that lists Nova\'s cells, '
             'for the checks "cells" and "services". Default: [api_database]'
             'connection of the service, with its connection_parameters.'),
    cfg.StrOpt(
        'cells_min_up',
        default='1', regex=r'^([0-9]+|[0-9]{1,2}%|100%)$',
        help='How many cells have to be up, as a number or as a percentage '
             'of those that are not disabled; with fewer the check "cells" '
             'fails. cell0 is not counted. A cell of which nothing is known '
             'any more counts as one that is up; one that was not yet seen '
             'well does not.'),
    cfg.ListOpt(
        'cells_critical',
        default=['cell0'],
        item_type=types.String(choices=['cell0', 'api_database']),
        help='Without which databases the check "cells" fails, whatever else '
             'is up: "cell0", "api_database", both or none. Without the API '
             'database it fails in any case as long as the cells are not '
             'known.'),
    cfg.IntOpt(
        'cells_workers',
        default=80, min=4, max=1000,
        help='How many cells may be waited for in the same moment, each by a '
             'thread. As long as they answer, a few are enough, and no more '
             'are started. Of cells that do not answer, three quarters of '
             'this number are found to be down within the usual time, and '
             'more of them later.'),
]

SERVICES_OPTS = [
    cfg.StrOpt(
        'services_of',
        choices=[
            ('nova', 'Nova\'s services, in the database of each cell.'),
            ('cinder', 'Cinder\'s services.'),
            ('neutron', 'Neutron\'s agents.')],
        help='Whose services the check "services" looks for. Default: those '
             'of the service that it runs in.'),
]

ACCESS_OPTS = [
    cfg.ListOpt(
        'detail_source_ranges',
        default=[],
        help='Networks whose hosts see the details without a token. A request '
             'with any header of a proxy, as X-Forwarded-For, needs a token.'),
    cfg.ListOpt(
        'metrics_source_ranges',
        default=[],
        help='Networks whose hosts see the metrics without a token. A request '
             'with any header of a proxy, as X-Forwarded-For, needs a token.'),
]

LISTENER_OPTS = [
    cfg.ListOpt(
        'listeners',
        default=[],
        help='Who is told when a check changes its status, by the process '
             'that probes: names of entry points in '
             'openstack.healthcheck.listeners. "notification" emits a '
             'notification of oslo.messaging, and needs '
             '[oslo_messaging_notifications]driver to be set.'),
]

WORKER_OPTS = [
    cfg.FloatOpt(
        'worker_max_descriptors',
        default=0.9, min=0.01, max=1.0,
        help='The part of its limit of open descriptors (RLIMIT_NOFILE) '
             'above which a worker process is not well. At the limit it can '
             'accept no connection and open no file.'),
    cfg.FloatOpt(
        'worker_max_memory',
        default=0.95, min=0.01, max=1.0,
        help='The part of its cgroup\'s memory limit, or that of a cgroup '
             'above it, beyond which a worker process is not well. Page cache '
             'that can be taken back is not counted. At the limit the kernel '
             'kills a process.'),
    cfg.FloatOpt(
        'worker_max_tasks',
        default=0.9, min=0.01, max=1.0,
        help='The part of its cgroup\'s limit of threads (pids.max), or that '
             'of a cgroup above it, beyond which a worker process is not '
             'well. At the limit no thread or process can be started.'),
    cfg.IntOpt(
        'worker_max_threads',
        default=0, min=0,
        help='How many threads a worker process may have; with more it is '
             'not well. 0: as many as it likes.'),
]


_THEIRS = [*oslo_opts.HEALTHCHECK_OPTS, *oslo_opts.DISABLE_BY_FILE_OPTS,
           *oslo_opts.DISABLE_BY_FILES_OPTS, *oslo_opts.ENABLE_BY_FILES_OPTS]

NOT_PROBED = frozenset(
    ['path', 'startup_wait']
    + [opt.dest for opt in (*_THEIRS, *SHARING_OPTS, *ACCESS_OPTS,
                            *WORKER_OPTS) if opt.dest != 'backends'])
"""What a process reads for itself: how it answers and to whom, which files
switch it, what is wrong with it. Processes may share a prober and differ
there."""


def all_opts() -> list[cfg.Opt]:
    """Every option that this package reads, oslo.middleware's included."""
    return [*_THEIRS, *_own_opts()]


def _own_opts() -> list[cfg.Opt]:
    # oslo.middleware before 7.0 defines "path" itself.
    taken = {opt.dest for opt in oslo_opts.HEALTHCHECK_OPTS}
    return [opt for opt in (_PATH_OPT, *PROBE_OPTS, *SHARING_OPTS,
                            *DATABASE_OPTS,
                            *MESSAGE_QUEUE_OPTS, *CELLS_OPTS,
                            *SERVICES_OPTS, *ACCESS_OPTS,
                            *LISTENER_OPTS,
                            *WORKER_OPTS)
            if opt.dest not in taken]


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Our options for oslo-config-generator and its Sphinx extension.

    Use it together with namespace ``oslo.middleware.healthcheck``, which
    lists oslo.middleware's.
    """
    return [(GROUP, _own_opts())]
