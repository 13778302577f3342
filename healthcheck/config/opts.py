# SPDX-License-Identifier: Apache-2.0

"""The options of group ``[healthcheck]``.

oslo.middleware's own options are used as it defines them, and not defined
again: both may be loaded in one process, and oslo.config refuses a second
definition that differs.
"""

from __future__ import annotations

from oslo_config import cfg
from oslo_middleware.healthcheck import opts as oslo_opts

from healthcheck.config import plugin_opts

GROUP = 'healthcheck'

NONCRITICAL = ['services', 'worker']
"""The checks that warn by default."""

DRAIN_PATH = '/run/openstack-healthcheck/drain'
"""Drains all services of a host."""

_PATH_OPT = cfg.StrOpt(
    'path',
    default='/healthcheck',
    help='The path that a filter answers, together with everything below it. '
         'A paste app ignores this and answers relative to its mount point.')

PROBE_OPTS = [
    cfg.FloatOpt(
        'interval',
        default=10.0, min=0.1, max=3600,
        help='Seconds from the start of one probe to the start of the next, '
             'plus or minus "jitter".'),
    cfg.FloatOpt(
        'retry_interval',
        default=2.0, min=0.05, max=3600,
        help='Seconds until the next probe while a change of state is being '
             'confirmed: after a failure that "fall" wants repeated, or a '
             'success that "rise" wants repeated.'),
    cfg.FloatOpt(
        'timeout',
        default=5.0, min=0.1, max=300,
        help='Seconds after which a probe without an answer is a failure. A '
             'probe that hangs longer is not started a second time.'),
    cfg.FloatOpt(
        'ttl',
        default=30.0, min=0.2, max=86400,
        help='Seconds after which a result is stale. A stale result is a '
             'warning; if every check is stale, a failure. Must be longer '
             'than the longest time between two results of a live prober, '
             'interval * (1 + jitter) + timeout.'),
    cfg.IntOpt(
        'fall',
        default=2, min=1, max=100,
        help='Number of failures in a row after which a check fails. Before '
             'that it warns.'),
    cfg.IntOpt(
        'rise',
        default=1, min=1, max=100,
        help='Number of successes in a row after which a failed check passes '
             'again.'),
    cfg.FloatOpt(
        'slow_threshold',
        default=1.0, min=0.001, max=300,
        help='An answer that takes longer than this many seconds is a '
             'warning.'),
    cfg.FloatOpt(
        'jitter',
        default=0.1, min=0.0, max=0.5,
        help='Fraction of "interval" by which it varies at random, so the '
             'processes of a fleet do not probe in step.'),
    cfg.BoolOpt(
        'evidence',
        default=True,
        help="Whether the service's own calls count as evidence. A call that "
             'worked stands in for a probe, if it shows all that the probe '
             'would; a call that failed sets off a probe, which decides.'),
    cfg.FloatOpt(
        'probe_at_least_every',
        default=60.0, min=0.1, max=86400,
        help='Seconds after which a target is probed, whatever the '
             "service's own calls have shown."),
    cfg.FloatOpt(
        'startup_wait',
        default=1.0, min=0.0, max=60,
        help='Seconds that the first requests of a process may wait for the '
             'first report before they get 503 STARTING.'),
    cfg.ListOpt(
        'noncritical',
        default=NONCRITICAL,
        help='Names of checks whose failure is only a warning for the node: '
             'it keeps its traffic.'),
]

SHARING_OPTS = [
    cfg.StrOpt(
        'sharing',
        default='host', choices=[
            ('host', 'One process per host probes, and the others answer from '
                     'its report. If its directory cannot be used (see '
                     '"state_path"), same as "process".'),
            ('process', 'Each worker process probes for itself.')],
        help='Who probes. Processes share a prober if they probe the same '
             'backends with the same options and run as the same user.'),
    cfg.StrOpt(
        'state_path',
        help='Directory in which the workers of a service share a report, in '
             'a subdirectory of mode 700. It must be on a local file system, '
             'preferably in memory. Default: [oslo_concurrency]lock_path of '
             'the service, else $RUNTIME_DIRECTORY, which systemd sets, else '
             '$TMPDIR, else /tmp.'),
]

DRAIN_OPTS = [
    cfg.StrOpt(
        'drain_path',
        default=DRAIN_PATH,
        help='File that drains all services of the host, which "healthcheck '
             'drain" writes. Workers only read it. It must belong to root or '
             'to the user of the service, and only they may be able to write '
             'it or to replace it. Empty: only the drain of the service '
             'itself counts.'),
    cfg.FloatOpt(
        'drain_delay',
        default=0.0, min=0.0, max=3600,
        help='Seconds for which a server that was told to end (SIGTERM) goes '
             'on serving while readiness is 503 STOPPING, so balancers take '
             'the node out first. For the agent, and for gunicorn with the '
             'hooks of healthcheck.serving.gunicorn_hooks.'),
]

