# SPDX-License-Identifier: Apache-2.0

"""The program ``healthcheck``, run as people and machines run it."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import dataclasses
from http import server
import json
import os
import pathlib
import pty
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from tests.functional import brokers
from tests.functional import cells
from tests.functional import clouds
from tests.functional import databases
from tests.functional import servers
from tests.functional.servers import agent as agent_module
from tests.functional.servers import certificates
from tests.functional.servers import nova
from tests.functional.servers import process
from tests.functional import service as service_module

SPELLINGS = (service_module.spellings(databases.PASSWORD)
             | service_module.spellings(brokers.PASSWORD))

# Seconds for a process to start and end, on a busy machine.
LONGEST = 60

# What systemd gives a unit, and a runtime a container.
ENVIRONMENT = {'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin',
               'LANG': 'C.UTF-8'}


@dataclasses.dataclass(frozen=True)
class Done:
    """How a command has ended. No secret is in what it said."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def program() -> str:
    return process.find_binary('healthcheck', 'openstack-healthcheck',
                               os.path.dirname(sys.executable))


def run(*arguments: object, environ: Mapping[str, str] = ENVIRONMENT,
        shell: bool = False) -> Done:
    """Run it, as systemd does: no shell, no terminal, no environment.

    :param shell: whether a shell gets the line, as in a container
    """
    command = [program(), *map(str, arguments)]
    began = time.monotonic()
    done = subprocess.run(
        ['sh', '-c', ' '.join(command)] if shell else command,
        env={**environ, 'PYTHONPATH': str(agent_module.ROOT)}, cwd='/',
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=LONGEST)
    seconds = time.monotonic() - began
    leaks = {secret for secret in SPELLINGS
             if secret in done.stdout + done.stderr}
    assert not leaks, leaks
    assert 'Traceback' not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr, seconds)


# A probe of a frozen backend takes so many seconds.
TIMEOUT = 2


class Site:
    """A service with a database and a broker, through relays."""

    def __init__(self, directory: pathlib.Path, database: databases.Database,
                 broker: brokers.Broker) -> None:
        self.database, self.broker = database, broker
        self.conf = directory / 'service.conf'
        self.stored = database.relay()
        self.queue = broker.relay()
        self.state = directory / 'state'
        self.state.mkdir()
        nova.write(self.conf, {
            'DEFAULT': {'transport_url': broker.url(self.queue.port)},
            'database': {'connection': database.url(self.stored.port)},
            'healthcheck': {'backends': 'database,message_queue',
                            'state_path': self.state,
                            # Only what is wrong is to be seen.
                            'slow_threshold': LONGEST}})

    def close(self) -> None:
        self.stored.close()
        self.queue.close()

    def probe(self, *arguments: object) -> Done:
        return run('probe', '--config-file', self.conf, *arguments)


@pytest.fixture
def site(tmp_path: pathlib.Path, mariadb: servers.MariaDB,
         rabbitmq: servers.RabbitMQ) -> Iterator[Site]:
    with databases.on(mariadb, databases.DRIVERS[0]) as database, \
            brokers.on(rabbitmq) as broker:
        with contextlib.closing(Site(tmp_path, database, broker)) as made:
            yield made


def test_probe_with_all_well(site: Site) -> None:
    done = site.probe()
    assert done.code == 0, done
    assert [(one['name'], one['status'], one['reason'])
            for one in done.json['checks']] == [
        ('database', 'pass', 'OK'), ('message_queue', 'pass', 'OK')]
    assert not done.err
    assert not list(site.state.iterdir())
    # It has closed what it had opened.
    servers.wait_until(lambda: not site.database.connections(),
                       'no connection is left')
    line = site.probe('--format', 'line').out
    assert re.fullmatch(
        r'HEALTHCHECK OK - OK \| database=\d\.\d{4}s;60;5;0 '
        r'message_queue=\d\.\d{4}s;60;5;0\n', line), line
    assert site.probe('--debug').code == 0


@pytest.mark.parametrize('debug', [(), ('--debug',)])
def test_probe_with_a_wrong_password(site: Site,
                                     debug: tuple[str, ...]) -> None:
    site.database.server.set_password(site.database.user, 'another')
    done = site.probe('--format', 'table', *debug)
    assert done.code == 2
    lines = done.out.splitlines()
    assert re.fullmatch(r'database +FAIL +\S+ m?s +DATABASE: LOGIN REFUSED',
                        lines[1]), done.out
    assert re.fullmatch(r'message_queue +PASS .* OK', lines[2]), done.out
    # The admin does learn where, and what to look at.
    assert f'127.0.0.1:{site.stored.port}' in done.out
    assert ('  LOGIN REFUSED: Wrong user or password, or this host may not '
            'log in: see the') in done.out
    assert bool(done.err) is bool(debug)
    site.broker.server.set_password(site.broker.user, 'another')
    done = site.probe('--format', 'line', *debug)
    assert done.code == 2
    assert done.out.startswith(
        'HEALTHCHECK CRITICAL - DATABASE: LOGIN REFUSED; '
        'MESSAGE QUEUE: LOGIN REFUSED | ')


