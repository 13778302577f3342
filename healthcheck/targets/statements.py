# SPDX-License-Identifier: Apache-2.0

"""A statement that goes straight to the driver.

SQLAlchemy needs as much processor time for a small statement as the driver
does. That counts where a thousand databases are asked every ten seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy
from sqlalchemy import exc as sa_exc


def begin(connection: sqlalchemy.Connection) -> None:
    """Have ``rollback()`` end what the driver begins by itself.

    Nothing is sent.
    """
    if not connection.in_transaction():
        connection.begin()


def rows(connection: sqlalchemy.Connection, statement: str,
         ) -> Sequence[Sequence[Any]]:
    """The rows that a statement returns, as the driver makes them.

    SQLAlchemy does not see the statement. Call :func:`begin` first if it may
    begin a transaction in the server.

    :param statement: as the server is to get it; it has no parameters
    :raises sqlalchemy.exc.DBAPIError: if the driver raises an error of its
        own; like SQLAlchemy's, it knows whether the connection is lost
    """
    raw: Any = connection.connection.dbapi_connection
    cursor = raw.cursor()
    try:
        cursor.execute(statement)
        found: Sequence[Sequence[Any]] = cursor.fetchall()
    except connection.dialect.loaded_dbapi.Error as exc:
        # The cursor goes with the connection, which its owner drops.
        raise sa_exc.DBAPIError(
            statement, None, exc, connection_invalidated=(
                connection.dialect.is_disconnect(exc, raw, cursor))) from exc
    cursor.close()
    return found
