# SPDX-License-Identifier: Apache-2.0

"""The demonstration, run as a user runs it."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest
import requests

from healthcheck.cmd import demo
from healthcheck.cmd import demo_cloud
from tests.functional import servers

# What polling, two busy processors and a swap of the pages may add to the
# promised bound.
ALLOWANCE = 5.0

BIN = pathlib.Path(sys.executable).parent

# Short intervals, where the embedded ones are not what is looked at.
HEALTHCHECK = '''
[healthcheck]
interval = 0.5
retry_interval = 0.2
timeout = 1
ttl = 5
'''


class Demo:
    """A demonstration that runs, and what it has printed.

    :param inside: what the program is run by, such as ``unshare``
    """

    def __init__(self, directory: pathlib.Path, *arguments: str,
                 inside: Sequence[str] = ()) -> None:
        self.log = directory / 'demo.log'
        program = BIN / 'healthcheck-demo'
        with self.log.open('wb') as log:
            # A group of its own, as a terminal gives it: Ctrl-C goes to the
            # workers too.
            self.process = subprocess.Popen(
                [*inside, program, '--port', '0', *arguments],
                stdout=log, stderr=log,
                start_new_session=True,
                # What a killed one leaves behind is removed with the test's.
                env={**os.environ, 'TMPDIR': str(directory)})
        try:
            servers.wait_until(self._ready_or_dead, 'the demo is ready')
        except servers.ServerError as error:
            self.kill()
            raise servers.ServerError(f'{error}\n{self.output}') from None

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def urls(self) -> list[str]:
        """The URLs to try, the health check itself coming first."""
        return re.findall(r'^  curl .*?(http://\S+)$', self.output, re.M)

    @property
    def port(self) -> int:
        return int(self.urls[0].split(':')[2].split('/')[0])

    @property
    def bound(self) -> float:
        found = re.search(r'the status follows within ([\d.]+) s',
                          ' '.join(self.output.split()))
        assert found, self.output
        return float(found[1])

    def moves(self) -> list[list[str]]:
        """The commands that break and repair: a database, then a cell."""
        return [line.split() for line in self.output.splitlines()
                if line.startswith('  mv ')]

    def statuses(self) -> set[int]:
        """The statuses of some requests, each on its own connection.

        Many, so that both workers have been asked.
        """
        return {requests.get(self.urls[0], timeout=10,
                             headers={'Connection': 'close'}).status_code
                for _ in range(10)}

    def wait_for(self, status: int) -> float:
        """Wait until all workers give the status; return how long it took.

        No longer than was promised, or it is an error.
        """
        start = time.monotonic()
        servers.wait_until(lambda: self.statuses() == {status},
                           f'status {status}', self.bound + ALLOWANCE)
        return time.monotonic() - start

    def interrupt(self) -> int:
        """Press Ctrl-C; return the exit status."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(20)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Demo:
        return self

    def __exit__(self, *args: object) -> None:
        self.kill()

    def _ready_or_dead(self) -> bool:
        if self.process.poll() is not None:
            raise servers.ServerError('the demo ended by itself')
        return 'Ctrl-C ends it' in self.output


@pytest.fixture
def embedded(tmp_path: pathlib.Path) -> Iterator[Demo]:
    with Demo(tmp_path) as running:
        yield running


def test_follows_the_database_as_printed(embedded: Demo) -> None:
    assert embedded.bound == pytest.approx(6.2)
    embedded.wait_for(200)
    assert not re.sub(r'OK( \(\w+: SOME CELLS \w+\))?\n?', '', requests.get(
        embedded.urls[0], timeout=10).text)
    break_it, repair_it, *_ = embedded.moves()
    subprocess.run(break_it, check=True)
    embedded.wait_for(503)
    answer = requests.get(embedded.urls[0], timeout=10).text
    assert 'DATABASE: NO SUCH DATABASE' in answer.split('\n')
    subprocess.run(repair_it, check=True)
    embedded.wait_for(200)
    # The change was seen on the terminal.
    assert re.search(r'healthcheck\.probing\.changelog .*Healthcheck '
                     r'database: fail -> pass: OK', embedded.output)


