# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Nothing of somebody else's is read, and nothing is half written."""

import os
import pathlib
import resource
import stat

import pytest

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


def test_no_descriptor_is_left_open(directory, tmp_path):
    before = os.listdir('/proc/self/fd')
    for test in (test_what_is_written_is_read, test_a_pipe_is_not_waited_for):
        for path in here(directory).iterdir():
            path.unlink()
        test(directory)
    assert len(os.listdir('/proc/self/fd')) == len(before)
