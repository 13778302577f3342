# SPDX-License-Identifier: Apache-2.0

"""The prober is stopped, or hangs: another one takes over, nobody lies."""

from __future__ import annotations

from collections.abc import Iterator
import os
import pathlib
import signal
import time

import pytest

from tests.functional import crowd as crowd_module
from tests.functional import servers

Crowd = crowd_module.Crowd


def descriptors(pid: int) -> int:
    return len(os.listdir(f'/proc/{pid}/fd'))


@pytest.fixture
def crowds(tmp_path: pathlib.Path) -> Iterator[list[Crowd]]:
    with crowd_module.several(tmp_path, 3) as made:
        yield made


def test_stopped(crowds: list[Crowd]) -> None:
    """Another one takes over; who was stopped finds that out first."""
    before = {pid: descriptors(pid) for one in crowds for pid in one.pids}
    for _ in range(crowd_module.TIMES // len(crowds)):
        stopped, now = [], time.monotonic()
        for one in crowds:
            pid = one.prober(now)
            os.kill(pid, signal.SIGSTOP)
            stopped.append((one, pid, time.monotonic()))
        for one, pid, at in stopped:
            one.prober(at, besides=pid)
            os.kill(pid, signal.SIGCONT)
        now = time.monotonic()
        for one, pid, at in stopped:
            one.prober(now, besides=pid)
    for one in crowds:
        one.all_say('200 OK')
        assert {answer.said for answer in one.answers} == {'200 OK'}
        assert one.overlap() < crowd_module.INTERVAL
        one.has_what_remains()
        assert one.generation >= crowd_module.TIMES // len(crowds)
        for pid in one.pids:
            # A prober has its lock and the evidence of each other process, a
            # probe the end of a pipe or a file.
            assert descriptors(pid) <= before[pid] + 2 + len(one.pids) - 1


def test_stopped_while_the_backend_goes_down(crowds: list[Crowd]) -> None:
    """Nobody says that all is well once somebody has seen otherwise."""
    stopped = []
    for one in crowds:
        pid = one.prober(time.monotonic())
        os.kill(pid, signal.SIGSTOP)
        stopped.append((one, pid))
        one.break_down()
    for one, pid in stopped:
        one.all_say('503 WITNESS: DOWN', besides=pid)
        known_at = time.monotonic()
        os.kill(pid, signal.SIGCONT)
        one.all_say('503 WITNESS: DOWN')
        assert not [answer for answer in one.answers
                    if answer.at > known_at and answer.said == '200 OK']
    for one, _ in stopped:
        one.mend()
        one.all_say('200 OK')


def test_all_stopped_but_one_that_is_asked(crowd: Crowd) -> None:
    """One that goes on is enough."""
    *others, last = sorted(crowd.pids)
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    crowd.break_down()
    servers.wait_until(lambda: crowd.said()[last] == '503 WITNESS: DOWN',
                       f'{crowd.said()}')
    crowd.mend()
    servers.wait_until(lambda: crowd.said()[last] == '200 OK',
                       f'{crowd.said()}')


def test_stuck(crowd: Crowd) -> None:
    """A prober whose threads hang gives no sign of life."""
    pid = crowd.prober(time.monotonic())
    crowd.stick(pid)
    crowd.prober(time.monotonic() + crowd_module.INTERVAL + 2, besides=pid)
    crowd.break_down()
    crowd.all_say('503 WITNESS: DOWN')  # the one that hangs as well
    assert '503 WITNESS: NO ANSWER' not in {
        one.said for one in crowd.answers if one.pid != pid}
