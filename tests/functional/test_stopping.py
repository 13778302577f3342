# SPDX-License-Identifier: Apache-2.0

"""A node is stopped while it serves, and no client notices."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import pathlib
import signal
import subprocess
import sys

import pytest

from healthcheck.reports import drain
from tests.functional import load
from tests.functional import served
from tests.functional import servers
from tests.functional.servers import agent
from tests.functional.servers import process
from tests.functional.servers import wsgi
from tests.functional import service

# Seconds: HAProxy polls ten times in one.
DELAY = 2.0

GRACEFUL = '--hook-master-start=unix_signal:15 gracefully_kill_them_all'


def gunicorn(*arguments: str) -> wsgi.WSGIServer:
    return wsgi.Gunicorn(served.files(
        sharing='host', backends='database', drain_delay=DELAY),
        arguments, workers=2)


def uwsgi() -> wsgi.WSGIServer:
    return wsgi.UWSGI(served.files(sharing='host', backends='database'),
                      [GRACEFUL], workers=2)


@contextlib.contextmanager
def two(make: Callable[[], process.Server]) -> Iterator[list[process.Server]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(make()) for _ in range(2)]


@contextlib.contextmanager
def balanced(nodes: list[process.Server], path: str = '/') -> Iterator[
        servers.HAProxy]:
    """HAProxy before the nodes, and clients before that, who must not fail."""
    ports = {name: node.port for name, node in zip(('one', 'two'), nodes)}
    with servers.HAProxy(ports, fall=1, rise=1) as haproxy:
        for name in ports:
            servers.wait_until(
                lambda: haproxy.server(name)['check_status'] == 'L7OK', name)
        with load.Load(haproxy.port, path) as clients:
            yield haproxy
            clients.goes_on()
        assert clients.failures == []


def stop(node: process.Server, haproxy: servers.HAProxy) -> None:
    """Tell it to end; see that it was out before, and wait for its end."""
    assert node._process is not None
    node._process.send_signal(signal.SIGTERM)
    servers.wait_until(lambda: not haproxy.up('one'), 'one is out')
    assert node.running, node.log_tail()
    servers.wait_until(lambda: not node.running, f'it ends: {node.log_tail()}')
    assert node._process.returncode == 0, node.log_tail()
    assert haproxy.server('two')['chkdown'] == '0'


@pytest.mark.parametrize('arguments', [
    (), ('--worker-class=gthread', '--threads=4'), ('--preload',),
    ('--worker-class=gevent',)],
    ids=['sync', 'gthread', 'preload', 'gevent'])
def test_gunicorn(arguments: tuple[str, ...]) -> None:
    with two(lambda: gunicorn(*arguments)) as nodes:
        with balanced(nodes) as haproxy:
            stop(nodes[0], haproxy)


def test_agent(tmp_path: pathlib.Path) -> None:
    database = tmp_path / 'service.db'
    database.touch()
    numbers = iter('12')

    def make() -> agent.Agent:
        state = tmp_path / next(numbers)
        state.mkdir()
        conf = state / 'service.conf'
        service.configured(
            conf, {'database': {'connection': f'sqlite:///{database}'}},
            ['database'], state_path=state, drain_delay=DELAY)
        return agent.Agent('--config-file', conf)
    with two(make) as nodes:
        with balanced(nodes, '/healthcheck/live') as haproxy:
            stop(nodes[0], haproxy)
        one = nodes[0]
        assert isinstance(one, agent.Agent)
        assert one.says('EXTEND_TIMEOUT_USEC=12000000')


def test_uwsgi_from_outside() -> None:
    """As ExecStop= of systemd does, or preStop of Kubernetes."""
    with two(uwsgi) as nodes:
        one = nodes[0]
        with balanced(nodes) as haproxy:
            command = [sys.executable, '-m', 'healthcheck.cmd.drain',
                       '--state-path', str(one.directory), '--for', '1m',
                       '--by', 'systemd', '--keep', '--reason', 'it stops',
                       '--wait', str(DELAY)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            assert not haproxy.up('one')
            stop(one, haproxy)
            one.start()
            assert isinstance(one, wsgi.WSGIServer)
            assert drain.DRAINED in one.ask().text
            subprocess.run(
                [sys.executable, '-c', 'from healthcheck.cmd import drain; '
                 'drain.resume()', '--state-path', str(one.directory),
                 '--by', 'systemd'], check=True, stdout=subprocess.DEVNULL)
            servers.wait_until(lambda: haproxy.up('one'), 'one is back')
