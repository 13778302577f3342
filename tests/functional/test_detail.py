# SPDX-License-Identifier: Apache-2.0

"""The details name the fault, and no password."""

from __future__ import annotations

from collections.abc import Iterator
import json

import pytest

from healthcheck.admin import paths
from tests.functional import databases
from tests.functional import service as service_module

SPELLINGS = service_module.spellings(databases.PASSWORD)


@pytest.fixture(params=databases.DRIVERS)
def database(request: pytest.FixtureRequest) -> Iterator[databases.Database]:
    yield from databases.requested(request)


def _told(service: service_module.Service) -> dict[str, str]:
    return {kind: service.request('/healthcheck/detail', accept=kind).text
            for kind in paths.FORMATS}


def test_login_refused_and_recovered(database: databases.Database) -> None:
    with database.service(
            detail_source_ranges='192.0.2.1/32') as service:
        service.passes()
        database.server.set_password(database.user, 'another')
        database.server.disconnect_user(database.user)
        service.fails('DATABASE: LOGIN REFUSED')
        told = _told(service)
        database.server.set_password(database.user, database.password)
        service.passes()
        later = json.loads(
            service.request('/healthcheck/detail').text)
    for kind, text in told.items():
        assert database.user in text, kind
        assert {secret for secret in SPELLINGS if secret in text} == set()
    (check,) = later['checks']
    assert (later['status'], check['status']) == ('pass', 'pass')
    assert check['last_failure']['reason'] == 'LOGIN REFUSED'
    came_to = [each['status'] for each in check['transitions']]
    assert came_to[-1] == 'pass' and 'fail' in came_to
