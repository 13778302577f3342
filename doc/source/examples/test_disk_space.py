# SPDX-License-Identifier: Apache-2.0

"""An example of a plugin's tests."""

import collections
import shutil

import disk_space
import pytest

from healthcheck import plugin

Usage = collections.namedtuple('Usage', 'total used free')


@pytest.fixture
def disk(monkeypatch):
    """A disk of 100 bytes; a test says how many are free."""
    disk = {'free': 50}
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: Usage(
        100, 100 - disk['free'], disk['free']))
    return disk


@pytest.fixture
def rehearsal():
    return plugin.Rehearsal(disk_space.DiskSpace, {
        'disk_space_path': '/images', 'interval': '10', 'fall': '2'})


def test_enough_is_free(disk, rehearsal):
    rehearsal.run(0)
    assert rehearsal.line == 'OK'
    assert rehearsal.report.detail == '50.0 % of /images is free'


def test_a_full_disk_takes_the_node_out(disk, rehearsal):
    rehearsal.run(0)
    disk['free'] = 4
    rehearsal.run(10)
    assert rehearsal.line == 'OK (DISK SPACE: DISK FULL)'
    rehearsal.run(2)  # it is found again, after retry_interval
    assert rehearsal.line == 'DISK SPACE: DISK FULL'
    disk['free'] = 50
    rehearsal.run(10)
    assert [change.after.word for change in rehearsal.changes] == [
        'pass', 'warn', 'fail', 'pass']


def test_the_path_is_needed():
    with pytest.raises(plugin.ConfigError, match='disk_space_path'):
        plugin.Rehearsal(disk_space.DiskSpace)
