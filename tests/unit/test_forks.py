# SPDX-License-Identifier: Apache-2.0

"""A fork waits for a visit of SQLite, and a visit for a fork."""

import os
import threading

import pytest

from healthcheck.targets import database_target
from healthcheck.targets import dialects
from healthcheck.targets import forks
from healthcheck.targets import sqlite


class World:
    """The hooks of one process, and what happens while somebody sleeps."""

    def __init__(self):
        self.now = 0.0
        self.meanwhile = lambda: None
        self.hooks = []
        self.forks = forks.Forks(lambda **hooks: self.hooks.append(hooks),
                                 lambda: self.now, self._sleep)

    def _sleep(self, seconds):
        self.now += seconds
        self.meanwhile()

    def call(self, hook):
        self.hooks[0][hook]()


@pytest.fixture
def world():
    return World()


class TestForks:

    def test_registered_once_and_late(self, world):
        assert world.hooks == []
        for _ in range(3):
            with world.forks.kept_out():
                pass
        assert [sorted(hooks) for hooks in world.hooks] == [
            ['after_in_child', 'after_in_parent', 'before']]

    def test_fork_waits_for_a_block(self, world):
        block = world.forks.kept_out()
        block.__enter__()
        world.meanwhile = lambda: world.now >= 0.05 and block.__exit__(
            None, None, None)
        world.call('before')
        assert 0.05 <= world.now < 0.06

    def test_fork_waits_for_a_block_that_raises(self, world):
        with pytest.raises(OSError), world.forks.kept_out():
            raise OSError
        world.call('before')
        assert world.now == 0

    def test_fork_does_not_wait_for_long(self, world):
        with world.forks.kept_out():
            world.call('before')
        assert world.now == pytest.approx(forks.PATIENCE, abs=0.002)

    def test_block_waits_for_a_fork(self, world):
        with world.forks.kept_out():
            pass
        world.call('before')
        assert world.now == 0
        world.meanwhile = lambda: world.now >= 0.05 and world.call(
            'after_in_parent')
        with world.forks.kept_out():
            assert 0.05 <= world.now < 0.06

    def test_block_does_not_wait_for_ever(self, world):
        """A signal handler may raise in the hook that ends a fork."""
        with world.forks.kept_out():
            pass
        world.call('before')
        with world.forks.kept_out():
            assert world.now == pytest.approx(2 * forks.PATIENCE, abs=0.002)
        began = world.now
        with world.forks.kept_out():
            assert world.now == began

    def test_child_waits_for_nothing_of_its_parent(self, world):
        with world.forks.kept_out():
            world.call('before')
            world.now = 0.0
            world.call('after_in_child')
            with world.forks.kept_out():
                pass
            world.call('before')
        assert world.now == 0

    def test_child_of_a_fork_in_c_waits_for_nothing(self, world,
                                                    monkeypatch):
        with world.forks.kept_out():
            world.call('before')
            world.now = 0.0
            monkeypatch.setattr(os, 'getpid', lambda: -1)
            with world.forks.kept_out():
                pass
            world.call('before')
        assert world.now == 0


@pytest.mark.parametrize('step', ['missing', 'connect', 'ask'])
def test_no_child_is_made_during_a_visit(step, tmp_path, monkeypatch):
    """Such a child would inherit SQLite's locks, and hang."""
    monkeypatch.setattr(forks, 'PATIENCE', 60)  # a machine may be busy
    path = tmp_path / 'database'
    path.touch()
    visiting, seen = [], threading.Event()
    real = getattr(sqlite.SQLite, step)

    def slow(*args, **kwargs):
        visiting.append(step)
        seen.set()
        # Until somebody wants to fork.
        while not forks.FORKS._here().forking and not over.is_set():
            over.wait(0.001)
        found = real(*args, **kwargs)
        visiting.clear()
        return found

    over = threading.Event()
    monkeypatch.setattr(sqlite.SQLite, step, slow)
    target = database_target.DatabaseTarget(
        f'sqlite:///{path}', option='o', bound=4,
        tolerance=dialects.Tolerance())
    thread = threading.Thread(target=target.probe)
    thread.start()
    assert seen.wait(60)
    child = os.fork()
    if not child:
        os._exit(len(visiting))
    over.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