def test_there_is_something_to_see(embedded: Demo) -> None:
    page = re.search(r'Open in a browser:\n  (http://\S+)', embedded.output)
    assert page

    def shown(accept: str) -> requests.Response:
        return requests.get(page[1], headers={'Accept': accept}, timeout=10)

    def reasons() -> set[str]:
        return {part['reason'] for check in shown('application/json').json()
                ['checks'] for part in check['components']}
    embedded.wait_for(200)
    looks = shown('text/html')
    assert looks.status_code == 200
    assert '<title>' in looks.text and 'cell3' in looks.text
    # The faults come by themselves, and a broken cell by hand.
    for reason in ('DATABASE: SLOW', 'DATABASE: NO SUCH DATABASE'):
        servers.wait_until(lambda: reason in reasons(), reason,
                           2 * demo_cloud.MINUTE)
    assert embedded.statuses() == {200}
    *_, break_it, repair_it = embedded.moves()
    subprocess.run(break_it, check=True)

    def is_down() -> bool:
        return any((part['name'], part['status']) == ('cell1', 'fail')
                   for check in shown('application/json').json()['checks']
                   for part in check['components'])
    servers.wait_until(is_down, 'cell1 is down', embedded.bound + ALLOWANCE)
    assert embedded.statuses() == {200}
    subprocess.run(repair_it, check=True)
    # All workers tell of the same prober.
    probers = {re.search(r'probed by process (\d+)', shown('text/plain').text)
               for _ in range(20)}
    assert len({found and found[1] for found in probers}) == 1


def test_every_printed_command_works(embedded: Demo) -> None:
    embedded.wait_for(200)
    commands = re.findall(r'^  (curl .*)$', embedded.output, re.M)
    assert len(commands) == 7
    for command in commands:
        done = subprocess.run(f'{command} --fail --silent --show-error',
                              shell=True, stdout=subprocess.PIPE, text=True)
        assert done.returncode == 0, command
        assert done.stdout, command
    drain, resume = re.findall(r'^  (\S*healthcheck (?:drain|resume) .*)$',
                               embedded.output, re.M)
    subprocess.run(drain, shell=True, check=True)
    assert embedded.statuses() == {503}
    subprocess.run(resume, shell=True, check=True)
    assert embedded.statuses() == {200}


def test_ctrl_c_leaves_nothing_behind(embedded: Demo) -> None:
    embedded.wait_for(200)
    state = pathlib.Path(embedded.moves()[0][1]).parent
    assert state.stat().st_mode & 0o777 == 0o700
    assert embedded.interrupt() == 0
    assert not state.exists()
    assert 'Traceback' not in embedded.output
    with pytest.raises(ProcessLookupError):
        os.killpg(embedded.process.pid, 0)


def test_state_directory_is_kept(tmp_path: pathlib.Path) -> None:
    state = tmp_path / 'state'
    with Demo(tmp_path, '--state-dir', str(state)) as running:
        running.wait_for(200)
        assert running.interrupt() == 0
    assert (state / 'demo.db').exists()


def test_it_leaves_no_process_behind_when_killed(tmp_path) -> None:
    state = tmp_path / 'state'

    def there() -> bool:
        return any(str(state).encode() in path.read_bytes()
                   for path in pathlib.Path('/proc').glob('[0-9]*/cmdline')
                   if path.exists())
    with Demo(tmp_path, '--state-dir', str(state)) as running:
        running.wait_for(200)
        assert there()
        os.kill(running.process.pid, signal.SIGKILL)
        servers.wait_until(lambda: not there(), 'all are gone', 20)


def _nova(directory: pathlib.Path, more: str = '') -> pathlib.Path:
    """A nova.conf as Nova has it: nothing in it is ours."""
    demo_cloud.make(directory)
    conf = directory / 'nova.conf'
    conf.write_text(
        '[DEFAULT]\ntransport_url = kombu+memory://\nlog_dir = /nowhere\n'
        'state_path = /var/lib/nova\n'
        f'[database]\nconnection = sqlite:///{directory}/nova_cell0.db\n'
        '[oslo_concurrency]\nlock_path = $state_path/tmp\n' + more)
    return conf


