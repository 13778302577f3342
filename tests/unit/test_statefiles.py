# SPDX-License-Identifier: Apache-2.0

"""Nothing of somebody else's is read, and nothing is half written."""

import errno
import gc
import os
import pathlib
import resource
import stat
import time

import pytest

from healthcheck.host import ancestors
from healthcheck.host import mounts
from healthcheck.host import statefiles


@pytest.fixture
def directory(tmp_path):
    made = statefiles.Directory(str(tmp_path))
    made.prepare()
    return made


def here(directory):
    return pathlib.Path(directory.path)


def test_nobody_else_can_look_into_it(directory):
    directory.write('a', b'x', 1, 'a.tmp')
    directory.touch('b', 1)
    assert stat.S_IMODE(here(directory).stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode)
            for path in here(directory).iterdir()} == {0o600}


def test_what_is_written_is_read(directory):
    assert directory.read('a') is None
    assert directory.stamp('a') == 0
    directory.write('a', b'one', 1234, 'a.tmp')
    directory.write('a', b'another', 1235, 'a.tmp')
    assert directory.read('a') == (b'another', 1235)
    assert directory.stamp('a') == 1235
    assert directory.names() == ['a']


def test_what_is_there_is_not_replaced(directory):
    directory.add('a', b'one', 1234, 'a.tmp')
    assert directory.read('a') == (b'one', 1234)
    directory.add('a', b'another', 1235, 'a.tmp')
    assert directory.read('a') == (b'one', 1234)
    assert directory.names() == ['a']


def test_a_reader_keeps_what_it_has_opened(directory):
    directory.write('a', b'one', 1, 'a.tmp')
    with open(directory.join('a'), 'rb') as reader:
        directory.write('a', b'another', 2, 'a.tmp')
        assert reader.read() == b'one'


def refused(act):
    with pytest.raises(statefiles.Unusable) as caught:
        act()
    return str(caught.value)


def test_a_directory_that_is_not_there(tmp_path):
    made = statefiles.Directory(str(tmp_path / 'nothing'))
    assert 'No such file' in refused(made.prepare)


def test_a_directory_that_is_open_to_others(directory):
    here(directory).chmod(0o750)
    assert 'mode 750; it must be 700' in refused(directory.prepare)


def test_a_directory_that_is_somebody_elses(directory, monkeypatch):
    mine = os.geteuid()
    monkeypatch.setattr(os, 'geteuid', lambda: mine + 1)
    assert f'belongs to user {mine}' in refused(directory.prepare)


def test_a_directory_that_is_a_link(directory, tmp_path):
    elsewhere = tmp_path / 'elsewhere'
    here(directory).rename(elsewhere)
    here(directory).symlink_to(elsewhere)
    assert 'not a directory' in refused(directory.prepare)


def test_a_file_that_is_a_link(directory, tmp_path):
    target = tmp_path / 'target'
    target.write_text('unharmed')
    (here(directory) / 'a').symlink_to(target)
    assert 'symbolic link' in refused(lambda: directory.read('a'))
    refused(lambda: directory.touch('a', 1))
    directory.write('a', b'x', 1, 'a.tmp')  # takes the place of the link
    assert directory.read('a') == (b'x', 1)
    (here(directory) / 'b.tmp').symlink_to(target)
    refused(lambda: directory.write('b', b'x', 1, 'b.tmp'))
    assert target.read_text() == 'unharmed'


def test_a_file_that_is_somebody_elses(directory, monkeypatch):
    directory.write('a', b'x', 1, 'a.tmp')
    mine = os.geteuid()
    monkeypatch.setattr(os, 'geteuid', lambda: mine + 1)
    assert f'belongs to user {mine}' in refused(lambda: directory.read('a'))


def test_a_pipe_is_not_waited_for(directory):
    os.mkfifo(directory.join('a'))
    assert 'not a regular file' in refused(lambda: directory.read('a'))


def test_a_file_that_is_too_large(directory, monkeypatch):
    monkeypatch.setattr(statefiles, '_MAX_SIZE', 3)
    directory.write('a', b'long', 1, 'a.tmp')
    assert 'too large' in refused(lambda: directory.read('a'))


def test_a_directory_in_the_place_of_a_file(directory):
    (here(directory) / 'a').mkdir()
    refused(lambda: directory.write('a', b'x', 1, 'a.tmp'))
    assert directory.names() == ['a']  # what was begun is gone


