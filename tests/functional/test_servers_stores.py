# SPDX-License-Identifier: Apache-2.0

"""Tests of the test bench: the stores of a fleet."""

from __future__ import annotations

import pytest
import redis

from healthcheck.fleet import member
from healthcheck.fleet import tooz_store
from tests.functional import servers


@pytest.fixture(params=['etcd', 'redis'])
def store(request: pytest.FixtureRequest) -> servers.Etcd | servers.Redis:
    made: servers.Etcd | servers.Redis = request.getfixturevalue(
        f'{request.param}_server')
    made.heal()
    return made


def used(url: str) -> tooz_store.ToozStore:
    """One that holds a record."""
    made = tooz_store.ToozStore(url, 'bench', 'one')
    made.write(b'{}')
    assert made.read() == {'one': b'{}'}
    return made


def test_faults(store: servers.Etcd | servers.Redis) -> None:
    client = used(store.url())
    store.freeze()
    assert not store.ready()
    store.thaw()
    assert client.read() == {'one': b'{}'}
    store.kill()
    with pytest.raises(member.StoreAway):
        client.read()
    store.restart_empty()
    assert client.read() == {}


def test_spoiled(store: servers.Etcd | servers.Redis) -> None:
    client = used(store.url())
    store.spoil('healthcheck.bench')
    with pytest.raises(member.StoreAway):
        client.read()
    store.restart_empty()


def test_password() -> None:
    with servers.Redis('secret7') as store:
        used(store.url())
        for password in ('', 'other'):
            with store.client(password) as client, pytest.raises(
                    redis.exceptions.RedisError, match='(?i)auth|password'):
                client.ping()
