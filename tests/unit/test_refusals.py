# SPDX-License-Identifier: Apache-2.0

"""What a caller is told who may not see an admin's page."""

from __future__ import annotations

import pytest

from healthcheck.admin.auth import refusals
from tests.unit import wsgi

ALL = [refusals.NOT_FOUND, refusals.FORBIDDEN, refusals.BUSY, refusals.AWAY,
       refusals.NO_POLICY, refusals.unauthorized('Keystone')]


def _page(refusal, **environ):
    page = refusal.page(wsgi.environ(**environ))
    answer = wsgi.ask(page, **environ)
    assert answer.headers['Cache-Control'] == 'no-store'
    if environ.get('method') != 'HEAD':
        assert answer.headers['Content-Length'] == str(len(answer.body))
    return answer


@pytest.mark.parametrize('refusal', ALL)
@pytest.mark.parametrize('accept', [None, 'text/html', 'image/png', '*/*'])
def test_text(refusal, accept):
    answer = _page(refusal, accept=accept)
    assert answer.status == refusal.status
    assert answer.headers['Content-Type'] == 'text/plain; charset=UTF-8'
    assert answer.text == refusal.message
    assert len(answer.body) < 200


@pytest.mark.parametrize('refusal', ALL)
@pytest.mark.parametrize('accept', ['application/json',
                                    'application/health+json'])
def test_json(refusal, accept):
    answer = _page(refusal, accept=accept)
    assert answer.headers['Content-Type'] == 'application/json'
    assert answer.json == {'error': {
        'code': answer.status, 'title': refusal.status.phrase,
        'message': refusal.message}}


@pytest.mark.parametrize('refusal', ALL)
def test_head_has_no_body(refusal):
    answer = _page(refusal, method='HEAD')
    assert (answer.status, answer.body) == (refusal.status, b'')
    assert answer.headers == _page(refusal).headers


@pytest.mark.parametrize('refusal', [refusals.BUSY, refusals.AWAY,
                                     refusals.NO_POLICY])
def test_not_now_says_when(refusal):
    assert int(_page(refusal).headers['Retry-After']) > 0


def test_unauthorized_says_how():
    answer = _page(refusals.unauthorized('Keystone uri="https://k/"'))
    assert answer.headers['WWW-Authenticate'] == 'Keystone uri="https://k/"'
