# SPDX-License-Identifier: Apache-2.0

"""The servers of the functional tests, and each service's schema once."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import pathlib

import pytest

from tests.functional.conftest import mariadb  # noqa: F401
from tests.functional.conftest import mariadb_server  # noqa: F401
from tests.functional.conftest import rabbitmq  # noqa: F401
from tests.functional.conftest import rabbitmq_server  # noqa: F401
from tests.functional import servers
from tests.services import catalogue
from tests.services import deployment


@pytest.fixture(scope='session')
def backends(mariadb_server: servers.MariaDB,  # noqa: F811
             rabbitmq_server: servers.RabbitMQ,  # noqa: F811
             tmp_path_factory: pytest.TempPathFactory) -> deployment.Backends:
    return deployment.Backends(mariadb_server, rabbitmq_server,
                               tmp_path_factory.mktemp('services'))


Deploy = Callable[[catalogue.Service, catalogue.Way], deployment.Deployment]


@pytest.fixture
def deploy(backends: deployment.Backends,
           mariadb: servers.MariaDB,  # noqa: F811
           rabbitmq: servers.RabbitMQ,  # noqa: F811
           tmp_path: pathlib.Path) -> Iterator[Deploy]:
    """A function that deploys a service; its servers are well."""
    made = []

    def deploy(service: catalogue.Service,
               way: catalogue.Way) -> deployment.Deployment:
        made.append(deployment.Deployment(backends, service, way, tmp_path))
        return made[-1]

    try:
        yield deploy
    finally:
        for one in made:
            one.close()
