# SPDX-License-Identifier: Apache-2.0

"""There is one prober, though any may die, stop, or come back."""

import fcntl
import gc
import os
import pathlib
import tempfile

from hypothesis import settings
from hypothesis import stateful
from hypothesis import strategies as st
import pytest

from healthcheck.host import election
from healthcheck.host import statefiles

LEASE = 4.0
KEY, OTHER, DEAD, QUIET, LIVE = (digit * 32 for digit in '0abcd')


class Clock:
    now = 1000.0

    def __call__(self):
        return int(self.now * 1e9)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=[1, 1000, 10 ** 9, 2 * 10 ** 9])
def resolution(request, monkeypatch):
    """Seconds that a file system keeps times to."""
    monkeypatch.setattr(os, 'utime', coarse(os.utime, request.param))
    return request.param / 1e9


def coarse(utime, resolution):
    def truncated(file, ns):
        utime(file, ns=tuple(time - time % resolution for time in ns))
    return truncated


@pytest.fixture
def member(tmp_path, clock, resolution):
    made = []

    def make(key=KEY):
        made.append(election.Election(statefiles.Directory(str(tmp_path)),
                                      key, LEASE, clock))
        return made[-1]
    yield make
    for one in made:
        one.resign()


@pytest.fixture
def files(tmp_path):
    directory = pathlib.Path(statefiles.Directory(str(tmp_path)).path)
    return lambda: sorted(path.name for path in directory.iterdir())


def test_one_is_elected(member, files):
    one, other = member(), member()
    assert one.run() and not other.run()
    assert one.beat() and not other.beat()
    assert files() == [f'{KEY}.1.lock']


def test_when_it_ends_another_one_is(member, files):
    one, other = member(), member()
    assert one.run()
    one.resign()
    assert not one.beat()
    assert other.run() and not one.run()
    assert files() == [f'{KEY}.1.lock']


def test_those_of_another_key_elect_their_own(member):
    assert member().run() and member(OTHER).run()


def test_a_prober_that_gives_no_sign_of_life_is_deposed(
        member, clock, files, resolution):
    one, other, third = member(), member(), member()
    assert one.run()
    clock.now += LEASE
    assert not other.run()
    clock.now += 0.1 + resolution
    assert other.run()
    assert not third.run()
    assert not one.beat()
    assert other.beat()
    other.clean_up()
    assert files() == [f'{KEY}.2.lock']
    assert not one.run()


def test_signs_of_life_keep_it(member, clock):
    one, other = member(), member()
    assert one.run()
    for _ in range(10):
        clock.now += LEASE - 0.1
        assert one.beat() and not other.run()


