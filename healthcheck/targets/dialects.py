# SPDX-License-Identifier: Apache-2.0

"""What differs between databases: bounds, the question, the reasons.

Each dialect is a set of plain functions on a connection and an exception;
what holds the connection is in ``database_target.py``. Here is what all
dialects share. A dialect has a module of its own, ``mysql.py`` for example,
and a process loads only those that it needs.
"""

from __future__ import annotations

from collections.abc import Mapping
import contextlib
import dataclasses
import importlib
from typing import Any

import sqlalchemy
from sqlalchemy import engine

from healthcheck.config import settings as settings_module
from healthcheck.probing import evidence
from healthcheck.reports import report
from healthcheck.targets import failures

CORRUPT = 'CORRUPT'
IN_RECOVERY = 'IN RECOVERY'
NOT_READY = 'NOT READY'
NOT_SYNCED = 'NOT SYNCED'
NO_SERVER_BEHIND_PROXY = 'NO SERVER BEHIND PROXY'
NO_SUCH_DATABASE = 'NO SUCH DATABASE'
READ_ONLY = 'READ ONLY'

Result = report.Result


@dataclasses.dataclass(frozen=True, slots=True)
class Tolerance:
    """What the operator accepts; see the options of the same names."""

    read_only: bool = False
    galera_donor: bool = False

    @classmethod
    def of(cls, settings: settings_module.Settings) -> Tolerance:
        """That of group ``[healthcheck]``, whose values these are."""
        return cls(settings.database_read_only_ok,
                   settings.database_galera_donor_ok)


class Dialect:
    """What is common: bounds are the driver's affair, and most ask alike.

    :param url: of the database
    :param bound: seconds that a connect, a read or a statement may take
    """

    phrases: Mapping[str, str] = {}
    keeps_connection = True

    def __init__(self, url: engine.URL, bound: float) -> None:
        self.url = url
        self.bound = bound

    def visit(self) -> contextlib.AbstractContextManager[None]:
        """What a visit happens in, from connecting to the last answer."""
        return contextlib.nullcontext()

    def connect_args(self) -> dict[str, Any]:
        return {}

    def connect(self, *args: Any, **kwargs: Any) -> Any:
        """A connection of the driver's, or None to leave it to SQLAlchemy.

        Called with what the driver is to be given.
        """
        return None

    def refused(self, args: Mapping[str, Any]) -> str | None:
        """An option of the URL that the driver cannot use.

        For a driver that finds out as late as in a connect, and says so in
        words that do not help.

        :param args: what SQLAlchemy is to give to the driver
        """
        return None

    def missing(self) -> Result | None:
        """What can be told to be wrong without a connection."""
        return None

    def descriptor(self, raw: Any) -> int | None:
        """The socket of a connection whose reads the driver cannot bound."""
        return None

    def ask(self, connection: sqlalchemy.Connection,
            tolerance: Tolerance) -> Result:
        """Ask once, in the transaction that begins with the first statement.

        What bounds its statements also has to bound those that follow in
        that transaction.
        """
        connection.exec_driver_sql('SELECT 1').scalar()
        return Result.ok()

    def proved_at(self, seen: evidence.Seen, tolerance: Tolerance) -> float:
        """When traffic last proved what :meth:`ask` asks; -inf if never."""
        return seen.answered_at

    def reason(self, exc: BaseException) -> str:
        return (failures.network_reason(exc)
                or failures.text_reason(exc, self.phrases)
                or failures.FAILED)

    def lost(self, exc: BaseException) -> bool:
        """Whether a connection that worked is gone.

        For what neither SQLAlchemy knows nor :meth:`reason` tells.
        """
        return False


# The module of this package, and the class in it, by what SQLAlchemy calls
# the database.
_DIALECTS = {'mariadb': ('mysql', 'MySQL'), 'mysql': ('mysql', 'MySQL'),
             'postgresql': ('postgresql', 'PostgreSQL'),
             'sqlite': ('sqlite', 'SQLite')}


def of(url: engine.URL, bound: float) -> Dialect:
    """The dialect for a URL; a plain one for a database we do not know."""
    if url.get_backend_name() not in _DIALECTS:
        return Dialect(url, bound)
    module, name = _DIALECTS[url.get_backend_name()]
    # They import this module, so this one cannot import them at its top.
    made: Dialect = getattr(importlib.import_module(
        f'healthcheck.targets.{module}'), name)(url, bound)
    return made
