# SPDX-License-Identifier: Apache-2.0

"""Tests of the test bench: do the servers misbehave as they say?"""

from __future__ import annotations

from collections.abc import Iterator
import pathlib
import shutil
import subprocess
import sys

import psutil
import psycopg2
import pymysql
import pytest

from tests.functional import servers
from tests.functional.servers import postgresql as postgresql_module
from tests.functional.servers import process

# Everything a URL has to escape.
PASSWORD = 'p@ss:w/rd %41'


def maria(server: servers.MariaDB, timeout: int = 5,
          password: str = PASSWORD) -> pymysql.Connection:
    return pymysql.connect(host=server.host, port=server.port, user='bench',
                           password=password, database='bench',
                           connect_timeout=timeout, read_timeout=timeout)


@pytest.fixture
def maria_user(mariadb: servers.MariaDB) -> Iterator[servers.MariaDB]:
    mariadb.create_database('bench')
    mariadb.create_user('bench', PASSWORD, 'bench')
    yield mariadb
    mariadb.heal()
    mariadb.drop_user('bench')
    mariadb.drop_database('bench')


@pytest.fixture
def postgres_user(postgresql: servers.PostgreSQL
                  ) -> Iterator[servers.PostgreSQL]:
    postgresql.create_database('bench')
    postgresql.create_user('bench', PASSWORD, 'bench')
    yield postgresql
    postgresql.heal()
    postgresql.drop_database('bench')
    postgresql.drop_user('bench')


class TestProcess:

    def test_free_ports_differ(self) -> None:
        ports = {servers.free_port() for _ in range(50)}
        assert len(ports) == 50

    def test_missing_binary_names_the_package(self) -> None:
        with pytest.raises(servers.ServerError, match='package some-thing'):
            process.find_binary('no-such-program', 'some-thing')

    def test_failed_start_shows_the_log(self) -> None:
        class Failing(process.Server):
            def command(self) -> list[str]:
                return ['sh', '-c', 'echo the reason; exit 3']

            def ready(self) -> bool:
                return False

        server = Failing()
        try:
            with pytest.raises(servers.ServerError, match='the reason'):
                server.start()
        finally:
            server.close()
        assert not server.directory.exists()

    def test_server_dies_with_a_killed_test_run(self) -> None:
        # Even a frozen one, and with its children.
        script = ('from tests.functional import servers\n'
                  'import os, time\n'
                  'server = servers.PostgreSQL()\n'
                  'server.start()\n'
                  'server.freeze()\n'
                  'print(server.directory,'
                  ' *(one.pid for one in server.processes()), flush=True)\n'
                  'time.sleep(60)\n')
        run = subprocess.Popen([sys.executable, '-c', script], text=True,
                               cwd=pathlib.Path(__file__).parents[2],
                               stdout=subprocess.PIPE)
        assert run.stdout is not None
        directory, *pids = run.stdout.readline().split()
        run.stdout.close()
        assert len(pids) > 2
        run.kill()
        run.wait()
        family = [psutil.Process(int(pid)) for pid in pids
                  if psutil.pid_exists(int(pid))]
        servers.wait_until(lambda: all(map(process._gone, family)),
                           'orphans dead')
        postgresql_module.remove_shared_memory(
            pathlib.Path(directory, 'data'))
        shutil.rmtree(directory)


def test_programs_hear_interrupts_in_the_background() -> None:
    """waitress and cheroot never left, each time, when it was make test &."""
    script = ('import subprocess, sys\n'
              'from tests.functional import conftest\n'
              'subprocess.run([sys.executable, "-c", "import signal; '
              'print(signal.getsignal(signal.SIGINT))"])')
    told = subprocess.run(
        ['env', '--ignore-signal=INT', sys.executable, '-W', 'ignore', '-c',
         script], cwd=pathlib.Path(__file__).parents[2], check=True,
        capture_output=True, text=True).stdout
    assert 'default_int_handler' in told


