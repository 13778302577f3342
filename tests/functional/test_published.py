# SPDX-License-Identifier: Apache-2.0

"""What a registry gets, and a newcomer with nothing but that.

The tutorial is run as it stands, in a virtual environment that has the wheel
and what it requires.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import tarfile
import threading
import zipfile

import pytest

from tests.functional import brokers
from tests.functional import databases
from tests.functional import servers
from tests.functional.servers import nova

ROOT = pathlib.Path(__file__).parents[2]
TUTORIAL = ROOT / 'doc' / 'source' / 'tutorial.rst'
VERSION = '1.2.3'

# What is no Python file and is needed at run time, or is there to be copied.
DATA = ['healthcheck/py.typed', 'healthcheck/reports/reasons.csv',
        'healthcheck/admin/views/templates/fleet.html',
        'healthcheck/admin/views/templates/macros.html',
        'healthcheck/admin/views/templates/page.css',
        'healthcheck/admin/views/templates/page.html',
        'healthcheck/admin/views/templates/page.js',
        'healthcheck/admin/views/templates/status.html',
        'etc/healthcheck/alerts.yaml', 'etc/healthcheck/api-paste.ini',
        'etc/healthcheck/healthcheck-dashboard.json',
        'etc/healthcheck/healthcheck.conf.sample',
        'etc/healthcheck/policy.yaml.sample',
        'lib/systemd/system/healthcheck-agent@.service']

# What a build says that is nobody's mistake.
USUAL = re.compile(
    r"no previously-included files? (found )?matching '(\.gitreview|\*\.pyc)'"
    r'|byte-compiling is disabled')


class Published:
    """Both distributions of this tree, as if it were tagged."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory / 'dist'
        tree = directory / 'tree'
        # What is not committed yet is tested, too.
        names = _run('git', 'ls-files', '-z', '--cached', '--others',
                     '--exclude-standard', cwd=ROOT).split('\0')
        for name in filter(None, names):
            if (ROOT / name).exists():
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                (tree / name).write_bytes((ROOT / name).read_bytes())
        git = ('git', '-c', 'user.name=test', '-c', 'user.email=test@test')
        _run('git', 'init', '-q', cwd=tree)
        _run('git', 'add', '-A', cwd=tree)
        _run(*git, 'commit', '-q', '-m', 'All', cwd=tree)
        _run('git', 'tag', VERSION, cwd=tree)
        self.said = _run(sys.executable, '-m', 'build', '--no-isolation',
                         '--outdir', str(self.directory), cwd=tree)
        self.wheel, = self.directory.glob('*.whl')
        self.source, = self.directory.glob('*.tar.gz')


def _run(*command: str, cwd: pathlib.Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope='module')
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return Published(tmp_path_factory.mktemp('published'))


def test_build_warns_of_nothing(published: Published) -> None:
    said = [line for line in published.said.splitlines()
            if re.search('warn|deprecat|error|!!', line, re.IGNORECASE)
            and not re.match('(adding|copying|creating) ', line)]
    assert [line for line in said if not USUAL.search(line)] == []


def test_registry_takes_it(published: Published) -> None:
    """Also: the README renders there, without roles of Sphinx."""
    _run(sys.executable, '-m', 'twine', 'check', '--strict',
         str(published.wheel), str(published.source))


def test_everything_is_in_it(published: Published) -> None:
    assert published.wheel.name == (
        f'openstack_healthcheck-{VERSION}-py3-none-any.whl')
    assert published.source.name == f'openstack_healthcheck-{VERSION}.tar.gz'
    with zipfile.ZipFile(published.wheel) as wheel:
        packed = {name.replace(f'openstack_healthcheck-{VERSION}.data/data/',
                               '') for name in wheel.namelist()}
    sources = {str(path.relative_to(ROOT))
               for path in (ROOT / 'healthcheck').rglob('*.py')}
    assert {*DATA, *sources} - packed == set()
    with tarfile.open(published.source) as archive:
        packed = {name.partition('/')[2] for name in archive.getnames()}
    tracked = _run('git', 'ls-files', cwd=ROOT).split()
    assert {name for name in tracked if (ROOT / name).exists()
            and not name.startswith('.')} - packed == set()