def test_one_that_stops_before_its_first_sign_of_life(
        member, clock, tmp_path, resolution):
    """Its file has the time of day still, which is later than the clock."""
    directory = statefiles.Directory(str(tmp_path))
    directory.prepare()
    with open(directory.join(f'{KEY}.1.lock'), 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        one = member()
        assert not one.run()
        clock.now += LEASE + 0.1 + resolution
        assert one.run()
        assert one.generation == 2


def test_a_lock_that_a_child_has_inherited(member, clock, resolution):
    """Its parent has died; it holds the lock and knows nothing of it."""
    one, other = member(), member()
    assert one.run()
    inherited = os.dup(one._held[0])
    one.resign()
    assert not other.run()
    clock.now += LEASE + 0.1 + resolution
    assert other.run()
    os.close(inherited)


def test_signs_of_life_keep_it_for_a_long_time(member, clock):
    """One that beats often is never deposed, however coarse times are."""
    one, other = member(), member()
    other._lease = one._lease = 10 ** 9
    assert one.run()
    for _ in range(100):
        clock.now += 0.3
        assert not other.run() and one.beat()


def test_after_a_reboot(member, clock, files):
    """The monotonic clock begins again."""
    one = member()
    assert one.run()
    one.resign()
    clock.now = 3.0
    other = member()
    assert other.run()
    assert files() == [f'{KEY}.1.lock']


def test_a_directory_that_vanishes(member, tmp_path):
    one, other = member(), member()
    assert one.run()
    directory = pathlib.Path(statefiles.Directory(str(tmp_path)).path)
    (directory / f'{KEY}.1.lock').unlink()
    directory.rmdir()
    assert other.run()
    assert not one.beat()


def test_a_lock_that_is_removed_is_none(member, files):
    one, other = member(), member()
    assert one.run()
    os.unlink(one._directory.join(f'{KEY}.1.lock'))
    assert other.run()
    assert not one.beat() and other.beat()


def test_what_is_left_behind_is_removed(member, clock, files, tmp_path):
    dead, quiet, live = member(DEAD), member(QUIET), member(LIVE)
    assert dead.run() and live.run() and quiet.run()
    directory = statefiles.Directory(str(tmp_path))
    directory.write(f'{DEAD}.report', b'', 1, f'{DEAD}.1.tmp')
    directory.touch(f'{KEY}.7.tmp', 1)
    dead.resign()
    clock.now += 24 * 3600 + 1
    quiet.beat()
    quiet.resign()
    one = member()
    assert one.run()
    one.clean_up()
    assert files() == [f'{KEY}.1.lock', f'{QUIET}.1.lock', f'{LIVE}.1.lock']


def test_those_of_a_group_that_is_gone_are_removed_soon(member, clock, files):
    dead, held = member(DEAD), member(QUIET)
    assert dead.run() and held.run()
    dead._directory.touch(f'{DEAD}.ask', 0)
    dead._directory.touch(f'{OTHER}.ask', 0)  # nobody was ever elected
    dead.resign()
    one = member()
    assert one.run()
    clock.now += 540
    one.clean_up()
    assert f'{DEAD}.1.lock' in files()
    clock.now += 80
    one.clean_up()
    # Who is stopped holds its lock still.
    assert files() == [f'{KEY}.1.lock', f'{QUIET}.1.lock']
    assert member(DEAD).run()


@pytest.mark.parametrize('name', [
    'f.1.lock', f'{DEAD}.lock', f'{DEAD}.1.lock.bak', f'{DEAD}.report.gz',
    f'{DEAD}x.1.lock', f'{DEAD}.1.report', f'{KEY}.1.lock2', 'id_rsa',
    f'{KEY}.old.lock', f'{KEY}.7.bak'])
def test_what_is_not_ours_is_left_alone(member, clock, files, name):
    one = member()
    assert one.run()
    one._directory.touch(name, 1)
    one._directory.touch(f'{DEAD}.7.lock', 1)
    one.clean_up()
    assert files() == sorted([f'{KEY}.1.lock', name])


def test_a_directory_that_is_moved_away(member, tmp_path):
    """It is not deposed by anybody there; the others are elsewhere."""
    one, other = member(), member()
    assert one.run()
    path = pathlib.Path(statefiles.Directory(str(tmp_path)).path)
    path.rename(tmp_path / 'elsewhere')
    assert other.run()
    assert not one.beat() and not one.run()
    assert other.beat()


def test_no_descriptor_is_left_open(member):
    gc.collect()  # what other tests have left
    before = os.listdir('/proc/self/fd')
    one, other = member(), member()
    for _ in range(10):
        assert one.run()
        assert not other.run()
        one.resign()
        assert other.run()
        other.clean_up()
        other.resign()
    assert len(os.listdir('/proc/self/fd')) <= len(before)


class Elections(stateful.RuleBasedStateMachine):
    """Members come, stop for a while, go on, and die, in any order."""

    @stateful.initialize(resolution=st.sampled_from([1, 10 ** 9, 2 * 10 ** 9]))
    def begin(self, resolution):
        self.utime = os.utime
        os.utime = coarse(os.utime, resolution)
        self.lease = LEASE + resolution / 1e9
        self.place = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.running, self.stopped = [], []

    @stateful.rule()
    def come(self):
        if len(self.running) + len(self.stopped) < 5:
            self.running.append(election.Election(
                statefiles.Directory(self.place.name), KEY, LEASE,
                self.clock))

    @stateful.rule(data=st.data(), where=st.sampled_from([0, 1]))
    def die(self, data, where):
        among = (self.running, self.stopped)[where]
        if among:
            among.pop(data.draw(st.integers(0, len(among) - 1))).resign()

    @stateful.rule(data=st.data())
    def stop(self, data):
        if self.running:
            self.stopped.append(self.running.pop(
                data.draw(st.integers(0, len(self.running) - 1))))

    @stateful.rule(data=st.data())
    def go_on(self, data):
        if self.stopped:
            self.running.append(self.stopped.pop(
                data.draw(st.integers(0, len(self.stopped) - 1))))

    @stateful.rule(seconds=st.floats(0.1, 10))
    def wait(self, seconds):
        self.clock.now += seconds
        for one in self.running:
            if not one.beat() and one.run():
                one.clean_up()

    @stateful.invariant()
    def one_prober_among_those_that_run(self):
        if not hasattr(self, 'running'):
            return
        probers = [one for one in self.running if one.beat()]
        assert len(probers) <= 1
        if self.running and not probers:
            # At the latest when the lease of one that is stopped has ended.
            for _ in range(2):
                if any(one.run() for one in self.running):
                    break
                self.clock.now += self.lease + 0.1
            else:
                assert any(one.run() for one in self.running)

    def teardown(self):
        os.utime = self.utime
        for one in self.running + self.stopped:
            one.resign()
        self.place.cleanup()


Elections.TestCase.settings = settings(max_examples=100,
                                       stateful_step_count=30)
TestElections = Elections.TestCase
