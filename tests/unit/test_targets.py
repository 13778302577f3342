# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""What a target of each kind does with its connection."""

import ssl
import types

import amqp
from amqp import method_framing
from oslo_config import cfg
from pymysql import connections
import pytest
import sqlalchemy

from healthcheck.plugins import database_target
from healthcheck.plugins import dialects
from healthcheck.plugins import failures
from healthcheck.plugins import held
from healthcheck.plugins import mysql_tls
from healthcheck.plugins import queue_target
from healthcheck import report


def target_of(url):
    return database_target.DatabaseTarget(
        url, option='o', bound=4, tolerance=dialects.Tolerance())


class TestReasons:

    @pytest.mark.parametrize('text, reason', [
        ('(0, 0): (403) ACCESS_REFUSED - Login was refused using '
         'authentication mechanism AMQPLAIN.', failures.LOGIN_REFUSED),
        ("Exchange.declare: (403) ACCESS_REFUSED - access to exchange 'nova' "
         "in vhost 'v' refused for user 'u'", failures.PERMISSION_DENIED),
        ("Connection.open: (530) NOT_ALLOWED - access to vhost 'v' refused "
         "for user 'u'", failures.PERMISSION_DENIED),
        ('Connection.open: (530) NOT_ALLOWED - vhost v not found',
         queue_target.NO_SUCH_VHOST),
        ("NOT_ALLOWED - access to vhost 'v' refused for user 'u': connection "
         "limit (1) is reached", failures.TOO_MANY_CONNECTIONS),
        ('(0, 0): (320) CONNECTION_FORCED - vhost v is deleted',
         queue_target.NO_SUCH_VHOST),
        ('(0, 0): (320) CONNECTION_FORCED - closed',
         failures.CONNECTION_LOST),
        ('something new', failures.FAILED)])
    def test_of_the_broker(self, text, reason):
        made = queue_target.QueueTarget(
            cfg.CONF, 'rabbit://h/', option='o', bound=4)
        assert made.reason(RuntimeError(text)) == reason

    @pytest.mark.parametrize('code, reason', [
        (1040, failures.TOO_MANY_CONNECTIONS), (1045, failures.LOGIN_REFUSED),
        (1049, dialects.NO_SUCH_DATABASE), (1047, dialects.NOT_READY),
        (2006, failures.CONNECTION_LOST), (4711, failures.FAILED)])
    def test_of_mysql(self, code, reason):
        made = target_of('mysql+pymysql://h/db')
        assert made.reason(RuntimeError(code, 'text')) == reason


class TestAlso:
    """What somebody else asks over the connection of a target."""

    @pytest.fixture
    def target(self, tmp_path):
        path = tmp_path / 'nova.db'
        path.touch()
        return target_of(f'sqlite:///{path}')

    def test_is_asked_in_the_same_visit_and_rolled_back(self, target):
        seen = []

        def also(connection):
            connection.exec_driver_sql('CREATE TABLE IF NOT EXISTS t (i int)')
            connection.execute(sqlalchemy.text('INSERT INTO t VALUES (1)'))
            seen.append(connection.exec_driver_sql(
                'SELECT count(*) FROM t').scalar())

        target.also = also
        for _ in range(2):
            assert target.probe() == report.Result.ok()
        assert seen == [1, 1]
        assert not target.connected  # SQLite's is opened each time

    def test_its_failure_is_the_visits(self, target):
        target.also = lambda connection: connection.exec_driver_sql(
            'SELECT 1 FROM services')
        result = target.probe()
        assert (result.status, result.reason) == (
            report.Status.FAIL, failures.FAILED)
        assert result.detail.endswith(
            'OperationalError: no such table: services')

    @pytest.mark.parametrize('found, asked', [
        (report.Result.failed('READ ONLY'), False),
        (report.Result(report.Status.WARN, 'ODD'), True)])
    def test_is_asked_unless_the_database_failed(
            self, target, monkeypatch, found, asked):
        seen = []
        target.also = seen.append
        monkeypatch.setattr(target._dialect, 'ask', lambda *args: found)
        assert target.probe() == found
        assert bool(seen) is asked


class TestSharedContexts:

    @pytest.fixture(autouse=True)
    def made(self, monkeypatch):
        """The options of each context that PyMySQL has made."""
        made = []

        def make(self, sslp):
            made.append(sslp)
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

        monkeypatch.setattr(mysql_tls, '_contexts', {})
        monkeypatch.setattr(connections.Connection, '_create_ssl_ctx', make)
        return made

    @staticmethod
    def context(**options):
        return mysql_tls.Connection(
            host='h', defer_connect=True, **options).ctx

    def test_connections_that_ask_for_the_same_have_one(self, made, tmp_path):
        ca = tmp_path / 'ca.pem'
        ca.write_text('one')
        first = self.context(ssl={'ca': str(ca)})
        assert self.context(ssl={'ca': str(ca)}) is first
        assert self.context(ssl={'ca': str(ca), 'cipher': 'x'}) is not first
        assert len(made) == 2

    def test_a_file_that_was_replaced_is_read_again(self, tmp_path):
        ca = tmp_path / 'ca.pem'
        ca.write_text('one')
        first = self.context(ssl={'ca': str(ca)})
        ca.write_text('another')
        assert self.context(ssl={'ca': str(ca)}) is not first

    def test_one_that_is_given_is_taken(self, made):
        given = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        assert self.context(ssl=given) is given
        assert not made

    def test_only_some_are_kept(self, made):
        for number in range(100):
            self.context(ssl={'cipher': str(number)})
        assert len(mysql_tls._contexts) <= 16

    def test_they_are_pymysqls_alone(self):
        for driver, expected in [('pymysql', mysql_tls.Connection),
                                 ('mysqldb', type(None))]:
            target = target_of(f'mysql+{driver}://h/db')
            assert isinstance(target._dialect.connect(
                host='h', defer_connect=True), expected)


def test_a_held_connection_writes_small_frames():
    written = []
    connection = types.SimpleNamespace(
        frame_max=131072, frame_writer_cls=method_framing.frame_writer,
        bytes_sent=0, transport=types.SimpleNamespace(
            write=lambda data: written.append(bytes(data))))
    held._write_small_frames(connection)
    connection.frame_writer(1, 1, (60, 40), b'', amqp.Message('x' * 9999))
    assert max(map(len, written)) <= 4096
    assert b''.join(written).count(b'x') == 9999


@pytest.mark.parametrize('connection', [None, types.SimpleNamespace()])
def test_other_drivers_write_as_they_do(connection):
    held._write_small_frames(connection)
    assert not vars(connection or types.SimpleNamespace())