def test_nova_conf_alone_is_enough(tmp_path: pathlib.Path) -> None:
    conf = _nova(tmp_path, '[api_database]\nconnection = '
                 f'sqlite:///{tmp_path}/{demo_cloud.API_DATABASE}\n')
    with Demo(tmp_path, '--config-file', str(conf)) as running:
        servers.wait_until(lambda: running.statuses() == {200}, '200', 40)
        page = requests.get(f'{running.urls[0]}/detail', timeout=10).json()
        assert [check['name'] for check in page['checks']] == [
            'cells', 'services', 'message_queue']
        assert running.interrupt() == 0


def test_a_missing_option_is_asked_for(tmp_path: pathlib.Path) -> None:
    with pytest.raises(servers.ServerError) as caught:
        Demo(tmp_path, '--config-file', str(_nova(tmp_path)))
    assert 'set [api_database]connection of the service' in str(caught.value)
    assert 'Traceback' not in str(caught.value)


def test_a_configuration_error_is_readable(tmp_path: pathlib.Path) -> None:
    conf = tmp_path / 'bad.conf'
    conf.write_text('[healthcheck]\nbackends = databse\n')
    with pytest.raises(servers.ServerError) as caught:
        Demo(tmp_path, '--config-file', str(conf))
    assert 'did you mean database?' in str(caught.value)
    assert 'Traceback' not in str(caught.value)


def test_real_configuration(tmp_path: pathlib.Path,
                            mariadb: servers.MariaDB,
                            rabbitmq: servers.RabbitMQ) -> None:
    mariadb.create_database('demo')
    mariadb.create_user('demo', 'p@ss', 'demo')
    rabbitmq.add_user('demo', 'p@ss')
    rabbitmq.set_permissions('demo')
    conf = tmp_path / 'service.conf'
    # A service logs to its own file, which is not ours to write to.
    service_log = tmp_path / 'service.log'
    conf.write_text(
        '[DEFAULT]\n'
        f'transport_url = {rabbitmq.url("demo", "p@ss")}\n'
        f'log_file = {service_log}\n'
        '[database]\n'
        f'connection = {mariadb.url("demo", "p@ss", "demo")}\n'
        + HEALTHCHECK)
    try:
        with Demo(tmp_path, '--config-file', str(conf)) as running:
            running.wait_for(200)
            assert not running.moves()
            mariadb.stop()
            running.wait_for(503)
            mariadb.start()
            running.wait_for(200)
            rabbitmq.clear_permissions('demo')
            rabbitmq.close_connections()
            running.wait_for(503)
            rabbitmq.set_permissions('demo')
            running.wait_for(200)
            assert running.interrupt() == 0
            assert not service_log.exists()
            assert 'p@ss' not in running.output
            assert 'p%40ss' not in running.output
    finally:
        mariadb.heal()
        mariadb.drop_user('demo')
        mariadb.drop_database('demo')
        rabbitmq.delete_user('demo')


def test_the_commented_part_of_the_paste_file_works(
        tmp_path: pathlib.Path) -> None:
    shipped = demo._shipped_paste_file()
    assert shipped
    # What a deployer does who wants the app form: remove the marks.
    text = pathlib.Path(shipped).read_text()
    filter_form, mark, app_form = text.partition('#[composite:main]')
    assert mark
    uncommented = re.sub(r'^#', '', mark + app_form, flags=re.M)
    filter_form = filter_form.replace('[pipeline:main]', '[pipeline:old]')
    paste_file = tmp_path / 'api-paste.ini'
    paste_file.write_text(filter_form + uncommented)
    conf = tmp_path / 'service.conf'
    conf.write_text(
        '[DEFAULT]\ntransport_url = kombu+memory://\n'
        f'[database]\nconnection = sqlite:///{tmp_path}/demo.db\n'
        + HEALTHCHECK)
    (tmp_path / 'demo.db').touch()
    with Demo(tmp_path, '--config-file', str(conf),
              '--paste-file', str(paste_file)) as running:
        running.wait_for(200)
        api = requests.get(f'http://127.0.0.1:{running.port}/', timeout=10)
        assert api.json()['name'] == 'demo'
