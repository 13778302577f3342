# SPDX-License-Identifier: Apache-2.0

"""Files that the processes of one user share on one host.

The directory is held open by a descriptor, and every access uses that. So
nothing can replace the directory after it has been checked.
"""

from __future__ import annotations

from collections.abc import Callable
import errno
import os
import stat

from healthcheck.host import ancestors
from healthcheck.host import files
from healthcheck.host import mounts

_MAX_SIZE = 64 * 2 ** 20

_RESOLUTIONS = (1, 100, 10 ** 3, 10 ** 6, 10 ** 7, 10 ** 9, 2 * 10 ** 9)
"""Nanoseconds between two file times that a file system can tell apart.

1 for most; 100 for NTFS and SMB; 10 ** 9 for ext4 with inodes of 128 bytes.
"""

_TRIAL = 999_987_654_321
"""A time, in nanoseconds, that each of these would store differently."""


class Unusable(Exception):
    """Nothing can be shared there. The text says why, for the log."""


class _Held:
    """A directory that stays open until its last user releases it.

    A request may use it while the prober's thread opens another one. If it
    were closed sooner, another file could have its number by then.
    """

    def __init__(self, descriptor: int, found: os.stat_result,
                 resolution: int) -> None:
        self.descriptor = descriptor
        self.found = found
        self.resolution = resolution

    # Bound here: a module's names may be gone when the interpreter exits.
    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self.descriptor)


