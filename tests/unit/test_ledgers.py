# SPDX-License-Identifier: Apache-2.0

"""The ledgers of many processes: who is heard, and what is left behind."""

import os
import pathlib
import signal

import pytest

from healthcheck.evidence import ledger as ledger_module
from healthcheck.evidence import ledgers as ledgers_module
from healthcheck.host import group as group_module
from healthcheck.host import mounts
from healthcheck.host import statefiles
from healthcheck.probing import evidence

MARK = 7


@pytest.fixture(autouse=True)
def in_memory(monkeypatch):
    """Whatever the tests' own directories are on."""
    monkeypatch.setattr(mounts, 'is_in_memory', lambda path: True)


@pytest.fixture
def group(tmp_path):
    made = group_module.Group(str(tmp_path), 'a' * 64, 5.0)
    statefiles.Directory(made.place).prepare()
    return made


def make(group):
    own = ledger_module.Ledger()
    return own, ledgers_module.Ledgers(own, group)


def files(group):
    return sorted(path.name for path in pathlib.Path(
        group.place).glob('healthcheck-*/*.evidence'))


class Process:
    """Another process that keeps a ledger, and obeys a test."""

    def __init__(self, group):
        ready, self._ready = os.pipe()
        self._orders, orders = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                own, ledgers = make(group)
                ledgers.attach()
                slot = own.slot(MARK)
                os.write(self._ready, b'.')
                while order := os.read(self._orders, 1):
                    if order == b'w':
                        own.answered(slot, 50.0)
                    elif order == b'f':
                        own.failed(slot)
                    elif order == b'e':
                        own.error()
                    elif order == b'd':
                        ledgers.detach()
                    os.write(self._ready, b'.')
            finally:
                os._exit(0)
        os.close(self._orders)
        os.close(self._ready)
        self._ready, self._orders = ready, orders
        self._pipes = [ready, orders]
        os.read(self._ready, 1)

    def order(self, what):
        os.write(self._orders, what)
        assert os.read(self._ready, 1) == b'.'

    def kill(self, with_signal=signal.SIGKILL):
        os.kill(self.pid, with_signal)
        os.waitpid(self.pid, 0)
        self.pid = 0

    def end(self):
        if self.pid:
            self.kill()
        while self._pipes:
            os.close(self._pipes.pop())


@pytest.fixture
def start(group):
    found = []

    def start():
        found.append(Process(group))
        return found[-1]
    yield start
    for process in found:
        process.end()


def test_the_own_one_needs_no_file():
    own, ledgers = make(None)
    ledgers.attach()
    slot = own.slot(MARK)
    own.answered(slot, 3.0)
    own.failed(slot)
    own.error()
    assert ledgers.look(0.0) == {MARK}
    assert ledgers.seen([MARK]).answered_at == 3.0
    assert ledgers.errors() == 1
    ledgers.detach()


def test_what_others_see_is_summed_up(group, start):
    others = [start(), start()]
    own, ledgers = make(group)
    ledgers.attach()
    own.answered(own.slot(MARK), 60.0)
    assert ledgers.look(0.0) == set()
    for other in others:
        other.order(b'w')
    assert ledgers.seen([MARK, 8]) == evidence.Seen(60.0, calls=3)
    others[1].order(b'f')
    assert ledgers.look(0.1) == {MARK}
    assert ledgers.look(0.2) == set()


def test_errors_are_counted_from_when_a_process_is_known(group, start):
    other = start()
    other.order(b'e')
    _, ledgers = make(group)
    ledgers.look(0.0)
    assert ledgers.errors() == 0
    other.order(b'e')
    ledgers.look(0.1)
    ledgers.look(0.2)
    assert ledgers.errors() == 1
    other.kill()
    ledgers.look(5.0)
    assert ledgers.errors() == 1


def test_one_that_was_killed_is_heard_no_more(group, start):
    other = start()
    _, ledgers = make(group)
    other.order(b'w')
    ledgers.look(0.0)
    assert ledgers.seen([MARK]).calls == 1
    other.kill()
    ledgers.look(1.0)
    assert ledgers.seen([MARK]) is evidence.NOTHING
    ledgers.look(2.0)
    assert files(group) == []


def test_who_probes_no_more_holds_nothing_of_others(group, start):
    other = start()
    other.order(b'w')
    _, ledgers = make(group)
    before = len(os.listdir('/proc/self/fd'))
    ledgers.look(0.0)
    ledgers.forget()
    assert ledgers.seen([MARK]) is evidence.NOTHING
    assert len(os.listdir('/proc/self/fd')) <= before + 1  # the directory
    ledgers.look(0.1)
    assert ledgers.seen([MARK]).calls == 1


def test_one_that_is_stopped_is_heard_on(group, start):
    """What it saw was true, and is as old as it is."""
    other = start()
    _, ledgers = make(group)
    other.order(b'w')
    os.kill(other.pid, signal.SIGSTOP)
    for now in range(5):
        ledgers.look(float(now))
    assert ledgers.seen([MARK]).answered_at == 50.0


def test_one_that_ends_leaves_nothing(group, start):
    other = start()
    assert len(files(group)) == 1
    other.order(b'd')
    assert files(group) == []


@pytest.mark.parametrize('key', ['a' * 32, 'b' * 32])
def test_a_file_that_is_not_locked_yet_is_left_alone_at_first(group, key):
    """Of its own group, and of one that is no more."""
    directory = statefiles.Directory(group.place)
    name = f'{key}.{"1" * 16}.evidence'
    os.close(directory.open(name, os.O_RDWR | os.O_CREAT))
    _, ledgers = make(group)
    ledgers.look(0.0)
    assert files(group) == [name]
    ledgers.look(1.0)
    assert files(group) == []


