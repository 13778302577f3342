# SPDX-License-Identifier: Apache-2.0

"""A service as its deployer has it: its own files, below an /etc of its own.

Some services read ``/etc/<service>`` and nothing else. So each program of a
service runs with a file system in which this directory is the test's, and
no other is changed: an overlay over ``/etc`` in a mount namespace.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
import os
import pathlib
import shutil
import subprocess
from typing import Any

from tests.functional.servers import client
from tests.functional.servers import nova
from tests.functional.servers import process
from tests.functional.servers import wsgi
from tests.functional import service as service_module

# Fewer seconds than by default, and enough for a busy machine.
QUICK = service_module.QUICK | {'interval': 1, 'retry_interval': 0.5,
                                'startup_wait': 10}

WORKERS = 2

_MOUNT = ('mount -t overlay overlay -o "lowerdir=$0:/etc" /etc'
          ' && exec "$@"')


def home() -> pathlib.Path:
    """The virtual environment that the services are installed in."""
    return pathlib.Path(os.environ.get('HEALTHCHECK_SERVICES_VENV')
                        or wsgi.ROOT / '.venv-services').absolute()


def program(name: str) -> str:
    """The path of one of the services' programs.

    :raises process.ServerError: if there is no such environment
    """
    found = home() / 'bin' / name
    if not found.exists():
        raise process.ServerError(
            f'{found} was not found: make .venv-services/installed, or name '
            'a virtual environment in HEALTHCHECK_SERVICES_VENV')
    return str(found)


def release(package: str) -> str:
    """The release of a package that is installed there."""
    return subprocess.run(
        [program('python'), '-c', 'import sys; from importlib import metadata;'
         ' print(metadata.version(sys.argv[1]))', package],
        capture_output=True, text=True, check=True).stdout.strip()


class Etc:
    """``/etc/<project>``, filled from the files that the package ships.

    :param root: what is laid over /etc
    """

    def __init__(self, root: pathlib.Path, project: str) -> None:
        self.root = root
        self.own = root / project
        shipped = home() / 'etc' / project
        if shipped.is_dir():
            shutil.copytree(shipped, self.own)
        self.own.mkdir(parents=True, exist_ok=True)

    def write(self, name: str,
              sections: Mapping[str, Mapping[str, object]]) -> None:
        path = self.own / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nova.write(path, sections)

    def edit(self, name: str, before: str, after: str) -> None:
        """Change some lines of a file, which must be there once."""
        text = (self.own / name).read_text()
        assert text.count(before) == 1, (name, before, text.count(before))
        (self.own / name).write_text(text.replace(before, after))

    def append(self, name: str, lines: str) -> None:
        with (self.own / name).open('a') as file:
            file.write(lines)

    def inside(self, command: Sequence[str]) -> list[str]:
        """The command line that runs one with this over /etc."""
        unshare = ['unshare', '--mount']
        if os.geteuid() != 0:
            unshare += ['--user', '--map-root-user']
        return [*unshare, '--', 'sh', '-c', _MOUNT, str(self.root),
                'setpriv', '--pdeathsig', 'KILL', '--', *command]


class Program(process.Server):
    """A process of a service that works in the background.

    :param arguments: its command line
    """

    own_account = False
    under_test = True

    def __init__(self, etc: Etc, arguments: Sequence[str]) -> None:
        self.name, *_ = arguments
        super().__init__()
        self._etc = etc
        self._arguments = list(arguments)

    def command(self) -> list[str]:
        name, *rest = self._arguments
        return self._etc.inside([program(name), *rest])

    def ready(self) -> bool:
        return True  # whether it works, its service is asked for

    def environment(self) -> dict[str, str]:
        return surroundings()

    @staticmethod
    def _unprivileged(command: list[str]) -> list[str]:
        return command


class API(wsgi.UWSGI):
    """The API of a service under uWSGI, by a module.

    :param module: what uWSGI imports
    :param variables: its environment
    """

    start_timeout = 180.0
    example = None
    under_test = True

    def __init__(self, etc: Etc, module: str,
                 variables: Mapping[str, str]) -> None:
        super().__init__({}, workers=WORKERS)
        self._etc = etc
        self._module = module
        self._variables = dict(variables)

    def command(self) -> list[str]:
        return self._etc.inside([
            program('uwsgi'), '--http-socket', f'{self.host}:{self.port}',
            '--master', '--processes', str(self.workers), '--enable-threads',
            '--need-app', '--disable-logging', '--module', self._module])

    def environment(self) -> dict[str, str]:
        return surroundings() | self._variables

    def ready(self) -> bool:
        try:
            return self.ask('/').status > 0
        except OSError:
            return False

    def answers(self, count: int = 3 * WORKERS,
                **options: Any) -> list[client.Answer]:
        """As many as reach each worker, most likely."""
        return [self.ask(**options) for _ in range(count)]

    @staticmethod
    def _unprivileged(command: list[str]) -> list[str]:
        return command


def surroundings() -> dict[str, str]:
    """The environment of a service's programs."""
    path = os.pathsep.join([str(home() / 'bin'),
                            os.environ.get('PATH', os.defpath)])
    return {'PATH': path, 'PYTHONUNBUFFERED': '1',
            'PYTHONDONTWRITEBYTECODE': '1', 'PYTHONWARNINGS': 'ignore',
            # What nova-manage still does unless told not to.
            'OS_NOVA_DISABLE_EVENTLET_PATCHING': 'true'}
