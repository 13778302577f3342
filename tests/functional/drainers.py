# SPDX-License-Identifier: Apache-2.0

"""Processes that drain, resume and look, as fast as they can.

Run as a program, it drains and resumes a service a number of times, or looks
until its input ends and then tells what it has seen.
"""

from __future__ import annotations

import json
import logging
import os
import select
import subprocess
import sys
import time

from healthcheck.host import drains

SECONDS = 600.0

# Seconds that each drain lasts: the prober is killed meanwhile.
_PAUSE = 0.01


def _reason(of: str) -> str:
    """A reason by which a reader knows that it has all of one drain."""
    return ' '.join([of] * 15)


def drain(place: str, times: int) -> None:
    """Begin and end drains, some of them in the place of another."""
    file = drains.of_service(place)
    for number in range(times):
        by = f'{os.getpid()}-{number}'
        file.begin(_reason(by), by, SECONDS)
        time.sleep(_PAUSE)
        if number % 3:
            file.end()
    file.end()


def look(place: str) -> None:
    """Look until the input ends; print (looks, drains seen, what is wrong)."""
    wrong: list[str] = []

    class Said(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if 'drain of this service' not in record.getMessage():
                wrong.append(record.getMessage())
    logging.getLogger().addHandler(Said())
    file = drains.of_service(place)
    looks, seen = 0, set()
    while looks % 100 or not select.select([sys.stdin], [], [], 0)[0]:
        looks += 1
        found = file.look()
        if found is not None:
            seen.add(found.by)
            if found.reason != _reason(found.by) or found.until is None:
                wrong.append(repr(found))
    print(json.dumps([looks, len(seen), wrong[:5]]))


def start(what: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, '-m', 'tests.functional.drainers', what,
         *map(str, arguments)], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)})


if __name__ == '__main__':
    if sys.argv[1] == 'drain':
        drain(sys.argv[2], int(sys.argv[3]))
    else:
        look(sys.argv[2])
