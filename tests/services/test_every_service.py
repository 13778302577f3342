# SPDX-License-Identifier: Apache-2.0

"""Each service loses its database, and comes back."""

from __future__ import annotations

import pytest

from tests.functional import servers
from tests.services import catalogue
from tests.services import conftest
from tests.services import deployment
from tests.services import results

CASES = [pytest.param(service, way, id=f'{service.name}-{way.name}')
         for service in catalogue.SERVICES for way in service.ways]


WRAPPED = [case for case in CASES if case.values[1].wrapped]

REFUSED = {'database': 'DATABASE: CONNECTION REFUSED'}
NOT_LOADED = {'application': 'APPLICATION: NOT LOADED'}


class Walk:
    """A way through faults, each of which must be seen, and seen to end."""

    def __init__(self, running: deployment.Deployment,
                 row: results.Row) -> None:
        self._running = running
        self._row = row
        way = running.way
        self._names = [*running.service.backends,
                       *(['disable_by_file'] if way.in_paste else []),
                       *(['application'] if way.wrapped else [])]

    def well(self, column: str) -> None:
        self._row[column] = self.says(200, {})

    def fault(self, column: str, server: servers.MariaDB | servers.RabbitMQ,
              faults: dict[str, str], *, killed: bool = False) -> None:
        if killed:
            server.kill()
        else:
            server.freeze()
        seen = self.says(503, faults)
        if killed:
            server.start()
        else:
            server.thaw()
        self.says(200, {})
        self._row[column] = seen

    def says(self, status: int, faults: dict[str, str]) -> str:
        """Wait for an answer; return it as it stands in the table."""
        self._running.says(status, '\n'.join(
            faults.get(name, 'OK') for name in self._names))
        return ', '.join([
            f'{status} ``{fault}``' for fault in faults.values() or ['OK']])


@pytest.mark.parametrize('service, way', CASES)
def test_backend_lost_and_back(
        service: catalogue.Service, way: catalogue.Way,
        deploy: conftest.Deploy) -> None:
    running = deploy(service, way)
    database, queue = running.backends.mariadb, running.backends.rabbitmq
    with results.row(service, way, 'At start', 'Database killed',
                     'Database frozen', 'Queue frozen', 'After each') as row:
        running.prepare()
        running.api.start()
        walk = Walk(running, row)
        walk.well('At start')
        # The service is there, and so are the right pages.
        assert running.api.ask('/').status < 500
        answer = running.api.ask(accept=catalogue.OURS)
        assert (answer.headers['content-type'] == catalogue.OURS) is way.ours

        walk.fault('Database killed', database, REFUSED, killed=True)
        walk.fault('Database frozen', database, {
            'database': 'DATABASE: NO ANSWER'})
        if service.has_queue:
            walk.fault('Queue frozen', queue, {
                'message_queue': 'MESSAGE QUEUE: NO ANSWER'})
        else:
            row['Queue frozen'] = results.NONE
        walk.well('After each')


@pytest.mark.parametrize('service, way', WRAPPED)
def test_started_without_its_database(
        service: catalogue.Service, way: catalogue.Way,
        deploy: conftest.Deploy) -> None:
    """It is loaded when the database is there, in each worker."""
    running = deploy(service, way)
    database = running.backends.mariadb
    with results.row(service, way, 'Started without database') as row:
        running.prepare()
        database.kill()
        running.api.start()
        walk = Walk(running, row)
        seen = walk.says(503, REFUSED | NOT_LOADED)
        assert running.api.ask('/').status == 503
        database.start()
        walk.says(200, {})
        assert running.api.ask('/').status < 500
        row['Started without database'] = seen
