# SPDX-License-Identifier: Apache-2.0

"""SQLite, whose file must be there and be one."""

from __future__ import annotations

import contextlib
import math
import os
import pathlib
import sqlite3
from typing import Any

import sqlalchemy

from healthcheck.probing import evidence
from healthcheck.reports import report
from healthcheck.targets import dialects
from healthcheck.targets import failures
from healthcheck.targets import forks

Result = report.Result


class SQLite(dialects.Dialect):
    """Opens the file each time.

    One that was moved away goes on answering to those who hold it open, so it
    is opened each time. It must not be made by that: an empty one would pass,
    and the service would use it.
    """

    phrases = {'unable to open': dialects.NO_SUCH_DATABASE,
               'not a database': dialects.CORRUPT,
               'malformed': dialects.CORRUPT,
               'readonly': dialects.READ_ONLY, 'locked': failures.NO_ANSWER}
    keeps_connection = False

    def visit(self) -> contextlib.AbstractContextManager[None]:
        # From opening to closing: every step allocates memory.
        return forks.FORKS.kept_out()

    def connect_args(self) -> dict[str, Any]:
        return {'timeout': self.bound}

    def connect(self, *args: Any, **kwargs: Any) -> Any:
        if self._path is None or self.url.get_driver_name() != 'pysqlite':
            return None
        # "Read only" if it cannot be written to, and never "create":
        # https://www.sqlite.org/uri.html
        return sqlite3.connect(f'{pathlib.Path(args[0]).as_uri()}?mode=rw',
                               *args[1:], **{**kwargs, 'uri': True})

    def missing(self) -> Result | None:
        if self._path and not os.path.exists(self._path):
            return Result.failed(dialects.NO_SUCH_DATABASE,
                                 f'{self._path} does not exist')
        return None

    def ask(self, connection: sqlalchemy.Connection,
            tolerance: dialects.Tolerance) -> Result:
        connection.exec_driver_sql('SELECT 1 FROM sqlite_master').first()
        if self._path and not tolerance.read_only and not os.access(
                self._path, os.W_OK):
            # Perhaps it has just been moved away.
            return self.missing() or Result.failed(
                dialects.READ_ONLY, f'{self._path} cannot be written to')
        return Result.ok()

    def proved_at(self, seen: evidence.Seen,
                  tolerance: dialects.Tolerance) -> float:
        # Those who hold a file open do not see that it was moved away.
        return -math.inf

    @property
    def _path(self) -> str | None:
        """The file; None for a database in memory."""
        name = self.url.database
        if not name or name == ':memory:' or name.startswith('file:'):
            return None
        return name
