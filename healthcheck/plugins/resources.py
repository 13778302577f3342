# SPDX-License-Identifier: Apache-2.0

"""What the kernel, SQLAlchemy and uWSGI tell a process about itself.

These are only readings; plugin ``worker`` judges them.
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

# For "no limit", cgroup v1 gives the largest possible number of pages, in
# bytes. Any number above this one limits nothing.
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
    """The readings of the current process.

    :param root: the directory of ``proc`` and ``sys``
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
        # Since Linux 6.2 the size is their number; before, it is 0. Listing
        # them costs half a microsecond each.
        return Use(os.stat(path).st_size or len(os.listdir(path)), limit)

    def threads(self) -> int:
        """Number of threads of this process."""
        for line in (self._proc / 'status').read_text().splitlines():
            name, _, value = line.partition(':')
            if name == 'Threads':
                return int(value)
        return 0

    def memory(self) -> Use | None:
        """Bytes in use in the cgroup that is nearest to its limit.

        Inactive page cache does not count: the kernel reclaims it before it
        kills a process. None if nothing is limited.
        """
        return _nearest(
            _memory_v1(group) if version == 1 else _memory_v2(group)
            for version, group in self._cgroups('memory'))

    def tasks(self) -> Use | None:
        """Threads in the cgroup that is nearest to its limit of threads."""
        return _nearest(
            _use(group / 'pids.current', group / 'pids.max')
            for _, group in self._cgroups('pids'))

    def _cgroups(self, controller: str,
                 ) -> Iterator[tuple[int, pathlib.Path]]:
        """(version, directory) of this process's cgroup and its parents.

        A process is in one hierarchy of version 2. If version 1 is mounted
        too, it is also in one of these for each controller.
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
            # In a container, the path may be the host's, while only the part
            # below the container's own cgroup is mounted.
            below = (inside.relative_to(top) if inside.is_relative_to(top)
                     else pathlib.PurePosixPath())
            group = mounted / below
            yield version, group
            for _ in below.parts:
                group = group.parent
                yield version, group

    def _mounts(self, controller: str,
                ) -> dict[int, tuple[str, pathlib.Path]]:
        """By version: (root of the mount, mount point). See proc(5)."""
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
    """None if one of the files is missing or holds "max"."""
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


# By identity, and without a lock: to connect must not wait for a probe, and
# a child could inherit a lock that is held.
_engines: dict[int, weakref.ref[sqlalchemy.Engine]] = {}


def _remember(connection: sqlalchemy.Connection) -> None:
    engine = connection.engine
    key = id(engine)
    if key not in _engines:
        _engines[key] = weakref.ref(
            engine, lambda gone: _engines.pop(key, None))


def watch_pools() -> None:
    """Remember each SQLAlchemy engine that connects from now on.

    Pool events are no help: they do not tell which pool it is.
    """
    if not event.contains(sqlalchemy.Engine, 'engine_connect', _remember):
        event.listen(sqlalchemy.Engine, 'engine_connect', _remember)


def exhausted_pools() -> list[tuple[str, Use]]:
    """(database, connections) of each pool that has none left."""
    found = {}
    for reference in list(_engines.values()):
        engine = reference()
        if engine is None or not isinstance(engine.pool, pool.QueuePool):
            continue
        # There is no public way to read it. -1 means no limit.
        overflow = getattr(engine.pool, '_max_overflow', -1)
        use = Use(engine.pool.checkedout(), engine.pool.size() + overflow)
        # A size of 0 means no limit, too.
        if overflow >= 0 and engine.pool.size() and use.used >= use.limit:
            found[id(engine.pool)] = (engine.url.database or '', use)
    return list(found.values())


def busy_workers() -> Use | None:
    """How many of the server's workers are serving a request.

    None if the server does not tell. If workers have several threads, uWSGI
    only tells whether any thread of a worker is busy, which is not enough.
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
