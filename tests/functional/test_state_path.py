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

"""The place that workers share goes bad while they run; they go on."""

from __future__ import annotations

from collections.abc import Iterator
import pathlib
import shutil
import time

import pytest

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
    assert len(crowd.files()) == 4


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
