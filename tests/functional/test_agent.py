# SPDX-License-Identifier: Apache-2.0

"""An agent, in place of the workers of a service or of its HTTP."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import os
import pathlib
import signal
import socket
import textwrap
import time

from paste import deploy
import psutil
import pytest

from tests.functional import servers
from tests.functional.servers import agent
from tests.functional.servers import client
from tests.functional.servers import slow
from tests.functional.servers import wsgi
from tests.functional import service

# Seconds for what takes a thread's tick or two, on a busy machine.
SOON = 10.0

NO_DATABASE = 'DATABASE: NO SUCH DATABASE'
NEW = 'goes on with the new configuration'
OLD = 'goes on with the configuration that it has'


class Site:
    """A service with a database that can be taken away."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.state = directory / 'state'
        self.state.mkdir()
        self.conf = directory / 'service.conf'
        self.database = directory / 'service.db'
        self.database.touch()
        self.url = f'sqlite:///{self.database}'
        self.options = {'state_path': self.state, 'fall': 1}
        self.backends = ['database']
        self.write()

    def write(self) -> None:
        self.made = service.configured(
            self.conf, {'database': {'connection': self.url}},
            self.backends, **self.options)

    def worker(self) -> service.Service:
        """A worker of the service, in this process."""
        return service.Service(*self.backends, conf=self.made,
                               **self.options)

    @property
    def published(self) -> list[str]:
        """The names of what is shared."""
        return sorted(path.name for path in self.state.glob('*/*'))


@pytest.fixture
def site(tmp_path: pathlib.Path) -> Site:
    return Site(tmp_path)


Start = Callable[..., agent.Agent]


@pytest.fixture
def start(site: Site) -> Iterator[Start]:
    """Start an agent of the service."""
    with contextlib.ExitStack() as stack:
        def make(*arguments: str | pathlib.Path, site_directory: str = '',
                 watchdog: float = 0.0) -> agent.Agent:
            made = agent.Agent(
                *(arguments or ('--config-file', site.conf)),
                site=site_directory, watchdog=watchdog)
            stack.callback(made.close)
            made.start()
            return made
        yield make


def reason(running: agent.Agent) -> str:
    return client.ask(running.port).text


def wait_for(running: agent.Agent, text: str) -> None:
    servers.wait_until(lambda: reason(running) == text, text, SOON)


@contextlib.contextmanager
def behind_a_relay(site: Site, mariadb: servers.MariaDB,
                   ) -> Iterator[servers.Relay]:
    """The database of the site is a MariaDB whose connections are counted."""
    mariadb.create_database('agent')
    mariadb.create_user('agent', 'secret', 'agent')
    try:
        with servers.Relay(mariadb.host, mariadb.port) as relay:
            site.url = mariadb.url('agent', 'secret', 'agent',
                                   port=relay.port)
            site.write()
            yield relay
    finally:
        mariadb.drop_user('agent')
        mariadb.drop_database('agent')


def test_a_worker_leaves_the_probing_to_the_agent(
        site: Site, start: Start, mariadb: servers.MariaDB) -> None:
    with behind_a_relay(site, mariadb) as relay:
        running = start()
        assert reason(running) == 'OK'
        with site.worker() as worker:
            worker.passes()
            worker.stays('OK', 1.0)
            # Several rounds; no connection came but the agent's.
            assert (relay.accepted, relay.connections) == (1, 1)
            relay.refuse()
            relay.cut()
            worker.fails('DATABASE: CONNECTION REFUSED')
            wait_for(running, 'DATABASE: CONNECTION REFUSED')
            relay.heal()
            worker.passes()

            # An agent that is killed tells nobody.
            before = relay.accepted
            running.kill()
            servers.wait_until(lambda: relay.accepted > before,
                               'the worker probes', SOON)
            relay.refuse()
            relay.cut()
            worker.wait_for(503, 'DATABASE: CONNECTION REFUSED')
            relay.heal()
            worker.passes()

            # The worker goes on, and the agent waits for its turn.
            before = relay.accepted
            running.start()
            wait_for(running, 'OK')
            assert running.says(f'STATUS=pass, process {os.getpid()} probes')
            assert (relay.accepted, relay.connections) == (before, 1)
        servers.wait_until(lambda: relay.accepted > before,
                           'the agent probes', SOON)
        servers.wait_until(lambda: running.says('STATUS=pass'),
                           'the agent says so', SOON)
        assert running.leave()[0] == 0
        servers.wait_until(lambda: relay.connections == 0, 'closed', SOON)