class Shell:
    """A shell that a newcomer pastes blocks into."""

    def __init__(self, directory: pathlib.Path, env: dict[str, str]) -> None:
        self.directory = directory
        self._bash = subprocess.Popen(
            ['bash'], cwd=directory, env=env, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True)

    def run(self, block: str) -> tuple[int, str]:
        """Return the exit status, and what was printed.

        A block that takes more than five minutes ends the shell.
        """
        assert self._bash.stdin and self._bash.stdout
        watchdog = threading.Timer(300, self.close)
        watchdog.start()
        self._bash.stdin.write(f'{block}\necho "=$?="\n')
        self._bash.stdin.flush()
        said = ''
        for line in self._bash.stdout:
            if ended := re.fullmatch(r'(.*)=(\d+)=\n', line):
                watchdog.cancel()
                return int(ended[2]), said + ended[1]
            said += line
        raise AssertionError(f'the shell ended: {block}\n{said}')

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._bash.pid, signal.SIGKILL)
        self._bash.wait()
        for pipe in (self._bash.stdin, self._bash.stdout):
            assert pipe
            pipe.close()


def blocks() -> list[tuple[str, str]]:
    """What the tutorial has to type, ``sh``, and what comes, ``none``."""
    found = re.findall(
        r'^\.\. code-block:: (\w+)\n\n((?:(?:   .*)?\n)+)',
        TUTORIAL.read_text(), re.MULTILINE)
    return [(kind, re.sub('^    ', '', text, flags=re.MULTILINE).strip('\n'))
            for kind, text in found]


@pytest.fixture(scope='module')
def newcomer(published: Published, tmp_path_factory: pytest.TempPathFactory,
             ) -> Iterator[Shell]:
    """Who has done the first block of the tutorial."""
    directory = tmp_path_factory.mktemp('newcomer')
    constraints = directory / 'constraints.txt'
    constraints.write_text((ROOT / 'constraints.txt').read_text()
                           + f'openstack-healthcheck=={VERSION}\n')
    env = {name: value for name, value in os.environ.items()
           if not name.startswith(('PYTHON', 'VIRTUAL_ENV', 'OS_'))}
    env |= {'PIP_CONSTRAINT': str(constraints), 'PIP_QUIET': '2',
            'PIP_FIND_LINKS': str(published.directory),
            'PIP_DISABLE_PIP_VERSION_CHECK': '1',
            'PATH': os.pathsep.join([os.path.dirname(
                os.path.realpath(sys.executable)), '/usr/bin', '/bin'])}
    (directory / 'work').mkdir()
    shell = Shell(directory / 'work', env)
    try:
        kind, install = blocks()[0]
        assert kind == 'sh' and install.endswith('openstack-healthcheck')
        status, said = shell.run(install)
        assert status == 0, said
        yield shell
    finally:
        shell.close()


def test_only_the_package_is_installed(newcomer: Shell) -> None:
    status, said = newcomer.run('pip check && pip freeze')
    assert status == 0, said
    installed = {line.partition('==')[0].partition(' @')[0].lower()
                 for line in said.splitlines()}
    assert 'openstack-healthcheck' in installed
    assert installed.isdisjoint({
        'gunicorn', 'keystonemiddleware', 'openstacksdk', 'psycopg2', 'shtab',
        'waitress'})


CONF = '''
[DEFAULT]
transport_url = fake:/
[database]
connection = {connection}
[healthcheck]
backends = database
metrics_source_ranges = 127.0.0.1/32
sharing = process
{more}
'''
GET = '''
import logging, sys
logging.basicConfig(level='WARNING', format='%(message)s')
import healthcheck
from oslo_config import cfg
cfg.CONF([], default_config_files=[sys.argv[1]])
# oslo.messaging brings it, for now.
sys.modules['prometheus_client'] = None
app = healthcheck.Healthcheck(lambda environ, start: [], cfg.CONF)
app({{'REQUEST_METHOD': 'GET', 'PATH_INFO': '/healthcheck/{page}',
     'REMOTE_ADDR': '127.0.0.1'}}, lambda *answer: print(answer[0]))
'''

