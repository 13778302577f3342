# SPDX-License-Identifier: Apache-2.0

"""Evidence from the service's own statements, through SQLAlchemy's events.

This covers all engines of the process, no matter when and how they were made.

``after_cursor_execute`` would be the obvious event. It costs 3 µs a statement
and 17 µs a checkout, because SQLAlchemy then takes a slower path everywhere.
``do_execute`` costs less than 1 µs, but comes before the statement. So a
statement has worked if its connection then executes another one, or goes back
to the pool, with no error in between. The time of its beginning is recorded.

The events are registered once and stay. SQLAlchemy goes through a deque of
listeners for each statement, so to remove one would raise RuntimeError in any
statement that another thread executes just then (seen with 2.0 and 2.1).
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from typing import Any

from oslo_log import log as logging
import sqlalchemy
from sqlalchemy import engine
from sqlalchemy import event
from sqlalchemy import exc as sa_exc
from sqlalchemy import pool

from healthcheck.evidence import ledger as ledger_module
from healthcheck.evidence import request
from healthcheck.targets import address
from healthcheck.targets import dialects
from healthcheck.targets import failures

LOG = logging.getLogger(__name__)

ANSWERED, WROTE = ledger_module.ANSWERED, ledger_module.WROTE
CALLS = ledger_module.CALLS

# Errors that a healthy server can return: a limit that the client has set, a
# table that it may not read, and the client's own mistakes.
_UNSUSPICIOUS = frozenset((failures.FAILED, failures.NO_ANSWER,
                           failures.PERMISSION_DENIED))

_MISTAKES = (sa_exc.IntegrityError, sa_exc.DataError,
             sa_exc.NotSupportedError)

_registering = threading.Lock()
_listening: list[Engines] = []
_numbers = itertools.count()


# Over a list, which may change meanwhile: then one misses a statement.
def _executes(cursor: Any, statement: str, parameters: Any,
              context: Any) -> None:
    for one in _listening:
        one.executes(context)


def _failed(context: engine.ExceptionContext) -> None:
    for one in _listening:
        one.failed(context)


def _returned(connection: Any, record: Any) -> None:
    for one in _listening:
        one.returned(connection, record)


EVENTS: tuple[tuple[Any, str, Any], ...] = (
    (engine.Engine, 'do_execute', _executes),
    (engine.Engine, 'do_executemany', _executes),
    (engine.Engine, 'handle_error', _failed),
    (pool.Pool, 'checkin', _returned))


def register() -> None:
    """Hear of all statements from now on, for those who listen."""
    with _registering:  # twice, and a statement would count before its end
        for target, name, function in EVENTS:
            if not event.contains(target, name, function):
                event.listen(target, name, function)


class _Note:
    """The last statement of a connection, while its outcome is unknown.

    :ivar began_at: monotonic seconds; 0 if there is none
    """

    __slots__ = ('slot', 'began_at', 'wrote')

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.began_at = 0.0
        self.wrote = False


class Engines:
    """Writes what all engines of this process see into a ledger.

    :param ledger: that of this process
    """

    def __init__(self, ledger: ledger_module.Ledger) -> None:
        self._ledger = ledger
        self._mine = ledger.mine
        # Each ledger has a note of its own on a connection.
        self._key = f'healthcheck {next(_numbers)}'
        register()  # early: the service may have no threads yet

    def listen(self) -> None:
        """Listen to all statements from now on."""
        for one in list(_listening):
            if not one._mine[0]:  # it was made before this process forked
                one.ignore()
        _listening.append(self)

    def ignore(self) -> None:
        """Stop listening."""
        if self in _listening:
            _listening.remove(self)

    # About 1 µs: it runs for each statement of the service.
    def executes(self, context: Any) -> None:
        """A connection begins a statement."""
        if not self._mine[0]:
            return  # in a child of the process that this belongs to
        try:
            # That of the pool's entry: .info costs as much again with each
            # checkout.
            note = context.root_connection.connection.record_info[self._key]
        except KeyError:
            note = self._meet(context.root_connection)
        except TypeError:
            return  # there is none: the connection has left the pool
        if note.began_at:
            slot = note.slot
            times = self._ledger.times
            times[slot + ANSWERED] = note.began_at
            times[slot + CALLS] += 1
            if note.wrote:
                times[slot + WROTE] = note.began_at
        note.began_at = time.monotonic()
        note.wrote = (context.isinsert or context.isupdate
                      or context.isdelete)

    def _meet(self, connection: sqlalchemy.Connection) -> _Note:
        note = _Note(self._slot(connection.engine))
        kept: Any = connection.connection.record_info
        with contextlib.suppress(NotImplementedError):
            # Raised while SQLAlchemy asks a server that it meets, which is
            # not a call of the service.
            _ = connection.info
            kept[self._key] = note
        return note

    def returned(self, connection: Any, record: Any) -> None:
        """A connection goes back to the pool: all is read and rolled back."""
        note = record.record_info.get(self._key)
        if note is None or not note.began_at:
            return
        # It is None if it was cut off in the middle of a statement. The rest
        # is as above: a call would cost as much again.
        if connection is not None and self._mine[0]:
            slot, times = note.slot, self._ledger.times
            times[slot + ANSWERED] = note.began_at
            times[slot + CALLS] += 1
            if note.wrote:
                times[slot + WROTE] = note.began_at
        note.began_at = 0.0

    def failed(self, context: engine.ExceptionContext) -> None:
        """A statement, or a connect, has failed."""
        try:
            if context.connection is not None:
                # The statement has failed, so it is no evidence of success.
                info = context.connection.connection.record_info
                if info is not None:
                    info.pop(self._key, None)
            if context.engine is None or not request.counts():
                return  # it pings what was idle, or nobody vouches for it
            if context.engine.dialect.is_async:
                return  # its greenlet cannot see the request that it serves
            if self._blames_server(context, context.engine.url):
                self._ledger.failed(self._slot(context.engine))
        except Exception as exc:  # must not replace the service's own error
            LOG.debug("Could not find the cause of an engine's failure: %s",
                      type(exc).__name__)

    def _blames_server(self, context: engine.ExceptionContext,
                       url: engine.URL) -> bool:
        """Whether the server or the network can be at fault."""
        if context.is_disconnect or context.connection is None:
            return True
        if isinstance(context.sqlalchemy_exception, _MISTAKES):
            return False
        return dialects.of(url, 1.0).reason(
            context.original_exception) not in _UNSUSPICIOUS

    def _slot(self, of: sqlalchemy.Engine) -> int:
        """The ledger's slot for an engine; raises nothing."""
        try:
            mark = (None if of.get_execution_options().get(address.PROBE)
                    else address.mark_of(of.url))
        except Exception as exc:  # the service's statement must go on
            LOG.debug('Could not identify the database of an engine: %s',
                      type(exc).__name__)
            mark = None
        return (ledger_module.NOWHERE if mark is None
                else self._ledger.slot(mark))
