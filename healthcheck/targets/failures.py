# SPDX-License-Identifier: Apache-2.0

"""Translates a driver's exception into a fixed reason."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import errno
import os
import socket
import ssl

from healthcheck.probing import state

BAD_URL = 'BAD URL'
CERTIFICATE_REFUSED = 'CERTIFICATE REFUSED'
CONNECTION_REFUSED = 'CONNECTION REFUSED'
CONNECTION_LOST = 'CONNECTION LOST'
LOGIN_REFUSED = 'LOGIN REFUSED'
MISCONFIGURED = 'MISCONFIGURED'
NO_ANSWER = state.NO_ANSWER
PERMISSION_DENIED = 'PERMISSION DENIED'
TLS_FAILED = 'TLS HANDSHAKE FAILED'
TLS_NOT_SET_UP = 'TLS NOT SET UP'
TOO_MANY_CONNECTIONS = 'TOO MANY CONNECTIONS'
UNKNOWN_HOST = 'UNKNOWN HOST'
UNREACHABLE = 'HOST UNREACHABLE'
FAILED = 'FAILED'

_BY_ERRNO = {
    errno.EHOSTUNREACH: UNREACHABLE, errno.ENETUNREACH: UNREACHABLE,
    errno.EHOSTDOWN: UNREACHABLE,
    errno.ECONNREFUSED: CONNECTION_REFUSED,
    errno.ECONNRESET: CONNECTION_LOST, errno.EPIPE: CONNECTION_LOST,
    errno.ECONNABORTED: CONNECTION_LOST,
    errno.ETIMEDOUT: NO_ANSWER, errno.EAGAIN: NO_ANSWER}


class TLSNotSetUp(Exception):
    """TLS cannot be set up on this host. The text is for admins."""


def chain(exc: BaseException) -> Iterator[BaseException]:
    """An exception and all its causes.

    Besides Python's own links, SQLAlchemy keeps the wrapped exception in
    ``orig``, and PyMySQL in ``original_exception``.
    """
    todo: list[BaseException | None] = [exc]
    seen: set[int] = set()
    while todo:
        current = todo.pop(0)
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        for name in ('orig', 'original_exception', '__cause__',
                     '__context__'):
            linked = getattr(current, name, None)
            if isinstance(linked, BaseException):
                todo.append(linked)


def network_reason(exc: BaseException,
                   files: Iterable[str | None] = ()) -> str | None:
    """The reason, if the error is the operating system's, DNS's or TLS's.

    :param files: those that a connection reads on this host; see
        :func:`tls_reason`
    """
    for link in chain(exc):
        reason = tls_reason(link, files)
        if reason:
            return reason
        if isinstance(link, socket.gaierror) or _bad_name(link):
            return UNKNOWN_HOST
        if isinstance(link, ConnectionRefusedError):
            return CONNECTION_REFUSED
        if isinstance(link, TimeoutError):
            return NO_ANSWER
        if isinstance(link, (ConnectionResetError, BrokenPipeError,
                             ConnectionAbortedError, EOFError)):
            return CONNECTION_LOST
        if isinstance(link, OSError) and link.errno in _BY_ERRNO:
            return _BY_ERRNO[link.errno]
        if isinstance(link, FileNotFoundError):  # a UNIX socket
            return CONNECTION_REFUSED
    return None


def os_reason(number: int) -> str | None:
    """The reason for an ``errno`` of the operating system."""
    return _BY_ERRNO.get(number)


def tls_reason(link: BaseException,
               files: Iterable[str | None] = ()) -> str | None:
    """The reason, if the exception itself is a TLS error.

    :param files: those that a connection reads on this host: certificates
        and keys, where they are configured. OpenSSL reports a missing file
        like a missing UNIX socket, and an unreadable file like a connection
        that SELinux forbids, both without a name. So a file is only at fault
        if one of these cannot be read.
    """
    if isinstance(link, TLSNotSetUp):
        return TLS_NOT_SET_UP
    if isinstance(link, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return CONNECTION_LOST
    if isinstance(link, ssl.SSLCertVerificationError):
        return CERTIFICATE_REFUSED
    if isinstance(link, ssl.SSLError):
        if link.errno == ssl.SSL_ERROR_SYSCALL:
            return CONNECTION_LOST
        # A connection's errors have the number that SSL_get_error() gave.
        # Errors of files, keys and ciphers have OpenSSL's own, or none.
        if link.errno != ssl.SSL_ERROR_SSL or link.library != 'SSL':
            return TLS_NOT_SET_UP
        # The server sends alerts such as SSLV3_ALERT_BAD_CERTIFICATE: it
        # refuses our certificate.
        name = link.reason or ''
        return (CERTIFICATE_REFUSED
                if 'CERTIFICATE' in name or 'UNKNOWN_CA' in name
                else TLS_FAILED)
    if isinstance(link, IsADirectoryError):  # never a connection's
        return TLS_NOT_SET_UP
    if (isinstance(link, (FileNotFoundError, NotADirectoryError,
                          PermissionError)) and unreadable(files)):
        return TLS_NOT_SET_UP
    return None


def unreadable(files: Iterable[str | None]) -> str | None:
    """The first of these files that cannot be read, and why, for admins.

    None if all can be read. A file that is None is skipped.
    """
    for path in files:
        if path is None:
            continue
        try:
            # If it is a pipe, a read would block.
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        except (OSError, ValueError) as exc:
            return f'{path}: {getattr(exc, "strerror", None) or exc}'
    return None


def _bad_name(link: BaseException) -> bool:
    """Whether a host name has an empty label, or one of over 63 letters.

    Python reports it as a UnicodeError of the codec, before any look-up. In
    most releases only the text names the codec.
    """
    return isinstance(link, UnicodeError) and "'idna' codec" in str(link)


def unless_timed_out(reason: str, elapsed: float, bound: float) -> str:
    """The reason, or NO ANSWER if an attempt has used up its bound.

    Some drivers report their own timeout as a lost or failed connection.

    :param elapsed: duration of the attempt, in seconds
    :param bound: the driver's own timeout, in seconds
    """
    vague = (CONNECTION_LOST, CONNECTION_REFUSED, FAILED)
    if reason in vague and elapsed >= bound * 0.95:
        return NO_ANSWER
    return reason


def text_reason(exc: BaseException,
                phrases: Mapping[str, str]) -> str | None:
    """The reason whose phrase is in the text of an exception.

    For drivers that only give words. If a server's messages are not in
    English, the reason is FAILED.
    """
    text = ' '.join(str(link) for link in chain(exc)).lower()
    for phrase, reason in phrases.items():
        if phrase in text:
            return reason
    return None