@pytest.mark.parametrize('how', [(), ('--debug',), ('--repeat', '2')])
def test_probe_with_a_broker_that_hangs(site: Site,
                                        how: tuple[str, ...]) -> None:
    usual = site.probe().seconds
    site.queue.silence()
    done = site.probe('--timeout', TIMEOUT, *how)
    assert done.code == 2
    assert [(one['status'], one['reason'], one['failed_rounds'])
            for one in done.json['checks']] == [
        ('pass', 'OK', 0),
        ('fail', 'MESSAGE QUEUE: NO ANSWER', 2 if '2' in how else 1)]
    assert list(done.json['advice']) == ['NO ANSWER']
    assert done.seconds < usual + 14


def test_probe_waits_for_a_backend(site: Site) -> None:
    """As ExecStartPre of a service that starts before its database."""
    site.stored.refuse()
    threading.Timer(3.0, site.stored.heal).start()
    done = site.probe('--wait', '50')
    assert done.code == 0, done
    assert done.seconds > 2
    site.stored.refuse()
    assert site.probe('--wait', '1').code == 2


def test_a_configuration_that_cannot_be_loaded(site: Site) -> None:
    site.conf.write_text(site.conf.read_text() + 'fall = 0\nttl = x\n')
    for command in (('probe',), ('config', 'check')):
        done = run(*command, '--config-file', site.conf)
        assert done.code == (3 if command == ('probe',) else 2)
        assert 'fall = ' in done.out + done.err
        assert 'ttl = ' in done.out + done.err


def test_config_check(site: Site) -> None:
    for wanted in ('table', 'json', 'line'):
        done = run('config', 'check', '--config-file', site.conf,
                   '--format', wanted)
        assert done.code == 0, done
    assert site.database.connections() == 0
    done = run('config', 'check', '--config-file', site.conf,
               '--inter', '30s')
    assert done.code == 1
    assert done.json['seconds']['out_within'] == 23 + 3 * 30


class Cloud:
    """The command on an API node of a real Nova."""

    def __init__(self, cloud: clouds.Cloud, directory: pathlib.Path) -> None:
        self.cloud, self.cells = cloud, cloud.cells
        self.conf = directory / 'nova.conf'
        nova.write(self.conf, {
            **cloud.sections(), 'healthcheck': {
                'backends': 'cells,message_queue', 'slow_threshold': LONGEST,
                'cells_workers': 8, 'timeout': TIMEOUT * 2}})

    def probe(self, *arguments: object) -> Done:
        return run('probe', '--project', 'nova', '--config-file', self.conf,
                   *arguments)


@pytest.fixture
def api_node(cloud: clouds.Cloud, tmp_path: pathlib.Path) -> Cloud:
    return Cloud(cloud, tmp_path)


def parts(done: Done) -> dict[str, tuple[str, str]]:
    return {one['name']: (one['status'], one['reason'])
            for one in done.json['checks'][0]['components']}


WELL = {'cell0': ('pass', 'OK'), 'zcell-1': ('pass', 'OK'),
        'zcell-2': ('pass', 'OK')}


def test_probe_of_a_nova_with_all_well(api_node: Cloud) -> None:
    done = api_node.probe()
    assert done.code == 0, done
    assert parts(done) == WELL
    text = api_node.probe('--format', 'table').out
    assert '3 in all: 3 pass' in text
    done = run('config', 'check', '--project', 'nova', '--config-file',
               api_node.conf)
    assert '[api_database]connection' in {
        one['option'] for one in done.json['of_the_service']}
    # Only what is named.
    done = api_node.probe('message_queue')
    assert [one['name'] for one in done.json['checks']] == ['message_queue']