def test_a_disk_that_takes_no_more(directory):
    """The limit of a file's size stands in for that of the disk."""
    directory.write('a', b'before', 1, 'a.tmp')
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        refused(lambda: directory.write('a', b'x' * 100, 2, 'a.tmp'))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert directory.read('a') == (b'before', 1)
    assert directory.names() == ['a']


def test_a_directory_that_vanishes(directory):
    here(directory).rmdir()
    refused(directory.names)
    refused(lambda: directory.write('a', b'x', 1, 'a.tmp'))
    refused(lambda: directory.touch('a', 1))
    directory.remove('a')
    assert directory.read('a') is None
    directory.prepare()
    assert directory.names() == []


def test_what_was_looked_at_stays_the_one_that_is_used(directory, tmp_path):
    """Another one is put in its place between two calls."""
    directory.write('a', b'ours', 1, 'a.tmp')
    there = tmp_path / 'there'
    there.mkdir(0o700)
    (there / 'a').write_text('unharmed')
    here(directory).rename(tmp_path / 'elsewhere')
    here(directory).symlink_to(there)
    assert directory.read('a') == (b'ours', 1)
    assert directory.stamp('a') == 1
    directory.write('b', b'x', 1, 'b.tmp')
    directory.touch('c', 1)
    directory.remove('a')
    assert 'no longer there' in refused(directory.names)
    assert sorted(path.name for path in there.iterdir()) == ['a']
    assert (there / 'a').read_text() == 'unharmed'
    assert 'not a directory' in refused(directory.prepare)


@pytest.mark.parametrize('use', ['prepare', 'follow'])
def test_one_that_was_made_again_is_used(directory, tmp_path, use):
    directory.write('a', b'x', 1, 'a.tmp')
    here(directory).rename(tmp_path / 'elsewhere')
    another = statefiles.Directory(str(tmp_path))
    another.prepare()
    another.write('b', b'x', 1, 'b.tmp')
    getattr(directory, use)()
    assert directory.names() == ['b']


def test_a_file_that_was_just_stamped_is_not_old(directory):
    """Some clean up what nobody has read for days."""
    before = time.time()
    directory.write('a', b'x', 1, 'a.tmp')
    directory.touch('b', 1)
    for path in (here(directory), *here(directory).iterdir()):
        assert path.stat().st_atime >= before - 1


