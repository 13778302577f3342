# SPDX-License-Identifier: Apache-2.0

"""A drain is read whole, by everybody, and believed of nobody else."""

from __future__ import annotations

import os
import pathlib
import stat
import time

import pytest

from healthcheck.host import drainfile
from healthcheck.host import drainrecord
from healthcheck.host import statefiles
from healthcheck.reports import drain
from tests.unit import drained


@pytest.fixture
def host():
    return drained.Host()


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'drain'


@pytest.fixture
def file(path, host):
    return drainfile.DrainFile(str(path), drain.SERVICE, host.clocks)


@pytest.fixture
def reader(path, host):
    """Another process's."""
    return drainfile.DrainFile(str(path), drain.SERVICE, host.clocks)


def said(caplog):
    return [each.getMessage() for each in caplog.records]


def test_it_begins_and_ends(file, reader, host):
    assert reader.look() is None
    begun = file.begin('a new disk', 'alice', 1800)
    assert begun == drain.Drain('service', 'a new disk', 'alice', host.wall,
                                host.wall + 1800)
    assert reader.look() == file.read() == begun
    assert file.end()
    assert reader.look() is None
    assert file.read() is None
    assert not file.end()


def test_it_ends_by_itself(file, reader, host):
    file.begin('a new disk', 'alice', 1800)
    host.pass_time(1799)
    assert reader.look() is not None
    host.pass_time(1)
    assert reader.look() is None
    assert file.read() is None


def test_no_step_of_a_clock_brings_it_back(file, reader, host):
    file.begin('a new disk', 'alice', 1800)
    host.restart()
    host.wall += 1800
    assert reader.look() is None
    host.wall -= 60
    assert reader.look() is None


def test_a_clock_that_is_wrong_for_a_moment(file, reader, host):
    """It starts in 1970, until NTP has set it."""
    file.begin('a new disk', 'alice', 1800)
    host.restart()
    host.wall = 0.0
    assert reader.look() is None
    host.wall = drained.EPOCH + 60
    assert reader.look() is not None


def test_one_is_replaced_by_another(file, reader, host):
    file.begin('one', 'alice', 60)
    assert reader.look().reason == 'one'
    file.begin('another', 'bob')
    found = reader.look()
    assert (found.reason, found.by, found.until) == ('another', 'bob', None)


def test_a_look_opens_the_file_only_when_it_is_new(file, reader,
                                                   monkeypatch):
    file.begin('one', 'alice')
    reader.look()
    monkeypatch.setattr(drainfile.os, 'open', None)
    for _ in range(3):
        assert reader.look().reason == 'one'


def test_every_user_reads_it_whatever_the_umask(file, path):
    before = os.umask(0o077)
    try:
        file.begin('one', 'alice')
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_it_is_logged_once_when_it_begins_and_when_it_ends(
        file, reader, host, path, caplog):
    for _ in range(2):
        reader.look()
    file.begin('a new\ndisk', 'alice', 1800)
    for _ in range(3):
        reader.look()
    os.chmod(path, 0o600)  # its status changes, and it does not
    reader.look()
    host.pass_time(1800)
    for _ in range(3):
        reader.look()
    assert said(caplog) == [
        f'Healthcheck drain of this service begins, until 2020-09-13 '
        f'12:56:40 UTC, by alice: a new disk ({path})',
        f'Healthcheck drain of this service has ended, by alice: a new disk '
        f'({path})']


def test_the_host_is_named_in_the_log(path, caplog):
    file = drainfile.DrainFile(str(path), drain.HOST)
    file.begin('kernel', 'alice')
    file.look()
    assert said(caplog) == [f'Healthcheck drain of all of this host begins, '
                            f'without an end, by alice: kernel ({path})']


@pytest.mark.parametrize('text', ['', 'maintenance\n', '{"format": 1}',
                                  '[' * 5000])
def test_what_is_no_drain_was_meant_as_one(path, reader, host, caplog, text):
    path.write_text(text)
    os.utime(path, (1e9, 1e9))
    for _ in range(3):
        found = reader.look()
        assert found == drain.Drain('service', '', '', 1e9, None)
    assert len(said(caplog)) == 2
    assert 'no drain of this release' in said(caplog)[0]
    assert 'by somebody: no reason given' in said(caplog)[1]
    assert reader.end()
    assert reader.look() is None


@pytest.mark.parametrize('make, why', [
    (lambda path: path.symlink_to('/etc/hostname'), 'not a regular file'),
    (lambda path: os.mkfifo(path), 'not a regular file'),
    (lambda path: path.mkdir(), 'not a regular file'),
    (lambda path: (path.touch(), path.chmod(0o664)), 'others can write'),
    (lambda path: (path.touch(), path.chmod(0o646)), 'others can write')])
def test_what_somebody_else_may_have_written_is_ignored(
        path, reader, caplog, make, why):
    make(path)
    for _ in range(3):
        assert reader.look() is None
    line, = said(caplog)
    assert f'{path} is ignored: {why}' in line


def test_another_users_is_ignored(file, reader, monkeypatch, caplog):
    file.begin('one', 'alice')
    monkeypatch.setattr(drainfile.os, 'geteuid', lambda: 4711)
    fstat = os.fstat

    def of_another(descriptor):
        found = list(fstat(descriptor))
        found[stat.ST_UID] = 4712
        return os.stat_result(found)
    monkeypatch.setattr(drainfile.os, 'fstat', of_another)
    assert reader.look() is None
    assert 'it belongs to user 4712 (allowed: root and 4711)' in (
        said(caplog)[0])


