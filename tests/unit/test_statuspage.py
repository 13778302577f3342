# SPDX-License-Identifier: Apache-2.0

"""The status page, as far as no browser is needed."""

from __future__ import annotations

import base64
import hashlib
from html import parser
import re

from hypothesis import given
import pytest

from healthcheck.admin.views import formats
from healthcheck.admin.views import statuspage
from healthcheck.admin.views import webpage
from healthcheck.reports import drain
from healthcheck.reports import history
from healthcheck.reports import report
from tests.unit import documents

PASS, WARN, FAIL = report.Status
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>\'{{7*7}}'
a_check, a_document = documents.a_check, documents.a_document


class Seen(parser.HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self._inside = []
        self.inner = {'script': [], 'style': []}
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *attr) for attr in attrs]
        self._inside.append(tag)

    def handle_data(self, data):
        last = self._inside[-1] if self._inside else ''
        if last in self.inner:
            self.inner[last].append(data)
            self._inside.pop()
        else:
            self.words.append(data)

    @property
    def text(self):
        return ' '.join(' '.join(self.words).split())


def seen(*args, can_refresh=False, **kwargs):
    return Seen(statuspage.render(a_document(*args, **kwargs), 10,
                                  can_refresh))


def a_page_of(text, can_refresh=True):
    event = history.Transition(documents.NOW.time - 9, FAIL, text, text)
    return seen(
        a_check(text, FAIL, reason=text, detail=text, label=text,
                latency=0.1, history=history.History(
                    (event,), event, 1e9, (0.1, 0.2)),
                components=(report.Component(text, WARN, text, text),)),
        found=None, can_refresh=can_refresh,
        switched=(report.Verdict.of('file', FAIL, text),), option=text,
        drains=(drain.Drain('host', text, text, 1e9, 2e9),))


def stays_text(well, hostile):
    """See that HOSTILE, in the place of harmless text, is only text."""
    assert hostile.tags == well.tags
    assert [attr[:2] for attr in hostile.attributes] == [
        attr[:2] for attr in well.attributes]
    assert hostile.inner == well.inner
    assert hostile.text.count(HOSTILE) >= 10


def test_hostile_text_stays_text():
    stays_text(a_page_of('fine'), a_page_of(HOSTILE))


@given(documents.reports)
def test_every_report_has_a_page(found):
    page = seen(found=found)
    assert page.tags.count('article') == len(found.checks)
    assert page.tags.count('script') == page.tags.count('style') == 1


def test_page_asks_for_nothing_else():
    page = a_page_of('fine')
    links = {value for tag, name, value in page.attributes
             if name in ('src', 'href', 'action', 'srcset', 'style', 'poster')}
    assert {link for link in links if not link.startswith('#')} == {
        link for link in links if link.startswith('data:')}
    assert not any(name.startswith('on') for _, name, _ in page.attributes)
    assert not re.search(r'url\(|@import|https?:', ''.join(
        page.inner['style'] + page.inner['script']))


def test_policy_lets_nothing_run_but_what_is_in_the_page():
    page = a_page_of('fine')
    policy = dict(webpage.headers())['Content-Security-Policy']
    directives = dict(one.split(' ', 1) for one in policy.split('; '))
    assert directives['default-src'] == "'none'"
    for kind in ('script', 'style'):
        (inner,) = page.inner[kind]
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest())
        assert directives[f'{kind}-src'] == f"'sha256-{digest.decode()}'"


def test_the_answer_comes_first():
    page = seen(a_check('database', FAIL, (500, PASS), (60, FAIL),
                        label='DATABASE'), a_check('queue'))
    answer = ('This node is out of the balancer since 12:25:40 UTC '
              'DATABASE: CONNECTION REFUSED')
    assert page.text.index(answer) < page.text.index('Checks')
    assert page.text.startswith('✕ FAIL DATABASE: CONNECTION REFUSED · node1')
    assert 'Every check passes.' in seen(a_check()).text


def test_button_only_for_who_can_use_it():
    assert 'button' in a_page_of('fine', can_refresh=True).tags
    assert 'button' not in a_page_of('fine', can_refresh=False).tags


