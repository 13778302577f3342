# SPDX-License-Identifier: Apache-2.0

"""The prober is killed: another one takes over, and nobody lies."""

from __future__ import annotations

import pathlib
import statistics
import time

from tests.functional import crowd as crowd_module

Crowd = crowd_module.Crowd

RETRY_INTERVAL = crowd_module.OPTIONS['retry_interval']


def test_killed(tmp_path: pathlib.Path) -> None:
    """Another one takes over at once, each time; nothing is left behind."""
    took = []
    with crowd_module.several(tmp_path, 4) as crowds:
        for _ in range(crowd_module.TIMES // len(crowds)):
            killed, now = [], time.monotonic()
            for crowd in crowds:
                crowd.kill(crowd.prober(now))
                killed.append((crowd, time.monotonic()))
            for crowd, at in killed:
                crowd.prober(at)
                took.append(crowd.first_probe(at) - at)
                crowd.spawn()
        assert statistics.median(took) < RETRY_INTERVAL
        for crowd in crowds:
            crowd.all_say('200 OK')
            assert {one.said for one in crowd.answers} == {'200 OK'}
            assert crowd.overlap() < crowd_module.INTERVAL
            # The lock is the same one, unless the whole machine stood still.
            crowd.has_what_remains()
            assert crowd.generation < crowd_module.TIMES / len(crowds) / 2


def test_killed_while_the_backend_is_down(crowd: Crowd) -> None:
    """What was known is not forgotten, not for a moment."""
    crowd.break_down()
    crowd.all_say('503 WITNESS: DOWN')
    told = len(crowd.answers)
    for _ in range(10):
        prober = crowd.prober(time.monotonic())
        crowd.kill(prober)
        crowd.prober(time.monotonic())
        crowd.spawn()
    assert {one.said for one in crowd.answers[told:]} == {
        '503 WITNESS: DOWN'}
    crowd.mend()
    crowd.all_say('200 OK')
