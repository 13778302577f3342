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

"""Who may ask at all."""

from __future__ import annotations

from collections.abc import Iterable
import functools
import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import wsgi

# What oslo.middleware 8.2 takes for the mark of a proxy, and the header that
# RFC 7239 has put in their place.
PROXY_HEADERS = ('HTTP_X_FORWARDED', 'HTTP_X_FORWARDED_PROTO',
                 'HTTP_X_FORWARDED_HOST', 'HTTP_X_FORWARDED_FOR',
                 'HTTP_X_FORWARDED_PREFIX', 'HTTP_FORWARDED')


def parse_ranges(ranges: Iterable[str], problems: list[str],
                 option: str = 'allowed_source_ranges',
                 ) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network,
                            ...]:
    """The networks named by an option; what is none goes to ``problems``."""
    networks = []
    for text in ranges:
        try:
            networks.append(ipaddress.ip_network(text.strip()))
        except ValueError as exc:
            problems.append(f'{option} = {text!r}: {exc} (allowed: networks '
                            f'such as 192.0.2.0/24 or 2001:db8::/32)')
    return tuple(networks)


class Access:
    """Tells callers that are answered from those that are not our affair.

    :ivar open: whether everybody is answered, so that nobody need be asked
    """

    def __init__(
            self, networks: tuple[
                ipaddress.IPv4Network | ipaddress.IPv6Network, ...],
            ignore_proxied: bool) -> None:
        self._networks = networks
        self._ignore_proxied = ignore_proxied
        self.open = not networks and not ignore_proxied
        # Few addresses poll, and parsing one costs more than all the rest
        # of a request.
        self._in_range = functools.lru_cache(maxsize=1024)(self._look_up)

    def allows(self, environ: wsgi.WSGIEnvironment) -> bool:
        if self._networks and not self._in_range(
                environ.get('REMOTE_ADDR') or ''):
            return False
        if self._ignore_proxied:
            return not any(map(environ.get, PROXY_HEADERS))
        return True

    def _look_up(self, remote_addr: str) -> bool:
        try:
            address = ipaddress.ip_address(remote_addr)
        except ValueError:  # a UNIX socket, or a server that does not say
            return False
        mapped = getattr(address, 'ipv4_mapped', None)
        return any((mapped or address) in network
                   for network in self._networks)