def test_a_directory_that_others_can_write_to(tmp_path, host, caplog):
    place = tmp_path / 'open'
    place.mkdir()
    place.chmod(0o777)
    for scope, option in ((drain.SERVICE, 'state_path'),
                          (drain.HOST, 'drain_path')):
        file = drainfile.DrainFile(str(place / scope), scope)
        file.begin('one', 'alice')
        assert file.look() is None
        assert said(caplog)[-1].endswith(f'[healthcheck]{option}')
    place.chmod(0o755)
    # What was refused is looked at again when it is written again.
    file.begin('two', 'alice')
    assert file.look().reason == 'two'


def test_a_place_that_cannot_be_looked_at(path, reader, monkeypatch, caplog):
    def denied(*args, **kwargs):
        raise PermissionError(13, 'Permission denied')
    monkeypatch.setattr(drainfile.os, 'stat', denied)
    for _ in range(3):
        assert reader.look() is None
    assert said(caplog) == [
        f'Healthcheck: {path} cannot be accessed: Permission denied']


def test_a_file_that_cannot_be_read_drains(path, reader, monkeypatch,
                                           caplog):
    def denied(*args, **kwargs):
        raise PermissionError(13, 'Permission denied')
    path.touch()
    monkeypatch.setattr(drainfile.os, 'open', denied)
    for _ in range(3):
        assert reader.look() is not None
    assert f'{path} drains, but this user may not read it' in (
        said(caplog)[0])
    assert len(said(caplog)) == 2


@pytest.mark.parametrize('call', ['open', 'read'])
def test_a_shortage_drains_nobody_for_good(file, reader, host, path,
                                           monkeypatch, caplog, call):
    """The file may be of a drain that has ended."""
    def short(*args, **kwargs):
        raise OSError(24, 'Too many open files')
    file.begin('one', 'alice', 60)
    assert reader.look().reason == 'one'
    host.pass_time(61)
    assert reader.look() is None
    file.begin('two', 'alice', 60)
    with monkeypatch.context() as patched:
        patched.setattr(drainfile.os, call, short)
        for _ in range(3):
            assert reader.look() is None
        assert file.read() is None
    assert said(caplog)[-1] == (f'Healthcheck: {path} cannot be read for '
                                f'now: Too many open files')
    assert reader.look().reason == 'two'
    host.pass_time(61)
    assert reader.look() is None


def test_a_file_that_goes_while_it_is_looked_at(file, reader, path,
                                                monkeypatch):
    file.begin('one', 'alice')
    opened = os.open

    def too_late(name, *args, **kwargs):
        path.unlink()
        return opened(name, *args, **kwargs)
    monkeypatch.setattr(drainfile.os, 'open', too_late)
    assert reader.look() is None


def test_a_file_that_is_replaced_while_it_is_looked_at(
        file, reader, path, monkeypatch, caplog):
    file.begin('a new disk', 'alice', 1800)
    real = os.open

    def replaced(name, *args, **kwargs):
        if name == str(path):
            monkeypatch.setattr(os, 'open', real)
            raise FileNotFoundError(2, 'No such file or directory')
        return real(name, *args, **kwargs)
    monkeypatch.setattr(os, 'open', replaced)
    caplog.clear()
    assert reader.look() is None
    assert said(caplog) == []
    assert reader.look().by == 'alice'


def test_nothing_is_left_when_it_cannot_be_written(file, path, monkeypatch):
    def full(descriptor):
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(statefiles.os, 'fsync', full)
    with pytest.raises(drainfile.Unusable, match='No space left'):
        file.begin('one', 'alice')
    assert list(path.parent.iterdir()) == []


def test_a_place_that_is_not_there(tmp_path):
    file = drainfile.DrainFile(str(tmp_path / 'no' / 'drain'), drain.HOST)
    with pytest.raises(drainfile.Unusable, match='No such file'):
        file.begin('one', 'alice')
    assert not file.end()
    assert file.look() is None
    assert drainfile.DrainFile('/dev/null/drain', drain.HOST).look() is None


def test_one_that_cannot_be_removed(path, file):
    path.mkdir()
    with pytest.raises(drainfile.Unusable, match='Is a directory'):
        file.end()
    assert file.read() is None


def test_what_killed_writers_left_is_removed(file, path):
    old = pathlib.Path(f'{path}.0123456789abcdef.tmp')
    young = pathlib.Path(f'{path}.fedcba9876543210.tmp')
    another = pathlib.Path(f'{path}.tmp')
    for each in (old, young, another):
        each.touch()
    for each in (old, another):
        os.utime(each, (time.time() - 61,) * 2)
    file.begin('one', 'alice')
    assert not old.exists()
    assert young.exists() and another.exists()


def test_the_clocks_are_the_hosts_own(path):
    file = drainfile.DrainFile(str(path), drain.HOST)
    file.begin('one', 'alice', 60)
    record = drainrecord.Record.load(path.read_bytes())
    assert abs(record.since - time.time()) < 30
    assert record.clock == drainrecord.clock_id()
