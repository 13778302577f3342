# SPDX-License-Identifier: Apache-2.0

"""The options of our plugins, in group ``[healthcheck]``."""

from __future__ import annotations

from oslo_config import cfg
from oslo_config import types

DATABASE_OPTS = [
    cfg.StrOpt(
        'database_connection',
        secret=True,
        help='SQLAlchemy URL of the database to probe. Default: '
             '[database]connection of the service, with its '
             'connection_parameters.'),
    cfg.BoolOpt(
        'database_read_only_ok',
        default=False,
        help='Whether a read-only database, or a replica in recovery, '
             'passes. For a service that never writes.'),
    cfg.BoolOpt(
        'database_galera_donor_ok',
        default=False,
        help='Whether a Galera node that is a donor or desynced passes. Such '
             'a node lags behind while it feeds another one. With a '
             'non-blocking backup method it still accepts work.'),
]

MESSAGE_QUEUE_OPTS = [
    cfg.StrOpt(
        'message_queue_transport_url',
        secret=True,
        help='Transport URL of the message queue to probe. Default: '
             '[DEFAULT]transport_url of the service.'),
]

CELLS_OPTS = [
    cfg.StrOpt(
        'cells_api_connection',
        secret=True,
        help='SQLAlchemy URL of the database that lists Nova\'s cells, for '
             'the checks "cells" and "services". Default: [api_database]'
             'connection of the service, with its connection_parameters.'),
    cfg.StrOpt(
        'cells_min_up',
        default='1', regex=r'^([0-9]+|[0-9]{1,2}%|100%)$',
        help='Number of cells that must be up, or a percentage of those that '
             'are not disabled. With fewer, the check "cells" fails. cell0 '
             'does not count. A cell whose last success is too old still '
             'counts as up; a cell that has not passed yet does not.'),
    cfg.ListOpt(
        'cells_critical',
        default=['cell0'],
        item_type=types.String(choices=['cell0', 'api_database']),
        help='Databases whose loss fails the check "cells", whatever else is '
             'up: "cell0", "api_database", both or none. As long as no list '
             'of cells is known, loss of the API database always fails it.'),
    cfg.IntOpt(
        'cells_workers',
        default=80, min=4, max=1000,
        help='Maximum number of databases and message queues of cells that '
             'are probed at a time, one thread each. While they answer, a few '
             'threads are enough, and no more are started. If more of them '
             'hang than three quarters of this number, some are found down '
             'later than usual.'),
]

SERVICES_OPTS = [
    cfg.StrOpt(
        'services_of',
        choices=[
            ('nova', 'Nova\'s services, in the database of each cell.'),
            ('cinder', 'Cinder\'s services.'),
            ('neutron', 'Neutron\'s agents.')],
        help='Whose services the check "services" counts. Default: those of '
             'the service that it runs in.'),
]

WORKER_OPTS = [
    cfg.FloatOpt(
        'worker_max_descriptors',
        default=0.9, min=0.01, max=1.0,
        help='Fraction of the descriptor limit (RLIMIT_NOFILE) above which '
             'the check "worker" fails. At the limit a process can accept no '
             'connection and open no file.'),
    cfg.FloatOpt(
        'worker_max_memory',
        default=0.95, min=0.01, max=1.0,
        help='Fraction of the memory limit of the process\'s cgroup, or of '
             'one above it, beyond which the check "worker" fails. '
             'Reclaimable page cache does not count. At the limit the kernel '
             'kills a process.'),
    cfg.FloatOpt(
        'worker_max_tasks',
        default=0.9, min=0.01, max=1.0,
        help='Fraction of the thread limit (pids.max) of the process\'s '
             'cgroup, or of one above it, beyond which the check "worker" '
             'fails. At the limit no thread or process can be started.'),
    cfg.IntOpt(
        'worker_max_threads',
        default=0, min=0,
        help='Number of threads of a worker process above which the check '
             '"worker" fails. 0 means no limit.'),
]
