# SPDX-License-Identifier: Apache-2.0

"""No caller learns who or where; no secret is in an answer or a log."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import gc
import re
from typing import Any

import pytest

from tests.functional import brokers
from tests.functional import databases
from tests.functional import servers
from tests.functional import service as service_module

SPELLINGS = (service_module.spellings(databases.PASSWORD)
             | service_module.spellings(brokers.PASSWORD))

# What only the log says, for administrators.
CONFIDENTIAL = ('zuser7', 'zschema7', 'zvhost7', 'zhost7', '127.0.0.1',
                'mysql', 'psycopg', 'postgresql', 'rabbit', 'amqp', 'sqlalche',
                'Error', 'Exception', 'errno', 'Traceback', 'openstack', '://')


@pytest.fixture
def log() -> Iterator[service_module.Log]:
    with service_module.Log.of_everybody() as log:
        yield log


@pytest.fixture(params=databases.DRIVERS)
def database(request: pytest.FixtureRequest) -> Iterator[databases.Database]:
    yield from databases.requested(request)


@pytest.fixture
def broker(rabbitmq: servers.RabbitMQ) -> Iterator[brokers.Broker]:
    with brokers.on(rabbitmq) as broker:
        yield broker


def assert_tells_nothing(service: service_module.Service,
                         *ports: int) -> None:
    """See that no answer to anybody holds what is none of their business."""
    kept = {*CONFIDENTIAL, *map(str, ports), *SPELLINGS}
    seen = 0
    for answer in service.everything():
        seen += 1
        told = f'{answer.status} {dict(answer.headers)} {answer.text}'
        for text in kept:
            assert text.lower() not in told.lower(), (text, told)
    assert seen > 50


def assert_no_secret(log: service_module.Log) -> None:
    """See that no log has one, nor any object of ours when it is printed."""
    told = list(log.lines)
    # It was listened to, and the check did tell its reason.
    assert any(name == 'healthcheck.probing.changelog' and 'fail' in line
               for name, line in told)
    told += [(type(one).__name__, repr(one)) for one in gc.get_objects()
             if str(type(one).__module__).split('.')[0] == 'healthcheck']
    assert 'Redactor' in {name for name, _ in told}
    leaks = {(name, secret) for name, line in told for secret in SPELLINGS
             if secret in line}
    assert not leaks, leaks


@contextlib.contextmanager
def failing(service: service_module.Service, log: service_module.Log,
            reason: str, *ports: int) -> Iterator[None]:
    with service:
        service.fails(reason)
        assert_tells_nothing(service, *ports)
        yield
    assert_no_secret(log)


def change_password(on: Any) -> Any:
    return on.server.set_password(on.user, 'another')


DATABASE_FAULTS: dict[str, Callable[[databases.Database], Any]] = {
    'LOGIN REFUSED': change_password,
    'NO SUCH DATABASE': lambda on: on.server.drop_database(on.name)}


@pytest.mark.parametrize('reason', DATABASE_FAULTS)
def test_database_turns_down(database: databases.Database, reason: str,
                             log: service_module.Log) -> None:
    DATABASE_FAULTS[reason](database)
    with failing(database.service(), log, f'DATABASE: {reason}',
                 database.server.port):
        pass


@pytest.mark.parametrize('host', ['127.0.0.1', 'zhost7.invalid'])
def test_database_unreachable(database: databases.Database, host: str,
                              log: service_module.Log) -> None:
    with servers.RefusedPort() as refused:
        service = database.service(refused.port, host)
        reason = ('CONNECTION REFUSED' if host[0].isdigit()
                  else 'UNKNOWN HOST')
        with failing(service, log, f'DATABASE: {reason}', refused.port):
            pass
    # The administrator does learn where.
    assert any(name == 'healthcheck.probing.changelog' and host in line
               for name, line in log.lines)


@pytest.mark.parametrize('driver', databases.DRIVERS[2:])
def test_several_databases(driver: str, postgresql: servers.PostgreSQL,
                           log: service_module.Log) -> None:
    with databases.on(postgresql, driver) as database, \
            servers.RefusedPort() as one, servers.RefusedPort() as two:
        url = re.sub('@[^/]*/', '@/', database.url())
        service = service_module.Service(
            'database', database_connection=(
                f'{url}?host=127.0.0.1:{one.port}&host=127.0.0.1:{two.port}'))
        with failing(service, log, 'DATABASE: CONNECTION REFUSED',
                     one.port, two.port):
            pass


BROKER_FAULTS: dict[str, Callable[[brokers.Broker], Any]] = {
    'LOGIN REFUSED': change_password,
    'NO SUCH VHOST': lambda on: on.server.delete_vhost(on.vhost),
    'PERMISSION DENIED': lambda on: on.server.clear_permissions(
        on.user, on.vhost)}


@pytest.mark.parametrize('reason', BROKER_FAULTS)
def test_broker_turns_down(broker: brokers.Broker, reason: str,
                           log: service_module.Log) -> None:
    BROKER_FAULTS[reason](broker)
    with broker.relay() as relay:
        # Two hosts, each with the password in front of it.
        service = broker.service(broker.server.port, relay.port)
        with failing(service, log, f'MESSAGE QUEUE: {reason}',
                     broker.server.port, relay.port):
            pass


@pytest.mark.parametrize('host', ['127.0.0.1', 'zhost7.invalid'])
def test_broker_unreachable(broker: brokers.Broker, host: str,
                            log: service_module.Log) -> None:
    with servers.RefusedPort() as one, servers.RefusedPort() as two:
        service = broker.service(one.port, two.port, host=host)
        reason = ('CONNECTION REFUSED' if host[0].isdigit()
                  else 'UNKNOWN HOST')
        with failing(service, log, f'MESSAGE QUEUE: {reason}',
                     one.port, two.port):
            pass
    assert any(name == 'healthcheck.probing.changelog' and host in line
               for name, line in log.lines)


def test_silent(broker: brokers.Broker, log: service_module.Log) -> None:
    with servers.SilentListener() as one:
        with failing(broker.service(one.port, fall=1), log,
                     'MESSAGE QUEUE: NO ANSWER', one.port):
            one.close()
