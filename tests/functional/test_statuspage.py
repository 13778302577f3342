# SPDX-License-Identifier: Apache-2.0

"""The status page in a browser, with as much in it as a big cloud has."""

from __future__ import annotations

from collections.abc import Iterator
import socketserver
import threading
from wsgiref import simple_server

import pytest
from selenium.webdriver.common import by
from selenium.webdriver.common import keys

import healthcheck
from healthcheck.plugins import base
from healthcheck.reports import report
from tests.functional import browser as browser_module
from tests.functional import servers
from tests.unit import conftest

PASS, WARN, FAIL = report.Status
CELLS = 1000
HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>'

# To look at each of a thousand takes seconds, and they are all alike.
FEW_ROWS = ('document.querySelectorAll('
            '".parts tbody tr:nth-child(n + 20):not(:last-child)")'
            '.forEach((row) => row.remove())')

plugin = conftest.plugin


class Cells(base.ProbePlugin):
    """Looks at a thousand cells, some of which are not well."""

    name = 'cells_stub'
    rounds = 0

    def probe(self) -> report.Result:
        cls = type(self)
        cls.rounds += 1
        cells = [report.Component(f'cell-{n:04}', PASS, latency=0.01,
                                  since=1.6e9) for n in range(CELLS)]
        cells[7] = report.Component('cell-0007', FAIL, 'CONNECTION REFUSED',
                                    HOSTILE, since=1.6e9)
        cells[8] = report.Component('cell-0008', WARN, 'SLOW',
                                    f'round {cls.rounds}', 1.5)
        cells[9] = report.Component('cell-0009', None, 'NOT PROBED')
        cells[10] = report.Component('cell-0010', None, 'DISABLED',
                                     disabled=True)
        cells[11] = report.Component('cell-0011', PASS,
                                     detail='nova-conductor 2 up')
        return report.Result(WARN, '1 CELL DOWN', 'cell-0007', tuple(cells))


class Database(base.ProbePlugin):
    name = 'database_stub'
    result = report.Result.ok()

    def probe(self) -> report.Result:
        return self.result


class Queue(base.ProbePlugin):
    name = 'queue_stub'

    def probe(self) -> report.Result:
        return report.Result.ok()


class _Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = True


