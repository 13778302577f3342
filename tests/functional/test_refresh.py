# SPDX-License-Identifier: Apache-2.0

"""A refresh that many ask for at once is one round on the servers."""

from __future__ import annotations

from concurrent import futures
import datetime
import json

import pytest

from healthcheck.admin.auth import gate
from healthcheck.probing import rounds
from tests.functional import databases
from tests.functional import servers
from tests.functional import service as service_module

CALLERS = 200


@pytest.fixture
def database(mariadb: servers.MariaDB):
    with databases.on(mariadb, databases.DRIVERS[0]) as database:
        yield database


@pytest.fixture
def everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every caller is let in."""
    monkeypatch.setattr(gate.Gate, 'check',
                        lambda self, environ, rule: None)


def _refresh(service: service_module.Service) -> service_module.Answer:
    return service.request('/healthcheck/refresh', 'POST')


def _began(answer: service_module.Answer) -> float:
    """When the round began that an answer rests on."""
    told = json.loads(answer.body)['refreshed']['time']
    return datetime.datetime.fromisoformat(
        told.replace('Z', '+00:00')).timestamp()


@pytest.mark.usefixtures('everybody')
def test_one_round_for_all(database: databases.Database) -> None:
    server = database.server
    with database.service(interval=50, ttl=60) as service:
        service.passes()
        before = server.questions(), server.status('Connections')
        assert _refresh(service).status == 200
        after = server.questions(), server.status('Connections')
        one_round = after[0] - before[0]
        assert one_round > 0

        servers.wait_until(
            lambda: json.loads(service.request('/healthcheck/detail').body)[
                'refreshed']['age_seconds'] > rounds.SHARED_FOR,
            'the round is an old one', 10)
        with futures.ThreadPoolExecutor(CALLERS) as callers:
            answers = list(callers.map(lambda _: _refresh(service),
                                       range(CALLERS)))
        assert server.questions() - after[0] == one_round
        assert server.status('Connections') == after[1]
    assert {answer.status for answer in answers} <= {200, 202}
    began = [_began(answer) for answer in answers if answer.status == 200]
    assert began and max(began) - min(began) < rounds.SHARED_FOR / 2


@pytest.mark.usefixtures('everybody')
def test_a_server_that_hangs_holds_nobody_longer_than_timeout(
        database: databases.Database) -> None:
    with database.service(interval=50, ttl=60, timeout=3.0) as service:
        service.passes()
        database.server.freeze()
        try:
            with futures.ThreadPoolExecutor(CALLERS) as callers:
                answers = list(callers.map(lambda _: _refresh(service),
                                           range(CALLERS)))
        finally:
            database.server.thaw()
    # One waits for the end of the round, the others give way.
    assert {answer.status for answer in answers} == {200, 202}
    assert max(answer.seconds for answer in answers) < (
        service.policy.timeout + service_module.ALLOWANCE)
