# SPDX-License-Identifier: Apache-2.0

"""PyMySQL's connections, with one TLS context for all that want the same.

PyMySQL makes a context for each connection, and since 1.2 also where no TLS
is asked for: the system's certificates are read, for tens of milliseconds
and most of a megabyte, with each connect and even where nobody answers.
"""

from __future__ import annotations

from collections.abc import Mapping
import inspect
import os
import ssl
from typing import Any

from pymysql import charset
from pymysql import connections

from healthcheck.targets import failures

_FILES = ('ca', 'capath', 'cert', 'key')
_AT_MOST = 16

# By what it is made from. Two threads may make one twice; the last one stays.
_contexts: dict[Any, ssl.SSLContext] = {}


class Connection(connections.Connection):
    """A connection of PyMySQL's.

    A release that makes its contexts elsewhere does so as ever.

    :raises failures.TLSNotSetUp: a file of the URL, or of a MySQL option
        file that it names, is missing or cannot be used
    """

    def _create_ssl_ctx(self, sslp: Any) -> ssl.SSLContext:
        if isinstance(sslp, ssl.SSLContext):
            return sslp
        # Files that were replaced are read again.
        files = (*map(sslp.get, _FILES),
                 ssl.get_default_verify_paths().cafile)
        key = repr(sorted(sslp.items())), tuple(map(_stamp, files))
        context = _contexts.get(key)
        if context is None:
            try:
                context = super()._create_ssl_ctx(  # type: ignore[misc]
                    sslp)
            except (OSError, ValueError) as exc:
                # OpenSSL does not name the file.
                given = [sslp[name] for name in _FILES if sslp.get(name)]
                raise failures.TLSNotSetUp(
                    failures.unreadable(given)
                    or f'{", ".join(given)}: {exc}') from exc
            if len(_contexts) >= _AT_MOST:
                _contexts.clear()
            _contexts[key] = context
        return context


def refused(args: Mapping[str, Any]) -> str | None:
    """The argument that PyMySQL does not know, or not its value."""
    known = inspect.signature(connections.Connection.__init__).parameters
    for name in args:
        if name not in known:
            return name
    if isinstance(args.get('ssl'), str):  # it takes those of ssl_*
        return 'ssl'
    wanted = args.get('charset')
    # A name that it does not have it takes for None.
    if wanted and charset.charset_by_name(wanted) is None:
        return 'charset'
    return None


def _stamp(path: str | None) -> tuple[int, int, int] | None:
    if path is None:
        return None
    try:
        found = os.stat(path)
    except OSError:  # reading it will tell
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
