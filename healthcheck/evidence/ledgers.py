# SPDX-License-Identifier: Apache-2.0

"""The ledgers of all processes that share a prober.

Each process keeps its ledger in a file of its own, which the prober maps into
its memory. The process locks the file as long as it lives.
"""

from __future__ import annotations

from collections.abc import Collection
import dataclasses
import fcntl
import functools
import itertools
import mmap
import os
import re
import secrets

from oslo_log import log as logging

from healthcheck.evidence import ledger as ledger_module
from healthcheck.host import group as group_module
from healthcheck.host import mounts
from healthcheck.host import statefiles
from healthcheck.probing import evidence

LOG = logging.getLogger(__name__)

_NAME = re.compile(r'[0-9a-f]{32}\.[0-9a-f]{16}\.evidence')

_SHARED_MEMORY = '/dev/shm'

_EVERY = 1.0
"""Seconds between two looks for new ledgers and for those of processes that
have ended."""


@dataclasses.dataclass
class _Known:
    """A ledger that is read.

    :ivar errors: number of its errors that were counted already
    """

    reader: ledger_module.Reader
    errors: int


class Ledgers:
    """The evidence of all processes of a host, including this one's.

    It implements :class:`healthcheck.probing.evidence.Traffic`. One thread
    uses it.

    :param own: the ledger of this process
    :param group: the processes that share a prober; None if this process has
        its own
    """

    def __init__(self, own: ledger_module.Ledger,
                 group: group_module.Group | None) -> None:
        self._own = own
        self._group = group
        self._directory: statefiles.Directory | None = None
        self._name = f'{secrets.token_hex(8)}.evidence'
        if group is not None:
            self._name = f'{group.key}.{self._name}'
            self._directory = _directory(group)
        self._descriptor: int | None = None
        self._known = {'': _Known(own.read(), 0)}
        self._looked_at = -_EVERY
        self._unlocked: set[str] = set()
        self._errors = 0

    def look(self, now: float) -> Collection[int]:
        if self._directory is not None and now >= self._looked_at + _EVERY:
            self._looked_at = now
            self._find(self._directory)
        for one in self._known.values():
            self._errors += max(0, one.reader.errors - one.errors)
            one.errors = one.reader.errors
        return set(itertools.chain.from_iterable(
            one.reader.failed() for one in self._known.values()))

    def seen(self, marks: Collection[int]) -> evidence.Seen:
        found = [seen for one in self._known.values() for mark in marks
                 if (seen := one.reader.seen(mark)) is not evidence.NOTHING]
        return functools.reduce(evidence.Seen.__or__, found,
                                evidence.NOTHING)

    def errors(self) -> int:
        return self._errors

    def attach(self) -> None:
        """Put this process's ledger where the prober reads it.

        Call this from time to time: the directory may be created later, or
        again. If this fails, the ledger stays private.
        """
        directory = self._directory
        if directory is None or self._is_attached(directory):
            return
        self.detach()
        try:
            directory.prepare()
            self._attach(directory)
        except (OSError, statefiles.Unusable) as exc:
            LOG.debug("This process's evidence from traffic is not shared "
                      'for now: %s', exc)
            self.detach()

    def forget(self) -> None:
        """Let go of the ledgers of others: each holds a descriptor."""
        self._known = {'': self._known['']}
        self._looked_at = -_EVERY

    def detach(self) -> None:
        """Remove the file of this process's ledger."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None or self._directory is None:
            return
        try:
            if self._is_attached(self._directory, descriptor):
                self._directory.remove(self._name)
        finally:
            os.close(descriptor)
        self._directory.close()

    def _is_attached(self, directory: statefiles.Directory,
                     descriptor: int | None = None) -> bool:
        descriptor = self._descriptor if descriptor is None else descriptor
        if descriptor is None or not directory.is_named():
            return False
        found = directory.stat(self._name)
        return found is not None and os.path.samestat(
            found, os.fstat(descriptor))

    def _attach(self, directory: statefiles.Directory) -> None:
        self._descriptor = descriptor = directory.open(
            self._name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        # Not blocking: a prober that is stopped while it checks the lock
        # would block this process.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Written, not just extended: if there were no space for a page, to
        # touch it would kill the process (SIGBUS).
        if os.write(descriptor, bytes(ledger_module.SIZE)) < (
                ledger_module.SIZE):
            raise OSError('no space')
        self._own.move(memoryview(mmap.mmap(descriptor,
                                            ledger_module.SIZE)))
        self._known[''] = dataclasses.replace(self._known[''],
                                              reader=self._own.read())

    def _find(self, directory: statefiles.Directory) -> None:
        """Read the ledgers of live processes; remove the others."""
        try:
            directory.follow()
            names = [name for name in directory.names()
                     if _NAME.fullmatch(name) and name != self._name]
        except (OSError, statefiles.Unusable):
            return
        free = {name for name in names if self._is_free(directory, name)}
        # Only if unlocked twice: a new process may not have locked it yet.
        for name in free & self._unlocked:
            directory.remove(name)
        self._unlocked = free
        ours = {name for name in names if self._is_ours(name)} - free
        for name in self._known.keys() - ours - {''}:
            del self._known[name]
        for name in ours - self._known.keys():
            try:
                reader = _read(directory, name)
            except (OSError, ValueError, statefiles.Unusable):
                continue  # it is gone or incomplete
            self._known[name] = _Known(reader, reader.errors)

    def _is_ours(self, name: str) -> bool:
        return self._group is not None and name.startswith(self._group.key)

    def _is_free(self, directory: statefiles.Directory, name: str) -> bool:
        """Whether the process that made the file has ended."""
        try:
            descriptor = directory.open(name, os.O_RDWR)
        except (OSError, statefiles.Unusable):
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True


def _directory(group: group_module.Group) -> statefiles.Directory | None:
    """The directory of a group's ledgers; None if they cannot be shared.

    It is that of the group's other files if this is in memory, else shared
    memory.
    """
    for place in (group.place, _SHARED_MEMORY):
        if mounts.is_in_memory(place):
            return statefiles.Directory(place)
    LOG.info("Healthcheck: this process's evidence from traffic is not "
             'shared, because neither %(place)s nor %(memory)s is in memory '
             '(tmpfs). Set [healthcheck]state_path to a directory in memory, '
             'such as one in /run.',
             {'place': group.place, 'memory': _SHARED_MEMORY})
    return None


def _read(directory: statefiles.Directory,
          name: str) -> ledger_module.Reader:
    """:raises ValueError: if it is shorter than a ledger"""
    descriptor = directory.open(name, os.O_RDONLY)
    try:
        return ledger_module.Reader(memoryview(mmap.mmap(
            descriptor, ledger_module.SIZE, prot=mmap.PROT_READ)))
    finally:
        os.close(descriptor)
