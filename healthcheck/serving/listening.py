# SPDX-License-Identifier: Apache-2.0

"""The sockets of the agent, and the server behind them."""

from __future__ import annotations

from collections.abc import Iterable
import contextlib
import dataclasses
import errno
import ipaddress
import os
import socket
import stat
from typing import TYPE_CHECKING

from healthcheck.probing import daemons

if TYPE_CHECKING:
    from _typeshed import wsgi

_UNIX = 'unix:'

# A UNIX socket has no address. Its mode already limits who can connect, so
# its callers count as callers from this host.
_SELF = '127.0.0.1'


class ListenError(Exception):
    """An address that cannot be used. The text says why."""


@dataclasses.dataclass(frozen=True)
class Address:
    """Where to listen.

    :param host: an IP address, or '' for a UNIX socket
    :param port: of TCP; 0 for any free one
    :param path: of a UNIX socket
    """

    host: str = ''
    port: int = 0
    path: str = ''

    def __str__(self) -> str:
        if self.path:
            return _UNIX + self.path
        return (f'[{self.host}]' if ':' in self.host else self.host) + (
            f':{self.port}')


def parse(text: str) -> Address:
    """The address in ``ADDRESS:PORT`` or ``unix:PATH``.

    :raises ListenError: if it is neither
    """
    if text.startswith(_UNIX):
        path = text.removeprefix(_UNIX)
        if not os.path.isabs(path):
            raise ListenError(f'{text}: not an absolute path')
        return Address(path=path)
    host, _, port = text.rpartition(':')
    host = host.removeprefix('[').removesuffix(']')
    if host == 'localhost':
        host = _SELF
    try:
        return Address(str(ipaddress.ip_address(host)), _port(port))
    except ValueError:
        raise ListenError(f'{text}: not an address (allowed: one such as '
                          f'127.0.0.1:8079, [::1]:8079 or '
                          f'unix:/run/nova/healthcheck.sock)') from None


def is_remote(address: Address) -> bool:
    """Whether other hosts can connect to it."""
    return bool(address.host) and not ipaddress.ip_address(
        address.host).is_loopback


class ListeningSocket:
    """A listening socket.

    :param address: where
    :param mode: of the file, for a UNIX socket
    :raises ListenError: if that is not possible
    """

    def __init__(self, address: Address, mode: int = 0o660) -> None:
        self._file: tuple[int, int, int] | None = None
        try:
            self.socket = (self._unix(address.path, mode) if address.path
                           else self._tcp(address))
        except OSError as exc:
            raise ListenError(f'{address}: {exc.strerror or exc}') from None
        self.address = address if address.path else dataclasses.replace(
            address, port=self.socket.getsockname()[1])

    def serve(self, application: wsgi.WSGIApplication) -> None:
        """Answer in separate threads for as long as the process runs.

        :raises ListenError: if there is no web server for it
        """
        try:
            from healthcheck.serving import web
        except ImportError:
            raise ListenError(
                'waitress is missing, which answers on the addresses of '
                '--listen: pip install openstack-healthcheck[agent]'
            ) from None
        if self.address.path:
            application = _from_here(application)
        server = web.make_server(self.socket, application)
        daemons.start(server.run, 'healthcheck-listener')

    def remove(self) -> None:
        """Remove a UNIX socket's file, unless it is another process's now."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                if _file_id(self.address.path) == self._file:
                    os.unlink(self.address.path)

    @staticmethod
    def _tcp(address: Address) -> socket.socket:
        family = socket.AF_INET6 if ':' in address.host else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((address.host, address.port))
            made.listen()
        except OSError:
            made.close()
            raise
        return made

    def _unix(self, path: str, mode: int) -> socket.socket:
        _remove_dead(path)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # The right mode from the start: nobody can connect before a chmod.
        before = os.umask(0o777 & ~mode)
        try:
            made.bind(path)
            self._file = _file_id(path)
            made.listen()
        except OSError:
            made.close()
            raise
        finally:
            os.umask(before)
        return made


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise ValueError(text)
    return int(text)


def _file_id(path: str) -> tuple[int, int, int]:
    found = os.lstat(path)
    # A new file may get the inode number of a removed one.
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _remove_dead(path: str) -> None:
    """Remove a socket left behind by a process that has ended."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(errno.EEXIST,
                                  'there is a file that is no socket')
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(1.0)
        try:
            caller.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except (BlockingIOError, TimeoutError):
            pass  # a process has it, and is busy
    raise OSError(errno.EADDRINUSE, 'another process answers there')


def _from_here(application: wsgi.WSGIApplication) -> wsgi.WSGIApplication:
    def answer(environ: wsgi.WSGIEnvironment,
               start_response: wsgi.StartResponse) -> Iterable[bytes]:
        environ['REMOTE_ADDR'] = _SELF
        return application(environ, start_response)
    return answer