def test_nothing_known_yet():
    page = seen(silence='STARTING')
    assert 'This node is out of the balancer STARTING' in page.text
    assert 'There is nothing to show yet.' in page.text


def test_components_worst_first_and_counted():
    page = seen(a_check(components=(
        report.Component('well', PASS), report.Component('broken', FAIL),
        report.Component('new', None), report.Component('slow', WARN),
        report.Component('away', None, 'DISABLED', disabled=True))))
    statuses = [value for tag, name, value in page.attributes
                if (tag, name) == ('tr', 'data-status')]
    assert statuses == ['fail', 'warn', 'unknown', 'pass', 'disabled']
    assert 'fail 1 warn 1 unknown 1 pass 1 disabled 1' in page.text
    # The word says it all.
    assert page.text.count('away') == 1 and 'DISABLED' not in page.text


def test_detail_of_a_component_that_is_well():
    page = seen(a_check(components=(
        report.Component('cell1', PASS, detail='nova-conductor 2 up'),
        report.Component('cell2', None, 'NOT PROBED'))))
    assert 'pass cell1 nova-conductor 2 up' in page.text
    assert 'unknown cell2 NOT PROBED' in page.text


def test_every_word_has_a_shape_and_a_colour():
    page = seen()
    shapes = {value for tag, name, value in page.attributes
              if (tag, name) == ('symbol', 'id')}
    assert shapes == set(formats.WORDS)
    (style,) = page.inner['style']
    for word in formats.WORDS:
        # One of the light and one of the dark scheme.
        assert style.count(f'--{word}:') == 2
        assert f'.{word} > .icon {{' in style
        assert f'.{word}.badge {{' in style


def test_timeline():
    (check,) = a_document(a_check(
        'database', FAIL, (900, PASS), (60, WARN), (30, FAIL)))['checks']
    bars = statuspage.segments(check, '2020-09-13T12:26:40.000Z', 120)
    assert [(bar['status'], bar['x'], bar['width']) for bar in bars] == [
        ('pass', '0.0', '300.0'), ('warn', '300.0', '150.0'),
        ('fail', '450.0', '150.0')]
    bars = statuspage.segments(check, '2020-09-13T12:26:40.000Z', 45)
    assert [bar['status'] for bar in bars] == ['warn', 'fail']


def test_what_was_short_is_seen_all_the_same():
    (check,) = a_document(a_check(
        'database', FAIL, (86400, PASS), (1, FAIL)))['checks']
    *_, last = statuspage.segments(check, '2020-09-13T12:26:40.000Z', 86400)
    assert (last['x'], last['width']) == ('597.0', '3.0')


def test_stale_is_a_change_of_its_own():
    (check,) = a_document(
        a_check('database', PASS, (900, PASS),
                judged_at=documents.NOW.now - 90))['checks']
    bars = statuspage.segments(check, '2020-09-13T12:26:40.000Z', 120)
    assert [(bar['status'], bar['x']) for bar in bars] == [
        ('pass', '0.0'), ('fail', '300.0')]


@pytest.mark.parametrize('latencies, points', [
    ([], ''), ([0.5], '0.0,1.0'), ([0.0], '0.0,25.0'),
    ([0.1, 0.2], '0.0,13.0 120.0,1.0')])
def test_sparkline(latencies, points):
    assert statuspage.sparkline(latencies) == points


def test_who_has_drained_the_node():
    now = documents.NOW.time
    page = seen(a_check(), drains=(
        drain.Drain('service', 'a new disk', 'alice', now - 60, now + 600),
        drain.Drain('host', '', '', now - 90, None)))
    assert 'out of the balancer since 12:25:10 UTC DRAINED' in page.text
    assert ('This service a new disk by alice, since 12:25:40 UTC , until '
            '12:36:40 UTC , in 10 min') in page.text
    assert ('All services of this host no reason given by somebody, since '
            '12:25:10 UTC , without an end') in page.text
    assert 'Drained' not in seen(a_check()).text