@pytest.mark.parametrize('debug', [(), ('--debug',)])
def test_probe_of_a_nova_with_a_wrong_password(
        api_node: Cloud, debug: tuple[str, ...]) -> None:
    broken = api_node.cells[2]
    broken.stored.server.set_password(broken.stored.user, 'another')
    done = api_node.probe(*debug)
    assert done.code == 1, done
    assert api_node.probe('--warn-ok').code == 0
    assert parts(done) == {
        **WELL, 'zcell-2': ('fail', 'DATABASE: LOGIN REFUSED')}
    text = api_node.probe('--format', 'table').out
    assert 'FAIL     zcell-2: DATABASE: LOGIN REFUSED' in text
    assert 'SOME CELLS DOWN: Enough others are up.' in text
    assert 'LOGIN REFUSED: Wrong user or password' in text


@pytest.mark.parametrize('debug', [(), ('--debug',)])
def test_probe_of_a_nova_with_a_broker_that_hangs(
        api_node: Cloud, debug: tuple[str, ...]) -> None:
    usual = api_node.probe().seconds
    api_node.cells[2].queue.silence()
    done = api_node.probe(*debug)
    assert done.code == 1, done
    assert parts(done) == {
        **WELL, 'zcell-2': ('fail', 'MESSAGE QUEUE: NO ANSWER')}
    # The one that the API itself uses.
    api_node.cells[1].queue.silence()
    done = api_node.probe('--format', 'line', *debug)
    assert done.code == 2
    assert 'MESSAGE QUEUE: NO ANSWER' in done.out
    assert done.seconds < usual + 29


def test_probe_of_many_cells_of_which_many_hang(api_node: Cloud) -> None:
    """All come to be known, some at a time; a terminal shows how far it is."""
    cloud = api_node.cloud
    many = [cells.Cell(f'zmany-{number}', cloud.mariadb,
                       api_node.cells[1].broker, relayed=False)
            for number in range(30)]
    ours, theirs = pty.openpty()
    with servers.SilentListener() as silent, cloud.also(many), \
            open(ours, 'rb', buffering=0) as terminal:
        for cell in many[::2]:
            cloud.rewrite(cell, database_connection=cell.stored.url(
                silent.port))
        with subprocess.Popen(
                [program(), 'probe', '--project', 'nova', '--config-file',
                 str(api_node.conf)], env=ENVIRONMENT, stderr=theirs,
                stdout=subprocess.PIPE, text=True) as probing:
            os.close(theirs)
            assert probing.stdout is not None
            found = json.loads(probing.stdout.read())
        shown = terminal.read(1 << 16).decode()
    assert probing.returncode == 1
    words = [(one['status'], one['reason'])
             for one in found['checks'][0]['components']]
    assert words.count(('fail', 'DATABASE: NO ANSWER')) == 15
    assert words.count(('pass', 'OK')) == 18
    assert re.search(r'\r\d+ of \d+ probed', shown), shown
    assert shown.endswith('\r\x1b[K')


