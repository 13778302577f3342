# SPDX-License-Identifier: Apache-2.0

"""Identifies a database, for a target and for the service's engines."""

from __future__ import annotations

import os

from sqlalchemy import engine

from healthcheck.probing import evidence

PROBE = 'healthcheck_probe'
"""An execution option that marks our own engines, which give no evidence."""

_PORTS: dict[str, object] = {'mysql': 3306, 'postgresql': 5432}


def mark_of(url: engine.URL) -> int | None:
    """The mark of the traffic to a database; None if it has no address.

    Two URLs have the same mark if they lead the same user to the same schema
    of the same server. Drivers, passwords and options do not matter.
    """
    kind = url.get_backend_name().replace('mariadb', 'mysql')
    where: str = url.host or _text(url, 'host') or _text(url, 'unix_socket')
    port = _text(url, 'port') or str(
        url.port or _PORTS.get(kind, ''))
    name = url.database or ''
    if kind == 'sqlite':
        if not name or name == ':memory:' or name.startswith('file:'):
            return None
        name = os.path.abspath(name)
    elif not where and kind not in _PORTS:
        return None
    return evidence.mark(
        f'{kind} {where.lower()} {port} {name} {url.username or ""}')


def _text(url: engine.URL, name: str) -> str:
    """A part of the URL that drivers also accept as an option."""
    found = url.query.get(name, '')
    return found if isinstance(found, str) else ','.join(found)
