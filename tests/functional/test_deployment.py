# SPDX-License-Identifier: Apache-2.0

"""What the pages for deployment tools show, run by those that read it."""

from __future__ import annotations

from collections.abc import Iterator
from http import server as http_server
import pathlib
import re
import subprocess
import sys
import threading

import jinja2
from jinja2 import nativetypes
import pytest
import yaml

from tests.functional import servers
from tests.functional.servers import client
from tests.functional.servers import process

ROOT = pathlib.Path(__file__).parents[2]
EXAMPLES = ROOT / 'doc' / 'source' / 'examples'


class Node:
    """A service that answers with its name, and a health that a test sets.

    :ivar well: whether it serves
    :ivar shared: whether what it shares with other nodes is well; the service
        serves without
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.well = True
        self.shared = True
        node = self

        class Handler(http_server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # noqa: N802
                polled = self.path.startswith('/healthcheck')
                body = b'OK' if polled else node.name.encode()
                fails = not node.well or (
                    self.path == '/healthcheck' and not node.shared)
                self.send_response(503 if fails else 200)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Nothing."""

        self._server = http_server.ThreadingHTTPServer(
            ('127.0.0.1', servers.free_port()), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever,
                         kwargs={'poll_interval': 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def nodes() -> Iterator[list[Node]]:
    made = [Node('one'), Node('two')]
    yield made
    for node in made:
        node.close()


class Proxy(process.Server):
    """A web server with an example of the documentation as it stands.

    :param changes: what is another here, such as addresses and ports
    """

    example: str

    def __init__(self, **changes: str) -> None:
        super().__init__()
        self.changes = changes

    def text(self) -> str:
        text = (EXAMPLES / self.example).read_text()
        for there, here in self.changes.items():
            assert there in text
            text = text.replace(there, here)
        return text

    def ready(self) -> bool:
        try:
            client.ask(self.port, '/', timeout=5)
        except OSError:
            return False
        return True


class Nginx(Proxy):
    """Its directories are in the test's own one."""

    name = 'nginx'
    example = 'nginx.conf'

    def prepare(self) -> None:
        kinds = ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi')
        paths = '\n'.join(f'{kind}_temp_path {self.directory}/{kind};'
                          for kind in kinds)
        (self.directory / 'nginx.conf').write_text(
            f'pid {self.directory}/pid;\nerror_log stderr;\n'
            f'worker_processes 1;\nevents {{}}\nhttp {{\naccess_log off;\n'
            f'{paths}\n{self.text()}}}\n')

    def command(self) -> list[str]:
        program = process.find_binary('nginx', 'nginx')
        return [program, '-p', str(self.directory), '-e', 'stderr', '-c',
                str(self.directory / 'nginx.conf'), '-g', 'daemon off;']


class NginxNode(Nginx):
    """Before one service."""

    example = 'nginx-node.conf'


class ApacheBalancer(Proxy):
    """With the modules that the page names."""

    name = 'apache'
    example = 'apache-balancer.conf'

    def prepare(self) -> None:
        page = (EXAMPLES.parent / 'deployment' / 'apache.rst').read_text()
        named = page.partition('modules')[2].partition(':')[0]
        modules = [name for name in re.findall('``([a-z_]+)``', named)
                   if name != 'watchdog']  # which Debian compiles in
        lines = [
            f'ServerRoot {self.directory}', 'ServerName localhost',
            f'PidFile {self.directory}/pid',
            f'ErrorLog {self.directory}/error.log',
            f'DefaultRuntimeDir {self.directory}',
            *(f'LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}'
              '.so' for name in ('mpm_event', 'authz_core', *modules)),
            self.text()]
        (self.directory / 'httpd.conf').write_text('\n'.join(lines) + '\n')

    def command(self) -> list[str]:
        return [process.find_binary('apache2', 'apache2-bin'), '-DFOREGROUND',
                '-f', str(self.directory / 'httpd.conf')]


class ApacheOpen(ApacheBalancer):
    """Which has each node twice."""

    example = 'apache-open.conf'


def before(kind: type[Proxy], nodes: list[Node]) -> Proxy:
    proxy = kind(**{'192.0.2.11:8774': f'127.0.0.1:{nodes[0].port}',
                    '192.0.2.12:8774': f'127.0.0.1:{nodes[1].port}'})
    listens = 'listen ' if kind is Nginx else 'Listen '
    proxy.changes[f'{listens}8774'] = f'{listens}127.0.0.1:{proxy.port}'
    if issubclass(kind, ApacheBalancer):
        proxy.changes['*:8774'] = f'127.0.0.1:{proxy.port}'
    else:
        proxy.changes['fail_timeout=10s'] = 'fail_timeout=1s'
    return proxy


BOTH = {(200, 'one'), (200, 'two')}


def of_some(proxy: Proxy) -> set[tuple[int, str]]:
    """The answers to some requests."""
    given = [client.ask(proxy.port, '/') for _ in range(8)]
    return {(answer.status, answer.text) for answer in given}


@pytest.mark.parametrize('kind', [Nginx, ApacheBalancer])
def test_node_leaves_and_returns(kind: type[Proxy], nodes: list[Node],
                                 ) -> None:
    with before(kind, nodes) as proxy:
        servers.wait_until(lambda: of_some(proxy) == BOTH, 'both')
        # Nobody else reads how they are.
        assert client.ask(proxy.port, '/healthcheck').status == 404
        assert client.ask(proxy.port, '/healthcheck/detail').status == 404
        nodes[0].well = False
        servers.wait_until(lambda: of_some(proxy) == {(200, 'two')},
                           'one is out')
        nodes[0].well = True
        servers.wait_until(lambda: of_some(proxy) == BOTH, 'one is back')


def test_apache_fails_open(nodes: list[Node]) -> None:
    one, two = nodes
    proxy = before(ApacheOpen, nodes)
    for name, node in (('node1', one), ('node2', two)):
        proxy.changes[f'{name}.example.org:8774'] = f'localhost:{node.port}'
    proxy.changes['hcinterval=2'] = 'hcinterval=1'
    with proxy:
        servers.wait_until(lambda: of_some(proxy) == BOTH, 'both')
        one.shared = False
        servers.wait_until(lambda: of_some(proxy) == {(200, 'two')},
                           'one is out')
        # One is in again: now both are reached as standbys.
        two.shared = False
        servers.wait_until(lambda: of_some(proxy) == BOTH, 'all stay')
        one.well = False
        servers.wait_until(lambda: of_some(proxy) == {(200, 'two')},
                           'one is out for its own fault')
        one.well = one.shared = two.shared = True
        servers.wait_until(lambda: of_some(proxy) == BOTH, 'as before')


@pytest.mark.parametrize(('allowed', 'status'), [
    ('127.0.0.1', 200), ('192.0.2.1', 403)])
def test_nginx_passes_polls_of_the_balancer_alone(
        allowed: str, status: int, nodes: list[Node]) -> None:
    proxy = NginxNode(**{'allow 192.0.2.1': f'allow {allowed}',
                         '127.0.0.1:8774': f'127.0.0.1:{nodes[0].port}'})
    proxy.changes['listen 8775'] = f'listen 127.0.0.1:{proxy.port}'
    with proxy:
        assert client.ask(proxy.port).status == status
        assert client.ask(proxy.port, '/healthcheck/detail').status == 404


def assert_valid(path: pathlib.Path) -> None:
    """HAProxy finds no error, and warns of nothing."""
    done = subprocess.run(
        [process.find_binary('haproxy', 'haproxy'), '-c', '-f', str(path)],
        check=False, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    # Which newer ones do not say.
    said = done.stdout.replace('Configuration file is valid\n', '')
    assert (done.returncode, said) == (0, '')


@pytest.mark.parametrize('example', [
    'haproxy.cfg', 'haproxy-agent.cfg', 'haproxy-open.cfg'])
def test_haproxy_warns_of_nothing(example: str, tmp_path: pathlib.Path,
                                  ) -> None:
    (tmp_path / 'haproxy.cfg').write_text(
        'defaults\n  timeout connect 1s\n  timeout client 5s\n'
        '  timeout server 5s\nfrontend front\n  mode http\n'
        '  bind 127.0.0.1:8774\n  default_backend nova_api\n'
        + (EXAMPLES / example).read_text())
    assert_valid(tmp_path / 'haproxy.cfg')


def test_kolla_ansible_fails_open(tmp_path: pathlib.Path) -> None:
    """Its template puts the lines into a frontend, and reads the file."""
    line = yaml.safe_load((EXAMPLES / 'kolla-ansible-open.yml').read_text())[
        'haproxy_frontend_http_extra']
    lines = nativetypes.NativeEnvironment().from_string(line).render(
        item={'key': 'nova-api'})
    ansible = jinja2.Environment(trim_blocks=True)
    ansible.filters['kolla_address'] = lambda network, host: f'192.0.2.{host}'
    backend = ansible.from_string(
        (EXAMPLES / 'kolla-ansible-open.cfg').read_text()).render(
            groups={'nova-api': ['11', '12']}, nova_api_listen_port=8774,
            hostvars={host: {'ansible_facts': {'hostname': f'node{host}'}}
                      for host in ('11', '12')})
    (tmp_path / 'haproxy.cfg').write_text('\n'.join([
        'global', 'log 127.0.0.1 local0', 'defaults', 'mode http',
        'log global', 'timeout connect 1s', 'timeout client 5s',
        'timeout server 5s', 'frontend nova_api_front', *lines,
        'bind 127.0.0.1:8774', 'default_backend nova_api_back',
        'backend nova_api_back', 'server node11 192.0.2.11:8774 check',
        backend, '']))
    assert_valid(tmp_path / 'haproxy.cfg')
    assert backend.count(' check ') == 2


@pytest.mark.parametrize('names', [
    ['service.unit'], ['service.unit', 'drain.service'],
    ['healthcheck-agent@.service']], ids=str)
def test_units(names: list[str], tmp_path: pathlib.Path) -> None:
    """With programs that exist, and nothing else changed."""
    unit, *drop_ins = names
    source = (EXAMPLES / unit if (EXAMPLES / unit).exists()
              else ROOT / 'etc' / 'systemd' / unit)
    bin_ = pathlib.Path(sys.executable).parent
    name = 'healthcheck-agent@nova.service' if '@' in unit else 'nova.service'

    def adapt(path: pathlib.Path) -> str:
        text = path.read_text()
        for program in ('healthcheck-agent', 'healthcheck', 'uwsgi'):
            text = text.replace(f'/usr/bin/{program} ', f'{bin_}/{program} ')
        return text
    (tmp_path / name).write_text(adapt(source))
    for drop_in in drop_ins:
        (tmp_path / f'{name}.d').mkdir()
        (tmp_path / f'{name}.d' / 'drain.conf').write_text(
            adapt(EXAMPLES / drop_in))
    found = process.find_binary('systemd-analyze', 'systemd')
    done = subprocess.run(
        [found, 'verify', '--man=no', str(tmp_path / name)],
        check=False, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    # It also reads the units of this machine.
    assert [line for line in done.stdout.splitlines()
            if str(tmp_path) in line or name in line] == []
    assert done.returncode == 0, done.stdout
