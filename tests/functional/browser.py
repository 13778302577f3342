# SPDX-License-Identifier: Apache-2.0

"""A Chromium that an admin could sit in front of, and an auditor behind."""

from __future__ import annotations

import base64
from collections.abc import Iterator
import contextlib
import importlib.resources
import json
import pathlib
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome import service

from tests.functional.servers import process

ARGUMENTS = (
    '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic',
    '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
    # Of a container's shared memory there may be too little.
    '--disable-dev-shm-usage')

PATIENCE = 120.0
"""Seconds that a script may take: that of axe-core computes for a third of
them on a busy machine."""


class Browser:
    """One browser, and what it was seen to do.

    :ivar driver: to do what this class has no word for
    """

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    @classmethod
    @contextlib.contextmanager
    def running(cls, profile: pathlib.Path, *arguments: str,
                ) -> Iterator[Browser]:
        """A browser for some time.

        :param profile: its directory, empty
        """
        options = webdriver.ChromeOptions()
        options.binary_location = process.find_binary('chromium', 'chromium')
        for argument in (*ARGUMENTS, *arguments,
                         f'--user-data-dir={profile}'):
            options.add_argument(argument)
        options.set_capability('goog:loggingPrefs', {
            'browser': 'ALL', 'performance': 'ALL'})
        driver = webdriver.Chrome(options, service.Service(
            process.find_binary('chromedriver', 'chromium-driver')))
        driver.set_script_timeout(PATIENCE)
        try:
            # Away from its own first page, which asks for a lot.
            driver.get('about:blank')
            made = cls(driver)
            made.console()
            made.requests()
            yield made
        finally:
            driver.quit()

    def look(self, url: str, width: int, scheme: str = 'light') -> None:
        """Open a page in a window so wide, and ``light`` or ``dark``."""
        self.tell('Emulation.setDeviceMetricsOverride', width=width,
                  height=900, deviceScaleFactor=1, mobile=False)
        self.tell('Emulation.setEmulatedMedia', features=[
            {'name': 'prefers-color-scheme', 'value': scheme}])
        self.driver.get(url)

    def tell(self, command: str, **parameters: Any) -> Any:
        """Give a command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(command, parameters)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page; what it returns."""
        return self.driver.execute_script(script, *arguments)

    def console(self) -> list[str]:
        """What was said there since the last time."""
        return [entry['message'] for entry in self.driver.get_log('browser')]

    def requests(self) -> list[str]:
        """What was asked for since the last time: method and address."""
        events = [json.loads(entry['message'])['message']
                  for entry in self.driver.get_log('performance')]
        asked = [event['params']['request'] for event in events
                 if event['method'] == 'Network.requestWillBeSent']
        return [f'{one["method"]} {one["url"]}' for one in asked]

    def complaints(self) -> list[str]:
        """What axe-core finds that is serious or critical."""
        axe = importlib.resources.files('axe_core_python') / 'axe.min.js'
        # A page's policy does not bind its debugger.
        self.run(axe.read_text(encoding='utf-8'))
        found = self.driver.execute_async_script(
            'const done = arguments[arguments.length - 1];'
            'axe.run(document, {resultTypes: ["violations"]}).then('
            '(result) => done(result.violations),'
            '(error) => done([{impact: "serious", id: String(error),'
            ' nodes: []}]))')
        return [f'{one["id"]}: '
                + '; '.join(node['html'][:200] for node in one['nodes'][:3])
                for one in found if one['impact'] in ('serious', 'critical')]

    def picture(self, path: pathlib.Path, whole: bool = False) -> None:
        shot = self.tell('Page.captureScreenshot',
                         captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot['data']))
