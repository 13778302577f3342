# SPDX-License-Identifier: Apache-2.0

"""Elects the prober among the processes that share a directory.

The prober holds a lock (flock) on a file. The kernel releases it when the
process ends, however it ends. A stopped prober keeps its lock, so the prober
must also give a sign of life: it sets the file's modification time to the
monotonic clock, by one system call that needs no space and is atomic. When
that time is older than the lease, the process that gets the lock on the file
of the next generation deposes the prober. The old prober finds that out at its
next beat, before it probes or publishes anything.

If a forked child has inherited the lock, the lock outlives the prober. The
lease ends that, too.

If the file system stores only whole seconds, a sign of life looks older than
it is; the lease is longer by as much.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from collections.abc import Sequence
import contextlib
import fcntl
import os
import re
import time

from healthcheck.host import files
from healthcheck.host import statefiles

FORGOTTEN = 600 * 10 ** 9
"""Nanoseconds without a prober after which a group's files are removed.

A service that restarts within this time keeps its history. Each change of its
configuration leaves the files of an old group.
"""

_OURS = re.compile(r'([0-9a-f]{32})\.'
                   r'(?:(\d{1,15})\.(?:lock|tmp)|report|detail|ask|fleet'
                   r'|[0-9a-f]{16}\.evidence)')
"""The names of this package's files. No other file is touched."""


class Election:
    """One process's part in the election. Used by one thread.

    :param directory: where the locks are
    :param key: of the election: processes with the same key elect one prober;
        32 hexadecimal digits
    :param lease: seconds without a sign of life that depose a prober
    :param clock: monotonic nanoseconds, the same for the whole host
    """

    def __init__(self, directory: statefiles.Directory, key: str,
                 lease: float,
                 clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._directory = directory
        self._key = key
        self._lease = int(lease * 1e9)
        self._clock = clock
        self._held: tuple[int, int] | None = None  # descriptor, generation
        self._seen: dict[int, int] = {}
        self._name = re.compile(rf'{key}\.(\d{{1,15}})\.lock')

    @property
    def generation(self) -> int:
        """The generation of the lock that this process holds, or 0."""
        return self._held[1] if self._held else 0

    def run(self) -> bool:
        """Become the prober, if there is none.

        :raises statefiles.Unusable: if there can be no election
        """
        self._directory.prepare()
        newest = max(self._generations(), default=0)
        if newest == 0:
            return self._take(1, create=True)
        return self._take(newest) or (
            self._lease_ended(newest) and self._take(newest + 1, create=True))

    def beat(self) -> bool:
        """Give a sign of life; False if this process is not the prober.

        Another process may have taken over, or the directory may be gone.
        """
        if self._held is None:
            return False
        descriptor, generation = self._held
        now = self._clock()
        try:
            files.set_stamp(descriptor, now)
            if self._is_named(descriptor, generation) and (
                    self._find(generation + 1) is None):
                return True
        except OSError:
            pass
        self.resign()
        return False

    def resign(self) -> None:
        """Let another process be the prober; leave nothing open."""
        held, self._held = self._held, None
        if held is not None:
            os.close(held[0])
        self._directory.close()

    def _take(self, generation: int, create: bool = False) -> bool:
        name = self._name_of(generation)
        try:
            descriptor = self._directory.open(
                name, os.O_RDWR | (os.O_CREAT if create else 0))
        except FileNotFoundError:
            return False  # a new prober has just removed it
        except OSError as exc:
            raise self._unusable(name, exc) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError as exc:
            os.close(descriptor)
            raise self._unusable(name, exc) from None
        self._held = descriptor, generation
        # Meanwhile it may have been removed, and a later one made.
        return self.beat()

    def _lease_ended(self, generation: int) -> bool:
        now = self._clock()
        beat = self._directory.stamp(self._name_of(generation))
        if beat > now:
            # A time of day, later than any monotonic clock: the process that
            # made the file has not reached its first beat.
            beat = self._seen.setdefault(generation, now)
        return beat + self._directory.resolution < now - self._lease

    def clean_up(self) -> None:
        """Remove files of earlier generations and dead elections.

        :raises statefiles.Unusable: if the directory cannot be read
        """
        groups = collections.defaultdict(list)
        for match in map(_OURS.fullmatch, self._directory.names()):
            if match:
                groups[match[1]].append(match)
        for match in groups.pop(self._key, ()):
            if match[2] and match[2] != str(self.generation):
                self._directory.remove(match[0])
        for matches in groups.values():
            self._remove_if_dead([match[0] for match in matches])

    def _remove_if_dead(self, names: Sequence[str]) -> None:
        now = self._clock()
        # Later than now: from before the host started.
        if any(now - FORGOTTEN < self._directory.stamp(name) <= now
               for name in names):
            return
        with contextlib.ExitStack() as stack:
            for name in names:
                if name.endswith('.lock'):
                    try:
                        descriptor = self._directory.open(name, os.O_RDWR)
                        stack.callback(os.close, descriptor)
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except OSError:
                        return  # somebody holds it
            # Nobody can take a lock while its file is being removed. A process
            # that opened the file in time finds out at its first beat.
            for name in names:
                self._directory.remove(name)

    def _generations(self) -> list[int]:
        return [int(match[1]) for match in map(
            self._name.fullmatch, self._directory.names()) if match]

    def _is_named(self, descriptor: int, generation: int) -> bool:
        """Whether the file of that name is the one that we have locked."""
        found = self._find(generation)
        return (found is not None and self._directory.is_named()
                and os.path.samestat(os.fstat(descriptor), found))

    def _find(self, generation: int) -> os.stat_result | None:
        return self._directory.stat(self._name_of(generation))

    def _unusable(self, name: str, exc: OSError) -> statefiles.Unusable:
        return statefiles.Unusable(
            f'{self._directory.join(name)}: {exc.strerror}')

    def _name_of(self, generation: int) -> str:
        return f'{self._key}.{generation}.lock'
