# SPDX-License-Identifier: Apache-2.0

"""Programs of a real Nova, from a virtual environment of its own."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
import json
import os
import pathlib
import subprocess
import threading
from typing import Any

from tests.functional.servers import process

ROOT = pathlib.Path(__file__).parents[3]

# Importing Nova takes two seconds and more, so it is imported once, and each
# command is run in a child of that process: it reads its own configuration,
# and leaves nothing behind for the next one. A request is a list of
# arguments in one line of JSON; the answer is the code and the output.
MANAGE = r'''
import json
import os
import sys
import tempfile
import traceback

from nova.cmd import manage


def run(arguments):
    sys.argv = ['nova-manage', *arguments]
    try:
        return manage.main() or 0
    except SystemExit as exc:
        return exc.code or 0
    except BaseException:
        traceback.print_exc()
        return 1


print('ready', flush=True)
for line in sys.stdin:
    with tempfile.TemporaryFile('w+') as output:
        child = os.fork()
        if not child:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            code = run(json.loads(line))
            sys.stdout.flush()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        output.seek(0)
        print(json.dumps([os.waitstatus_to_exitcode(status),
                          output.read()]), flush=True)
'''


def program(name: str) -> str:
    """The path of one of Nova's programs.

    :raises process.ServerError: if there is no such environment
    """
    home = pathlib.Path(os.environ.get('HEALTHCHECK_NOVA_VENV')
                        or ROOT / '.venv-nova')
    found = home.absolute() / 'bin' / name
    if not found.exists():
        raise process.ServerError(
            f'{found} was not found: make .venv-nova/installed, or name a '
            'virtual environment with nova in HEALTHCHECK_NOVA_VENV')
    return str(found)


def write(path: pathlib.Path,
          sections: Mapping[str, Mapping[str, object]]) -> None:
    """Write a file that oslo.config reads."""
    lines = []
    for section, values in sections.items():
        lines.append(f'[{section}]')
        # oslo.config replaces $name, and $$ is a dollar.
        lines += [f'{key} = {str(value).replace("$", "$$")}'
                  for key, value in values.items()]
    path.write_text('\n'.join(lines) + '\n')


class Program(process.Server):
    """One that works in the background, and listens nowhere.

    :param sections: its configuration; paths are added
    """

    own_account = False

    def __init__(self, sections: Mapping[str, Mapping[str, object]]) -> None:
        super().__init__()
        self.config = self.directory / 'nova.conf'
        paths = {'state_path': self.directory}
        write(self.config, {
            **sections, 'DEFAULT': {**paths, **sections.get('DEFAULT', {})},
            'oslo_concurrency': {'lock_path': self.directory}})

    def environment(self) -> dict[str, str]:
        # What nova-manage still does unless told not to.
        return {'OS_NOVA_DISABLE_EVENTLET_PATCHING': 'true',
                'PYTHONWARNINGS': 'ignore'}

    @staticmethod
    def _unprivileged(command: list[str]) -> list[str]:
        # As the user of the tests: another account may not be able to read
        # the environment.
        return ['setpriv', '--pdeathsig', 'KILL', '--', *command]


class Manage(Program):
    """nova-manage, run any number of times."""

    name = 'nova-manage'

    def __init__(self, sections: Mapping[str, Mapping[str, object]]) -> None:
        super().__init__(sections)
        self._child: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        surroundings: dict[str, Any] = {
            **self._surroundings(), 'stdin': subprocess.PIPE,
            'stdout': subprocess.PIPE, 'text': True}
        with self.log.open('ab') as log:
            self._child = subprocess.Popen(
                self._unprivileged([program('python'), '-c', MANAGE]),
                stderr=log, **surroundings)

    def __call__(self, *arguments: str,
                 config: pathlib.Path | None = None) -> str:
        """Run a command; return its output.

        :param config: the file that it is to read in place of its own
        :raises process.ServerError: if it fails
        """
        line = json.dumps(['--config-file', str(config or self.config),
                           *arguments])
        with self._lock:
            assert self._child and self._child.stdin and self._child.stdout
            try:
                self._child.stdin.write(f'{line}\n')
                self._child.stdin.flush()
                answer = self._child.stdout.readline()
                if answer == 'ready\n':
                    answer = self._child.stdout.readline()
            except OSError:
                answer = ''
        if not answer:
            raise process.ServerError(
                f'nova-manage ended by itself\n{self.log_tail()}')
        code, output = json.loads(answer)
        if code:
            raise process.ServerError(
                f'nova-manage {" ".join(arguments)}: {code}\n{output}')
        return str(output)

    def stop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None


class Conductor(Program):
    """A nova-conductor of one cell.

    :param host: what it calls its host
    :param registered: tells whether it has come to be known there
    """

    name = 'nova-conductor'
    stop_timeout = 5.0  # it may be in the middle of a call that fails

    def __init__(self, host: str,
                 sections: Mapping[str, Mapping[str, object]],
                 registered: Callable[[], bool]) -> None:
        super().__init__({**sections, 'DEFAULT': {
            'host': host, **sections.get('DEFAULT', {})}})
        self.host = host
        self._registered = registered

    def command(self) -> list[str]:
        return [program('nova-conductor'), '--config-file', str(self.config)]

    def ready(self) -> bool:
        return self._registered()
