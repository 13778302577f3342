# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Who probes: one of the processes that share a directory.

The prober holds a lock (flock) on a file, and the kernel lets go of it when
the process ends, however it ends. A prober that is stopped keeps its lock,
so it has to give a sign of life too: it sets the file's time of modification
to the monotonic clock, by one system call that needs no space and cannot be
seen half done. When that is older than the lease, whoever gets the lock on
the file of the next generation has deposed it. The deposed one finds that
out at its next beat, before it probes or publishes anything.

A lock that a forked child has inherited outlives its prober; the lease ends
that too.
"""

from __future__ import annotations

from collections.abc import Callable
import fcntl
import os
import re
import time

from healthcheck.host import statefiles

_FORGOTTEN = 24 * 3600 * 10 ** 9
"""Files of others without a sign of life for so long are removed."""


class Election:
    """One process's part in it. Used by one thread.

    :param directory: where the locks are
    :param key: which election: those with the same one elect one prober
    :param lease: seconds without a sign of life that depose a prober
    :param clock: monotonic nanoseconds, the same for all of a host
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
        """That of the lock that this process holds, or 0."""
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

        Another one may have taken over, or the directory may be gone.
        """
        if self._held is None:
            return False
        descriptor, generation = self._held
        now = self._clock()
        try:
            os.utime(descriptor, ns=(now, now))
            if self._is_named(descriptor, generation) and (
                    not self._exists(generation + 1)):
                return True
        except OSError:
            pass
        self.resign()
        return False

    def resign(self) -> None:
        """Let another process be the prober."""
        held, self._held = self._held, None
        if held is not None:
            os.close(held[0])

    def _take(self, generation: int, create: bool = False) -> bool:
        path = self._path(generation)
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags | (os.O_CREAT if create else 0),
                                 0o600)
        except FileNotFoundError:
            return False  # a new prober has just removed it
        except OSError as exc:
            raise statefiles.Unusable(f'{path}: {exc.strerror}') from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError as exc:
            os.close(descriptor)
            raise statefiles.Unusable(f'{path}: {exc.strerror}') from None
        self._held = descriptor, generation
        # While we took it, it may have been removed, and a later one made.
        return self.beat()

    def _lease_ended(self, generation: int) -> bool:
        now = self._clock()
        beat = self._directory.stamp(self._name_of(generation))
        if beat > now:
            # A time of day, which is later than any monotonic clock: whoever
            # made the file has not come to its first beat.
            beat = self._seen.setdefault(generation, now)
        return beat < now - self._lease

    def clean_up(self) -> None:
        """Remove what earlier generations, and dead elections, have left."""
        for name in self._directory.names():
            key, *rest = name.split('.')
            if key == self._key:
                if len(rest) == 2 and rest[0] != str(self.generation):
                    self._directory.remove(name)
            elif rest[-1:] == ['lock'] and self._is_dead(name):
                for other in self._directory.names():
                    if other.startswith(f'{key}.'):
                        self._directory.remove(other)

    def _is_dead(self, name: str) -> bool:
        now = self._clock()
        try:
            descriptor = os.open(self._directory.join(name), os.O_RDWR
                                 | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            beat = os.fstat(descriptor).st_mtime_ns
            # Later than now: from before the host was started.
            return not now - _FORGOTTEN < beat <= now
        except OSError:
            return False
        finally:
            os.close(descriptor)

    def _generations(self) -> list[int]:
        return [int(match[1]) for match in map(
            self._name.fullmatch, self._directory.names()) if match]

    def _is_named(self, descriptor: int, generation: int) -> bool:
        """Whether the file of that name is the one that we hold."""
        return os.path.samestat(
            os.fstat(descriptor),
            os.stat(self._path(generation), follow_symlinks=False))

    def _exists(self, generation: int) -> bool:
        return os.path.lexists(self._path(generation))

    def _path(self, generation: int) -> str:
        return self._directory.join(self._name_of(generation))

    def _name_of(self, generation: int) -> str:
        return f'{self._key}.{generation}.lock'
