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

"""Files that the processes of one user share on one host."""

from __future__ import annotations

import errno
import os
import stat

_MAX_SIZE = 64 * 2 ** 20


class Unusable(Exception):
    """Nothing can be shared there; the text says why, for the log."""


class Directory:
    """A directory that nobody else can look into or write to.

    It has to be on a local file system: over a network, locks and renames
    cost more, and hang when the network does.

    :param parent: where it is made; that one has to exist
    """

    def __init__(self, parent: str) -> None:
        # A directory for each user: services with users of their own may
        # have the same lock_path.
        self.path = os.path.join(parent, f'healthcheck-{os.geteuid()}')

    def prepare(self) -> None:
        """Make it, if it is not there.

        :raises Unusable: if it cannot be had for us alone
        """
        try:
            try:
                os.mkdir(self.path, 0o700)
            except FileExistsError:
                pass
            found = os.lstat(self.path)
        except OSError as exc:
            raise Unusable(f'{self.path}: {exc.strerror}') from None
        if not stat.S_ISDIR(found.st_mode):
            raise Unusable(f'{self.path}: not a directory')
        if found.st_uid != os.geteuid():
            raise Unusable(f'{self.path}: belongs to user {found.st_uid}, '
                           f'and this process to {os.geteuid()}')
        if found.st_mode & 0o077:
            raise Unusable(f'{self.path}: open to others (mode '
                           f'{stat.S_IMODE(found.st_mode):o}; it must be '
                           f'700)')

    def join(self, name: str) -> str:
        return os.path.join(self.path, name)

    def names(self) -> list[str]:
        """:raises Unusable: if the directory cannot be read"""
        try:
            return os.listdir(self.path)
        except OSError as exc:
            raise Unusable(f'{self.path}: {exc.strerror}') from None

    def write(self, name: str, data: bytes, stamp: int,
              through: str) -> None:
        """Replace a file whole, so that nobody ever reads half of it.

        :param stamp: its time of modification, in nanoseconds
        :param through: the name it has until it is whole
        :raises Unusable: if that is not possible, and nothing is changed
        """
        try:
            descriptor = os.open(
                self.join(through), os.O_WRONLY | os.O_CREAT | os.O_TRUNC
                | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                with open(descriptor, 'wb', closefd=False) as file:
                    file.write(data)
                os.utime(descriptor, ns=(stamp, stamp))
            finally:
                os.close(descriptor)
            os.rename(self.join(through), self.join(name))
        except OSError as exc:
            self.remove(through)
            raise Unusable(f'{self.join(name)}: {exc.strerror}') from None

    def read(self, name: str) -> tuple[bytes, int] | None:
        """(content, stamp); None if there is no such file.

        :raises Unusable: if it is not one that we can have written
        """
        try:
            descriptor = os.open(
                self.join(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
                | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as exc:
            why = ('a symbolic link' if exc.errno == errno.ELOOP
                   else exc.strerror)
            raise Unusable(f'{self.join(name)}: {why}') from None
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise Unusable(f'{self.join(name)}: not a regular file')
            if found.st_uid != os.geteuid():
                raise Unusable(f'{self.join(name)}: belongs to user '
                               f'{found.st_uid}')
            if found.st_size > _MAX_SIZE:
                raise Unusable(f'{self.join(name)}: too large')
            with open(descriptor, 'rb', closefd=False) as file:
                return file.read(), found.st_mtime_ns
        except OSError as exc:
            raise Unusable(f'{self.join(name)}: {exc.strerror}') from None
        finally:
            os.close(descriptor)

    def stamp(self, name: str) -> int:
        """When it was last modified, in nanoseconds; 0 if it is not there."""
        try:
            return os.stat(self.join(name), follow_symlinks=False).st_mtime_ns
        except OSError:
            return 0

    def touch(self, name: str, stamp: int) -> None:
        """:raises Unusable: if that is not possible"""
        try:
            descriptor = os.open(
                self.join(name), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
                | os.O_CLOEXEC, 0o600)
            try:
                os.utime(descriptor, ns=(stamp, stamp))
            finally:
                os.close(descriptor)
        except OSError as exc:
            raise Unusable(f'{self.join(name)}: {exc.strerror}') from None

    def remove(self, name: str) -> None:
        """Remove a file, if it is there and can be removed."""
        try:
            os.unlink(self.join(name))
        except OSError:
            pass