ACCESS_OPTS = [
    cfg.ListOpt(
        'detail_source_ranges',
        default=[],
        help='Networks whose hosts see the details, and the nodes of the '
             'fleet, without a token. A request with a proxy header, such as '
             'X-Forwarded-For, needs a token.'),
    cfg.ListOpt(
        'metrics_source_ranges',
        default=[],
        help='Networks whose hosts see the metrics without a token. A request '
             'with a proxy header, such as X-Forwarded-For, needs a token.'),
]

BALANCER_OPTS = [
    cfg.ListOpt(
        'balancer_source_ranges',
        default=[],
        help='Networks of the balancers. The header X-Haproxy-Server-State, '
             'which HAProxy adds to its checks with "http-check send-state", '
             'is read from these only. Default: it is never read.'),
]

FLEET_OPTS = [
    cfg.StrOpt(
        'shared_failure',
        default='fail', choices=[
            ('fail', 'The node goes out.'),
            ('last_stays', 'The node goes out, unless HAProxy says that no '
                           'other server is usable: then it stays in, with a '
                           'warning. Needs "balancer_source_ranges".'),
            ('majority_stays', 'The node goes out, unless other nodes fail '
                               'the same (see "fleet_quorum"): then it stays '
                               'in, with a warning. Needs "fleet_url".')],
        help='What a node does if it fails, and all that fails is shared with '
             'the other nodes, such as the one database. An outage of that is '
             'not cured by taking every node out. What is at a loopback '
             'address, a UNIX socket or in a file is never shared.'),
    cfg.StrOpt(
        'fleet_url',
        secret=True,
        help='Store in which the nodes of a fleet leave what they found, as '
             'for tooz: etcd3+http://HOST:2379, redis://HOST:6379, '
             'zookeeper://HOST:2181 or memcached://HOST:11211. Needs the '
             'extra "fleet". Default: this node knows nothing of the others. '
             'What others find is never waited for, and never makes a check '
             'fail.'),
    cfg.StrOpt(
        'fleet_name',
        help='Name of the fleet. Nodes with the same name know each other. '
             'Default: the service, and [keystone_authtoken]region_name.'),
    cfg.StrOpt(
        'fleet_node',
        help='Name of this node, which no other node of the fleet may have. '
             'Default: the name of the host.'),
    cfg.StrOpt(
        'fleet_quorum',
        default='100%', regex=r'^([1-9][0-9]*|[1-9][0-9]?%|100%)$',
        help='Number of other nodes, or a percentage of them, that must fail '
             'a check before this node stays in although it fails it, too. '
             'For shared_failure = majority_stays. Drained nodes do not '
             'count.'),
]

LISTENER_OPTS = [
    cfg.ListOpt(
        'listeners',
        default=[],
        help='Listeners that the probing process notifies when a check '
             'changes its status: names of entry points in '
             'openstack.healthcheck.listeners. "notification" emits an '
             'oslo.messaging notification, and needs '
             '[oslo_messaging_notifications]driver.'),
]

_THEIRS = [*oslo_opts.HEALTHCHECK_OPTS, *oslo_opts.DISABLE_BY_FILE_OPTS,
           *oslo_opts.DISABLE_BY_FILES_OPTS, *oslo_opts.ENABLE_BY_FILES_OPTS]

NOT_PROBED = frozenset(
    ['path', 'startup_wait']
    + [opt.dest for opt in (*_THEIRS, *SHARING_OPTS, *DRAIN_OPTS,
                            *ACCESS_OPTS, *BALANCER_OPTS,
                            *plugin_opts.WORKER_OPTS)
       if opt.dest != 'backends'])
"""Options that a process reads only for itself: how and to whom it answers,
which files switch it, and what is wrong with it. Processes may share a prober
and differ in these."""


def all_opts() -> list[cfg.Opt]:
    """Every option that this package reads, including oslo.middleware's."""
    return [*_THEIRS, *_own_opts()]


def _own_opts() -> list[cfg.Opt]:
    # oslo.middleware before 7.0 defines "path" itself.
    taken = {opt.dest for opt in oslo_opts.HEALTHCHECK_OPTS}
    return [opt for opt in (_PATH_OPT, *PROBE_OPTS, *SHARING_OPTS,
                            *DRAIN_OPTS, *plugin_opts.DATABASE_OPTS,
                            *plugin_opts.MESSAGE_QUEUE_OPTS,
                            *plugin_opts.CELLS_OPTS,
                            *plugin_opts.SERVICES_OPTS, *ACCESS_OPTS,
                            *BALANCER_OPTS, *FLEET_OPTS, *LISTENER_OPTS,
                            *plugin_opts.WORKER_OPTS)
            if opt.dest not in taken]


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Our options for oslo-config-generator and its Sphinx extension.

    Use it together with namespace ``oslo.middleware.healthcheck``, which
    lists oslo.middleware's.
    """
    return [(GROUP, _own_opts())]
