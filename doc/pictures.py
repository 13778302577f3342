# SPDX-License-Identifier: Apache-2.0

"""Take the pictures of the status page; see ``make pictures``.

They show the demonstration as it is, so they stay true.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
import pathlib
import subprocess
import tempfile
from typing import Any

import requests

from healthcheck.cmd import demo_cloud
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


def _take(browser: browser_module.Browser, url: str, name: str,
          scheme: str = 'light') -> None:
    """The page as far as the end of its first table."""
    browser.tell('Emulation.setScrollbarsHidden', hidden=True)
    browser.look(url, WIDTH, scheme)
    path = IMAGES / f'{name}.png'
    height = browser.run(
        'return document.querySelector(".parts table").parentElement'
        '.getBoundingClientRect().bottom + 24')
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
        with (browser_module.Browser.running(directory / 'profile') as browser,
              test_demo.Demo(directory, '--state-dir',
                             f'{directory}/state') as demo):
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
