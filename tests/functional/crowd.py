# SPDX-License-Identifier: Apache-2.0

"""Workers of one service, as processes that poll themselves.

Run as a program it loads the middleware once and forks a member for each
line that it reads, as a server does; each member tells what it answers as
long as it lives. The plugin that it is configured with leaves a mark at each
probe, so that a test sees who probes.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import healthcheck
from healthcheck.plugins import base
from tests.functional import servers

# A machine that stands still for some seconds is no fault of anybody's.
OPTIONS = {'interval': 0.3, 'retry_interval': 0.2, 'timeout': 2.0,
           'fall': 1, 'startup_wait': 5.0, 'ttl': 60.0}

INTERVAL = OPTIONS['interval'] * 1.1
"""The longest time from one probe to the next, in seconds."""

TIMES = 100
"""How often a prober is taken away, in all crowds together."""

SEVERAL = 10
"""How many crowds there are at a time, since most of what they do is to
wait."""

REMAINS = ['ask', 'detail', 'lock', 'report']
"""The files of a group, whatever has happened."""

_POLL = 0.01


class Witness(base.ProbePlugin):
    """A backend that is a file, and a line in another one for each probe."""

    name = 'witness'

    def set_up(self) -> None:
        self._directory = pathlib.Path(os.environ['CROWD'])

    def probe(self) -> base.Result:
        directory = self._directory
        mark = f'{os.getpid()} {time.monotonic():.6f}\n'
        descriptor = os.open(directory / 'probes',
                             os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, mark.encode())
        os.close(descriptor)
        if (directory / 'down').exists():
            return base.Result.failed('DOWN')
        self._stick()
        return base.Result.ok()

    def overdue(self) -> tuple[str, str]:
        self._stick()
        return super().overdue()

    def _stick(self) -> None:
        """Wait for good: in the probe's thread, then in the scheduler's."""
        while (self._directory / f'stuck-{os.getpid()}').exists():
            time.sleep(0.1)


def _live(door: healthcheck.Healthcheck) -> None:
    """Poll, and tell each change and who is seen to probe."""
    told: list[str] = []
    last = ''

    def start_response(status: str, *args: Any) -> Any:
        told.append(status[:3])

    while True:
        began = time.monotonic()
        body = b''.join(door({'REQUEST_METHOD': 'GET',
                              'PATH_INFO': ''}, start_response))
        said = f'{told.pop()} {body.decode()}'
        if said != last:
            last = said
            line = json.dumps([os.getpid(), began, said]) + '\n'
            os.write(1, line.encode())
        time.sleep(_POLL)


def main() -> None:
    door = healthcheck.Healthcheck(None, json.loads(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for _ in sys.stdin:
        if not os.fork():
            _live(door)


@dataclasses.dataclass(frozen=True)
class Answer:
    pid: int
    at: float
    said: str


class Crowd:
    """Members that share a directory.

    :param size: how many there are to begin with
    :param told: whether they are told which directory that is; else it is the
        system's for temporary files
    :param options: of the section, besides those in OPTIONS
    """

    def __init__(self, directory: pathlib.Path, size: int, *,
                 told: bool = True, **options: Any) -> None:
        self.directory = directory
        self.state = directory / 'state'
        self.state.mkdir(parents=True)
        self.state.chmod(0o755 if told else 0o1777)
        self.answers: list[Answer] = []
        self.pids: set[int] = set()
        self._dead: set[int] = set()
        self._install(directory / 'site')
        section = {
            key: str(value) for key, value in {
                **OPTIONS, 'backends': 'witness', **options}.items()}
        section |= {'state_path': str(self.state)} if told else {}
        self._log = open(directory / 'log', 'wb')
        self._parent = subprocess.Popen(
            [sys.executable, '-m', 'tests.functional.crowd',
             json.dumps(section)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self._log, bufsize=0,
            env={**os.environ, 'CROWD': str(directory), 'PYTHONPATH':
                 os.pathsep.join([*sys.path, str(directory / 'site')]),
                 'TMPDIR': str(self.state)})
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        for _ in range(size):
            self.spawn()

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *args: object) -> None:
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
        self._parent.kill()
        self._parent.wait()
        self._reader.join()
        for stream in (self._parent.stdin, self._parent.stdout, self._log):
            assert stream is not None
            stream.close()

    def spawn(self) -> int:
        """Have one more, and wait for its first answer."""
        before = set(self.pids)
        assert self._parent.stdin is not None
        self._parent.stdin.write(b'\n')

        def new() -> set[int]:
            return ({one.pid for one in list(self.answers)}
                    - self._dead - before)
        pid, = servers.wait_until(new, f'a new member; {self.log}')
        self.pids.add(pid)
        return pid

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self.pids.remove(pid)
        self._dead.add(pid)

    def prober(self, after: float = 0.0, besides: int = 0) -> int:
        """Who has probed last; wait for a probe of somebody if need be.

        :param after: only a probe later than that counts
        :param besides: a member whose probes do not count
        """
        def found() -> int | None:
            for pid, at in reversed(self.probes()):
                if at > after and pid != besides:
                    return pid
            return None
        pid = servers.wait_until(
            found, f'a prober besides {besides}; {self.log}')
        assert pid is not None
        return pid

    def probes(self) -> list[tuple[int, float]]:
        """(pid, time) of all of them."""
        path = self.directory / 'probes'
        if not path.exists():
            return []
        return [(int(pid), float(at)) for pid, at in (
            line.split() for line in path.read_text().splitlines())]

    def first_probe(self, after: float) -> float:
        """When there was the first one after that time."""
        return min(at for _, at in self.probes() if at > after)

    def overlap(self) -> float:
        """For how many seconds, at most, there were two probers.

        Probes of one member that follow each other closely are a term.
        """
        closely = 2 * OPTIONS['interval']
        terms: dict[int, list[list[float]]] = {}
        for pid, at in self.probes():
            of_pid = terms.setdefault(pid, [])
            if of_pid and at - of_pid[-1][1] < closely:
                of_pid[-1][1] = at
            else:
                of_pid.append([at, at])
        return max((min(end, other_end) - max(begin, other_begin)
                    for pid, mine in terms.items() for begin, end in mine
                    for other, theirs in terms.items() if other != pid
                    for other_begin, other_end in theirs), default=0.0)

    def stick(self, pid: int) -> None:
        """Have a prober's threads hang where they are."""
        (self.directory / f'stuck-{pid}').touch()

    def break_down(self) -> None:
        (self.directory / 'down').touch()

    def mend(self) -> None:
        (self.directory / 'down').unlink()

    def said(self) -> dict[int, str]:
        """What each member that lives says now."""
        last = {one.pid: one.said for one in list(self.answers)}
        return {pid: last[pid] for pid in self.pids}

    def all_say(self, wanted: str, besides: int = 0) -> None:
        servers.wait_until(
            lambda: {said for pid, said in self.said().items()
                     if pid != besides} == {wanted},
            f'{wanted!r} of all; {self.log}')

    def files(self) -> list[str]:
        """What is in the shared directory, by the last part of its name."""
        return sorted(path.name.rpartition('.')[2] for path in self._paths())

    def has_what_remains(self) -> None:
        """Wait for that: the next version of a file may lie beside it."""
        servers.wait_until(lambda: self.files() == REMAINS, f'only {REMAINS}')

    @property
    def generation(self) -> int:
        """How often a prober was deposed, and one."""
        lock, = (path for path in self._paths() if path.suffix == '.lock')
        return int(lock.name.split('.')[1])

    def _paths(self) -> list[pathlib.Path]:
        shared, = self.state.iterdir()
        return list(shared.iterdir())

    @property
    def log(self) -> str:
        return (self.directory / 'log').read_text()[-3000:]

    def _read(self) -> None:
        assert self._parent.stdout is not None
        for line in self._parent.stdout:
            self.answers.append(Answer(*json.loads(line)))

    @staticmethod
    def _install(site: pathlib.Path) -> None:
        """Make the plugin known, as its distribution would."""
        info = site / 'crowd-1.0.dist-info'
        info.mkdir(parents=True)
        (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: crowd\n'
                                       'Version: 1.0\n')
        (info / 'entry_points.txt').write_text(
            '[oslo.middleware.healthcheck]\n'
            'witness = tests.functional.crowd:Witness\n')


@contextlib.contextmanager
def several(directory: pathlib.Path, size: int) -> Iterator[list[Crowd]]:
    """Crowds that have nothing to do with each other, and are all well."""
    with contextlib.ExitStack() as stack:
        # All load the middleware at the same time.
        made = [stack.enter_context(Crowd(directory / str(number), 0))
                for number in range(SEVERAL)]
        for one in made:
            for _ in range(size):
                one.spawn()
            one.all_say('200 OK')
        yield made


if __name__ == '__main__':
    main()
