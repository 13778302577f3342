# SPDX-License-Identifier: Apache-2.0

"""SQLite, whose file must be there and be one."""

from __future__ import annotations

import contextlib
import math
import os
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

    Opening a file that is missing would make it, and one that was moved
    away goes on answering to those who hold it open: so it is looked for,
    and opened, each time.
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
