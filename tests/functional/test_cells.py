# SPDX-License-Identifier: Apache-2.0

"""Plugin ``cells``: what happens to a real Nova's cells."""

from __future__ import annotations

from collections.abc import Callable
import pathlib
from typing import Any

import pytest

from tests.functional import cells
from tests.functional import clouds
from tests.functional import servers

WELL = {'cell0': ('pass', 'OK'), 'zcell-1': ('pass', 'OK'),
        'zcell-2': ('pass', 'OK')}

# What each part of a URL is to Nova's templates.
WHOLE = '{scheme}://{username}:{password}@{hostname}:{port}/{path}'


@pytest.fixture
def node(cloud: clouds.Cloud, tmp_path: pathlib.Path) -> Any:
    with cloud.service(tmp_path, 'cells') as node:
        node.passes()
        node.comes_to(WELL)
        yield node


def with_other(**others: tuple[str | None, str]) -> Any:
    """All well but those; zcell_1 stands for zcell-1."""
    return {**WELL, **{name.replace('_', '-'): state
                       for name, state in others.items()}}


def change_password(on: Any, disconnect: Callable[[], Any]) -> None:
    on.server.set_password(on.user, 'another')
    disconnect()


FAULTS: dict[str, Callable[[cells.Cell], Any]] = {
    'DATABASE: CONNECTION REFUSED': lambda cell: cell.go_down(),
    'DATABASE: NO ANSWER': lambda cell: cell.database.silence(),
    'DATABASE: LOGIN REFUSED': lambda cell: change_password(
        cell.stored,
        lambda: cell.stored.server.disconnect_user(cell.stored.user)),
    'MESSAGE QUEUE: NO SUCH VHOST': lambda cell: (
        cell.broker.server.delete_vhost(cell.broker.vhost)),
    'MESSAGE QUEUE: LOGIN REFUSED': lambda cell: change_password(
        cell.broker, cell.queue.cut),
    'MESSAGE QUEUE: NO ANSWER': lambda cell: cell.queue.silence()}


@pytest.mark.parametrize('reason', FAULTS)
def test_one_cell_down(cloud: clouds.Cloud, node: cells.Node,
                       reason: str) -> None:
    broken = cloud.cells[2]
    FAULTS[reason](broken)
    node.warns('CELLS: SOME CELLS DOWN')
    node.comes_to(with_other(zcell_2=('fail', reason)))
    broken.heal()
    node.passes()
    node.comes_to(WELL)
    assert {answer.status for answer in node.history[1:]} == {200}
    node.answers_at_once()


@pytest.mark.parametrize('label', ['DATABASE', 'MESSAGE QUEUE'])
def test_one_cell_slow(cloud: clouds.Cloud, tmp_path: pathlib.Path,
                       label: str) -> None:
    """By two seconds: one on the way there, one on the way back."""
    with cloud.service(tmp_path, 'cells', timeout=8) as node:
        node.passes()
        slow = cloud.cells[2]
        relay = slow.database if label == 'DATABASE' else slow.queue
        relay.delay(1.0)
        node.warns('CELLS: SOME CELLS SLOW')
        node.comes_to(with_other(zcell_2=('warn', f'{label}: SLOW')))
        parts = node.parts()
        assert parts['zcell-2']['latency_seconds'] >= 2.0
        assert parts['zcell-1']['latency_seconds'] < 1.5
        slow.come_back()
        node.passes()
        node.comes_to(WELL)
        node.answers_at_once()


@pytest.mark.parametrize('critical', [True, False])
def test_cell0_down(cloud: clouds.Cloud, tmp_path: pathlib.Path,
                    critical: bool) -> None:
    with cloud.service(tmp_path, 'cells', cells_critical='cell0' if critical
                       else '') as node:
        node.passes()
        cloud.cells[0].go_down()
        if critical:
            node.fails('CELLS: CRITICAL CELL DOWN')
        else:
            node.warns('CELLS: SOME CELLS DOWN')
        node.comes_to(with_other(
            cell0=('fail', 'DATABASE: CONNECTION REFUSED')))
        cloud.cells[0].come_back()
        node.passes()
        node.comes_to(WELL)


def test_all_cells_down(cloud: clouds.Cloud, node: cells.Node) -> None:
    for cell in cloud.cells[1:]:
        cell.go_down()
    node.wait_for(503, 'CELLS: NO CELL UP')
    node.comes_to(with_other(
        zcell_1=('fail', 'DATABASE: CONNECTION REFUSED'),
        zcell_2=('fail', 'DATABASE: CONNECTION REFUSED')))
    # One is enough.
    cloud.cells[1].come_back()
    node.warns('CELLS: SOME CELLS DOWN')
    cloud.cells[2].come_back()
    node.passes()
    node.comes_to(WELL)
    node.answers_at_once()


@pytest.mark.parametrize('needed', ['2', '51%'])
def test_too_few_cells_up(cloud: clouds.Cloud, tmp_path: pathlib.Path,
                          needed: str) -> None:
    with cloud.service(tmp_path, 'cells', cells_min_up=needed) as node:
        node.passes()
        cloud.cells[1].go_down()
        node.fails('CELLS: TOO FEW CELLS UP')
        # One that is not there on purpose is not needed.
        cloud.enable(cloud.cells[1], False)
        if needed == '51%':
            node.passes()
        cloud.enable(cloud.cells[1])
        cloud.cells[1].come_back()
        node.passes()


