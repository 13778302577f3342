# SPDX-License-Identifier: Apache-2.0

"""What goes straight to the driver, and what comes back."""

import sqlite3

import pytest
import sqlalchemy
from sqlalchemy import exc as sa_exc

from healthcheck.targets import statements


@pytest.fixture
def connection():
    engine = sqlalchemy.create_engine('sqlite://')
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_rows(connection):
    assert list(statements.rows(
        connection, "SELECT 1, '%s' UNION ALL SELECT 2, '%%'")) == [
            (1, '%s'), (2, '%%')]
    assert not connection.in_transaction()


def test_a_transaction_begins_once(connection):
    for _ in range(2):
        statements.begin(connection)
        assert connection.in_transaction()


@pytest.mark.parametrize('lost', [False, True])
def test_an_error_of_the_driver_is_wrapped(connection, lost, monkeypatch):
    monkeypatch.setattr(connection.dialect, 'is_disconnect',
                        lambda *args: lost)
    with pytest.raises(sa_exc.DBAPIError) as caught:
        statements.rows(connection, 'SELECT 1 FROM services')
    assert isinstance(caught.value.orig, sqlite3.OperationalError)
    assert caught.value.connection_invalidated is lost
