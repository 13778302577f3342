# SPDX-License-Identifier: Apache-2.0

"""The place that workers share goes bad while they run; they go on."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from healthcheck.host import election
from healthcheck.host import statefiles
from tests.functional import crowd as crowd_module
from tests.functional import servers

Crowd = crowd_module.Crowd

AGAIN = crowd_module.OPTIONS['interval']
"""Seconds after which a process that cannot share tries to."""


@pytest.fixture
def crowd(crowd: Crowd) -> Iterator[Crowd]:
    """Nobody says that anything else is wrong than what is."""
    yield crowd
    assert '503' not in {one.said[:3] for one in crowd.answers
                         if one.said != '503 WITNESS: DOWN'}


def shared(crowd: Crowd) -> pathlib.Path:
    directory, = crowd.state.iterdir()
    return directory


def remove(path: pathlib.Path, crowd: Crowd) -> None:
    """Remove a directory that others write to all the time."""
    gone = crowd.directory / 'gone'
    path.rename(gone)
    shutil.rmtree(gone)


def probers(crowd: Crowd, count: int) -> None:
    """Wait until so many members probe."""
    def now() -> bool:
        recent = time.monotonic() - 2 * AGAIN
        return len({pid for pid, at in crowd.probes() if at > recent}
                   ) == count
    servers.wait_until(now, f'{count} probers; {crowd.log}')


def notices(crowd: Crowd) -> None:
    crowd.break_down()
    crowd.all_say('503 WITNESS: DOWN')
    crowd.mend()
    crowd.all_say('200 OK')


def test_removed(crowd: Crowd) -> None:
    """It is made again, and shared again."""
    for _ in range(5):
        remove(shared(crowd), crowd)
        notices(crowd)
        probers(crowd, 1)
    crowd.has_what_remains()


def test_gone_for_good(crowd: Crowd) -> None:
    """Each goes on for itself, and says so; until it is back."""
    remove(crowd.state, crowd)
    probers(crowd, 4)
    notices(crowd)
    assert crowd.log.count('this process probes for itself') == 4
    crowd.state.mkdir()
    probers(crowd, 1)
    notices(crowd)


@pytest.mark.parametrize('mode', [0o755, 0o770])
def test_opened_to_others(crowd: Crowd, mode: int) -> None:
    shared(crowd).chmod(mode)
    probers(crowd, 4)
    notices(crowd)
    assert f'mode {mode:o}; it must be 700' in crowd.log
    shared(crowd).chmod(0o700)
    probers(crowd, 1)


def test_replaced_by_a_link(crowd: Crowd, tmp_path: pathlib.Path) -> None:
    elsewhere = tmp_path / 'elsewhere'
    path = shared(crowd)
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    probers(crowd, 4)
    notices(crowd)
    assert 'not a directory' in crowd.log


def test_files_of_another_release(crowd: Crowd) -> None:
    """They are overwritten by the prober, which is of this one."""
    for path in shared(crowd).iterdir():
        if path.suffix in ('.report', '.detail'):
            path.write_bytes(b'{"format": 0}')
    notices(crowd)
    probers(crowd, 1)


@pytest.fixture
def untold(tmp_path: pathlib.Path) -> Iterator[Crowd]:
    """Nobody has told them where to share."""
    with crowd_module.Crowd(tmp_path / 'untold', 4, told=False) as crowd:
        crowd.all_say('200 OK')
        yield crowd


def test_in_the_temporary_directory(untold: Crowd) -> None:
    probers(untold, 1)
    assert shared(untold).name == f'healthcheck-{os.geteuid()}'
    assert shared(untold).stat().st_mode & 0o777 == 0o700
    untold.has_what_remains()
    notices(untold)
    remove(shared(untold), untold)
    notices(untold)
    probers(untold, 1)
    assert 'cannot share' not in untold.log


def clean(place: pathlib.Path, age: str) -> None:
    """Have systemd remove what has not been used for that long."""
    program = shutil.which('systemd-tmpfiles')
    if program is None:
        pytest.skip('systemd-tmpfiles is not installed')
    rule = place.with_name('tmpfiles.conf')
    rule.write_text(f'd {place} 1777 - - {age}\n')
    subprocess.run([program, '--clean', rule], check=True)


def test_cleaned_up_while_in_use(untold: Crowd) -> None:
    """As /tmp is each day: what a prober uses is never old."""
    lock, = shared(untold).glob('*.lock')
    old = untold.state / 'old'
    old.touch()
    inode = lock.stat().st_ino
    # Several times the interval: a report was written since.
    age = 3.0
    begun = time.monotonic()
    while time.monotonic() < begun + 3 * age:
        clean(untold.state, f'{age:g}s')
        time.sleep(0.2)
    assert not old.exists()
    # It is the same one, and so is the prober.
    assert lock.stat().st_ino == inode
    # What tells the prober that somebody has asked is made when it is needed.
    assert set(crowd_module.REMAINS) - set(untold.files()) <= {'ask'}
    notices(untold)
    probers(untold, 1)


def test_cleaned_up_when_nobody_uses_it(untold: Crowd) -> None:
    """And made again by those that come back."""
    for pid in untold.pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        # The lock is held still, and says so.
        servers.wait_until(
            lambda: clean(untold.state, '1s') or (
                untold.files() in ([], ['lock'])), 'all is cleaned up')
    finally:
        for pid in untold.pids:
            os.kill(pid, signal.SIGCONT)
    notices(untold)
    probers(untold, 1)


def test_somebody_has_taken_its_name(tmp_path: pathlib.Path) -> None:
    """Each probes for itself, and says why, once."""
    name = f'healthcheck-{os.geteuid()}'
    if os.geteuid():
        pytest.skip('another user can be had by root only')
    with crowd_module.Crowd(tmp_path / 'crowd', 0, told=False) as crowd:
        os.mkdir(crowd.state / name)
        os.chown(crowd.state / name, NOBODY, NOBODY)
        for _ in range(3):
            crowd.spawn()
        crowd.all_say('200 OK')
        notices(crowd)
        probers(crowd, 3)
        assert crowd.log.count(f'{name}: belongs to user {NOBODY}') == 3
        assert not list((crowd.state / name).iterdir())


@pytest.fixture
def coarse(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file system that keeps whole seconds."""
    image, place = tmp_path / 'image', tmp_path / 'coarse'
    image.write_bytes(b'')
    os.truncate(image, 8 * 2 ** 20)
    place.mkdir()
    subprocess.run(['mkfs.ext4', '-q', '-I', '128', image], check=True,
                   capture_output=True)
    mounted = subprocess.run(['mount', '-o', 'loop', image, place],
                             capture_output=True)
    if mounted.returncode:
        pytest.skip('nothing can be mounted here')
    try:
        yield place
    finally:
        subprocess.run(['umount', place], check=True)


