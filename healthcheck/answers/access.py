# SPDX-License-Identifier: Apache-2.0

"""Who may ask, by address."""

from __future__ import annotations

from collections.abc import Iterable
import functools
import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import wsgi

# The headers by which oslo.middleware 8.2 recognises a proxy, and the one that
# RFC 7239 has put in their place.
PROXY_HEADERS = ('HTTP_X_FORWARDED', 'HTTP_X_FORWARDED_PROTO',
                 'HTTP_X_FORWARDED_HOST', 'HTTP_X_FORWARDED_FOR',
                 'HTTP_X_FORWARDED_PREFIX', 'HTTP_FORWARDED')

# Other headers that proxies are known to add. Where an address alone opens a
# door, one header too many is better than one too few.
_FORWARDING_PREFIXES = ('HTTP_X_FORWARDED', 'HTTP_FORWARDED')
_FORWARDING_HEADERS = frozenset((
    'HTTP_CF_CONNECTING_IP', 'HTTP_CLIENT_IP', 'HTTP_FASTLY_CLIENT_IP',
    'HTTP_TRUE_CLIENT_IP', 'HTTP_VIA', 'HTTP_X_CLIENT_IP',
    'HTTP_X_CLUSTER_CLIENT_IP', 'HTTP_X_ORIGINAL_FORWARDED_FOR',
    'HTTP_X_ORIGINATING_IP', 'HTTP_X_PROXYUSER_IP', 'HTTP_X_REAL_IP',
    'HTTP_X_REMOTE_ADDR', 'HTTP_X_REMOTE_IP'))

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_ranges(ranges: Iterable[str], problems: list[str],
                 option: str = 'allowed_source_ranges',
                 ) -> tuple[Network, ...]:
    """The networks in an option; bad ones go to ``problems``."""
    networks = []
    for text in ranges:
        try:
            networks.append(ipaddress.ip_network(text.strip()))
        except ValueError as exc:
            problems.append(f'{option} = {text!r}: {exc} (allowed: networks '
                            f'such as 192.0.2.0/24 or 2001:db8::/32)')
    return tuple(networks)


def is_forwarded(environ: wsgi.WSGIEnvironment) -> bool:
    """Whether any header shows that a proxy forwarded this."""
    return any(name.startswith(_FORWARDING_PREFIXES)
               or name in _FORWARDING_HEADERS for name in environ)


class Ranges:
    """Networks that a caller's address may lie in; false if there are none.

    :param networks: as ``parse_ranges`` returns them
    """

    def __init__(self, networks: tuple[Network, ...]) -> None:
        self._networks = networks
        # Few addresses poll, and parsing one costs more than all the rest
        # of a request.
        self._in_range = functools.lru_cache(maxsize=1024)(self._look_up)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def hold(self, environ: wsgi.WSGIEnvironment) -> bool:
        """Whether the peer address of the connection is in one."""
        return self._in_range(environ.get('REMOTE_ADDR') or '')

    def _look_up(self, remote_addr: str) -> bool:
        try:
            address = ipaddress.ip_address(remote_addr)
        except ValueError:  # a UNIX socket, or a server that does not say
            return False
        mapped = getattr(address, 'ipv4_mapped', None)
        return any((mapped or address) in network
                   for network in self._networks)


class Access:
    """Tells callers that we answer from those that we do not.

    :ivar open: whether everybody is answered, so no check is needed
    """

    def __init__(self, networks: tuple[Network, ...],
                 ignore_proxied: bool) -> None:
        self._ranges = Ranges(networks)
        self._ignore_proxied = ignore_proxied
        self.open = not networks and not ignore_proxied

    def allows(self, environ: wsgi.WSGIEnvironment) -> bool:
        if self._ranges and not self._ranges.hold(environ):
            return False
        if self._ignore_proxied:
            return not any(map(environ.get, PROXY_HEADERS))
        return True
