# SPDX-License-Identifier: Apache-2.0

"""While one check hangs, the others keep their interval."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from importlib import metadata
import threading
import time
from typing import Any

from oslo_middleware.healthcheck import pluginbase
import pytest
from stevedore import extension

from healthcheck.plugins import backends
from healthcheck.plugins import base
from tests.functional import brokers
from tests.functional import databases
from tests.functional import servers
from tests.functional import service as service_module
from tests.functional import stalls

RELEASE = threading.Event()


class Ours(base.ProbePlugin):
    """Hangs until it is let go."""

    name = 'hangs'

    def probe(self) -> base.Result:
        RELEASE.wait()
        return base.Result.ok()


class Theirs(pluginbase.HealthcheckBaseExtension):
    """Hangs as well, and knows nothing of probes."""

    def healthcheck(self, server_port: int) -> pluginbase.HealthcheckResult:
        RELEASE.wait()
        return pluginbase.HealthcheckResult(available=True, reason='OK')


@pytest.fixture(params=['Ours', 'Theirs'])
def hanging(request: pytest.FixtureRequest,
            monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Install a plugin that hangs; what is put in front of its reasons."""
    entry = metadata.EntryPoint(
        'hangs', f'{__name__}:{request.param}', backends.NAMESPACE)
    listed = extension.ExtensionManager.list_entry_points
    monkeypatch.setattr(
        extension.ExtensionManager, 'list_entry_points',
        lambda manager: [*listed(manager), entry] if (
            manager.namespace == backends.NAMESPACE) else listed(manager))
    RELEASE.clear()
    yield 'HANGS: ' if request.param == 'Ours' else ''
    RELEASE.set()


@pytest.fixture
def database(mariadb: servers.MariaDB) -> Iterator[databases.Database]:
    with databases.on(mariadb, databases.DRIVERS[0]) as database:
        yield database


@pytest.fixture
def broker(rabbitmq: servers.RabbitMQ) -> Iterator[brokers.Broker]:
    with brokers.on(rabbitmq) as broker:
        yield broker


# One that waits for what hangs comes to one probe in that time, and no more.
SECONDS = 3.0
INTERVAL = 0.2
PROBES = 0.5 * SECONDS / INTERVAL
"""How many there are at least, of some fourteen, on a busy machine."""

TRIES = 4
"""A server may get no processor for seconds, too. What waits for a check that
hangs is late each time."""


def counted(*counts: Callable[[], int]) -> list[int]:
    """By how much each of the counts grows in SECONDS.

    The time does not count in which this process, which probes, stood still.
    """
    noted = stalls.of_this_process()
    before = [count() for count in counts]
    began = time.monotonic()
    servers.wait_until(
        lambda: time.monotonic() - began >= SECONDS + noted.seconds(began),
        'time passed')
    return [count() - was for count, was in zip(counts, before)]


def grow(*wanted: tuple[Callable[[], int], float]) -> None:
    """See that each of the counts grows by so much in SECONDS."""
    for _ in range(TRIES):
        grown = counted(*(count for count, _ in wanted))
        if all(by >= least for by, (_, least) in zip(grown, wanted)):
            return
    raise AssertionError(f'{grown}, wanted {[least for _, least in wanted]}')


def test_others_keep_their_interval(
        hanging: str, database: databases.Database,
        broker: brokers.Broker) -> None:
    options: dict[str, Any] = {
        'database_connection': database.url(),
        'message_queue_transport_url': broker.url(), 'interval': INTERVAL}
    statements, messages = database.server.questions, broker.server.published
    with service_module.Service('database', 'message_queue',
                                **options) as service:
        service.passes()
        alone = counted(statements, messages)
    with service_module.Service('hangs', 'database', 'message_queue',
                                **options) as service:
        service.fails(f'{hanging}NO ANSWER\nOK\nOK')
        grow((statements, 0.5 * alone[0]),
             (messages, max(0.5 * alone[1], PROBES)))
        RELEASE.set()
        service.passes()
        service.answers_at_once()


def test_one_that_fails_slowly(database: databases.Database,
                               broker: brokers.Broker) -> None:
    """The same of two real checks, one of which meets a silent server."""
    with servers.SilentListener() as listener:
        service = service_module.Service(
            'database', 'message_queue', interval=INTERVAL,
            database_connection=database.url(),
            message_queue_transport_url=broker.url(listener.port))
        service.wait_for(503, 'OK\nMESSAGE QUEUE: NO ANSWER')
        # Two statements a probe, at the very least.
        grow((database.server.questions, 2 * PROBES))
        service.answers_at_once()
    service.close()