def test_a_worker_of_a_paste_file(site: Site, start: Start) -> None:
    paste = site.directory / 'api-paste.ini'
    paste.write_text(textwrap.dedent(f"""\
        [pipeline:main]
        pipeline = healthcheck api

        [filter:healthcheck]
        use = egg:openstack-healthcheck#healthcheck
        oslo_config_project = service
        oslo_config_file = {site.conf}
        ttl = 42

        [app:api]
        paste.app_factory = healthcheck.cmd.demo:app_factory
        """))
    running = start('--paste', paste)
    wait_for(running, 'OK')
    published = site.published
    worker = site.worker()
    worker.app = deploy.loadapp(f'config:{paste}')
    with worker:
        worker.passes()
        assert len([name for name in site.published if '.lock' in name]) == 1
        assert site.published == published
        site.database.unlink()
        worker.fails(NO_DATABASE)


class WithAnotherDatabase(agent.Agent):
    """Has the URL of another database in its environment."""

    url = ''

    def environment(self) -> dict[str, str]:
        return {**super().environment(), 'OS_DATABASE__CONNECTION': self.url}


def test_another_database_in_the_environment(site: Site, start: Start,
                                             monkeypatch: pytest.MonkeyPatch,
                                             ) -> None:
    """It has read the same files, and answered from the other's report."""
    first = start()
    wait_for(first, 'OK')
    monkeypatch.setattr(WithAnotherDatabase, 'url', f'{site.url}.gone')
    with contextlib.closing(WithAnotherDatabase(
            '--config-file', site.conf)) as second:
        second.start()
        wait_for(second, NO_DATABASE)
        assert client.ask(second.port).status == 503
        assert client.ask(first.port).status == 200
    assert len([name for name in site.published if '.lock' in name]) == 2

    # The same database, wherever its URL is from: one prober is enough.
    monkeypatch.setattr(WithAnotherDatabase, 'url', site.url)
    with contextlib.closing(WithAnotherDatabase(
            '--config-file', site.conf)) as third:
        third.start()
        wait_for(third, 'OK')
        servers.wait_until(
            lambda: third.says(f'STATUS=pass, process {first.pid} probes'),
            'the third one follows', SOON)


def test_workers_whose_threads_do_not_run(site: Site, start: Start) -> None:
    server = wsgi.DebianUWSGI({
        'service.py': textwrap.dedent(f"""\
            from oslo_config import cfg
            import healthcheck
            conf = cfg.ConfigOpts()
            conf(['--config-file', {str(site.conf)!r}], project='bench')
            from tests.functional import bench
            application = bench.Bench(healthcheck.Healthcheck(
                bench.api, conf))
            """)}, workers=2)
    running = start()
    wait_for(running, 'OK')
    with contextlib.closing(server):
        server.start()
        assert {server.ask().text for _ in range(8)} == {'OK'}
        site.database.unlink()
        servers.wait_until(
            lambda: {server.ask().text for _ in range(8)} == {NO_DATABASE},
            'both workers know', SOON)


