# SPDX-License-Identifier: Apache-2.0

"""Identifies a database, for a target and for the service's engines."""

from __future__ import annotations

import os

from sqlalchemy import engine

from healthcheck.probing import evidence

PROBE = 'healthcheck_probe'
"""An execution option that marks our own engines, which give no evidence."""

_PORTS: dict[str, object] = {'mysql': 3306, 'postgresql': 5432}


def place_of(url: engine.URL) -> str:
    """Where a database is; empty if it has no address.

    It is equal for two URLs that lead to the same schema of the same server,
    as any user. Drivers, passwords and options do not matter.
    """
    kind = url.get_backend_name().replace('mariadb', 'mysql')
    where: str = url.host or _text(url, 'host') or _text(url, 'unix_socket')
    port = _text(url, 'port') or str(
        url.port or _PORTS.get(kind, ''))
    name = url.database or ''
    if kind == 'sqlite':
        if not name or name == ':memory:' or name.startswith('file:'):
            return ''
        name = os.path.abspath(name)
    elif not where and kind not in _PORTS:
        return ''
    return f'{kind} {where.lower()} {port} {name}'


def mark_of(url: engine.URL) -> int | None:
    """The mark of a user's traffic to a database; None if it has no address.

    :func:`place_of` says when two URLs lead to the same one.
    """
    place = place_of(url)
    return evidence.mark(f'{place} {url.username or ""}') if place else None


def _text(url: engine.URL, name: str) -> str:
    """A part of the URL that drivers also accept as an option."""
    found = url.query.get(name, '')
    return found if isinstance(found, str) else ','.join(found)
