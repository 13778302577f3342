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


class Walk:
    """A way through faults, each of which must be seen, and seen to end."""

    def __init__(self, running: deployment.Deployment,
                 row: results.Row) -> None:
        self._running = running
        self._row = row
        self._names = running.service.backends

    def well(self, column: str) -> None:
        self._row[column] = self._says(200, {})

    def fault(self, column: str, server: servers.MariaDB | servers.RabbitMQ,
              check: str, reason: str, *, killed: bool = False) -> None:
        if killed:
            server.kill()
        else:
            server.freeze()
        seen = self._says(503, {check: reason})
        if killed:
            server.start()
        else:
            server.thaw()
        self._says(200, {})
        self._row[column] = seen

    def _says(self, status: int, faults: dict[str, str]) -> str:
        lines = [faults.get(name, 'OK') for name in self._names]
        way = self._running.way
        lines += ['OK'] * (way.in_paste + way.wrapped)
        self._running.says(status, '\n'.join(lines))
        return f'{status} ``{"".join(faults.values()) or "OK"}``'


@pytest.mark.parametrize('service, way', CASES)
def test_backend_lost_and_back(
        service: catalogue.Service, way: catalogue.Way,
        deploy: conftest.Deploy) -> None:
    running = deploy(service, way)
    database, queue = running.backends.mariadb, running.backends.rabbitmq
    with results.row(service, way) as row:
        running.start()
        walk = Walk(running, row)
        walk.well('At start')
        # The service is there, and so are the right pages.
        assert running.api.ask(service.asked).status < 500
        answer = running.api.ask(accept=catalogue.OURS)
        assert (answer.headers['content-type'] == catalogue.OURS) is way.ours

        walk.fault('Database killed', database, 'database',
                   'DATABASE: CONNECTION REFUSED', killed=True)
        walk.fault('Database frozen', database, 'database',
                   'DATABASE: NO ANSWER')
        if service.has_queue:
            walk.fault('Queue frozen', queue, 'message_queue',
                       'MESSAGE QUEUE: NO ANSWER')
        else:
            row['Queue frozen'] = results.NONE
        walk.well('After each')
