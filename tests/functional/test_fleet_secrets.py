# SPDX-License-Identifier: Apache-2.0

"""The password in ``fleet_url`` reaches the store, and nobody else."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import functools
import gc
import pathlib

import pytest
import redis
from redis import backoff
from redis import retry

from healthcheck.fleet import tooz_store
from tests.functional import databases
from tests.functional import servers
from tests.functional import service as service_module

# tooz hands a password on as it stands in the URL: without %40 for @.
PASSWORD = 'zPq7xKv2wJb4hNt5'

FAULTS: dict[str, Callable[[servers.Redis], str]] = {
    'password refused': lambda store: store.url(password=databases.PASSWORD),
    'killed': lambda store: (store.kill(), store.url())[1],
    'well': lambda store: store.url()}


@pytest.fixture(scope='module')
def locked() -> Iterator[servers.Redis]:
    with servers.Redis(PASSWORD) as made:
        yield made


@pytest.mark.parametrize('fault', FAULTS)
def test_nobody_learns_the_password(
        locked: servers.Redis, tmp_path: pathlib.Path, fault: str,
        monkeypatch: pytest.MonkeyPatch) -> None:
    # redis-py tries eleven times, and tooz fifteen times that: for a minute.
    monkeypatch.setattr(redis.Redis, '__init__', functools.partialmethod(
        redis.Redis.__init__, retry=retry.Retry(backoff.NoBackoff(), 0)))
    locked.heal()
    url = FAULTS[fault](locked)
    (tmp_path / 'service.db').touch()
    state = tmp_path / 'state'
    state.mkdir(mode=0o700)
    conf = service_module.configured(
        tmp_path / 'service.conf',
        {'database': {'connection': f'sqlite:///{tmp_path}/service.db'}},
        ['database'], state_path=state, fleet_url=url, fleet_name='zgroup7',
        shared_failure='majority_stays',
        detail_source_ranges='192.0.2.0/24',
        metrics_source_ranges='192.0.2.0/24')
    with service_module.Log.of_everybody() as log:
        with service_module.Service('database', conf=conf) as service:
            service.passes()

            def knows() -> bool:
                """Whether it has used the store, or says that it cannot."""
                if fault != 'well':
                    return any('store of the fleet cannot' in line
                               for _, line in log.lines)
                return bool(tooz_store.ToozStore(
                    url, 'zgroup7', 'observer').read())
            servers.wait_until(knows, 'the store was tried')
            told = [answer.text + str(answer.headers)
                    for answer in service.everything()]
            told += [service.request(f'/healthcheck/{page}', accept=accept,
                                     ).text
                     for page in ('detail', 'metrics', 'fleet')
                     for accept in ('', 'application/json', 'text/html')]
            assert any('healthcheck_' in text for text in told)
            # What the prober has written for the other processes.
            servers.wait_until(lambda: any(
                b'zgroup7' in path.read_bytes() for path
                in state.rglob('*') if path.is_file()), 'a published view')
            told += [path.read_bytes().decode(errors='replace')
                     for path in state.rglob('*') if path.is_file()]
            told += [repr(one) for one in gc.get_objects()
                     if str(type(one).__module__).startswith('healthcheck.')]
        told += [line for _, line in log.lines]
    for secret in (service_module.spellings(PASSWORD)
                   | service_module.spellings(databases.PASSWORD)):
        assert not [text for text in told if secret in text], secret
