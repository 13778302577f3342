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

"""From a driver's exception to the fixed reason that it stands for."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
import errno
import socket

from healthcheck.probing import check

CONNECTION_REFUSED = 'CONNECTION REFUSED'
CONNECTION_LOST = 'CONNECTION LOST'
LOGIN_REFUSED = 'LOGIN REFUSED'
NO_ANSWER = check.NO_ANSWER
PERMISSION_DENIED = 'PERMISSION DENIED'
TOO_MANY_CONNECTIONS = 'TOO MANY CONNECTIONS'
UNKNOWN_HOST = 'UNKNOWN HOST'
UNREACHABLE = 'HOST UNREACHABLE'
FAILED = 'FAILED'

_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN}


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


def network_reason(exc: BaseException) -> str | None:
    """The reason, if the operating system or the resolver gave it."""
    for link in chain(exc):
        if isinstance(link, socket.gaierror):
            return UNKNOWN_HOST
        if isinstance(link, ConnectionRefusedError):
            return CONNECTION_REFUSED
        if isinstance(link, TimeoutError):
            return NO_ANSWER
        if isinstance(link, (ConnectionResetError, BrokenPipeError,
                             ConnectionAbortedError, EOFError)):
            return CONNECTION_LOST
        if isinstance(link, OSError) and link.errno in _UNREACHABLE:
            return UNREACHABLE
        if isinstance(link, FileNotFoundError):  # a UNIX socket
            return CONNECTION_REFUSED
    return None


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