def test_a_prober_that_is_frozen_is_deposed(site: Site, start: Start) -> None:
    first = start()
    wait_for(first, 'OK')
    second = start()
    wait_for(second, 'OK')
    servers.wait_until(
        lambda: second.says(f'STATUS=pass, process {first.pid} probes'),
        'the second one follows', SOON)
    first.freeze()
    servers.wait_until(lambda: second.lines()[-1] == 'STATUS=pass',
                       'the second one probes', SOON)
    site.database.unlink()
    wait_for(second, NO_DATABASE)
    first.thaw()
    wait_for(first, NO_DATABASE)
    servers.wait_until(
        lambda: first.lines()[-1].endswith(f'process {second.pid} probes'),
        'the first one follows', SOON)


@pytest.mark.parametrize('signum', [signal.SIGTERM, signal.SIGINT])
def test_leaves_nothing_behind(site: Site, start: Start,
                               signum: int) -> None:
    running = start()
    wait_for(running, 'OK')
    family = running.processes()
    assert running.socket_path.stat().st_mode & 0o777 == 0o660
    # A caller that never gets to its question holds up nobody.
    with socket.create_connection((running.host, running.port)) as slow:
        slow.sendall(b'GET /healthcheck HTTP/1.1\r\n')
        status, seconds = running.leave(signum)
    assert status == 0, running.log_tail()
    assert seconds < 2
    assert running.lines()[-1] == 'STOPPING=1'
    assert not running.socket_path.exists()
    assert not any(map(psutil.Process.is_running, family))
    assert 'Traceback' not in running.log.read_text()


def test_answers_what_workers_answer(site: Site, start: Start) -> None:
    running = start()
    wait_for(running, 'OK')
    for ask in (running.curl, lambda path: client.ask(
            running.port, path).text):
        assert ask('/healthcheck') == 'OK'
        assert ask('/healthcheck/live') == 'OK'
        assert ask('/healthcheck/database') == 'OK'
        assert ask('/') == 'Not Found'
    assert running.curl('/healthcheck', '--head').startswith('HTTP/1.1 204')
    assert client.ask(running.port, version='1.0').status == 200


@pytest.mark.parametrize('sources, pollers', [
    # Where all of them come from one address, another caller from there is
    # answered, too: those that have waited longest make room.
    (1, ['127.0.0.3', '127.0.1.1']), (200, ['127.0.0.3'])])
def test_slow_callers_hold_up_nobody(site: Site, start: Start, sources: int,
                                     pollers: list[str]) -> None:
    """A thousand, who send a byte now and then and come back if closed."""
    running = start()
    wait_for(running, 'OK')
    before = psutil.Process(running.pid).num_fds()
    with slow.SlowCallers(
            1000, socket.AF_INET, (running.host, running.port),
            lambda number: (f'127.0.1.{number % sources + 1}', 0)) as callers:
        servers.wait_until(lambda: callers.sent > 10_000, 'they are slow', 60)
        for source in pollers:
            for _ in range(5):
                assert client.ask(running.port, source=source).text == 'OK'
        assert running.curl() == 'OK'
        # Of 1,000 that try, and what answers hold at the moment.
        assert psutil.Process(running.pid).num_fds() < before + 300
    text = running.log.read_text()
    assert 'Traceback' not in text
    assert text.count('have waited longest are closed') == 1


def test_slow_users_of_the_socket_hold_up_nobody(site: Site,
                                                 start: Start) -> None:
    running = start()
    wait_for(running, 'OK')
    with slow.SlowCallers(1000, socket.AF_UNIX,
                          str(running.socket_path)) as callers:
        servers.wait_until(lambda: callers.sent > 10_000, 'they are slow', 60)
        assert client.ask(running.port).text == 'OK'
        assert running.curl() == 'OK'


def test_admins_are_those_on_the_host(site: Site, start: Start) -> None:
    site.options['detail_source_ranges'] = '127.0.0.1'
    site.write()
    running = start()
    wait_for(running, 'OK')
    detail = '/healthcheck/detail'
    assert client.ask(running.port, detail).status == 200
    assert f'{running.pid}' in running.curl(detail)
    # Whom a proxy asks for, is not on the host.
    assert client.ask(running.port, detail,
                      X_Forwarded_For='192.0.2.1').status == 403
    assert running.curl(detail, '--header', 'X-Forwarded-For: 192.0.2.1',
                        '--write-out', '%{http_code}',
                        '--output', '/dev/null') == '403'


