# SPDX-License-Identifier: Apache-2.0

"""The file of a drain. All workers read it; other users cannot forge it.

The file is replaced whole, with a new modification time each time. So a
reader never sees half of a drain, and a request only needs the file's status.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import time

from oslo_log import log as logging

from healthcheck.host import ancestors
from healthcheck.host import drainrecord
from healthcheck.host import files
from healthcheck.host import statefiles
from healthcheck.reports import drain

LOG = logging.getLogger(__name__)

Record = drainrecord.Record
Unusable = statefiles.Unusable

# Longer than any file that is written.
_MAX_SIZE = 8192

# Seconds after which the writer of an incomplete file must be dead.
_LEFT_BEHIND = 60.0

_WHOSE = {drain.SERVICE: 'this service', drain.HOST: 'all of this host'}

_OPTIONS = {drain.SERVICE: '[healthcheck]state_path',
            drain.HOST: '[healthcheck]drain_path'}

_Version = tuple[int, ...]


class DrainFile:
    """The file of one drain.

    :param path: of the file
    :param scope: what it drains, ``service`` or ``host``
    """

    def __init__(self, path: str, scope: str,
                 clocks: drainrecord.Clocks = drainrecord.Clocks()) -> None:
        self.path = path
        self._scope = scope
        self._clocks = clocks
        # One tuple, so threads see both values or neither.
        self._seen: tuple[_Version | None, Record | None] = (None, None)
        self._told: drain.Drain | None = None
        self._said = ''

    def look(self) -> drain.Drain | None:
        """The current drain. This costs one system call.

        The file is only opened if it has changed. A change is logged.
        """
        version: _Version | None = None
        try:
            version = _version(os.stat(self.path, follow_symlinks=False))
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as exc:
            self._say(f'cannot be accessed: {exc.strerror}')
        seen, record = self._seen
        if version != seen:
            version, record = (None, None) if version is None else (
                self._open())
        found = None
        if record is not None:
            left = record.left(self._clocks)
            if record.holds(left):
                found = record.shown(self._scope)
            elif left <= 0:
                # Dropped, so no later step of a clock brings it back.
                record = None
        self._seen = version, record
        if found != self._told:
            self._tell(found)
        return found

    def read(self) -> drain.Drain | None:
        """The current drain, for an operator.

        Unlike :meth:`look`, this accepts any writer: the operator and the
        service may be different users.
        """
        try:
            descriptor = self._descriptor()
            try:
                record = self._load(descriptor)
            finally:
                os.close(descriptor)
        except OSError:
            return None
        return (record.shown(self._scope)
                if record.holds(record.left(self._clocks)) else None)

    def begin(self, reason: str, by: str,
              seconds: float | None = None) -> drain.Drain:
        """Begin a drain; it replaces the last one.

        :param reason: shortened and made one line
        :param by: the user who begins it
        :param seconds: until it ends by itself; None: it does not
        :raises Unusable: if the file cannot be written
        """
        record = Record.begun(reason, by, seconds, self._clocks)
        above, name = os.path.split(self.path)
        try:
            directory = os.open(above, os.O_RDONLY | os.O_DIRECTORY
                                | os.O_CLOEXEC)
            try:
                _remove_left_behind(directory, name)
                files.replace(
                    directory, name, record.dump(), time.time_ns(),
                    f'{name}.{secrets.token_hex(8)}.tmp',
                    # Services read it as different users.
                    mode=0o644, durable=True)
            finally:
                os.close(directory)
        except OSError as exc:
            raise self._unusable(exc) from None
        return record.shown(self._scope)

    def end(self) -> bool:
        """End the drain; False if there is none.

        :raises Unusable: if the file cannot be removed
        """
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            return False
        except OSError as exc:
            raise self._unusable(exc) from None
        return True

    def _open(self) -> tuple[_Version | None, Record | None]:
        """(version, content) of the current file."""
        try:
            descriptor = self._descriptor()
            try:
                found = os.fstat(descriptor)
                return _version(found), (self._load(descriptor)
                                         if self._trusts(found) else None)
            finally:
                os.close(descriptor)
        except OSError as exc:
            return self._cannot_open(exc)

    def _cannot_open(self, exc: OSError) -> tuple[_Version | None,
                                                  Record | None]:
        try:
            found = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return None, None
        if not self._trusts(found):
            return _version(found), None
        if exc.errno == errno.ENOENT:
            return self._seen  # another one came meanwhile: for the next look
        if exc.errno != errno.EACCES:
            # No descriptor is free, for example. The next look tries again.
            self._say(f'cannot be read for now: {exc.strerror}')
            return self._seen
        self._say('drains, but this user may not read it: it does not end '
                  'by itself; "healthcheck resume" removes it')
        return _version(found), Record.unknown(found.st_mtime)

    def _descriptor(self) -> int:
        return os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW
                       | os.O_NONBLOCK | os.O_CLOEXEC)

    def _load(self, descriptor: int) -> Record:
        """Read a file.

        If the content is no drain, an operator still wanted this node out. So
        the file drains, without a reason and without an end.
        """
        try:
            return Record.load(os.read(descriptor, _MAX_SIZE))
        except ValueError:
            self._say('drains, but its content is no drain of this release: '
                      'it does not end by itself; "healthcheck resume" '
                      'removes it')
            return Record.unknown(os.fstat(descriptor).st_mtime)

    def _trusts(self, found: os.stat_result) -> bool:
        """Whether only root or this user can have written the file."""
        problem = self._problem(found)
        if problem:
            self._say(f'is ignored: {problem}')
        return not problem

    def _problem(self, found: os.stat_result) -> str:
        if not stat.S_ISREG(found.st_mode):
            return 'not a regular file'
        if found.st_uid not in (0, os.geteuid()):
            return (f'it belongs to user {found.st_uid} (allowed: root and '
                    f'{os.geteuid()})')
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return (f'others can write to it (mode '
                    f'{stat.S_IMODE(found.st_mode):o}); run chmod go-w')
        try:
            return ancestors.weakness(os.path.dirname(self.path),
                                      _OPTIONS[self._scope])
        except OSError as exc:
            return str(exc.strerror)

    def _tell(self, found: drain.Drain | None) -> None:
        before, self._told = self._told, found
        of = found or before
        if of is None:  # another thread was faster
            return
        LOG.warning(
            'Healthcheck drain of %(whose)s %(what)s, by %(by)s: %(reason)s '
            '(%(path)s)', {
                'whose': _WHOSE[self._scope], 'path': self.path,
                'what': 'has ended' if found is None else
                'begins, without an end' if of.until is None else
                time.strftime('begins, until %Y-%m-%d %H:%M:%S UTC',
                              time.gmtime(of.until)),
                'by': of.by or 'somebody',
                'reason': of.reason or 'no reason given'})

    def _say(self, what: str) -> None:
        if what != self._said:
            self._said = what
            LOG.warning('Healthcheck: %s %s', self.path, what)

    def _unusable(self, exc: OSError) -> Unusable:
        return Unusable(f'{self.path}: {exc.strerror}')


def _version(found: os.stat_result) -> _Version:
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_ino,
            found.st_size)


def _remove_left_behind(directory: int, name: str) -> None:
    """Remove temporary files of killed writers.

    :raises OSError: if the directory cannot be read
    """
    pattern = re.compile(re.escape(name) + r'\.[0-9a-f]{16}\.tmp')
    for each in filter(pattern.fullmatch, os.listdir(directory)):
        with contextlib.suppress(OSError):
            found = os.stat(each, dir_fd=directory, follow_symlinks=False)
            if time.time() - found.st_mtime > _LEFT_BEHIND:
                os.unlink(each, dir_fd=directory)
