# SPDX-License-Identifier: Apache-2.0

"""From a driver's exception to the fixed reason that it stands for."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import errno
import os
import socket
import ssl

from healthcheck.probing import check

BAD_URL = 'BAD URL'
CERTIFICATE_REFUSED = 'CERTIFICATE REFUSED'
CONNECTION_REFUSED = 'CONNECTION REFUSED'
CONNECTION_LOST = 'CONNECTION LOST'
LOGIN_REFUSED = 'LOGIN REFUSED'
MISCONFIGURED = 'MISCONFIGURED'
NO_ANSWER = check.NO_ANSWER
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
    """This host's part of TLS cannot be set up; the text is for admins."""


def chain(exc: BaseException) -> Iterator[BaseException]:
    """An exception and all that it came from.

    Besides what Python links, SQLAlchemy keeps what it wraps in ``orig``
    and PyMySQL in ``original_exception``.
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
    """The reason, if the operating system, the resolver or TLS gave it.

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
    """The reason that an ``errno`` of the operating system stands for."""
    return _BY_ERRNO.get(number)


def tls_reason(link: BaseException,
               files: Iterable[str | None] = ()) -> str | None:
    """The reason, if the exception itself is one of TLS.

    :param files: those that a connection reads on this host: certificates
        and keys, where they are configured. OpenSSL reports a file that is
        missing like a missing UNIX socket, and one that it may not read
        like a connection that SELinux forbids, both without its name. So a
        file is at fault only if one of these cannot be read.
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
        # A connection's errors have the number that SSL_get_error() gave;
        # those of files, keys and ciphers have OpenSSL's own, or none.
        if link.errno != ssl.SSL_ERROR_SSL or link.library != 'SSL':
            return TLS_NOT_SET_UP
        # Alerts such as SSLV3_ALERT_BAD_CERTIFICATE are the server's: it
        # refuses ours.
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
    """The first of some files that cannot be read, and why, for admins.

    None if all can be read; a file that is None is not looked at.
    """
    for path in files:
        if path is None:
            continue
        try:
            # A pipe in its place would keep us waiting.
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        except (OSError, ValueError) as exc:
            return f'{path}: {getattr(exc, "strerror", None) or exc}'
    return None


def _bad_name(link: BaseException) -> bool:
    """Whether a host name has an empty label, or one of over 63 letters.

    Python reports it as a UnicodeError of the codec, before any look-up;
    most releases name the codec in the text alone.
    """
    return isinstance(link, UnicodeError) and "'idna' codec" in str(link)


def unless_timed_out(reason: str, elapsed: float, bound: float) -> str:
    """The reason, or NO ANSWER when an attempt has used up its bound.

    Some drivers report their own timeout as a connection that was lost, or
    that could not be made.

    :param elapsed: how long the attempt took, in seconds
    :param bound: how long the driver was told to wait, in seconds
    """
    vague = (CONNECTION_LOST, CONNECTION_REFUSED, FAILED)
    if reason in vague and elapsed >= bound * 0.95:
        return NO_ANSWER
    return reason


def text_reason(exc: BaseException,
                phrases: Mapping[str, str]) -> str | None:
    """The reason whose phrase stands in the text of an exception.

    For drivers that tell in words alone. A server that speaks another
    language than English is not understood, and its fault is FAILED.
    """
    text = ' '.join(str(link) for link in chain(exc)).lower()
    for phrase, reason in phrases.items():
        if phrase in text:
            return reason
    return None
