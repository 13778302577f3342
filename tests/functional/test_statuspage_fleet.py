# SPDX-License-Identifier: Apache-2.0

"""The page of a fleet in a browser, with many nodes."""

from __future__ import annotations

from collections.abc import Iterator
import threading
from wsgiref import simple_server

import pytest
from selenium.webdriver.common import by

from healthcheck.admin.views import fleetpage
from healthcheck.admin.views import webpage
from healthcheck.answers import page
from healthcheck.reports import fleet
from tests.functional import browser as browser_module
from tests.functional import servers
from tests.functional import test_statuspage
from tests.unit import fleet_views

HOSTILE = test_statuspage.HOSTILE
chromium = test_statuspage.chromium

NODES = (
    fleet_views.a_node('controller3.example.org', fleet.OUT, reason=HOSTILE),
    fleet_views.a_node('controller4.example.org', fleet.HELD,
                       fleet_views.a_check()),
    fleet_views.a_node('controller5.example.org', fleet.DRAINED,
                       fleet_views.a_check(), reason='DRAINED'),
    fleet_views.a_node('controller6.example.org', fresh=False),
    fleet_views.a_node('controller7.example.org', fleet.WARNS,
                       reason='DATABASE: SLOW'),
    fleet_views.a_node('controller8.example.org', fleet.IN,
                       fleet_views.a_check(target='elsewhere')),
    *(fleet_views.a_node(f'node{number}') for number in range(1, 7)))


@pytest.fixture
def url() -> Iterator[str]:
    """Where the page is; each answer has one node more."""
    shown: list[object] = []

    def app(environ, start_response):
        shown.append(fleet_views.a_node(f'node{7 + len(shown)}'))
        return page.make(200, fleetpage.render(fleet_views.a_document(
            *NODES, *shown, trouble='ConnectionError: refused'), 1.0),
            'text/html', webpage.headers())(environ, start_response)
    server = simple_server.make_server(
        '127.0.0.1', 0, app, test_statuspage._Server,
        test_statuspage._Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f'http://127.0.0.1:{server.server_port}/fleet'
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def browser(chromium, url) -> Iterator[browser_module.Browser]:
    """A browser that sees nothing but the page, and nothing wrong in it."""
    chromium.console()
    chromium.requests()
    yield chromium
    assert chromium.console() == []
    assert set(chromium.requests()) == {f'GET {url}'}
    chromium.driver.get('about:blank')


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [360, 1400])
def test_page(browser, url, width, scheme) -> None:
    browser.look(url, width, scheme)
    first = browser.run('return document.querySelector("tbody th")'
                        '.firstChild.textContent.trim()')
    assert first == 'controller3.example.org'
    test_statuspage.fits(browser)
    assert browser.run('return document.images.length') == 0
    assert HOSTILE in browser.run('return document.body.textContent')
    assert browser.complaints() == []


def test_it_updates_and_keeps_the_filter(browser, url) -> None:
    browser.look(url, 1400)
    browser.driver.find_element(
        by.By.XPATH, '//label[normalize-space()="out 1"]').click()

    def shown() -> str:
        text: str = browser.run(
            'return document.querySelector(".shown").textContent')
        return text
    before = shown()
    assert before.startswith('1 of ')
    servers.wait_until(lambda: shown() != before, 'the page updates', 30)
    assert shown().startswith('1 of ')