class Directory:
    """A directory that nobody else can look into, write to or replace.

    It must be on a local file system: over a network, locks and renames cost
    more, and hang when the network does. It is opened at the first use, and
    everything after that happens in the same one.

    :param parent: where it is made; must exist
    :param only_local: whether to refuse a file system that may not be local
    """

    def __init__(self, parent: str, *, only_local: bool = False) -> None:
        # A directory for each user: services with different users may have
        # the same lock_path.
        self.path = os.path.join(parent, f'healthcheck-{os.geteuid()}')
        self._only_local = only_local
        self._held: _Held | None = None

    @property
    def resolution(self) -> int:
        """Nanoseconds by which a stored stamp may be too old, plus 1.

        :raises Unusable: if the directory cannot be used
        """
        return self._at().resolution

    def prepare(self) -> None:
        """Make it, if it does not exist.

        :raises Unusable: if it cannot be ours alone
        """
        found = self._named()
        if self._held is None or found is None or not os.path.samestat(
                self._held.found, found):
            self._held = self._open(make=True)
        else:
            self._judge(found)

    def is_named(self) -> bool:
        """Whether its path still leads to the one in use."""
        held, found = self._held, self._named()
        return (held is not None and found is not None
                and os.path.samestat(held.found, found))

    def follow(self) -> None:
        """Use the one that its path leads to now."""
        if not self.is_named():
            self.close()

    def close(self) -> None:
        """Close its descriptor until the next use."""
        self._held = None

    def join(self, name: str) -> str:
        return os.path.join(self.path, name)

    def names(self) -> list[str]:
        """:raises Unusable: if the directory cannot be read"""
        held = self._at()
        if not self.is_named():
            raise Unusable(f'{self.path}: no longer there')
        try:
            return os.listdir(held.descriptor)
        except OSError as exc:
            raise Unusable(f'{self.path}: {exc.strerror}') from None

    def open(self, name: str, flags: int) -> int:
        """A descriptor of a file; a symbolic link is not followed.

        :raises OSError: if it cannot be opened
        :raises Unusable: if the directory cannot be used
        """
        held = self._at()
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600,
                       dir_fd=held.descriptor)

    def write(self, name: str, data: bytes, stamp: int,
              through: str) -> tuple[int, int]:
        """Replace a file whole, so no reader ever sees half of it.

        :param stamp: its modification time, in nanoseconds
        :param through: its name until it is complete
        :returns: its version
        :raises Unusable: if that is not possible, and nothing is changed
        """
        held = self._at()
        try:
            return files.version(files.replace(
                held.descriptor, name, data, stamp, through))
        except OSError as exc:
            raise Unusable(f'{self.join(name)}: {exc.strerror}') from None

    def add(self, name: str, data: bytes, stamp: int, through: str) -> None:
        """Write a file, unless there is one; the same as :meth:`write` else.

        :raises Unusable: if that is not possible
        """
        self.write(through, data, stamp, through)
        held = self._at()
        try:
            os.link(through, name, src_dir_fd=held.descriptor,
                    dst_dir_fd=held.descriptor)
        except FileExistsError:
            pass
        except OSError as exc:
            raise Unusable(f'{self.join(name)}: {exc.strerror}') from None
        finally:
            self.remove(through)

    def read(self, name: str) -> tuple[bytes, int] | None:
        """(content, stamp); None if there is no such file.

        :raises Unusable: if it is not a file that we can have written
        """
        try:
            descriptor = self.open(name, os.O_RDONLY | os.O_NONBLOCK)
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

    def stat(self, name: str) -> os.stat_result | None:
        """The status of a file, by one system call; None if it is missing."""
        try:
            held = self._at()
            return os.stat(name, dir_fd=held.descriptor,
                           follow_symlinks=False)
        except (OSError, Unusable):
            return None

    def stamp(self, name: str) -> int:
        """When it was last modified, in nanoseconds; 0 if it is missing."""
        found = self.stat(name)
        return 0 if found is None else found.st_mtime_ns

    def version(self, name: str) -> tuple[int, int] | None:
        """A value that changes with each replacement; None if missing.

        It begins with the stamp. If stamps are coarse, two versions may have
        the same one; two successive versions have different inodes.
        """
        found = self.stat(name)
        return None if found is None else files.version(found)

    def touch(self, name: str, stamp: int) -> None:
        """:raises Unusable: if that is not possible"""
        try:
            descriptor = self.open(name, os.O_WRONLY | os.O_CREAT)
            try:
                files.set_stamp(descriptor, stamp)
            finally:
                os.close(descriptor)
        except OSError as exc:
            raise Unusable(f'{self.join(name)}: {exc.strerror}') from None

    def remove(self, name: str) -> None:
        """Remove a file, if it exists and can be removed."""
        try:
            held = self._at()
            os.unlink(name, dir_fd=held.descriptor)
        except (OSError, Unusable):
            pass

    def _named(self) -> os.stat_result | None:
        try:
            return os.lstat(self.path)
        except OSError:
            return None

    def _at(self) -> _Held:
        """The one in use. It stays open while the caller keeps the result."""
        held = self._held
        if held is None:
            held = self._held = self._open()
        return held

    def _open(self, make: bool = False) -> _Held:
        try:
            weakness = ancestors.weakness(os.path.dirname(self.path))
            if weakness:
                raise Unusable(f'{self.path}: {weakness}')
            if make:
                try:
                    os.mkdir(self.path, 0o700)
                except FileExistsError:
                    pass
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY
                                 | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as exc:
            why = ('not a directory' if exc.errno in (errno.ENOTDIR,
                                                      errno.ELOOP)
                   else exc.strerror)
            raise Unusable(f'{self.path}: {why}') from None
        try:
            found = os.fstat(descriptor)
            self._judge(found)
            doubtful = self._only_local and mounts.doubtful(descriptor)
            if doubtful:
                raise Unusable(f'{self.path}: on a file system of type '
                               f'{doubtful}, which may not be local; set '
                               f'[healthcheck]state_path')
            return _Held(descriptor, found, self._measure(descriptor))
        except BaseException:
            os.close(descriptor)
            raise

    def _judge(self, found: os.stat_result) -> None:
        if found.st_uid != os.geteuid():
            raise Unusable(f'{self.path}: belongs to user {found.st_uid}, '
                           f'and this process to {os.geteuid()}')
        if found.st_mode & 0o077:
            raise Unusable(f'{self.path}: open to others (mode '
                           f'{stat.S_IMODE(found.st_mode):o}; it must be '
                           f'700)')

    def _measure(self, descriptor: int) -> int:
        """The resolution of file times, measured on the directory itself."""
        for _ in range(10):
            try:
                files.set_stamp(descriptor, _TRIAL)
                kept = os.fstat(descriptor).st_mtime_ns
            except OSError:
                # It is read-only. That is enough to follow a prober.
                return _RESOLUTIONS[-1]
            for resolution in _RESOLUTIONS:
                if kept == _TRIAL - _TRIAL % resolution:
                    return resolution
            # Another process has made a file there between the two calls.
        raise Unusable(f'{self.path}: its file system does not store the '
                       f'modification time that a file is given (it makes '
                       f'{_TRIAL} ns {kept}); choose another one for '
                       f'[healthcheck]state_path, preferably in memory')
