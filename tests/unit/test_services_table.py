# SPDX-License-Identifier: Apache-2.0

"""The table of services is whole, and of the releases that are pinned."""

import pathlib

import pytest

from tests.services import catalogue
from tests.services import results

ROOT = pathlib.Path(__file__).parents[2]

ROWS = results.read()
PAGE = (ROOT / 'doc' / 'source' / 'services.rst').read_text()

WAYS = [pytest.param(way, id=f'{service.name}-{way.name}')
        for service in catalogue.SERVICES for way in service.ways]


def canonical(name):
    return name.lower().replace('_', '-').replace('.', '-')


def test_each_way_has_a_row():
    assert [(row['Service'], row['Mounted']) for row in ROWS] == [
        (service.title, way.how) for service in catalogue.SERVICES
        for way in service.ways]


def test_releases_are_the_pinned_ones():
    pins = {}
    for line in (ROOT / 'services-constraints.txt').read_text().splitlines():
        name, found, version = line.partition('==')
        if found:
            pins[canonical(name)] = version
    assert {row['Service']: row['Release'] for row in ROWS} == {
        service.title: pins[canonical(service.package)]
        for service in catalogue.SERVICES}


def test_all_was_seen():
    assert not [row for row in ROWS if results.NOT_SEEN in row.values()]


@pytest.mark.parametrize('way', WAYS)
def test_page_shows_what_to_change(way):
    shown = {line.strip() for line in PAGE.splitlines()}
    for _, before, after in way.edits:
        if 'backends' not in after:
            assert set(after.splitlines()) - set(before.splitlines()) <= shown
    for lines in way.appended.values():
        assert set(filter(None, lines.splitlines())) <= shown
