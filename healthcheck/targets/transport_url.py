# SPDX-License-Identifier: Apache-2.0

"""Explains what is wrong with a transport URL, without its secrets."""

from __future__ import annotations

import re
from typing import Any

import oslo_messaging
from oslo_messaging import opts as messaging_opts

_GROUP = 'oslo_messaging_rabbit'


_PORT = 'the port of a host is not a number from 1 to 65535 (a comma in a ' \
        'password is written %2C)'


def place_of(url: oslo_messaging.TransportURL) -> str:
    """Where a message queue is; empty if it has no address.

    The order of the hosts does not matter: nodes may list them differently.
    """
    hosts = sorted(f'{host.hostname.lower()}:{host.port or 5672}'
                   for host in url.hosts if host.hostname)
    return f'queue {",".join(hosts)} {url.virtual_host}' if hosts else ''


def fault_of_text(text: str) -> str:
    """The wrong part of a URL that oslo.messaging cannot parse."""
    scheme, separator, rest = text.partition('://')
    if not scheme or not separator:
        return 'there is no driver:// in front'
    authority = re.split('[/?#]', rest, maxsplit=1)[0]
    if '@' in rest[len(authority):]:
        return 'a /, ? or # of the password is not percent-encoded ' \
               '(write %2F, %3F or %23)'
    if authority.count('[') != authority.count(']'):
        return 'a [ or ] stands alone (in a password, write %5B or %5D)'
    return _PORT


def fault(url: oslo_messaging.TransportURL) -> str | None:
    """The wrong part of a parsed URL, or None."""
    if any((host.port or 0) not in range(65536) for host in url.hosts):
        return _PORT
    if url.transport == 'fake':
        return None  # it takes no options
    known = {opt.dest: opt for group, opts in messaging_opts.list_opts()
             if group == _GROUP for opt in opts}
    for name, value in url.query.items():
        why = _why_not(known.get(name), name, value)
        if why is None:
            continue
        if '@' in name + value and not any(
                host.password for host in url.hosts):
            return 'a ? of the password is not percent-encoded (write %3F)'
        return f'behind the ?, {why}'
    return None


def _why_not(opt: Any, name: str, value: str) -> str | None:
    """Why oslo.messaging will refuse an option, or None."""
    if opt is None:
        return f'{name} is no option of [{_GROUP}]'
    try:
        opt.type(value)
    except ValueError as exc:  # its text contains the value
        return f'{name} cannot be used' + ('' if opt.secret else f': {exc}')
    return None


def slash(url: oslo_messaging.TransportURL) -> str | None:
    """Names a slash whose encoding the rabbit driver loses, or None.

    oslo.messaging 18.3 quotes the user and the password for kombu, but not a
    slash. What follows the slash is then no longer part of them.
    """
    for number, host in enumerate(url.hosts, 1):
        for name in ('username', 'password'):
            if '/' in (getattr(host, name) or ''):
                return f'the {name} of host {number}'
    return None
