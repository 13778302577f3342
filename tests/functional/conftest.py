# SPDX-License-Identifier: Apache-2.0

"""The servers as pytest fixtures.

A server is started when the first test asks for it, once for the whole run;
each test gets it healthy, whatever the test before did to it. A server that
is not installed is an error: a run that quietly tests nothing is worse than
none. One test says so, with the log; the others that need it are skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Iterator
import os
import pathlib
import signal
import tempfile

import pytest
from xdist import remote
from xdist import scheduler

from tests.functional import clouds
from tests.functional import crowd as crowd_module
from tests.functional import joined
from tests.functional import servers
from tests.functional.servers import process


LONGEST = ['access_keystone', 'fleet_store', 'fleet', 'fleet_scans',
           'fleet_forged', 'evidence', 'command', 'cells_many',
           'database_idle', 'published', 'database', 'demo',
           'balancer_agent', 'message_queue_idle', 'serving_forked',
           'prober_stopped', 'services', 'agent', 'serving', 'one_prober',
           'wsgi', 'statuspage', 'cells', 'message_queue', 'servers_absent',
           'stopping', 'leaks', 'state_path', 'metrics', 'prober_killed']
"""The files that take longest: five of six parts of the whole time."""

OF_KEYSTONE = ['access_keystone', 'command_keystone', 'evidence_nova',
               'serving_keystone']
"""The files that need a Keystone, which computes for ten seconds to start."""


def hear_interrupts() -> None:
    """Let a program that a test starts be stopped by SIGINT.

    A shell without job control has what it starts in the background ignore
    SIGINT, and a program inherits that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


hear_interrupts()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, so that all processes end together."""
    places = {f'test_{name}': place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


class Scheduling(scheduler.LoadFileScheduling):
    """A file stays in one process, and those that need a Keystone in one."""

    def _split_scope(self, nodeid: str) -> str:
        path: str = super()._split_scope(nodeid)
        name = pathlib.Path(path).stem.removeprefix('test_')
        return 'keystone' if name in OF_KEYSTONE else path


def pytest_xdist_make_scheduler(config: pytest.Config,
                                log: remote.Producer) -> Scheduling:
    return Scheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
        item: pytest.Item, call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let one test fail of a cause that many have in common.

    That is a server that does not start, or a fixture of several
    tests that could not be made: pytest raises the same exception for each of
    them. A test is skipped only after another one has failed in this process,
    so the run as a whole fails.
    """
    report = yield
    if not report.failed or call.excinfo is None:
        return report
    error = call.excinfo.value
    if isinstance(error, process.NotStarted):
        what = f'{error.name} does not start'
        first = process.absent.setdefault(error.name, item.nodeid)
    elif call.when == 'setup':
        what = 'no fixture'
        first = vars(error).setdefault('_failed_test', item.nodeid)
    else:
        return report
    if first != item.nodeid:
        report.outcome = 'skipped'
        report.longrepr = (__file__, 0, f'Skipped: {what}: see {first}')
    return report


@pytest.fixture(scope='session', autouse=True)
def own_temporary_directory() -> Iterator[None]:
    """Processes share there by default; tests share with no other run."""
    # The module keeps this for the tests themselves.
    with tempfile.TemporaryDirectory(dir=tempfile.gettempdir()) as made, (
            pytest.MonkeyPatch.context()) as patch:
        os.chmod(made, 0o1777)
        patch.setenv('TMPDIR', made)
        yield


def _running(kind: Callable[[], process.Server]) -> Iterator[process.Server]:
    server = kind()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope='session')
def mariadb_server() -> Iterator[process.Server]:
    yield from _running(servers.MariaDB)


@pytest.fixture(scope='session')
def galera_server() -> Iterator[process.Server]:
    yield from _running(servers.GaleraNode)


@pytest.fixture(scope='session')
def postgresql_server() -> Iterator[process.Server]:
    yield from _running(servers.PostgreSQL)


@pytest.fixture(scope='session')
def rabbitmq_server() -> Iterator[process.Server]:
    yield from _running(servers.RabbitMQ)


@pytest.fixture(scope='session')
def keystone_server() -> Iterator[process.Server]:
    yield from _running(servers.Keystone)


@pytest.fixture(scope='session')
def etcd_server() -> Iterator[process.Server]:
    yield from _running(servers.Etcd)


@pytest.fixture(scope='session')
def redis_server() -> Iterator[process.Server]:
    yield from _running(servers.Redis)


@pytest.fixture
def keystone(keystone_server: servers.Keystone) -> servers.Keystone:
    keystone_server.heal()
    return keystone_server


@pytest.fixture
def mariadb(mariadb_server: servers.MariaDB) -> servers.MariaDB:
    mariadb_server.heal()
    return mariadb_server


@pytest.fixture
def galera(galera_server: servers.GaleraNode) -> servers.GaleraNode:
    galera_server.heal()
    return galera_server


@pytest.fixture
def postgresql(postgresql_server: servers.PostgreSQL) -> servers.PostgreSQL:
    postgresql_server.heal()
    return postgresql_server


@pytest.fixture
def rabbitmq(rabbitmq_server: servers.RabbitMQ) -> servers.RabbitMQ:
    rabbitmq_server.heal()
    return rabbitmq_server


@pytest.fixture(scope='session')
def cloud_of_cells(mariadb_server: servers.MariaDB,
                   rabbitmq_server: servers.RabbitMQ,
                   ) -> Iterator[clouds.Cloud]:
    with clouds.Cloud(mariadb_server, rabbitmq_server) as made:
        yield made


@pytest.fixture
def cloud(cloud_of_cells: clouds.Cloud, mariadb: servers.MariaDB,
          rabbitmq: servers.RabbitMQ) -> clouds.Cloud:
    cloud_of_cells.heal()
    return cloud_of_cells


@pytest.fixture(scope='module', params=['etcd', 'redis'])
def joined_nodes(request: pytest.FixtureRequest,
                 mariadb_server: servers.MariaDB,
                 tmp_path_factory: pytest.TempPathFactory,
                 ) -> Iterator[joined.Fleet]:
    store = request.getfixturevalue(f'{request.param}_server')
    store.heal()
    with joined.three(tmp_path_factory.mktemp('fleet'), mariadb_server,
                      store) as made:
        yield made


@pytest.fixture
def fleet(joined_nodes: joined.Fleet) -> joined.Fleet:
    """Three nodes of a fleet. Each test with it is run for each store."""
    joined_nodes.heal()
    return joined_nodes


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A function that returns ports nobody listens on."""
    return servers.free_port


@pytest.fixture
def crowd(tmp_path: pathlib.Path) -> Iterator[crowd_module.Crowd]:
    """Workers that share a prober, and all say that it is well."""
    with crowd_module.Crowd(tmp_path, 4) as made:
        made.all_say('200 OK')
        yield made
