# SPDX-License-Identifier: Apache-2.0

"""Take the pictures of the pages for admins; see ``make pictures``.

Those of the status page show the demonstration as it is, so they stay true.
The fleet is made up: the demonstration has one host.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
import pathlib
import subprocess
import tempfile
import time
from typing import Any

import requests

from healthcheck.admin.views import fleet as fleet_view
from healthcheck.admin.views import fleetpage
from healthcheck.admin.views import timeline
from healthcheck.cmd import demo_cloud
from healthcheck.reports import fleet
from healthcheck.reports import report
from tests.functional import browser as browser_module
from tests.functional import servers
from tests.functional import test_demo

IMAGES = pathlib.Path(__file__).parent / 'source' / 'images'
WIDTH = 1100
SCALE = 0.65

# Much of a repository's size is its pictures, for ever.
MAX_BYTES = 150_000

Document = dict[str, Any]


def _wait(url: str, seen: Callable[[Document], bool], what: str) -> None:
    servers.wait_until(
        lambda: seen(requests.get(url, timeout=10, headers={
            'Accept': 'application/json'}).json()),
        what, 2 * demo_cloud.MINUTE)


def _is_down(cell: str) -> Callable[[Document], bool]:
    return lambda document: any(
        (part['name'], part['status']) == (cell, 'fail')
        for check in document['checks'] for part in check['components'])


def _fleet() -> str:
    """The page of three nodes, of which one is out alone."""
    now = timeline.Moment(time.monotonic(), time.time())

    def node(number: int, age: float, broken: bool = False) -> fleet.NodeSeen:
        status = report.Status.FAIL if broken else report.Status.PASS
        checks = (
            fleet.NodeCheck('database', status, 'NO ANSWER' if broken
                            else 'OK', 'b1f09c77d2e4', failing=broken,
                            since=now.time - age),
            fleet.NodeCheck('message_queue', report.Status.PASS, 'OK',
                            '5ac2e81f03b6', since=now.time - 86400))
        return fleet.NodeSeen(fleet.NodeRecord(
            f'controller{number}', '1.0.0', 1, 2.0,
            fleet.OUT if broken else fleet.IN,
            'DATABASE: NO ANSWER' if broken else '', now.time - age, checks),
            now.now - number / 2, True)
    names = 'nova.RegionOne', 'controller1'
    view = fleet.FleetView(*names, now.now, '', (
        node(1, 93000), node(2, 92000), node(3, 250, True)))
    return fleetpage.render(fleet_view.document(
        fleet_view.KnownFleet(*names, 30.0, view),
        {'pid': 4711, 'host': 'controller1', 'program': 'nova-api'},
        now), 10)


def _take(browser: browser_module.Browser, url: str, name: str,
          scheme: str = 'light', last: str = '.parts') -> None:
    """The page as far as the end of the first ``last``, a selector."""
    browser.tell('Emulation.setScrollbarsHidden', hidden=True)
    browser.look(url, WIDTH, scheme)
    path = IMAGES / f'{name}.png'
    height = browser.run(
        'return document.querySelector(arguments[0])'
        '.getBoundingClientRect().bottom + 24', last)
    shot = browser.tell(
        'Page.captureScreenshot', captureBeyondViewport=True,
        clip={'x': 0, 'y': 0, 'width': WIDTH, 'height': height,
              'scale': SCALE})
    path.write_bytes(base64.b64decode(shot['data']))
    size = path.stat().st_size
    assert size < MAX_BYTES, f'{path}: {size} bytes'
    print(f'{path.name}: {size} bytes')


def main() -> None:
    with tempfile.TemporaryDirectory(prefix='demo-') as name:
        directory = pathlib.Path(name)
        page = directory / 'fleet.html'
        page.write_text(_fleet(), encoding='utf-8')
        with (browser_module.Browser.running(directory / 'profile') as browser,
              test_demo.Demo(directory, '--state-dir',
                             f'{directory}/state') as demo):
            _take(browser, page.as_uri(), 'fleet', last='main')
            url = f'{demo.urls[0]}/detail'
            _wait(url, lambda document: 'SLOW' in str(document['checks']),
                  'a cell is slow')
            _wait(url, _is_down(demo_cloud.LOST.cell), 'a cell is lost')
            _take(browser, url, 'status-light')
            _take(browser, url, 'status-dark', 'dark')
            break_it, *_ = demo.moves()
            subprocess.run(break_it, check=True)
            _wait(url, lambda document: document['status'] == 'fail',
                  'the node is out')
            _take(browser, url, 'status-out')


if __name__ == '__main__':
    main()
