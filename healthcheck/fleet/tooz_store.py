# SPDX-License-Identifier: Apache-2.0

"""A store for records, by tooz: etcd, Redis or Valkey, ZooKeeper, memcached.

tooz's own heart is not started: it joins without a time-out, and waits in
``stop`` while the store is away. There is no executor either, so that no
thread outlives a call: each call runs in the caller's thread, bounded by the
driver's time-outs.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from importlib import metadata
from typing import Any, TypeVar

from healthcheck.config import redact
from healthcheck import exceptions
from healthcheck.fleet import member
from healthcheck.reports import lines

SCHEMES = ('etcd3+http', 'etcd3+https', 'redis', 'zookeeper', 'kazoo',
           'memcached')
"""Drivers of tooz that have groups and work between hosts."""

TIMEOUT = 2
"""Seconds for each request to the store.

A call is one request to etcd, or a few. If Redis is away, a call takes up to a
minute: redis-py tries eleven times, and tooz up to fifteen times that. tooz
has no option for it. The call succeeds soon after Redis is back."""

_MAX_TEXT = 300
_RECORD = 'record'

T = TypeVar('T')


def validate(url: str) -> None:
    """Check a value of option ``fleet_url``. Opens nothing.

    :raises exceptions.ConfigError: without the URL, which may be secret
    """
    scheme, separator, _ = url.partition('://')
    if not separator or scheme not in SCHEMES:
        shown = f'driver {scheme!r:.40}' if separator else 'no driver://'
        raise exceptions.ConfigError([
            f'fleet_url: {shown}: not a store that nodes can share (allowed: '
            f'{", ".join(SCHEMES)}, such as etcd3+http://etcd:2379)'])
    try:
        ToozStore(url, 'healthcheck', 'healthcheck')
    except ImportError as exc:
        raise exceptions.ConfigError([
            f'fleet_url: {exc} (pip install openstack-healthcheck[fleet], '
            f'for etcd and Redis; kazoo for ZooKeeper; pymemcache)',
        ]) from None
    except Exception as exc:
        raise exceptions.ConfigError([
            f'fleet_url: tooz does not take it: '
            f'{redact.Redactor(url)(exc)}']) from None


class ToozStore:
    """A group of a tooz coordinator. Used by one thread.

    :param url: as for tooz
    :param group: the name of the fleet
    :param key: of this node's record
    :raises ImportError: if tooz or its driver is not installed
    :raises Exception: what tooz raises for a URL that it does not take
    """

    def __init__(self, url: str, group: str, key: str) -> None:
        # Slow to import, and in an extra.
        from tooz import coordination
        self._tooz: Any = coordination
        self._redact = redact.Redactor(url)
        self._group = f'healthcheck.{group}'.encode()
        self._key = key.encode()
        scheme = url.partition('://')[0]
        _load(scheme)
        self._coordinator: Any = coordination.get_coordinator(
            url, self._key, executor='synchronous', timeout=TIMEOUT,
            socket_timeout=TIMEOUT, membership_timeout=member.LEASE)
        self._joined = False

    def write(self, record: bytes) -> None:
        self._guarded(lambda: self._write({_RECORD: record.decode()}))

    def beat(self) -> None:
        self._guarded(self._coordinator.heartbeat)

    def read(self) -> Mapping[str, bytes]:
        found = self._guarded(self._read)
        return {lines.one(key.decode(errors='replace'), _MAX_TEXT):
                text.encode(errors='replace') for key, value in found.items()
                if isinstance(value, dict)
                and isinstance(text := value.get(_RECORD), str)}

    def _guarded(self, call: Callable[[], T]) -> T:
        """:raises member.StoreAway: whatever goes wrong"""
        try:
            if not self._coordinator.is_started:
                self._joined = False
                self._coordinator.start(start_heart=False)
            return call()
        except Exception as exc:  # a driver lets its library's through
            raise member.StoreAway(lines.one(
                f'{type(exc).__name__}: {self._redact(exc)}',
                _MAX_TEXT)) from None

    def _write(self, capabilities: dict[str, str]) -> None:
        tooz = self._tooz
        if self._joined:
            try:
                self._coordinator.update_capabilities(
                    self._group, capabilities).get(TIMEOUT)
                return
            except (tooz.MemberNotJoined, tooz.GroupNotCreated):
                # The store was restarted empty, or a lease has ended. The
                # etcd driver makes a new lease, and does not join again.
                self._joined = False
        self._join(capabilities)

    def _join(self, capabilities: dict[str, str]) -> None:
        # Not join_group_create: it waits without a time-out.
        tooz, coordinator = self._tooz, self._coordinator
        try:
            coordinator.join_group(self._group, capabilities).get(TIMEOUT)
        except tooz.GroupNotCreated:
            try:
                coordinator.create_group(self._group).get(TIMEOUT)
            except tooz.GroupAlreadyExist:
                pass  # by another node, just now
            coordinator.join_group(self._group, capabilities).get(TIMEOUT)
        except tooz.MemberAlreadyExist:
            # An earlier process of this host, whose lease has not ended.
            coordinator.update_capabilities(
                self._group, capabilities).get(TIMEOUT)
        self._joined = True

    def _read(self) -> Mapping[bytes, Any]:
        tooz, coordinator = self._tooz, self._coordinator
        try:
            if hasattr(coordinator, 'get_members_with_capabilities'):
                # One round trip, since tooz 9.
                found: Mapping[bytes, Any] = (
                    coordinator.get_members_with_capabilities(
                        self._group).get(TIMEOUT))
                return found
            members = coordinator.get_members(self._group).get(TIMEOUT)
        except tooz.GroupNotCreated:
            return {}
        one_by_one = {}
        for key in members:
            try:
                one_by_one[key] = coordinator.get_member_capabilities(
                    self._group, key).get(TIMEOUT)
            except tooz.MemberNotJoined:
                pass  # it has gone meanwhile
        return one_by_one


def _load(scheme: str) -> None:
    """Import tooz's driver, whose own error hides what is missing.

    :raises ImportError: which names it
    """
    for found in metadata.entry_points(group='tooz.backends', name=scheme):
        found.load()