@pytest.mark.parametrize('kind', ['nfs4', 'fuse.sshfs', ''])
def test_a_file_system_that_may_not_be_local(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(mounts, 'kind', lambda descriptor: kind)
    why = refused(statefiles.Directory(str(tmp_path),
                                       only_local=True).prepare)
    assert f'of type {kind or "unknown"},' in why and 'state_path' in why
    statefiles.Directory(str(tmp_path)).prepare()


class Test_the_type_of_a_file_system:

    @pytest.mark.parametrize('where', ['/proc', '/sys'])
    def test_it_is_found(self, where):
        descriptor = os.open(where, os.O_RDONLY)
        try:
            assert f'/{mounts.kind(descriptor)}' in (where, f'{where}fs')
        finally:
            os.close(descriptor)

    def test_where_nothing_says_it(self):
        assert mounts.kind(-1) == ''

    def test_the_usual_one_is_local(self, tmp_path):
        statefiles.Directory(str(tmp_path), only_local=True).prepare()


NOBODY = 65534


class Test_a_place_where_others_can_replace_it:
    @pytest.fixture
    def above(self, tmp_path):
        made = tmp_path / 'above'
        made.mkdir(0o755)
        (made / 'place').mkdir(0o755)
        return made

    def prepare(self, place):
        statefiles.Directory(str(place)).prepare()

    @pytest.mark.parametrize('mode', [0o777, 0o775, 0o757, 0o2775])
    @pytest.mark.parametrize('which', ['.', 'place'])
    def test_written_to_by_others(self, above, which, mode):
        (above / which).chmod(mode)
        why = refused(lambda: self.prepare(above / 'place'))
        assert f'can write to {above / which} (mode {mode:o})' in why
        assert not list((above / 'place').iterdir())

    @pytest.mark.parametrize('which', ['.', 'place'])
    def test_somebody_elses(self, above, which):
        os.chown(above / which, NOBODY, -1)
        why = refused(lambda: self.prepare(above / 'place'))
        assert f'user {NOBODY} can replace it' in why
        assert str(above / which) in why

    @pytest.mark.parametrize('mode', [0o1777, 0o755, 0o750, 0o700, 0o3775])
    def test_safe(self, above, mode):
        (above / 'place').chmod(mode)
        self.prepare(above / 'place')

    @pytest.mark.parametrize('where', ['/tmp', '/dev/shm', '/run'])
    def test_usual(self, where):
        assert not ancestors.weakness(where)

    def test_behind_a_link(self, above, tmp_path):
        (tmp_path / 'link').symlink_to('above/place')
        self.prepare(tmp_path / 'link')
        above.chmod(0o777)
        assert str(above) in refused(
            lambda: statefiles.Directory(str(tmp_path / 'link')).prepare())

    def test_a_link_that_is_somebody_elses(self, above, tmp_path):
        link = tmp_path / 'link'
        link.symlink_to('above/place')
        os.chown(link, NOBODY, -1, follow_symlinks=False)
        assert f'owner of {link}' in refused(lambda: self.prepare(link))

    def test_links_in_a_circle(self, tmp_path):
        (tmp_path / 'a').symlink_to('b')
        (tmp_path / 'b').symlink_to('a')
        refused(lambda: self.prepare(tmp_path / 'a'))

    def test_named_from_where_we_are(self, above, monkeypatch):
        monkeypatch.chdir(above)
        self.prepare('place')
        above.chmod(0o777)
        refused(lambda: self.prepare('place'))


class Test_resolution:
    @pytest.mark.parametrize('resolution', [1, 100, 1000, 10 ** 9,
                                            2 * 10 ** 9])
    def test_it_is_found(self, tmp_path, monkeypatch, resolution):
        utime = os.utime
        monkeypatch.setattr(os, 'utime', lambda file, ns: utime(
            file, ns=tuple(time - time % resolution for time in ns)))
        directory = statefiles.Directory(str(tmp_path))
        directory.prepare()
        assert directory.resolution == resolution

    def test_a_file_is_made_there_meanwhile(self, tmp_path, monkeypatch):
        utime, times = os.utime, []

        def late(file, ns):
            times.append(ns)
            utime(file, ns=(10 ** 18, 10 ** 18) if len(times) < 5 else ns)
        monkeypatch.setattr(os, 'utime', late)
        directory = statefiles.Directory(str(tmp_path))
        directory.prepare()
        assert directory.resolution == 1

    def test_times_that_are_not_kept(self, tmp_path, monkeypatch):
        """As by FAT, which knows none before 1980."""
        utime = os.utime
        monkeypatch.setattr(os, 'utime', lambda file, ns: utime(
            file, ns=(315532800 * 10 ** 9,) * 2))
        directory = statefiles.Directory(str(tmp_path))
        why = refused(directory.prepare)
        assert 'does not store the modification time' in why
        assert 'state_path' in why

    def test_a_place_to_read_only(self, directory, monkeypatch):
        """Its reports can be followed."""
        directory.write('a', b'x', 1, 'a.tmp')
        directory.close()

        def read_only(file, ns):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        monkeypatch.setattr(os, 'utime', read_only)
        assert directory.read('a') == (b'x', 1)
        assert directory.resolution == 2 * 10 ** 9


def test_descriptors_do_not_grow(directory, tmp_path):
    def held():
        links = []
        for number in os.listdir('/proc/self/fd'):
            try:
                links.append(os.readlink(f'/proc/self/fd/{number}'))
            except OSError:  # that of the list
                pass
        return sum(link.startswith(str(tmp_path)) for link in links)
    for number in range(50):
        directory.prepare()
        directory.touch('a', 1)
        if number % 3 == 0:
            here(directory).rename(tmp_path / str(number))
        elif number % 3 == 1:
            here(directory).chmod(0o755)
            refused(directory.prepare)
            directory.close()
            refused(directory.prepare)
            here(directory).chmod(0o700)
        else:
            directory.follow()
        assert held() <= 1
    directory.close()
    assert held() == 0


def test_what_a_request_costs(directory, monkeypatch):
    directory.touch('a', 1)
    calls = []
    for name in ('stat', 'lstat', 'open', 'fstat'):
        monkeypatch.setattr(os, name, lambda *args, _was=getattr(os, name),
                            _name=name, **kwargs: (
                                calls.append(_name), _was(*args, **kwargs))[1])
    directory.version('a')
    assert calls == ['stat']


def test_no_descriptor_is_left_open(directory, tmp_path):
    gc.collect()  # what other tests have left
    before = os.listdir('/proc/self/fd')
    for test in (test_what_is_written_is_read, test_a_pipe_is_not_waited_for):
        for path in here(directory).iterdir():
            path.unlink()
        test(directory)
    assert len(os.listdir('/proc/self/fd')) <= len(before)
