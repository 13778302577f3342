# SPDX-License-Identifier: Apache-2.0

"""The servers that OpenStack services are served by, with a service in them.

Each is started from the configuration that the documentation shows, on a port
of its own and with ``service.conf`` in a home of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
import os
import pathlib
import shutil
import signal
import sys
from typing import Any
import venv

from tests.functional.servers import client
from tests.functional.servers import process

ROOT = pathlib.Path(__file__).parents[3]
EXAMPLES = ROOT / 'doc' / 'source' / 'examples'
# What stands in the examples, and is another here.
PORT = '8774'
DIRECTORY = '/usr/share/service'

# uWSGI: no line for each request, and no service without its application.
QUIET = ('--disable-logging', '--need-app')

# What no server says that went down in good order.
UNCLEAN = ('Traceback', 'Exception ignored', 'Fatal Python error',
           'Segmentation fault')


class WSGIServer(process.Server):
    """A server and its workers.

    :param files: what else its directory holds, by name; ``service.py``
        has the ``application``
    :param arguments: of its command line, on top of the usual ones
    :param workers: how many processes answer
    """

    start_timeout = 40.0
    own_account = False
    example: str | None = None
    """Its configuration, among the examples of the documentation."""

    def __init__(self, files: Mapping[str, str],
                 arguments: Sequence[str] = (), workers: int = 1) -> None:
        super().__init__()
        self.files = dict(files)
        self.arguments = list(arguments)
        self.workers = workers

    def prepare(self) -> None:
        if self.example is not None:
            self.files[self.example] = self.adapt(
                (EXAMPLES / self.example).read_text())
        for name, text in self.files.items():
            (self.directory / name).write_text(
                text.replace('{directory}', str(self.directory)))

    def adapt(self, text: str) -> str:
        """Put this server's port and directory in place of the example's."""
        assert PORT in text
        return text.replace(PORT, str(self.port)).replace(
            DIRECTORY, str(self.directory))

    def environment(self) -> dict[str, str]:
        return {'PYTHONPATH': f'{self.directory}:{ROOT}',
                'TMPDIR': str(self.directory),
                'PYTHONUNBUFFERED': '1', 'PYTHONDONTWRITEBYTECODE': '1'}

    def ready(self) -> bool:
        # The service answers; nothing has asked for its health yet.
        try:
            return self.ask('/bench/ready').status == 200
        except OSError:
            return False

    def ask(self, path: str = '/healthcheck', method: str = 'GET',
            body: bytes = b'', **options: Any) -> client.Answer:
        return client.ask(self.port, path, method, body, **options)

    def leave(self) -> str:
        """Shut down; return what was unclean about it, if anything."""
        family = self.processes()
        assert self._process is not None
        self._process.send_signal(self.stop_signal)
        try:
            process.wait_until(
                lambda: not self.running and all(map(process._gone, family)),
                'all processes gone', self.stop_timeout)
        except process.ServerError as error:
            left = [p.cmdline() for p in family if not process._gone(p)]
            for one in family:
                if not process._gone(one):
                    one.kill()
            return f'{error}: {left}\n{self.log_tail()}'
        log = self.log.read_text(errors='replace')
        return log if any(word in log for word in UNCLEAN) else ''

    @staticmethod
    def program(name: str) -> str:
        """A program of the environment that the tests run in."""
        return process.find_binary(name, f'(PyPI) {name}',
                                   os.path.dirname(sys.executable))

    @staticmethod
    def _unprivileged(command: list[str]) -> list[str]:
        # As the user of the tests: another account may not be able to read
        # the environment that the service is installed in.
        return ['setpriv', '--pdeathsig', 'KILL', '--', *command]


class UWSGI(WSGIServer):
    """uWSGI from PyPI."""

    name = 'uwsgi'
    example = 'uwsgi.ini'
    # SIGTERM means reload, unless die-on-term is set.
    stop_signal = signal.SIGINT

    def command(self) -> list[str]:
        return [self.program('uwsgi'), '--ini', 'uwsgi.ini', *QUIET,
                '--processes', str(self.workers), *self.arguments]


class DebianUWSGI(WSGIServer):
    """uWSGI of the distribution, whose threads are off unless asked for.

    It brings an interpreter of its own, which imports the pure Python parts
    of what is installed for ours.
    """

    name = 'uwsgi-core'
    stop_signal = signal.SIGINT

    def command(self) -> list[str]:
        return [process.find_binary('uwsgi-core', 'uwsgi-core'),
                '--plugin', 'python3', '--master', '--wsgi-file', 'service.py',
                '--http-socket', f'{self.host}:{self.port}', *QUIET,
                '--processes', str(self.workers), *self.arguments]

    def environment(self) -> dict[str, str]:
        installed = [path for path in sys.path if path.endswith('-packages')]
        given = super().environment()
        return given | {'PYTHONPATH': os.pathsep.join(
            [given['PYTHONPATH'], *installed])}


class Gunicorn(WSGIServer):
    name = 'gunicorn'
    example = 'gunicorn.conf.py'

    def command(self) -> list[str]:
        return [self.program('gunicorn'), '--workers', str(self.workers),
                *self.arguments, 'service:application']


class Script(WSGIServer):
    """A server that is a library: a script starts it."""

    stop_signal = signal.SIGINT

    def __init__(self, example: str, files: Mapping[str, str]) -> None:
        self.name = example.removesuffix('.py')
        self.example = example
        super().__init__(files)

    def command(self) -> list[str]:
        assert self.example is not None
        return [sys.executable, self.example]


class Apache(WSGIServer):
    """Debian's Apache with mod_wsgi from PyPI, compiled for our Python.

    The service has a virtual environment of its own, which the daemon
    processes can read wherever the one of the tests may be.

    :param python: options of ``WSGIDaemonProcess`` in place of
        ``python-home``
    """

    name = 'apache'
    example = 'apache.conf'
    own_account = True

    def __init__(self, files: Mapping[str, str], workers: int = 1,
                 python: str | None = None) -> None:
        super().__init__(files, workers=workers)
        self._python = python

    def prepare(self) -> None:
        # The daemon processes get the home of their user, not ours.
        self.files['service.wsgi'] = (
            'import os\nimport sys\n'
            "os.environ['HOME'] = '{directory}'\n"
            f"sys.path[:0] = ['{{directory}}', {str(ROOT)!r}]\n"
            'from service import application\n')
        super().prepare()
        venv.create(self.venv, symlinks=True)
        packages, = self.venv.glob('lib/*/site-packages')
        (packages / 'tests.pth').write_text('\n'.join(
            path for path in sys.path if path.endswith('-packages')))
        # Its other line is a WSGIPythonHome, for embedded mode.
        load, = [line for line in self.run([
            self.program('mod_wsgi-express'), 'module-config']).splitlines()
            if line.startswith('LoadModule')]
        found = process.find_binary('apache2', 'apache2-bin')
        libraries = pathlib.Path('/usr/lib/apache2/modules')
        lines = [
            f'ServerRoot {self.directory}', 'ServerName localhost',
            f'PidFile {self.directory}/pid', f'ErrorLog {self.log}',
            f'WSGISocketPrefix {self.directory}/socket',
            *(f'LoadModule {name}_module {libraries}/mod_{name}.so'
              for name in ('mpm_event', 'authz_core')),
            load, f'Include {self.directory}/{self.example}']
        (self.directory / 'httpd.conf').write_text('\n'.join(lines) + '\n')
        self._program = found
        if os.geteuid() == 0:
            for path in [*self.directory.iterdir(), self.venv / 'pyvenv.cfg']:
                shutil.chown(path, process.ACCOUNT)

    @property
    def venv(self) -> pathlib.Path:
        return self.directory / 'venv'

    def adapt(self, text: str) -> str:
        adapted = super().adapt(text)
        home = f'python-home={self.venv}'
        assert home in adapted
        return adapted.replace(home, self._python or home)

    def command(self) -> list[str]:
        return [self._program, '-DFOREGROUND',
                '-f', str(self.directory / 'httpd.conf')]

    @staticmethod
    def _unprivileged(command: list[str]) -> list[str]:
        if os.geteuid() != 0:
            return WSGIServer._unprivileged(command)
        # It refuses to serve as root. The account it gets instead can read
        # what root can: the environment may be below root's home.
        whole = process.Server._unprivileged(command)
        at = whole.index('--')
        return [*whole[:at], '--inh-caps=+dac_override',
                '--ambient-caps=+dac_override', *whole[at:]]