MISSING = {
    'postgresql': ('healthcheck config check --format table '
                   '--config-file postgresql.conf'),
    'keystone': 'python get_detail.py keystone.conf',
    'metrics': 'python get_metrics.py sqlite.conf',
    'agent': 'healthcheck agent --config-file sqlite.conf '
             '--listen 127.0.0.1:0',
    'demo': 'healthcheck demo --port 0',
    'completion': 'healthcheck completion bash',
    'cloud': 'env OS_CLOUD=mine healthcheck status 127.0.0.1:1',
}
"""What needs an extra, by its name."""


@pytest.mark.parametrize('extra', MISSING)
def test_missing_extra_is_one_line_that_names_it(
        extra: str, newcomer: Shell) -> None:
    here = newcomer.directory
    sqlite = f'sqlite:///{here}/any.db'
    for name, connection, more in (
            ('sqlite', sqlite, ''),
            ('postgresql', 'postgresql+psycopg2://nova:secret@db/nova', ''),
            ('keystone', sqlite, '[keystone_authtoken]\n'
             'auth_type = password\n')):
        (here / f'{name}.conf').write_text(
            CONF.format(connection=connection, more=more))
    for page in ('detail', 'metrics'):
        (here / f'get_{page}.py').write_text(GET.format(page=page))
    _, said = newcomer.run(f'timeout 60 {MISSING[extra]}')
    lines = [line for line in said.splitlines()
             if f'openstack-healthcheck[{extra}]' in line]
    assert len(lines) == 1, said
    assert re.search(f"install '?openstack-healthcheck.{extra}.'?", lines[0])
    assert 'Traceback' not in said and 'secret' not in said


def _comes(expected: str, said: str) -> bool:
    """Whether it was printed; ``...`` stands for anything."""
    # A column is as wide as its widest row, which the text cannot know.
    pattern = r'.*'.join(re.escape(part) for part in re.sub(
        ' +', ' ', expected).split('...'))
    return re.fullmatch(pattern, re.sub(' +', ' ', said).strip(),
                        re.DOTALL) is not None


def test_tutorial(newcomer: Shell, mariadb: servers.MariaDB,
                  rabbitmq: servers.RabbitMQ, tmp_path: pathlib.Path) -> None:
    database = databases.Database(mariadb, 'mysql+pymysql', 'nova', 'secret',
                                  'nova_cell0')
    broker = brokers.Broker(rabbitmq, 'nova', 'secret', 'nova')
    nova.write(tmp_path / 'nova.conf', {
        'DEFAULT': {'transport_url': broker.url()},
        'database': {'connection': database.url()},
        'oslo_concurrency': {'lock_path': tmp_path}})
    home = pathlib.Path(nova.program('nova-manage')).parents[1]
    (tmp_path / 'api-paste.ini').write_text(
        (home / 'etc' / 'nova' / 'api-paste.ini').read_text())
    here = {'8080': str(servers.free_port()), '/etc/nova': str(tmp_path)}
    database.create()
    broker.create()
    try:
        type_in(newcomer, here)
    finally:
        broker.drop()
        database.drop()


def type_in(newcomer: Shell, here: Mapping[str, str]) -> None:
    """Run all but the first block, until each says what the text shows.

    :param here: what is another here than in the text
    """
    steps = blocks()[1:]
    for (kind, text), (following, shown) in zip(
            steps, [*steps[1:], ('', '')]):
        if kind != 'sh':
            continue
        for there, other in here.items():
            text = text.replace(there, other)
        said: list[tuple[int, str]] = []

        def comes() -> bool:
            said.append(newcomer.run(text))
            return _comes(shown, said[-1][1])
        if following == 'none':
            try:
                servers.wait_until(comes, shown, interval=0.2)
            except servers.ServerError:
                pytest.fail(f'{text}\n{said[-1][1]}')
        else:
            status, output = newcomer.run(text)
            assert status == 0, f'{text}\n{output}'
