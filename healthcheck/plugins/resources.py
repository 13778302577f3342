# SPDX-License-Identifier: Apache-2.0

"""What the kernel, SQLAlchemy and uWSGI tell a process of itself.

Only readings: what they mean is for plugin ``worker`` to say.
"""

from __future__ import annotations

from collections.abc import Iterator
import dataclasses
import importlib
import os
import pathlib
import resource
from typing import Any
import weakref

import sqlalchemy
from sqlalchemy import event
from sqlalchemy import pool

# What cgroup v1 says for "no limit": the greatest number of pages there is,
# in bytes. Whatever comes near it limits nothing.
_UNLIMITED = 1 << 60


@dataclasses.dataclass(frozen=True, slots=True)
class Use:
    """How much of something is used."""

    used: int
    limit: int

    @property
    def part(self) -> float:
        return self.used / self.limit if self.limit else 1.0

    def __str__(self) -> str:
        return f'{self.used} of {self.limit}'


class Process:
    """The readings of the process that asks.

    :param root: where ``/proc`` and ``/sys`` are
    """

    def __init__(self, root: pathlib.Path = pathlib.Path('/')) -> None:
        self._root = root
        self._proc = root / 'proc' / 'self'

    def descriptors(self) -> Use | None:
        """Open descriptors and RLIMIT_NOFILE; None if there is no limit."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit == resource.RLIM_INFINITY:
            return None
        path = self._proc / 'fd'
        # The size is their number since Linux 6.2, and 0 before it. To list
        # them costs half a microsecond each.
        return Use(os.stat(path).st_size or len(os.listdir(path)), limit)

    def threads(self) -> int:
        """The threads of this process."""
        for line in (self._proc / 'status').read_text().splitlines():
            name, _, value = line.partition(':')
            if name == 'Threads':
                return int(value)
        return 0

    def memory(self) -> Use | None:
        """Bytes in use in the cgroup that is nearest to its limit.

        What inactive page cache takes is not counted: the kernel takes it
        back before it kills anybody. None if nothing is limited.
        """
        return _nearest(
            _memory_v1(group) if version == 1 else _memory_v2(group)
            for version, group in self._cgroups('memory'))

    def tasks(self) -> Use | None:
        """Threads in the cgroup that is nearest to its limit of them."""
        return _nearest(
            _use(group / 'pids.current', group / 'pids.max')
            for _, group in self._cgroups('pids'))

    def _cgroups(self, controller: str,
                 ) -> Iterator[tuple[int, pathlib.Path]]:
        """(version, directory) of this process's cgroup and those above it.

        A process is in one hierarchy of version 2, and where version 1 is
        mounted beside it, in one for each controller.
        """
        mounts = self._mounts(controller)
        for line in _read(self._proc / 'cgroup').splitlines():
            _, controllers, path = line.split(':', 2)
            version = 1 if controllers else 2
            if version not in mounts or controllers and (
                    controller not in controllers.split(',')):
                continue
            top, mounted = mounts[version]
            inside = pathlib.PurePosixPath(path)
            # In a container the path may be the host's, and what is mounted
            # only the part below the container's own cgroup.
            below = (inside.relative_to(top) if inside.is_relative_to(top)
                     else pathlib.PurePosixPath())
            group = mounted / below
            yield version, group
            for _ in below.parts:
                group = group.parent
                yield version, group

    def _mounts(self, controller: str,
                ) -> dict[int, tuple[str, pathlib.Path]]:
        """By version: (what of a hierarchy is mounted, where); proc(5)."""
        found = {}
        for line in _read(self._proc / 'mountinfo').splitlines():
            mount, _, kind = line.partition(' - ')
            fields, (fstype, _, options) = mount.split(), kind.split(' ', 2)
            if fstype == 'cgroup2':
                version = 2
            elif fstype == 'cgroup' and controller in options.split(','):
                version = 1
            else:
                continue
            found[version] = (fields[3],
                              self._root / fields[4].lstrip('/'))
        return found


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ''


def _number(path: pathlib.Path) -> int | None:
    text = _read(path).strip()
    return int(text) if text.isdecimal() else None


def _use(used: pathlib.Path, limit: pathlib.Path,
         reclaimable: int = 0) -> Use | None:
    """None if one of the files is not there, or holds "max"."""
    most, current = _number(limit), _number(used)
    if most is None or current is None or most >= _UNLIMITED:
        return None
    return Use(max(0, current - reclaimable), most)


def _memory_v2(group: pathlib.Path) -> Use | None:
    return _use(group / 'memory.current', group / 'memory.max',
                _stat(group, 'inactive_file'))


def _memory_v1(group: pathlib.Path) -> Use | None:
    return _use(group / 'memory.usage_in_bytes',
                group / 'memory.limit_in_bytes',
                _stat(group, 'total_inactive_file'))


def _stat(group: pathlib.Path, name: str) -> int:
    for line in _read(group / 'memory.stat').splitlines():
        key, _, value = line.partition(' ')
        if key == name:
            return int(value)
    return 0


def _nearest(uses: Iterator[Use | None]) -> Use | None:
    return max((use for use in uses if use is not None),
               key=lambda use: use.part, default=None)


# By identity, and without a lock: a connect must not wait for a probe
# that looks, and a lock could be forked while it is held.
_engines: dict[int, weakref.ref[sqlalchemy.Engine]] = {}


def _remember(connection: sqlalchemy.Connection) -> None:
    engine = connection.engine
    key = id(engine)
    if key not in _engines:
        _engines[key] = weakref.ref(
            engine, lambda gone: _engines.pop(key, None))


def watch_pools() -> None:
    """Have SQLAlchemy tell of each engine that connects from now on.

    An event of connections, and not of pools: those of pools do not say
    which pool it is.
    """
    if not event.contains(sqlalchemy.Engine, 'engine_connect', _remember):
        event.listen(sqlalchemy.Engine, 'engine_connect', _remember)


def exhausted_pools() -> list[tuple[str, Use]]:
    """(database, connections) of each pool that has none left to give."""
    found = {}
    for reference in list(_engines.values()):
        engine = reference()
        if engine is None or not isinstance(engine.pool, pool.QueuePool):
            continue
        # There is no public way to ask for it. -1 is "as many as you like".
        overflow = getattr(engine.pool, '_max_overflow', -1)
        use = Use(engine.pool.checkedout(), engine.pool.size() + overflow)
        # A size of 0 is "as many as you like", too.
        if overflow >= 0 and engine.pool.size() and use.used >= use.limit:
            found[id(engine.pool)] = (engine.url.database or '', use)
    return list(found.values())


def busy_workers() -> Use | None:
    """How many of the server's workers are at work on a request.

    None where the server does not tell. uWSGI says of a worker with several
    threads only whether any of them is at work, which is no answer.
    """
    try:
        uwsgi: Any = importlib.import_module('uwsgi')
    except ImportError:
        return None
    if getattr(uwsgi, 'cores', 1) > 1:
        return None
    states = [worker['status'] for worker in uwsgi.workers()
              if worker['status'] != b'cheap']
    return Use(states.count(b'busy'), len(states))
