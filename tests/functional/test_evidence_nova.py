# SPDX-License-Identifier: Apache-2.0

"""What a real Nova API sees, of which nothing but the paste file is ours."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from importlib import metadata
import pathlib
import shutil
import time
from typing import Any

import pytest
import sqlalchemy

import healthcheck
from healthcheck.evidence import ledger
from healthcheck.evidence import ledgers
from healthcheck.host import group
from healthcheck.probing import evidence
from healthcheck.reports import report
from healthcheck.targets import address
from tests.functional import clouds
from tests.functional import servers
from tests.functional.servers import client
from tests.functional.servers import nova
from tests.functional.servers import wsgi
from tests.functional import traffic

# The rest are the defaults. Nova's API seldom writes to a cell.
OPTIONS = {'backends': 'database,cells', 'database_read_only_ok': True,
           'slow_threshold': 5}

SERVERS = [('GET', '/v2.1/servers/detail?all_tenants=1')]
"""It reads from every cell, and from the API database."""

SOON = 2.0
"""Seconds in which a fault is known that Nova meets."""

TRIES = 3
"""Another process than this one may stand still."""

# The filter in front of all that Nova serves.
PASTE = '''
[pipeline:osapi_compute]
pipeline = healthcheck all_of_nova

[filter:healthcheck]
paste.filter_factory = healthcheck:Healthcheck.factory
'''


class NovaAPI(nova.Program):
    """Nova's API under uWSGI, as its own environment has it.

    :param state: where its processes share what they see
    """

    name = 'nova-api'
    stop_signal = wsgi.UWSGI.stop_signal
    stop_timeout = 5.0  # its threads may be in the middle of a call

    def __init__(self, state: pathlib.Path,
                 sections: dict[str, dict[str, Any]]) -> None:
        super().__init__(sections)
        self.state = state
        venv = pathlib.Path(nova.program('python')).parents[1]
        paste = (venv / 'etc' / 'nova' / 'api-paste.ini').read_text()
        head = '[composite:osapi_compute]'
        assert head in paste
        (self.directory / 'api-paste.ini').write_text(
            paste.replace(head, '[composite:all_of_nova]') + PASTE)
        self._venv = venv
        # Our own package, as pip would install it.
        site = self.directory / 'site'
        site.mkdir()
        own = metadata.distribution('openstack-healthcheck')
        shutil.copytree(own._path, site / own._path.name)  # type: ignore
        (site / 'healthcheck').symlink_to(
            pathlib.Path(healthcheck.__file__).parent)
        (self.directory / 'service.py').write_text(
            'from nova.wsgi.osapi_compute import application\n')

    def command(self) -> list[str]:
        return [wsgi.WSGIServer.program('uwsgi'), '--master',
                '--processes', '2', '--threads', '4', '--enable-threads',
                '--http-socket', f'{self.host}:{self.port}', *wsgi.QUIET,
                '--virtualenv', str(self._venv), '--wsgi-file', 'service.py']

    def environment(self) -> dict[str, str]:
        return {**super().environment(),
                'PYTHONPATH': str(self.directory / 'site'),
                'PYTHONDONTWRITEBYTECODE': '1',
                'OS_NOVA_CONFIG_DIR': str(self.directory),
                'OS_NOVA_CONFIG_FILES': 'api-paste.ini;nova.conf'}

    def ready(self) -> bool:
        try:
            return self.ask('/').status == 200
        except OSError:
            return False

    def ask(self, path: str, method: str = 'GET',
            **headers: Any) -> client.Answer:
        return client.ask(self.port, path, method, **headers)


@pytest.fixture
def api(cloud: clouds.Cloud, keystone: servers.Keystone,
        tmp_path: pathlib.Path) -> Iterator[NovaAPI]:
    state = traffic.mappable(tmp_path)
    with NovaAPI(state, {
            **cloud.sections(),
            'keystone_authtoken': keystone.authtoken(),
            'healthcheck': {**OPTIONS, 'state_path': state}}) as made:
        yield made
    if state != tmp_path:
        shutil.rmtree(state)


def seen(state: pathlib.Path, url: object) -> evidence.Seen:
    """What Nova's processes have seen of a database."""
    mark = address.mark_of(sqlalchemy.make_url(str(url)))
    assert mark is not None
    path, *_ = state.glob('healthcheck-*/*.evidence')
    found = ledgers.Ledgers(ledger.Ledger(), group.Group(
        str(state), path.name, 1.0))
    found.look(time.monotonic())
    return found.seen([mark])


def test_what_nova_sees(cloud: clouds.Cloud, keystone: servers.Keystone,
                        api: NovaAPI) -> None:
    token = keystone.token('admin', project='admin')
    with traffic.Load(api, SERVERS, rate=10, token=token,
                      callers=4) as load:
        load.come_to(8)
        with traffic.Watcher(api.config, 'database', 'cells') as watcher:
            watcher.passes()
            for url in (cloud.sections()['api_database']['connection'],
                        *(cell.database_url for cell in cloud.cells)):
                began = time.monotonic()
                servers.wait_until(
                    lambda: seen(api.state, url).answered_at > began,
                    'evidence of each')
            servers.wait_until(
                lambda: watcher.check().evidence is not None,
                'traffic stands in for a probe', 2 * watcher.bound)
            assert set(load.told) == {200}
            cell, relay = cloud.cells[2], cloud.api
            assert _took(watcher, cell.go_down, cell.come_back) < SOON
            assert watcher.history[-1].status == 200

            def lose() -> None:
                relay.refuse()
                relay.cut()
            assert _took(watcher, lose, relay.heal) < SOON
            assert {answer.status for answer in watcher.history} == {200}


def _took(watcher: traffic.Watcher, act: Callable[[], None],
          undo: Callable[[], None]) -> float:
    """Seconds from a fault to a warning; the shortest of a few."""
    took = []
    for _ in range(TRIES):
        began = time.monotonic()
        act()
        servers.wait_until(
            lambda: watcher.check('cells').status is report.Status.WARN,
            'a warning')
        took.append(time.monotonic() - began)
        undo()
        watcher.passes()
        if took[-1] < SOON:
            break
    return min(took)
