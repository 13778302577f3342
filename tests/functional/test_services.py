# SPDX-License-Identifier: Apache-2.0

"""Plugin ``services``: who is up in a real Nova's cells."""

from __future__ import annotations

from collections.abc import Iterator
import pathlib
from typing import Any

import pytest

from tests.functional import cells
from tests.functional import clouds
from tests.functional import servers
from tests.functional.servers import clock

# Seconds. What was registered at the begin of a test is up to its end, and
# what is older than this is down from the begin.
LONG = 600
OLD = 3000

NO_CONDUCTOR = 'OK (SERVICES: NO CONDUCTOR UP)'
UP = ('pass', 'OK')


@pytest.fixture
def well(cloud: clouds.Cloud) -> clouds.Cloud:
    """A conductor in each cell but cell0, where the scheduler is."""
    cloud.cells[0].register('s', 'nova-scheduler')
    for cell in cloud.cells[1:]:
        cell.register('c', 'nova-conductor')
    return cloud


@pytest.fixture
def clocked() -> Iterator[clock.ClockedMariaDB]:
    server = clock.ClockedMariaDB()
    try:
        server.start()
        yield server
    finally:
        server.close()


def service(cloud: clouds.Cloud, path: pathlib.Path, *backends: str,
            down_time: int = LONG, **options: Any) -> cells.Node:
    sections = cloud.sections()
    sections['DEFAULT']['service_down_time'] = down_time
    return cloud.service(path, *(backends or ['services']),
                         sections=sections, services_of='nova', **options)


def test_conductor_stopped(cloud: clouds.Cloud,
                           tmp_path: pathlib.Path) -> None:
    """A real one, which beats by itself."""
    cell = cloud.cells[1]
    cloud.enable(cloud.cells[2], False)
    conductor = cloud.conductor(cell)
    host = conductor.host
    try:
        with service(cloud, tmp_path, 'cells', 'services',
                     down_time=clouds.SERVICE_DOWN_TIME) as node:
            # None was ever there.
            node.wait_for(200, f'OK\n{NO_CONDUCTOR}')
            conductor.start()
            node.wait_for(200, 'OK\nOK')
            (reports, _), = cell.services(host, 'nova-conductor')
            servers.wait_until(lambda: cell.services(
                host, 'nova-conductor')[0][0] > reports, 'it beats', 60)
            node.wait_for(200, 'OK\nOK')
            conductor.stop()
            node.wait_for(200, f'OK\n{NO_CONDUCTOR}',
                          node.bound + clouds.SERVICE_DOWN_TIME)
            parts = node.parts('services')
            assert parts['zcell-1']['status'] == 'fail'
            assert parts['zcell-1']['reason'] == 'NO CONDUCTOR UP'
            conductor.start()
            node.wait_for(200, 'OK\nOK')
            node.comes_to({'cell0': UP, 'zcell-1': UP,
                           'zcell-2': (None, 'DISABLED')}, 'services')
            assert {answer.status for answer in node.history
                    if answer.text != 'STARTING'} == {200}
            node.answers_at_once()
    finally:
        conductor.close()


@pytest.mark.parametrize('state', [
    {'age': OLD}, {'age': -OLD}, {'forced_down': True}, {'disabled': True},
], ids=str)
def test_only_conductor_of_a_cell(well: clouds.Cloud, tmp_path: pathlib.Path,
                                  state: dict[str, Any]) -> None:
    with service(well, tmp_path) as node:
        node.passes()
        well.cells[2].register('c', 'nova-conductor', **state)
        node.wait_for(200, NO_CONDUCTOR)
        node.comes_to({'cell0': UP, 'zcell-1': UP, 'zcell-2': (
            'fail', 'NO CONDUCTOR UP')}, 'services')
        # Another one does.
        well.cells[2].register('d', 'nova-conductor')
        node.passes()
        node.comes_to({'cell0': UP, 'zcell-1': UP, 'zcell-2': UP},
                      'services')
        node.answers_at_once()


def test_scheduler_down(well: clouds.Cloud, tmp_path: pathlib.Path) -> None:
    with service(well, tmp_path, noncritical='') as node:
        node.passes()
        well.cells[0].register('s', 'nova-scheduler', OLD)
        node.fails('SERVICES: NO SCHEDULER UP')
        node.comes_to({'cell0': ('fail', 'NO SCHEDULER UP'), 'zcell-1': UP,
                       'zcell-2': UP}, 'services')
        well.cells[0].register('s', 'nova-scheduler')
        node.passes()


