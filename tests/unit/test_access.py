# SPDX-License-Identifier: Apache-2.0

"""Who may ask, as far as the address tells."""

from __future__ import annotations

import pytest

from healthcheck.answers import access
from tests.unit import wsgi


@pytest.fixture
def ranges():
    problems: list[str] = []
    made = access.Ranges(access.parse_ranges(
        ['192.0.2.0/24', ' 2001:db8::/32'], problems))
    assert not problems
    return made


@pytest.mark.parametrize('address, held', [
    ('192.0.2.7', True), ('192.0.3.7', False), ('2001:db8::1', True),
    ('2001:db9::1', False), ('::ffff:192.0.2.7', True), ('', False),
    ('unix:', False), (None, False), ('192.0.2.7:80', False)])
def test_ranges(ranges, address, held):
    assert ranges.hold(wsgi.environ(REMOTE_ADDR=address)) is held


def test_no_ranges_hold_nobody():
    made = access.Ranges(())
    assert not made
    assert not made.hold(wsgi.environ())


@pytest.mark.parametrize('header', [
    'X-Forwarded-For', 'X-Forwarded', 'X-Forwarded-Proto',
    'X-Forwarded-Anything', 'Forwarded', 'Forwarded-For', 'Via', 'X-Real-IP',
    'X-Client-IP', 'X-Cluster-Client-IP', 'True-Client-IP', 'Client-IP',
    'CF-Connecting-IP', 'X-Original-Forwarded-For'])
@pytest.mark.parametrize('value', ['192.0.2.7', ''])
def test_a_mark_of_a_proxy(header, value):
    name = 'HTTP_' + header.upper().replace('-', '_')
    assert access.is_forwarded(wsgi.environ(**{name: value}))


def test_no_mark_of_a_proxy():
    assert not access.is_forwarded(wsgi.environ(
        accept='*/*', HTTP_HOST='node1', HTTP_USER_AGENT='curl',
        HTTP_X_HAPROXY_SERVER_STATE='UP', HTTP_X_AUTH_TOKEN='x'))