@pytest.mark.parametrize('critical', [False, True])
def test_api_database_down_after_start(
        cloud: clouds.Cloud, tmp_path: pathlib.Path, critical: bool) -> None:
    with cloud.service(tmp_path, 'cells', cells_critical=(
            'cell0,api_database' if critical else 'cell0')) as node:
        node.passes()
        cloud.api.refuse()
        cloud.api.cut()
        if critical:
            node.fails('CELLS: API DATABASE DOWN')
        else:
            node.warns('CELLS: API DATABASE DOWN')
            # The last list holds, and its cells are looked at.
            node.comes_to(WELL)
            for cell in cloud.cells[1:]:
                cell.go_down()
            node.wait_for(503, 'CELLS: NO CELL UP')
            for cell in cloud.cells[1:]:
                cell.come_back()
            node.warns('CELLS: API DATABASE DOWN')
        cloud.api.heal()
        node.passes()
        node.comes_to(WELL)


def test_api_database_down_before_start(cloud: clouds.Cloud,
                                        tmp_path: pathlib.Path) -> None:
    cloud.api.refuse()
    with cloud.service(tmp_path, 'cells') as node:
        node.fails('CELLS: NO LIST OF CELLS')
        assert node.parts() == {}
        cloud.api.heal()
        node.passes()
        node.comes_to(WELL)


def test_disabled_and_enabled(cloud: clouds.Cloud,
                              node: cells.Node) -> None:
    cell = cloud.cells[2]
    cloud.enable(cell, False)
    node.comes_to(with_other(zcell_2=(None, 'DISABLED')))
    # Nobody goes there any more, and nobody minds.
    for relay in cell.relays:
        servers.wait_until(lambda: relay.connections == 0, 'left alone')
    cell.go_down()
    node.stays('OK', 4 * cells.PACE['interval'])
    cloud.enable(cell)
    node.warns('CELLS: SOME CELLS DOWN')
    cell.come_back()
    node.passes()
    node.comes_to(WELL)


def test_removed_and_added(cloud: clouds.Cloud, node: cells.Node) -> None:
    cell = cloud.cells[2]
    without = {name: state for name, state in WELL.items()
               if name != cell.name}
    cloud.unmap(cell)
    node.comes_to(without)
    for relay in cell.relays:
        servers.wait_until(lambda: relay.connections == 0, 'left alone')
    cell.go_down()
    cloud.map(cell)
    node.warns('CELLS: SOME CELLS DOWN')
    cell.come_back()
    node.passes()
    node.comes_to(WELL)


@pytest.mark.parametrize('columns', [
    {'database_connection': 'mysql+pymysql//no.url/'},
    {'database_connection': ''},
    {'database_connection': WHOLE.replace('port', 'prot')},
    {'database_connection': 'nosuch+dialect://127.0.0.1/x'},
    {'transport_url': 'rabbit:/{'},
    {'transport_url': 'rabbit://{hostname9}/'},
    {'transport_url': 'nosuchdriver://127.0.0.1/'},
], ids=lambda columns: '-'.join(columns.values()))
def test_corrupted(cloud: clouds.Cloud, node: cells.Node,
                   columns: dict[str, str]) -> None:
    """The mapping is that cell's failure, and nobody else's."""
    cloud.rewrite(cloud.cells[2], **columns)
    node.warns('CELLS: SOME CELLS DOWN')
    node.comes_to(with_other(zcell_2=('fail', 'BAD MAPPING')))
    detail = node.parts()['zcell-2']['detail']
    assert next(iter(columns)) in detail
    cloud.heal()
    node.passes()
    node.comes_to(WELL)


def test_template(cloud: clouds.Cloud, tmp_path: pathlib.Path) -> None:
    """Filled from the service's own URLs, which have all of it in them."""
    cell = cloud.cells[1]
    sections = cloud.sections()
    sections['database']['connection'] = f'{cell.database_url}?charset=utf8'
    cloud.template(cell, f'{WHOLE}?{{query}}', WHOLE, sections)
    with cloud.service(tmp_path, 'cells', sections=sections) as node:
        node.passes()
        node.comes_to(WELL)
        cell.go_down()
        node.comes_to(with_other(
            zcell_1=('fail', 'DATABASE: CONNECTION REFUSED')))
        cell.come_back()
        cell.queue.refuse()
        cell.queue.cut()
        node.comes_to(with_other(
            zcell_1=('fail', 'MESSAGE QUEUE: CONNECTION REFUSED')))
        cell.come_back()
        node.passes()


def test_template_of_several_hosts(cloud: clouds.Cloud,
                                   tmp_path: pathlib.Path) -> None:
    """The cell is on the second host of the service's own queue."""
    cell = cloud.cells[2]
    assert cell.broker is not None
    with servers.RefusedPort() as refused:
        sections = cloud.sections()
        sections['DEFAULT']['transport_url'] = cell.broker.url(
            refused.port, cell.queue.port)
        cloud.template(cell, cell.database_url, (
            'rabbit://{username2}:{password2}@{hostname2}:{port2}'
            f'/{cell.broker.vhost}'), sections)
        with cloud.service(tmp_path, 'cells', sections=sections) as node:
            node.passes()
            node.comes_to(WELL)
            cell.queue.refuse()
            cell.queue.cut()
            node.comes_to(with_other(
                zcell_2=('fail', 'MESSAGE QUEUE: CONNECTION REFUSED')))
            cell.come_back()
            node.passes()