def test_computes_are_counted(well: clouds.Cloud,
                              tmp_path: pathlib.Path) -> None:
    """And what registers without ever beating is left out."""
    cell = well.cells[1]
    for number in range(7):
        cell.register(f'up{number}', 'nova-compute')
    cell.register('down', 'nova-compute', OLD)
    cell.register('forced', 'nova-compute', forced_down=True)
    cell.register('off', 'nova-compute', disabled=True)
    for binary in ('nova-osapi_compute', 'nova-metadata'):
        cell.register('api', binary, OLD)
    with service(well, tmp_path) as node:
        node.passes()
        detail = node.parts('services')['zcell-1']['detail']
        assert detail == (
            'nova-compute 7 of 10 up, 1 down, 1 disabled, 1 forced down; '
            'nova-conductor 1 up')


def test_cell_that_is_down(well: clouds.Cloud,
                           tmp_path: pathlib.Path) -> None:
    """Nothing is known of its services, which is for ``cells`` to say."""
    with service(well, tmp_path, 'cells', 'services') as node:
        node.passes()
        well.cells[2].go_down()
        node.wait_for(200, 'OK (CELLS: SOME CELLS DOWN)\nOK')
        node.comes_to({'cell0': UP, 'zcell-1': UP, 'zcell-2': (
            None, 'DATABASE: CONNECTION REFUSED')}, 'services')
        for cell in well.cells:
            cell.go_down()
        node.wait_for(
            503, 'CELLS: CRITICAL CELL DOWN\nOK (SERVICES: SERVICES UNKNOWN)')
        for cell in well.cells:
            cell.come_back()
        node.passes()


@pytest.mark.parametrize('ahead', [300, -300])
def test_clock_of_a_database(well: clouds.Cloud, tmp_path: pathlib.Path,
                             clocked: clock.ClockedMariaDB,
                             ahead: int) -> None:
    """It is wrong by five minutes, and its services are up all the same."""
    assert well.cells[1].broker is not None
    cell = cells.Cell('zclocked', clocked, well.cells[1].broker,
                      relayed=False)
    with well.also([cell]):
        cell.register('c', 'nova-conductor')
        with service(well, tmp_path, 'cells', 'services', down_time=200,
                     noncritical='') as node:
            node.passes()
            clocked.set_clock(ahead)
            node.wait_for(200, 'OK\nOK (SERVICES: CLOCK SKEW)')
            part = node.parts('services')['zclocked']
            assert (part['status'], part['reason']) == ('warn', 'CLOCK SKEW')
            assert 'nova-conductor 1 up' in part['detail']
            side = 'ahead of' if ahead > 0 else 'behind'
            assert f's {side} this host' in part['detail']
            assert f'{abs(ahead) - 1}.' in part['detail'] or (
                f'{abs(ahead)}.' in part['detail'])
            # A service that dies is found down, for all that.
            cell.register('c', 'nova-conductor', OLD)
            node.fails('OK\nSERVICES: NO CONDUCTOR UP')
            cell.register('c', 'nova-conductor')
            node.wait_for(200, 'OK\nOK (SERVICES: CLOCK SKEW)')
            clocked.set_clock(0)
            node.passes()


@pytest.mark.parametrize('ahead', [300, -300])
def test_clock_of_this_host(well: clouds.Cloud, tmp_path: pathlib.Path,
                            clocked: clock.ClockedMariaDB,
                            ahead: int) -> None:
    """It is the only one that is wrong: services write the database's."""
    assert well.cells[1].broker is not None
    cell = cells.Cell('zclocked', clocked, well.cells[1].broker,
                      relayed=False)
    clocked.set_clock(ahead)
    with well.also([cell]):
        cell.register('c', 'nova-conductor', -ahead)
        with service(well, tmp_path, down_time=200) as node:
            node.wait_for(200, 'OK (SERVICES: CLOCK SKEW)')
            part = node.parts('services')['zclocked']
            assert (part['status'], part['reason']) == ('warn', 'CLOCK SKEW')
            assert 'nova-conductor 1 up' in part['detail']
            cell.register('c', 'nova-conductor', OLD)
            node.wait_for(200, NO_CONDUCTOR)