class TestMariaDB:

    def test_counts(self, maria_user: servers.MariaDB) -> None:
        connected = maria_user.status('Connections')
        with maria(maria_user) as connection:
            assert maria_user.status('Connections') == connected + 1
            assert maria_user.connections('bench') == 1
            asked = maria_user.questions()
            connection.cursor().execute('SELECT 1')
            assert maria_user.questions() == asked + 1

    def test_password(self, maria_user: servers.MariaDB) -> None:
        maria_user.set_password('bench', 'other')
        with pytest.raises(pymysql.OperationalError, match='Access denied'):
            maria(maria_user)
        maria(maria_user, password='other').close()

    def test_freeze(self, maria_user: servers.MariaDB) -> None:
        with maria(maria_user, timeout=1) as connection:
            maria_user.freeze()
            with pytest.raises(pymysql.OperationalError, match='timed out'):
                connection.cursor().execute('SELECT 1')
        maria_user.thaw()
        maria(maria_user).close()

    def test_kill_and_restart(self, maria_user: servers.MariaDB) -> None:
        maria_user.kill()
        with pytest.raises(pymysql.OperationalError, match='refused'):
            maria(maria_user)
        maria_user.start()
        maria(maria_user).close()

    def test_url_escapes(self, mariadb: servers.MariaDB) -> None:
        assert mariadb.url('u@', 'p/:', 'base') == (
            f'mysql+pymysql://u%40:p%2F%3A@127.0.0.1:{mariadb.port}/base')


class TestGalera:

    def test_starts_synced(self, galera: servers.GaleraNode) -> None:
        assert galera.status('wsrep_local_state') == 4
        assert galera.status_text('wsrep_cluster_status') == 'Primary'

    def test_desync(self, galera: servers.GaleraNode) -> None:
        galera.desync()
        assert galera.status('wsrep_local_state') == 2
        assert galera.status_text('wsrep_ready') == 'ON'
        galera.resync()
        assert galera.status('wsrep_local_state') == 4

    def test_quorum(self, galera: servers.GaleraNode) -> None:
        galera.create_database('bench')
        galera.create_user('bench', PASSWORD, 'bench')
        with maria(galera) as connection:
            cursor = connection.cursor()
            cursor.execute('CREATE TABLE data (id INT PRIMARY KEY)')
            galera.lose_quorum()
            assert galera.status_text('wsrep_ready') == 'OFF'
            assert galera.status_text('wsrep_cluster_status') == 'non-Primary'
            # The client stays connected, and no table is needed for this.
            cursor.execute('SELECT 1')
            with pytest.raises(pymysql.OperationalError, match='WSREP'):
                cursor.execute('SELECT * FROM data')
            galera.regain_quorum()
            assert galera.status_text('wsrep_cluster_status') == 'Primary'
            cursor.execute('SELECT * FROM data')
        galera.drop_user('bench')
        galera.drop_database('bench')


class TestPostgreSQL:

    def connect(self, server: servers.PostgreSQL, password: str = PASSWORD
                ) -> psycopg2.extensions.connection:
        connection = psycopg2.connect(
            server.url('bench', password, 'bench', driver='postgresql'),
            connect_timeout=2)
        connection.autocommit = True
        return connection

    def test_counts(self, postgres_user: servers.PostgreSQL) -> None:
        connection = self.connect(postgres_user)
        assert postgres_user.connections('bench') == 1
        assert postgres_user.logins('bench') >= 1
        before = postgres_user.statements('bench')
        connection.cursor().execute('SELECT 1')
        assert postgres_user.statements('bench') == before + 1
        connection.close()

    def test_password(self, postgres_user: servers.PostgreSQL) -> None:
        postgres_user.set_password('bench', 'other')
        with pytest.raises(psycopg2.OperationalError, match='password'):
            self.connect(postgres_user)
        self.connect(postgres_user, 'other').close()

    def test_freeze(self, postgres_user: servers.PostgreSQL) -> None:
        connection = self.connect(postgres_user)
        postgres_user.freeze()
        with pytest.raises(psycopg2.OperationalError, match='timeout'):
            self.connect(postgres_user)
        postgres_user.thaw()
        connection.cursor().execute('SELECT 1')
        connection.close()

    def test_read_only(self, postgres_user: servers.PostgreSQL) -> None:
        for read_only, shown in ((True, 'on'), (False, 'off')):
            postgres_user.set_read_only('bench', read_only)
            connection = self.connect(postgres_user)
            cursor = connection.cursor()
            cursor.execute('SHOW transaction_read_only')
            assert cursor.fetchall() == [(shown,)]
            connection.close()

    def test_standby(self, postgres_user: servers.PostgreSQL) -> None:
        postgres_user.standby()
        assert postgres_user.in_recovery
        self.connect(postgres_user).close()
        postgres_user.promote()
        assert not postgres_user.in_recovery

    def test_kill_and_restart(self, postgres_user: servers.PostgreSQL
                              ) -> None:
        postgres_user.kill()
        with pytest.raises(psycopg2.OperationalError, match='refused'):
            self.connect(postgres_user)
        postgres_user.start()
        self.connect(postgres_user).close()