def test_a_socket_that_was_left_behind(site: Site, start: Start) -> None:
    first = start()
    first.kill()
    assert first.socket_path.is_socket()
    first.start()
    assert first.curl() == 'OK'
    second = agent.Agent('--config-file', site.conf, '--listen',
                         f'unix:{first.socket_path}')
    with contextlib.closing(second), pytest.raises(
            servers.ServerError, match='another process answers there'):
        second.start()
    assert first.curl() == 'OK'


def test_reads_its_configuration_again(site: Site, start: Start) -> None:
    running = start()
    wait_for(running, 'OK')
    pid = running.pid
    site.url = f'sqlite:///{site.directory}/another.db'
    site.write()
    running.reload(NEW)
    wait_for(running, NO_DATABASE)
    assert running.curl() == NO_DATABASE
    # Workers that read the same follow it.
    with site.worker() as worker:
        worker.fails(NO_DATABASE)
        assert len(list(site.state.glob('*/*.lock'))) <= 2
    assert running.pid == pid

    # The same once more, and what probed before has ended.
    threads = psutil.Process(pid).num_threads()
    running.reload(NEW)
    wait_for(running, NO_DATABASE)
    servers.wait_until(
        lambda: psutil.Process(pid).num_threads() <= threads,
        'the threads of before are gone', SOON)

    text = site.conf.read_text()
    for broken, problem in (
            (text.replace('backends = database', 'backends = databse'),
             'did you mean database?'),
            (text.replace('[database]', '[database'), 'service.conf'),
            (text + 'interval = 0\n', 'allowed')):
        site.conf.write_text(broken)
        running.reload(OLD)
        assert problem in running.log.read_text().partition(OLD)[2]
        assert reason(running) == NO_DATABASE
    site.conf.unlink()
    running.reload(OLD)
    (site.directory / 'another.db').touch()
    wait_for(running, 'OK')
    site.write()
    running.reload(NEW)
    wait_for(running, 'OK')


def test_the_watchdog_hears_of_a_thread_that_is_stuck(
        site: Site, start: Start) -> None:
    info = site.directory / 'site' / 'stuck-1.dist-info'
    info.mkdir(parents=True)
    (info / 'METADATA').write_text(
        'Metadata-Version: 2.1\nName: stuck\nVersion: 1\n')
    (info / 'entry_points.txt').write_text(
        '[oslo.middleware.healthcheck]\nstuck = stuck:Stuck\n')
    trigger = site.directory / 'stick'
    (info.parent / 'stuck.py').write_text(textwrap.dedent(f"""\
        import os
        import time

        from healthcheck.plugins import base


        class Stuck(base.ProbePlugin):
            name = 'stuck'

            def probe(self):
                while os.path.exists({str(trigger)!r}):
                    time.sleep(0.1)
                return base.Result.ok()

            def overdue(self):
                # In the thread that must never wait.
                time.sleep(3600)
        """))
    site.conf.write_text(site.conf.read_text().replace(
        'backends = database', 'backends = stuck'))
    running = start(site_directory=str(info.parent), watchdog=1.0)
    wait_for(running, 'OK')
    pings = count_pings(running)
    servers.wait_until(lambda: count_pings(running) >= pings + 2,
                       'signs of life', SOON)
    trigger.touch()

    def is_quiet() -> bool:
        count_pings(running)
        last = max(when for when, line in running.said
                   if line == 'WATCHDOG=1')
        return time.monotonic() - last > 2.5
    servers.wait_until(is_quiet, 'no sign of life for long', 20.0)
    # It still answers, and ends at a signal.
    assert client.ask(running.port, '/healthcheck/live').status == 200
    assert running.leave()[0] == 0


def count_pings(running: agent.Agent) -> int:
    return running.lines().count('WATCHDOG=1')
