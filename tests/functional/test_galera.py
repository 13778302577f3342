# SPDX-License-Identifier: Apache-2.0

"""Plugin ``database``: a node of a Galera cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pymysql
import pytest

from tests.functional import databases
from tests.functional import servers


@pytest.fixture
def database(galera: servers.GaleraNode) -> Iterator[databases.Database]:
    with databases.on(galera, databases.DRIVERS[0]) as database:
        yield database


def test_lost_quorum(database: databases.Database) -> None:
    with database.server.arbitrator() as other, database.service() as service:
        service.passes()
        other.kill()
        service.fails('DATABASE: NOT READY')
        database.server.regain_quorum()
        service.passes()
        service.answers_at_once()
        assert database.connections() == 1


def test_lost_quorum_before_the_start(database: databases.Database) -> None:
    database.server.lose_quorum()
    with database.service() as service:
        service.fails('DATABASE: NOT READY')
        database.server.regain_quorum()
        service.passes()


def test_donor(database: databases.Database) -> None:
    with database.service() as strict, database.service(
            database_galera_donor_ok=True) as tolerant:
        strict.passes()
        tolerant.passes()
        database.server.desync()
        strict.fails('DATABASE: NOT SYNCED')
        tolerant.stays('OK', 0.5)
        database.server.resync()
        strict.passes()
        strict.answers_at_once()


def test_donor_is_still_asked_for_its_quorum(
        database: databases.Database) -> None:
    with database.server.arbitrator() as other, database.service(
            database_galera_donor_ok=True) as service:
        service.passes()
        other.kill()
        service.fails('DATABASE: NOT READY')


@pytest.mark.parametrize('refused', ['ALL', 'ALL_KILL'])
def test_told_to_refuse_queries(
        database: databases.Database, refused: str) -> None:
    # It goes on being ready and synced.
    server = database.server
    with database.service(database_galera_donor_ok=True) as service:
        service.passes()
        try:
            server.sql(f"SET GLOBAL wsrep_reject_queries = '{refused}'")
        except pymysql.OperationalError:
            pass  # ALL_KILL closes this connection, too
        try:
            service.fails('DATABASE: NOT READY')
            assert server.synced
        finally:
            server.sql("SET GLOBAL wsrep_reject_queries = 'NONE'")
        service.passes()


@pytest.mark.parametrize('tolerated', [False, True])
def test_read_only(database: databases.Database, tolerated: bool) -> None:
    server = database.server
    # The lock that it takes desyncs the node for a moment, which is not what
    # is looked at here: the service comes when that is over.
    server.sql('SET GLOBAL read_only = 1')
    try:
        servers.wait_until(lambda: server.synced, 'the node is synced')
        with database.service(database_read_only_ok=tolerated) as service:
            if tolerated:
                service.passes()
                service.stays('OK', 1)
            else:
                service.fails('DATABASE: READ ONLY')
            server.sql('SET GLOBAL read_only = 0')
            service.passes()
    finally:
        server.sql('SET GLOBAL read_only = 0')