def test_others_files_are_not_touched(group):
    directory = statefiles.Directory(group.place)
    names = [f'{group.key}.1.lock', f'{group.key}.report', 'x.evidence']
    for name in names:
        os.close(directory.open(name, os.O_RDWR | os.O_CREAT))
    _, ledgers = make(group)
    for now in range(3):
        ledgers.look(float(now))
    assert sorted(os.listdir(directory.path)) == sorted(names)


def test_a_directory_that_is_made_again_is_used(group, tmp_path):
    own, ledgers = make(group)
    ledgers.attach()
    ledgers.attach()
    assert len(files(group)) == 1
    os.rename(tmp_path / f'healthcheck-{os.geteuid()}', tmp_path / 'gone')
    ledgers.attach()
    assert len(files(group)) == 1
    own.answered(own.slot(MARK), 9.0)
    _, others = make(group)
    others.look(0.0)
    assert others.seen([MARK]).answered_at == 9.0
    ledgers.detach()


def test_a_file_that_was_removed_is_made_again(group):
    _, ledgers = make(group)
    ledgers.attach()
    directory = statefiles.Directory(group.place)
    directory.remove(files(group)[0])
    ledgers.attach()
    assert len(files(group)) == 1
    ledgers.detach()


def test_one_that_another_has_taken_the_place_of_is_made_again(group):
    own, ledgers = make(group)
    ledgers.attach()
    directory = statefiles.Directory(group.place)
    name, = files(group)
    directory.remove(name)
    os.close(directory.open(name, os.O_RDWR | os.O_CREAT))
    ledgers.attach()
    own.answered(own.slot(MARK), 9.0)
    _, others = make(group)
    others.look(0.0)
    assert others.seen([MARK]).answered_at == 9.0
    ledgers.detach()


def test_one_that_is_there_is_kept(group):
    """A prober reads it: another one at each look would be a leak."""
    def inode():
        return statefiles.Directory(group.place).stat(files(group)[0]).st_ino
    _, ledgers = make(group)
    ledgers.attach()
    before = inode()
    ledgers.attach()
    assert inode() == before
    ledgers.detach()


def test_a_prober_follows_the_directory_without_a_ledger_there(group,
                                                               tmp_path):
    """As where there was no space for its own."""
    _, others = make(group)
    others.look(0.0)
    os.rename(tmp_path / f'healthcheck-{os.geteuid()}', tmp_path / 'gone')
    statefiles.Directory(group.place).prepare()
    own, ledgers = make(group)
    ledgers.attach()
    own.answered(own.slot(MARK), 9.0)
    others.look(1.0)
    assert others.seen([MARK]).answered_at == 9.0
    ledgers.detach()


def test_the_directory_is_read_once_a_second(group, monkeypatch):
    names = []
    read = statefiles.Directory.names
    monkeypatch.setattr(statefiles.Directory, 'names', lambda self: (
        names.append(1), read(self))[1])
    _, ledgers = make(group)
    for tenths in range(21):
        ledgers.look(tenths / 10)
    assert len(names) == 3


def test_no_space_leaves_it_to_the_process_itself(group, monkeypatch):
    def write(descriptor, data):
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(ledgers_module.os, 'write', write)
    own, ledgers = make(group)
    ledgers.attach()
    assert files(group) == []
    own.answered(own.slot(MARK), 9.0)
    assert ledgers.seen([MARK]).answered_at == 9.0


def test_where_nothing_is_in_memory_nothing_is_mapped(
        group, monkeypatch, caplog):
    monkeypatch.setattr(mounts, 'is_in_memory', lambda path: False)
    caplog.set_level('INFO')
    _, ledgers = make(group)
    for _ in range(3):
        ledgers.attach()
    assert files(group) == []
    assert len(caplog.records) == 1
    assert group.place in caplog.text and 'state_path' in caplog.text


def test_where_the_place_is_on_a_disk_shared_memory_is_used(
        group, monkeypatch, tmp_path, start):
    memory = tmp_path / 'shm'
    memory.mkdir()
    monkeypatch.setattr(ledgers_module, '_SHARED_MEMORY', str(memory))
    monkeypatch.setattr(mounts, 'is_in_memory',
                        lambda path: path == str(memory))
    other = start()
    other.order(b'w')
    _, ledgers = make(group)
    ledgers.look(0.0)
    assert files(group) == []
    assert ledgers.seen([MARK]).answered_at == 50.0
    other.kill()
    for now in range(1, 4):
        ledgers.look(float(now))
    assert list(memory.glob('*/*')) == []


def test_no_descriptor_or_mapping_is_left(group, start):
    def held():
        return (len(os.listdir('/proc/self/fd')),
                pathlib.Path('/proc/self/maps').read_text().count(
                    '.evidence'))
    _, ledgers = make(group)
    directory = statefiles.Directory(group.place)
    directory.names()
    without = held()
    ledgers.attach()
    before = held()
    for now in range(3):
        other = start()
        ledgers.look(2.0 * now)
        other.kill()
        ledgers.look(2.0 * now + 1)
        other.end()
    ledgers.look(9.0)
    assert held() == before
    ledgers.detach()
    # The process goes on writing to its memory, whose mapping has one.
    assert held()[0] == without[0] + 1
    assert files(group) == []


def test_what_is_in_memory(tmp_path, monkeypatch):
    monkeypatch.undo()
    assert mounts.is_in_memory('/dev/shm')
    assert not mounts.is_in_memory('/proc')
    assert not mounts.is_in_memory(str(tmp_path / 'missing'))