class Node(agent_module.Agent):
    """A node that answers on a port and a UNIX socket."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.database = directory / 'node.db'
        self.database.touch()
        conf = directory / 'node.conf'
        service_module.configured(
            conf, {'database': {'connection': f'sqlite:///{self.database}'}},
            ['database'], sharing='process', fall=1,
            detail_source_ranges='127.0.0.1/32')
        super().__init__('--config-file', conf)

    @property
    def url(self) -> str:
        return f'http://{self.host}:{self.port}/healthcheck'

    @property
    def unix(self) -> str:
        return f'unix:{self.socket_path}'

    def comes_to(self, code: int) -> None:
        servers.wait_until(lambda: run('status', self.url).code == code,
                           f'exit status {code}', 30.0)


@pytest.fixture
def node(tmp_path: pathlib.Path) -> Iterator[Node]:
    made = Node(tmp_path)
    try:
        made.start()
        made.comes_to(0)
        yield made
    finally:
        made.close()


def test_status_in_a_container(node: Node) -> None:
    """HEALTHCHECK CMD healthcheck status --warn-ok URL"""
    line = ('status', '--warn-ok', node.url)
    assert run(*line, shell=True, environ={}).code == 0
    node.database.unlink()
    node.comes_to(2)
    assert run(*line, shell=True, environ={}).code == 2
    node.database.touch()
    node.comes_to(0)
    node.stop()
    done = run(*line, shell=True, environ={})
    assert done.code == 2
    assert done.json['nodes'][0]['reason'] == 'CONNECTION REFUSED'


NAGIOS = re.compile(
    r'HEALTHCHECK (OK|WARNING|CRITICAL|UNKNOWN) - [^|\n]*'
    r"( \|( ('[^']+'|[^ ='|]+)=[0-9.]+s?(;[0-9.]*){0,4})+)?\n")


def test_status_as_a_plugin_of_nagios(node: Node) -> None:
    line = ('status', '--format', 'line')
    where = f'{node.host}:{node.port}'
    done = run(*line, node.url)
    assert done.code == 0 and NAGIOS.fullmatch(done.out), done
    assert done.out.startswith(f'HEALTHCHECK OK - {where}: OK | latency=0.')
    with servers.RefusedPort() as refused:
        done = run(*line, node.url, f'127.0.0.1:{refused.port}')
    assert done.code == 2 and NAGIOS.fullmatch(done.out), done
    assert done.out.startswith(
        f'HEALTHCHECK CRITICAL - 2 nodes, 1 fail, 1 pass: '
        f'127.0.0.1:{refused.port}: CONNECTION REFUSED | fail=1 warn=0 ')
    done = run(*line, '--check', 'nothing', node.url)
    assert done.code == 3 and NAGIOS.fullmatch(done.out), done
    node.database.unlink()
    node.comes_to(2)
    done = run(*line, '--check', 'database', node.url)
    assert done.code == 2 and NAGIOS.fullmatch(done.out), done
    assert 'DATABASE: NO SUCH DATABASE' in done.out


def test_status_on_a_socket_has_the_details(node: Node) -> None:
    done = run('status', node.unix)
    answer, = done.json['nodes']
    assert done.code == 0
    assert answer['detail']['detection_seconds'] > 0
    text = run('status', '--format', 'table', node.unix).out
    assert text.startswith('This node is in the balancer')
    # Everybody else reads what the balancer reads.
    answer, = run('status', node.url).json['nodes']
    assert answer['detail'] is None
    assert answer['checks'] == [
        {'name': 'database', 'status': 'pass', 'reason': 'OK'}]


def test_status_of_a_fleet_the_worst_first(node: Node) -> None:
    with servers.RefusedPort() as refused, \
            servers.SilentListener() as silent:
        done = run('status', '--format', 'table', '--timeout', '2', node.unix,
                   f'127.0.0.1:{refused.port}', node.url,
                   f'127.0.0.1:{silent.port}', 'http://zhost7.invalid')
    assert done.code == 2
    rows = [line.split() for line in done.out.splitlines()]
    assert [row[1] for row in rows[1:6]] == ['FAIL'] * 3 + ['PASS'] * 2
    said = done.out
    for reason in ('CONNECTION REFUSED', 'NO ANSWER', 'OK'):
        assert reason in said
    assert '\x1b' not in said


def test_status_of_a_node_that_is_frozen(node: Node) -> None:
    os.kill(node.pid, signal.SIGSTOP)
    try:
        done = run('status', '--timeout', '1', node.url, node.unix)
    finally:
        os.kill(node.pid, signal.SIGCONT)
    assert done.code == 2
    assert {one['reason'] for one in done.json['nodes']} == {'NO ANSWER'}


def test_status_is_watched(node: Node) -> None:
    watching = subprocess.Popen(
        [program(), 'status', '--watch', '--interval', '0.2', '--format',
         'line', node.url], env={**ENVIRONMENT, 'PYTHONPATH': str(
             agent_module.ROOT)}, stdout=subprocess.PIPE, text=True)
    try:
        assert watching.stdout is not None
        assert 'HEALTHCHECK OK' in watching.stdout.readline()
        node.database.unlink()
        while 'HEALTHCHECK CRITICAL' not in watching.stdout.readline():
            assert watching.poll() is None
        watching.send_signal(signal.SIGINT)
        assert watching.wait(LONGEST) == 2
    finally:
        watching.kill()
        watching.communicate()


class Recorder(server.BaseHTTPRequestHandler):
    """Answers every request, and keeps the tokens that came."""

    def do_GET(self) -> None:
        self.server.tokens.append(  # type: ignore[attr-defined]
            self.headers.get('X-Auth-Token'))
        body = json.dumps({'status': 'pass', 'reason': 'OK', 'checks': []})
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def recording(tls: ssl.SSLContext | None = None) -> Iterator[Any]:
    with server.ThreadingHTTPServer(('127.0.0.1', 0), Recorder) as running:
        if tls is not None:
            running.socket = tls.wrap_socket(running.socket, server_side=True)
        running.tokens = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


def test_status_over_tls(tmp_path: pathlib.Path) -> None:
    authority = certificates.Authority(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.issue('node'))
    with recording(tls) as running:
        url = f'https://127.0.0.1:{running.server_port}'
        assert run('status', '--cacert', authority.ca, url).code == 0
        assert run('status', '--insecure', url).code == 0
        done = run('status', url)
    assert done.code == 2
    assert done.json['nodes'][0]['reason'] == 'CERTIFICATE REFUSED'