class _Handler(simple_server.WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def url(plugin) -> Iterator[str]:
    """Where the page is; a node with three checks."""
    plugin(**{cls.name: f'{__name__}:{cls.__name__}'
              for cls in (Cells, Database, Queue)})
    Database.result = report.Result.ok()
    app = healthcheck.Healthcheck(None, {
        'backends': 'database_stub,queue_stub,cells_stub',
        'detail_source_ranges': '127.0.0.0/8', 'startup_wait': '20',
        'interval': '0.5', 'retry_interval': '0.1', 'fall': '1',
        'timeout': '10', 'ttl': '60', 'sharing': 'process'})
    server = simple_server.make_server('127.0.0.1', 0, app, _Server, _Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f'http://127.0.0.1:{server.server_port}/detail'
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        app.stop(10)


@pytest.fixture(scope='module')
def chromium(tmp_path_factory) -> Iterator[browser_module.Browser]:
    with browser_module.Browser.running(
            tmp_path_factory.mktemp('profile')) as running:
        yield running


@pytest.fixture
def browser(chromium, url) -> Iterator[browser_module.Browser]:
    """A browser that sees nothing but the page, and nothing wrong in it."""
    chromium.driver.get('about:blank')
    chromium.console()
    chromium.requests()
    yield chromium
    assert chromium.console() == []
    assert set(chromium.requests()) == {f'GET {url}'}
    chromium.driver.get('about:blank')


def _shown(browser: browser_module.Browser) -> list[str]:
    names: list[str] = browser.run(
        'return [...document.querySelectorAll(".parts tbody tr")]'
        '.filter((row) => row.offsetParent)'
        '.map((row) => row.querySelector("th").firstChild.textContent)')
    return names


def _wait_for_update(browser: browser_module.Browser) -> None:
    """Until the page has asked for itself twice more.

    The first answer may have been under way already.
    """
    def as_of() -> str:
        text: str = browser.run(
            'return document.querySelector(".meta time").textContent')
        return text
    for _ in range(2):
        before = as_of()
        servers.wait_until(lambda: as_of() != before, 'the page updates', 30)


def fits(browser: browser_module.Browser) -> None:
    """See that all of the page has its place."""
    # Nothing has to be looked for sideways.
    assert browser.run(
        'const page = document.documentElement;'
        'return page.scrollWidth - page.clientWidth') == 0
    # Nor is anything in the place of something else.
    assert browser.run(
        'return [...document.querySelectorAll(".parts tbody .badge")]'
        '.filter((badge) => badge.getBoundingClientRect().right'
        ' > badge.parentElement.getBoundingClientRect().right).length') == 0


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [360, 1400])
def test_page(browser, url, width, scheme) -> None:
    browser.look(url, width, scheme)
    assert browser.run('return document.querySelectorAll("article").length'
                       ) == 3
    assert len(_shown(browser)) == CELLS
    assert _shown(browser)[:4] == ['cell-0007', 'cell-0008', 'cell-0009',
                                   'cell-0000']
    assert _shown(browser)[-1] == 'cell-0010'
    fits(browser)
    # What a backend says is text.
    assert browser.run('return document.images.length') == 0
    assert HOSTILE in browser.run('return document.body.textContent')
    ground = browser.run('return getComputedStyle(document.body)'
                         '.backgroundColor.match(/\\d+/g).map(Number)')
    assert (sum(ground) > 600) == (scheme == 'light')
    if (width, scheme) != (1400, 'light'):
        browser.run(FEW_ROWS)
    assert browser.complaints() == []


def test_open_parts_are_accessible(browser, url) -> None:
    browser.look(url, 1400)
    browser.run('document.querySelectorAll("details")'
                '.forEach((part) => { part.open = true; })')
    browser.run(FEW_ROWS)
    assert browser.complaints() == []


def test_disabled_is_a_word_of_its_own(browser, url) -> None:
    browser.look(url, 1400)
    for chip, name in (('disabled 1', 'cell-0010'),
                       ('unknown 1', 'cell-0009')):
        browser.driver.find_element(
            by.By.XPATH, f'//label[normalize-space()="{chip}"]').click()
        assert _shown(browser) == [name]
    # And by its shape: a colour alone says nothing to many.
    assert browser.run(
        'return document.querySelector("tr[data-status=unknown] use")'
        '.getBBox().width') > 0


def test_filter_outlasts_updates(browser, url) -> None:
    browser.look(url, 1400)
    box = browser.driver.find_element(by.By.CSS_SELECTOR,
                                      'input[type=search]')
    box.send_keys('000')
    assert len(_shown(browser)) == 10
    browser.driver.find_element(
        by.By.XPATH, '//label[normalize-space()="warn 1"]').click()
    assert _shown(browser) == ['cell-0008']
    box.send_keys(keys.Keys.BACKSPACE)
    browser.run('document.querySelector("details").open = true;'
                'scrollTo(0, 120)')
    scrolled = browser.run('return scrollY')
    round_before = browser.run('return document.querySelector('
                               '"tr[data-status=warn] .detail").textContent')
    _wait_for_update(browser)
    assert _shown(browser) == ['cell-0008']
    assert box.get_property('value') == '00'
    assert browser.driver.switch_to.active_element == box
    assert browser.run('return document.querySelector("details").open')
    assert browser.run('return scrollY') == scrolled
    assert browser.run(
        'return document.querySelector("tr[data-status=warn] .detail")'
        '.textContent') != round_before
    assert browser.run('return document.querySelector(".shown").textContent'
                       ) == '1 of 1,000 shown'


def test_answer_follows_the_node(browser, url) -> None:
    browser.look(url, 1400)
    answer = browser.driver.find_element(by.By.TAG_NAME, 'h1')
    assert answer.text.startswith('This node is in the balancer, with a warn')
    Database.result = report.Result.failed('CONNECTION REFUSED')
    servers.wait_until(
        lambda: answer.text.startswith('This node is out of the balancer'),
        'the page says so', 30)
    assert 'DATABASE STUB: CONNECTION REFUSED' in browser.driver.title
    assert browser.driver.title.startswith('✕ FAIL')


def test_node_that_does_not_answer(browser, url) -> None:
    browser.look(url, 1400)
    trouble = browser.driver.find_element(by.By.ID, 'trouble')
    assert not trouble.is_displayed()

    def offline(is_offline: bool) -> None:
        browser.tell('Network.emulateNetworkConditions', offline=is_offline,
                     latency=0, downloadThroughput=-1, uploadThroughput=-1)
    browser.tell('Network.enable')
    offline(True)
    try:
        servers.wait_until(trouble.is_displayed, 'the page says so', 30)
        assert trouble.text.startswith('Not up to date')
    finally:
        offline(False)
    servers.wait_until(lambda: not trouble.is_displayed(),
                       'the page is up to date again', 30)
    assert all('ERR_INTERNET_DISCONNECTED' in line
               for line in browser.console())


def test_without_scripts(browser, url) -> None:
    browser.tell('Emulation.setScriptExecutionDisabled', value=True)
    try:
        browser.look(url, 1400)
        text = browser.driver.find_element(by.By.TAG_NAME, 'body').text
    finally:
        browser.tell('Emulation.setScriptExecutionDisabled', value=False)
    assert 'reload the page' in text
    assert 'cell-0999' in text
    assert 'Filter by' not in text
