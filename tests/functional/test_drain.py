# SPDX-License-Identifier: Apache-2.0

"""Drains and polls in many processes at once."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time

from healthcheck.host import drains
from tests.functional import crowd as crowd_module
from tests.functional import drainers
from tests.functional import servers

WRITERS, LOOKERS, KILLED = 4, 2, 5
TIMES = 250
"""Drains of each writer: a thousand in all."""

WELL, OUT = '200 OK', '503 OK\nDRAINED'


def test_a_thousand_drains(crowd: crowd_module.Crowd) -> None:
    """No poll reads half of one, in any process, and nothing is left."""
    place = str(crowd.state)
    lookers = [drainers.start('look', place) for _ in range(LOOKERS)]
    writers = [drainers.start('drain', place, TIMES) for _ in range(WRITERS)]
    for _ in range(KILLED):
        crowd.kill(crowd.prober(time.monotonic()))
        crowd.spawn()
    for writer in writers:
        _, _ = writer.communicate(timeout=120)
        assert writer.returncode == 0
    told = [json.loads(looker.communicate('\n', timeout=60)[0])
            for looker in lookers]
    for looks, seen, wrong in told:
        assert wrong == []
        assert looks > 1000 and seen > 50
    crowd.all_say(WELL)
    said = {answer.said for answer in crowd.answers}
    assert said == {WELL, OUT}
    assert os.listdir(place) == [f'healthcheck-{os.geteuid()}']
    crowd.has_what_remains()


def test_all_workers_at_once_and_by_itself(
        crowd: crowd_module.Crowd) -> None:
    command = [sys.executable, '-m', 'healthcheck.cmd.drain', '--for', '2s',
               '--reason', 'a new disk', '--state-path', str(crowd.state)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    began = time.monotonic()
    assert 'is drained until' in done.stdout
    crowd.all_say(OUT)
    crowd.all_say(WELL)
    assert time.monotonic() - began > 1.0
    ends = {answer.pid: answer.at for answer in crowd.answers
            if answer.said == WELL}
    assert len(ends) == 4
    log = (crowd.directory / 'log').read_text()
    assert log.count('drain of this service begins, until') == 4
    assert log.count('drain of this service has ended') == 4


def test_it_is_kept_over_a_restart(crowd: crowd_module.Crowd,
                                   tmp_path: pathlib.Path) -> None:
    file = drains.of_service(str(crowd.state))
    file.begin('a new disk', 'alice', 600)
    crowd.all_say(OUT)
    for pid in list(crowd.pids):
        crowd.kill(pid)
    for _ in range(2):
        crowd.spawn()
    crowd.all_say(OUT)
    file.end()
    servers.wait_until(lambda: set(crowd.said().values()) == {WELL},
                       'all are back')