def test_whole_seconds(coarse: pathlib.Path) -> None:
    """A prober that beats is not deposed, and what it says is heard."""
    marker = coarse / 'marker'
    marker.touch()
    os.utime(marker, ns=(1_500_000_001, 1_500_000_001))
    assert marker.stat().st_mtime_ns == 1_000_000_000
    with crowd_module.Crowd(coarse / 'crowd', 4) as crowd:
        crowd.all_say('200 OK')
        begun = time.monotonic()
        while time.monotonic() < begun + 6:
            notices(crowd)
        assert len({pid for pid, _ in crowd.probes()}) == 1
        assert crowd.generation == 1
        deposed = crowd.prober()
        os.kill(deposed, signal.SIGSTOP)
        try:
            crowd.prober(after=time.monotonic(), besides=deposed)
        finally:
            os.kill(deposed, signal.SIGCONT)
        notices(crowd)


NOBODY = 65534


@pytest.fixture
def place() -> Iterator[pathlib.Path]:
    """One that other users can reach; the tests' own they cannot."""
    with tempfile.TemporaryDirectory(prefix='place-') as made:
        os.chmod(made, 0o755)
        yield pathlib.Path(made)


def as_another_user(act: Callable[[], object]) -> str:
    """What ``act`` fails with as the user nobody; empty if it does not."""
    if os.geteuid():
        pytest.skip('another user can be had by root only')
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            act()
        except Exception as exc:
            os.write(writing, repr(exc).encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as said:
        failed = said.read()
    os.waitpid(child, 0)
    return failed


def swap(place: pathlib.Path, other: pathlib.Path) -> None:
    path, = place.glob('healthcheck-*')
    path.rename(place / 'away')
    path.symlink_to(other)


def victim(place: pathlib.Path) -> election.Election:
    directory = statefiles.Directory(str(place))
    return election.Election(directory, '0' * 32, 1.0)


@pytest.fixture
def precious(place: pathlib.Path) -> pathlib.Path:
    """A directory of the victim's, with a file that looks like one of ours."""
    path = place / 'precious'
    path.mkdir(0o700)
    (path / f'{"0" * 32}.7.lock').write_text('unharmed')
    (path / f'{"a" * 32}.7.lock').write_text('unharmed')
    return path


def test_another_user_replaces_it(place: pathlib.Path,
                                  precious: pathlib.Path) -> None:
    """The parent is made unsafe when the directory is in use already."""
    state = place / 'state'
    state.mkdir(0o755)
    one = victim(state)
    assert one.run()
    state.chmod(0o777)
    assert not as_another_user(lambda: swap(state, precious))
    with contextlib.suppress(statefiles.Unusable):
        one.clean_up()
    assert sorted(path.read_text() for path in precious.iterdir()) == [
        'unharmed', 'unharmed']
    assert not one.beat()
    with pytest.raises(statefiles.Unusable, match='others can replace it'):
        one.run()


def test_another_user_could_replace_it(place: pathlib.Path,
                                       precious: pathlib.Path) -> None:
    state = place / 'state'
    state.mkdir()
    state.chmod(0o777)
    with pytest.raises(statefiles.Unusable, match=f'write to {state} '):
        victim(state).run()
    assert not list(state.iterdir())


def test_another_user_cannot_replace_it_in_a_sticky_one(
        place: pathlib.Path, precious: pathlib.Path) -> None:
    state = place / 'state'
    state.mkdir()
    state.chmod(0o1777)
    one = victim(state)
    assert one.run()
    assert 'PermissionError' in as_another_user(lambda: swap(state, precious))
    assert one.beat()
    one.resign()


def test_another_user_was_there_first(place: pathlib.Path) -> None:
    state = place / 'state'
    state.mkdir()
    state.chmod(0o1777)
    path = state / f'healthcheck-{os.geteuid()}'
    assert not as_another_user(lambda: path.mkdir(0o700))
    with pytest.raises(statefiles.Unusable, match=f'to user {NOBODY}'):
        victim(state).run()


def test_a_network_of_its_own(tmp_path: pathlib.Path) -> None:
    """It does not share by chance, only where it is configured."""
    code = ('import sys; import healthcheck; print(healthcheck.Healthcheck('
            'None, {"backends": "worker,database", "database_connection": '
            '"sqlite:///x", "state_path": sys.argv[1]})._group.identity)')

    def run(place: str, *prefix: str) -> str:
        made = subprocess.run(
            [*prefix, sys.executable, '-W', 'ignore', '-c', code, place],
            capture_output=True, text=True)
        if made.returncode and prefix:
            pytest.skip(f'no network can be made: {made.stderr}')
        return made.stdout
    assert run(str(tmp_path)) == run(str(tmp_path), 'unshare', '--net')
    assert run('') == run('') != run('', 'unshare', '--net')


def test_a_time_namespace_of_its_own() -> None:
    """Its monotonic clock says other times: it is in another group."""
    command = [sys.executable, '-c', 'from healthcheck.host import group; '
               'print(group.boot_id(), "|", group.clock_id())']

    def run(*prefix: str) -> list[str]:
        made = subprocess.run([*prefix, *command], capture_output=True,
                              text=True)
        if made.returncode and prefix:
            pytest.skip(f'no time namespace can be made: {made.stderr}')
        return made.stdout.strip().split(' | ')
    boot, clock = run()
    assert run() == [boot, clock]
    other_boot, other = run('unshare', '--time', '--monotonic', '1000')
    assert other_boot == boot and other != clock
