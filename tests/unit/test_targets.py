# SPDX-License-Identifier: Apache-2.0

"""What a target of each kind does with its connection."""

import errno
import gc
import math
import socket
import ssl
import types
from unittest import mock

import amqp
from amqp import method_framing
from kombu import exceptions as kombu_exceptions
from oslo_config import cfg
import oslo_messaging
from psycopg import errors
import psycopg2
import pymysql
from pymysql import connections
import pytest
import sqlalchemy

from healthcheck import exceptions
from healthcheck.plugins import base
from healthcheck.probing import evidence
from healthcheck.probing import target as target_module
from healthcheck.reports import report
from healthcheck.targets import broker_replies
from healthcheck.targets import database_target
from healthcheck.targets import dialects
from healthcheck.targets import failures
from healthcheck.targets import held
from healthcheck.targets import mysql_tls
from healthcheck.targets import queue_target


def target_of(url):
    return database_target.DatabaseTarget(
        url, option='o', bound=4, tolerance=dialects.Tolerance())


# (code, method, text, reason), as RabbitMQ 3.10 says it unless noted.
REPLIES = [
    (403, (0, 0), 'ACCESS_REFUSED - Login was refused using authentication '
     'mechanism AMQPLAIN. For details see the broker logfile.',
     failures.LOGIN_REFUSED),
    (403, (40, 10), "ACCESS_REFUSED - access to exchange 'nova' in vhost 'v' "
     "refused for user 'u'", failures.PERMISSION_DENIED),
    (403, (60, 40), "ACCESS_REFUSED - access to topic 't' in exchange 'nova' "
     "in vhost 'v' refused for user 'u'", failures.PERMISSION_DENIED),
    (530, (10, 40), "NOT_ALLOWED - access to vhost 'v' refused for user 'u'",
     failures.PERMISSION_DENIED),
    (530, (10, 40), 'NOT_ALLOWED - vhost v not found',
     broker_replies.NO_SUCH_VHOST),
    # The specification's own answer to a vhost that is not there.
    (402, (10, 40), 'INVALID_PATH - no such host',
     broker_replies.NO_SUCH_VHOST),
    (530, (10, 40), "NOT_ALLOWED - access to vhost 'v' refused for user 'u': "
     "connection limit (1) is reached", failures.TOO_MANY_CONNECTIONS),
    (530, (10, 40), "NOT_ALLOWED - connection refused for user 'u': user "
     "connection limit (0) is reached", failures.TOO_MANY_CONNECTIONS),
    (530, (0, 0), "NOT_ALLOWED - number of channels opened for user 'u' has "
     "reached the maximum allowed user limit of (0)",
     failures.TOO_MANY_CONNECTIONS),
    (530, (0, 0), 'NOT_ALLOWED - number of channels opened (9) has reached '
     'the negotiated channel_max (9)', failures.TOO_MANY_CONNECTIONS),
    (541, (10, 40), "INTERNAL_ERROR - access to vhost 'v' refused for user "
     "'u': vhost 'v' is down", broker_replies.VHOST_DOWN),
    (320, (0, 0), "CONNECTION_FORCED - vhost 'v' is down",
     broker_replies.VHOST_DOWN),
    (320, (0, 0), "CONNECTION_FORCED - vhost 'v' is deleted",
     broker_replies.NO_SUCH_VHOST),
    (320, (0, 0), 'CONNECTION_FORCED - closed', failures.CONNECTION_LOST),
    (406, (40, 10), "PRECONDITION_FAILED - inequivalent arg 'durable' for "
     "exchange 'nova' in vhost 'v': received 'false' but current is 'true'",
     broker_replies.EXCHANGE_DIFFERS),
    (406, (60, 40), 'PRECONDITION_FAILED - message size 9 is larger than '
     'configured max size 8 in vhost', failures.FAILED),
    (404, (60, 40), "NOT_FOUND - no exchange 'nova' in vhost 'v'",
     broker_replies.NO_SUCH_EXCHANGE),
    (404, (50, 10), "NOT_FOUND - no queue 'q' in vhost 'v'",
     failures.FAILED),
    (405, (50, 10), "RESOURCE_LOCKED - cannot obtain exclusive access to "
     "locked queue 'q' in vhost 'v'", failures.FAILED),
    (504, (60, 40), "CHANNEL_ERROR - expected 'channel.open'",
     failures.CONNECTION_LOST),
    (505, (0, 0), 'UNEXPECTED_FRAME - expected content header for class 60',
     failures.CONNECTION_LOST),
    (506, (40, 10), "RESOURCE_ERROR - vhost 'v' is full",
     broker_replies.BROKER_ERROR),
    (541, (40, 10), "INTERNAL_ERROR - could not declare in vhost 'v'",
     broker_replies.BROKER_ERROR),
    (540, (40, 10), "NOT_IMPLEMENTED - no such thing in vhost 'v'",
     failures.FAILED),
    # The names of users and vhosts are no words of the broker's.
    (530, (10, 40), "NOT_ALLOWED - access to vhost 'no limit (9) is reached' "
     "refused for user 'vhost v not found'", failures.PERMISSION_DENIED),
    (403, (40, 10), "ACCESS_REFUSED - access to exchange 'login was refused' "
     "in vhost 'vhost v is down' refused for user 'u'",
     failures.PERMISSION_DENIED),
]


def broker(url='rabbit://h/', conf=cfg.CONF):
    return queue_target.QueueTarget(conf, url, option='o', bound=4)


def fault(make):
    """What is raised, with all that Python links to it."""
    try:
        make()
    except Exception as exc:
        return exc


class TestReasons:

    @pytest.mark.parametrize('code, method, text, reason', REPLIES)
    def test_of_a_reply(self, code, method, text, reason):
        reply = amqp.error_for_code(code, text, method, amqp.ChannelError)
        assert broker().reason(reply) == reason

        def wrap():  # as kombu and oslo.messaging do
            try:
                raise kombu_exceptions.OperationalError(str(reply)) from reply
            except kombu_exceptions.OperationalError as exc:
                raise oslo_messaging.MessageDeliveryFailure(
                    f'Unable to connect to AMQP server on h:5672 after 0 '
                    f'tries: {exc}')
        assert broker().reason(fault(wrap)) == reason

    @pytest.mark.parametrize('code, method, text, reason', REPLIES)
    def test_of_a_reply_in_words_alone(self, code, method, text, reason):
        reply = amqp.error_for_code(code, text, method, amqp.ChannelError)
        assert broker().reason(RuntimeError(f'tries: {reply}')) == reason

    @pytest.mark.parametrize('text, reason', [
        ("NOT_ALLOWED - access to vhost 'v' refused for user 'u': connection "
         "limit (1) is reached", failures.TOO_MANY_CONNECTIONS),
        ('(0, 0): (320) CONNECTION_FORCED - vhost v is deleted',
         broker_replies.NO_SUCH_VHOST),
        ('Server unexpectedly closed connection', failures.CONNECTION_LOST),
        ('connection already closed', failures.CONNECTION_LOST),
        ('The read operation timed out', failures.NO_ANSWER),
        ('something new in the vhost', failures.FAILED)])
    def test_of_the_broker(self, text, reason):
        assert broker().reason(RuntimeError(text)) == reason

    @pytest.mark.parametrize('code, reason', [
        (1040, failures.TOO_MANY_CONNECTIONS), (1045, failures.LOGIN_REFUSED),
        (1049, dialects.NO_SUCH_DATABASE), (1047, dialects.NOT_READY),
        (2006, failures.CONNECTION_LOST), (4711, failures.FAILED),
        (1820, failures.LOGIN_REFUSED), (1862, failures.LOGIN_REFUSED),
        (3118, failures.LOGIN_REFUSED), (3159, failures.LOGIN_REFUSED),
        (4151, failures.LOGIN_REFUSED), (1251, failures.LOGIN_REFUSED),
        (1142, failures.PERMISSION_DENIED), (1836, dialects.READ_ONLY),
        (1969, failures.NO_ANSWER), (3024, failures.NO_ANSWER),
        (4031, failures.CONNECTION_LOST),
        *((code, dialects.NO_SERVER_BEHIND_PROXY)
          for code in (9001, 9002, 9004, 9005)),
        (9003, failures.FAILED)])
    def test_of_mysql(self, code, reason):
        made = target_of('mysql+pymysql://h/db')
        assert made.reason(RuntimeError(code, 'text')) == reason

    @pytest.mark.parametrize('args, reason', [
        ((1135, 'Can\'t create a new thread (errno 11 "Resource temporarily '
          'unavailable")'), failures.TOO_MANY_CONNECTIONS),
        ((1135, "Can't create a new thread (1135)"),
         failures.TOO_MANY_CONNECTIONS),
        ((1105, 'Unknown error (1105)'), failures.FAILED),
        ((1109, "Unknown table (1109) 't' in MULTI DELETE"), failures.FAILED),
        ((1290, 'The MariaDB server is running with the --read-only option so '
          'it cannot execute this statement'), dialects.READ_ONLY),
        ((1290, 'The server is running with --skip-grant-tables'),
         failures.FAILED),
        ((1815, 'Internal error: Session creation failed'),
         dialects.NO_SERVER_BEHIND_PROXY),
        ((1815, 'Internal error: DBRM is not responding'), failures.FAILED),
        # As libmariadb and libmysqlclient write them.
        ((2002, "Can't connect to server on 'h' (111)"),
         failures.CONNECTION_REFUSED),
        ((2002, "Can't connect to server on 'h' (115)"),
         failures.CONNECTION_REFUSED),
        ((2002, "Can't connect to local server through socket '/s' (2)"),
         failures.CONNECTION_REFUSED),
        ((2002, "Can't connect to server on 'h' (110)"), failures.NO_ANSWER),
        ((2003, "Can't connect to MySQL server on 'h:3306' (113)"),
         failures.UNREACHABLE),
        ((2002, "Can't connect to server on 'h' (101)"),
         failures.UNREACHABLE),
        ((2002, "Can't connect to local server through socket '/(113/s' (2)"),
         failures.CONNECTION_REFUSED),
        ((2013, 'Lost connection to server at \'reading initial communication '
          'packet\', system error: 110'), failures.CONNECTION_LOST),
        ((2013, 'Lost connection to server at \'reading initial communication '
          'packet\', system error: 115'), failures.CONNECTION_LOST),
        ((2002, "Can't connect (1130)"), failures.CONNECTION_REFUSED),
        ((2026, 'TLS/SSL error: No such file or directory (2)'),
         failures.TLS_NOT_SET_UP),
        ((2026, 'TLS/SSL error: key values mismatch'),
         failures.TLS_NOT_SET_UP),
        ((2026, 'TLS/SSL error: self-signed certificate in certificate '
          'chain'), failures.CERTIFICATE_REFUSED),
        ((2026, 'TLS/SSL error: tlsv1 alert unknown ca'),
         failures.CERTIFICATE_REFUSED),
        ((2026, 'SSL connection error: SSL is required, but the server does '
          'not support it'), failures.TLS_FAILED)])
    @pytest.mark.parametrize('driver', ['pymysql', 'mysqldb'])
    def test_of_mysql_by_code_before_words(self, driver, args, reason):
        made = target_of(f'mysql+{driver}://h/db')
        assert made.reason(RuntimeError(*args)) == reason

    @pytest.mark.parametrize('text, reason', [
        ('the database system is starting up', dialects.NOT_READY),
        ('the database system is in recovery mode', dialects.NOT_READY),
        ('the database system is not accepting connections\n'
         'DETAIL:  Hot standby mode is disabled.', dialects.NOT_READY),
        ('the database system is not yet accepting connections\n'
         'DETAIL:  Consistent recovery state has not been yet reached.',
         dialects.NOT_READY),
        ('database "d" is not currently accepting connections',
         dialects.NO_SUCH_DATABASE),
        ('database "d" does not exist', dialects.NO_SUCH_DATABASE),
        ('role "u" does not exist', failures.LOGIN_REFUSED),
        ('Peer authentication failed for user "u"', failures.LOGIN_REFUSED),
        ('pg_hba.conf rejects connection for host "h", user "u"',
         failures.LOGIN_REFUSED),
        ('no such database: d', dialects.NO_SUCH_DATABASE),
        ('database "d" is disabled', dialects.NO_SUCH_DATABASE),
        ('No pool configured for database: "d", user: "u"',
         dialects.NO_SUCH_DATABASE),
        ('No such user: u', failures.LOGIN_REFUSED),
        ('SASL authentication failed', failures.LOGIN_REFUSED),
        ('login rejected', failures.LOGIN_REFUSED),
        ('no more connections allowed (max_client_conn)',
         failures.TOO_MANY_CONNECTIONS),
        ('too many active clients for user', failures.TOO_MANY_CONNECTIONS),
        ('pgbouncer cannot connect to server',
         dialects.NO_SERVER_BEHIND_PROXY),
        ('server login has been failing, try again later '
         '(server_login_retry)', dialects.NO_SERVER_BEHIND_PROXY),
        ('client_login_timeout (server down)',
         dialects.NO_SERVER_BEHIND_PROXY),
        ('server login failed: FATAL password authentication failed for '
         'user "u"', failures.LOGIN_REFUSED),
        ('failed to get remote server connection',
         dialects.NO_SERVER_BEHIND_PROXY),
        ('could not get connection from the pool - AllServersDown',
         dialects.NO_SERVER_BEHIND_PROXY),
        ('client_login_timeout', failures.NO_ANSWER),
        ('query_wait_timeout', failures.NO_ANSWER),
        ('something new', failures.FAILED)])
    def test_of_postgresql_and_its_poolers(self, text, reason):
        made = target_of('postgresql+psycopg2://h/db')
        fault = psycopg2.OperationalError(
            f'connection to server at "h", port 5432 failed: FATAL:  {text}')
        assert made.reason(fault) == reason
        # What poolers give as the code of all that they say.
        assert made.reason(errors.ProtocolViolation(text)) == reason

    @pytest.mark.parametrize('fault, reason', [
        (errors.InvalidPassword, failures.LOGIN_REFUSED),
        (errors.InvalidAuthorizationSpecification, failures.LOGIN_REFUSED),
        (errors.InvalidCatalogName, dialects.NO_SUCH_DATABASE),
        (errors.TooManyConnections, failures.TOO_MANY_CONNECTIONS),
        (errors.InsufficientPrivilege, failures.PERMISSION_DENIED),
        (errors.ReadOnlySqlTransaction, dialects.READ_ONLY),
        (errors.QueryCanceled, failures.NO_ANSWER),
        (errors.LockNotAvailable, failures.NO_ANSWER),
        (errors.AdminShutdown, failures.CONNECTION_LOST),
        (errors.CrashShutdown, failures.CONNECTION_LOST),
        (errors.CannotConnectNow, dialects.NOT_READY),
        (errors.DatabaseDropped, dialects.NO_SUCH_DATABASE),
        (errors.IdleSessionTimeout, failures.CONNECTION_LOST),
        (errors.DataCorrupted, dialects.CORRUPT),
        (errors.UndefinedTable, failures.FAILED)])
    def test_of_postgresql_by_its_code(self, fault, reason):
        # Whatever the words, and in whatever language.
        made = target_of('postgresql+psycopg://h/db')
        assert made.reason(fault('relation "no such user: t" existe pas, '
                                 'does not exist')) == reason
        of_psycopg2 = RuntimeError('does not exist')
        of_psycopg2.pgcode = fault.sqlstate
        assert made.reason(of_psycopg2) == reason

    @pytest.mark.parametrize('text, reason', [
        ('root certificate file "/x/ca.pem" does not exist\nEither provide '
         'the file, or change sslmode', failures.TLS_NOT_SET_UP),
        ('could not read root certificate file "/x/ca.pem": no certificate '
         'or crl found', failures.TLS_NOT_SET_UP),
        ('could not read certificate file "/x": No such file or directory',
         failures.TLS_NOT_SET_UP),
        ('certificate present, but not private key file "/x/missing.key"',
         failures.TLS_NOT_SET_UP),
        ('private key file "/x" has group or world access; file must have '
         'permissions u=rw', failures.TLS_NOT_SET_UP),
        ('could not load private key file "/x": key values mismatch',
         failures.TLS_NOT_SET_UP),
        ('service file "/x/pg.conf" not found', failures.BAD_URL),
        ('definition of service "nova" not found', failures.BAD_URL),
        ('invalid sslmode value: "maybe"', failures.BAD_URL),
        ('invalid dsn: invalid connection option "foo"', failures.BAD_URL),
        ('SSL error: certificate verify failed',
         failures.CERTIFICATE_REFUSED),
        ('server certificate for "h" does not match host name "127.0.0.1"',
         failures.CERTIFICATE_REFUSED),
        ('SSL error: provider signature failure',
         failures.CERTIFICATE_REFUSED),
        ('SSL error: tlsv1 alert unknown ca', failures.CERTIFICATE_REFUSED),
        ('SSL error: ssl/tls alert certificate expired',
         failures.CERTIFICATE_REFUSED),
        ('server does not support SSL, but SSL was required',
         failures.TLS_FAILED),
        ('connection to server on socket "/run/.s.PGSQL.5432" failed: No such '
         'file or directory', failures.CONNECTION_REFUSED)])
    @pytest.mark.parametrize('driver', ['psycopg2', 'psycopg'])
    def test_of_postgresql(self, driver, text, reason):
        made = target_of(f'postgresql+{driver}://h/db')
        assert made.reason(RuntimeError(text)) == reason


class TestTransportURL:
    """What is wrong is named, and no secret is."""

    @pytest.mark.parametrize('rest, named', [
        ('@h/?heartbeat_rate=often', ["heartbeat_rate", "'often'"]),
        ('@h/?ssl=maybe', ['ssl ', "'maybe'"]),
        ('@h/?kombu_reconnect_delay=0&ssl=maybe', ['ssl ', "'maybe'"]),
        ('@h/?hartbeat_rate=2', ['hartbeat_rate',
                                 '[oslo_messaging_rabbit]']),
        ('@h/?kombu_failover_strategy=any', ['kombu_failover_strategy']),
        ('@h:port/', ['the port of a host']),
        ('@h:99999/', ['the port of a host']),
        ('@h:-1/', ['the port of a host']),
        ('@[::1/', ['a [ or ] stands alone']),
        ('/x@h/', ['a /, ? or # of the password']),
        ('?x@h/', ['a /, ? or # of the password']),
        ('#x@h/', ['a /, ? or # of the password']),
        (',x@h/', ['a comma in a password'])])
    def test_a_part_that_is_wrong_is_named_at_load(self, rest, named):
        with pytest.raises(exceptions.ConfigError) as caught:
            broker(f'rabbit://u:sesame{rest}')
        for text in ('o: ', *named):
            assert text in str(caught.value)
        assert 'sesame' not in str(caught.value)

    def test_a_piece_of_a_password_is_not_taken_for_an_option(self):
        with pytest.raises(exceptions.ConfigError) as caught:
            broker('rabbit://u:12?ses=ame@h/v')
        assert 'a ? of the password' in str(caught.value)
        assert 'ses=' not in str(caught.value)
        assert 'ame@' not in str(caught.value)

    def test_no_driver(self):
        with pytest.raises(exceptions.ConfigError, match='no driver://'):
            broker('//u:sesame@h')

    @pytest.mark.parametrize('url', [
        'rabbit://h/v@w', 'rabbit://u:p@h:0/', 'rabbit://u:p@[::1]:5672/v',
        'rabbit://u:p@h/?ssl=1&heartbeat_rate=3&ssl_ca_file=/a@b',
        'rabbit:///v', 'fake://h/?any=thing', 'kombu+memory:///'])
    def test_what_oslo_messaging_can_use_is_no_error(self, url):
        broker(url)

    @pytest.mark.parametrize('host', ['a..b', '.a', 64 * 'x',
                                      64 * 'x' + '.example'])
    def test_a_bad_label_is_an_unknown_host(self, host):
        result = broker(f'rabbit://u:sesame@{host}:1/').probe().result
        assert result.reason == failures.UNKNOWN_HOST
        assert 'sesame' not in result.detail

    @pytest.mark.parametrize('credentials, named', [
        ('u:ses%2Fame', 'the password of host 1'),
        ('ses%2Fame:p', 'the username of host 1')])
    def test_a_slash_that_the_driver_loses(self, credentials, named,
                                           monkeypatch):
        def unknown(*args, **kwargs):
            raise socket.gaierror(-2, 'Name or service not known')
        monkeypatch.setattr(socket, 'getaddrinfo', unknown)
        target = broker(f'rabbit://{credentials}@127.0.0.1:1/')
        result = target.probe().result
        assert (result.reason, named in result.detail) == (
            failures.BAD_URL, True)
        assert 'ses' not in result.detail and 'ame/' not in result.detail

    def test_a_slash_is_not_to_blame_for_all(self):
        target = broker('rabbit://u:ses%2Fame@127.0.0.1:1/')
        assert target.reason(
            ConnectionRefusedError()) == failures.CONNECTION_REFUSED

    @pytest.mark.parametrize('line', [
        'heartbeat_rate = often', 'ssl = maybe',
        'rabbit_stream_fanout = true', 'rpc_conn_pool_size = 1'])
    def test_an_option_of_the_service(self, tmp_path, line):
        (tmp_path / 'conf').write_text(
            f'[oslo_messaging_rabbit]\n{line}\n')
        conf = cfg.ConfigOpts()
        conf(['--config-file', str(tmp_path / 'conf')], project='x')
        result = broker('rabbit://u:p@127.0.0.1:1/', conf).probe().result
        assert result.reason == base.MISCONFIGURED
        assert line.split()[0] in result.detail


class TestFilesOfTLS:

    def test_a_missing_one_is_a_fault_of_this_host(self, tmp_path):
        ca, key = tmp_path / 'ca.pem', tmp_path / 'key.pem'
        key.touch()
        target = broker(f'kombu+memory://h/?ssl=1&ssl_ca_file={ca}'
                        f'&ssl_key_file={key}')
        target._connect()
        exc = FileNotFoundError(2, 'No such file or directory')
        assert target.reason(exc) == failures.TLS_NOT_SET_UP
        assert f'{ca}: No such file' in target.describe(exc)
        ca.touch()
        assert target.reason(exc) != failures.TLS_NOT_SET_UP

    def test_one_of_the_services_configuration(self, tmp_path):
        (tmp_path / 'conf').write_text(
            f'[oslo_messaging_rabbit]\nssl_ca_file = {tmp_path}/ca.pem\n')
        conf = cfg.ConfigOpts()
        conf(['--config-file', str(tmp_path / 'conf')], project='x')
        target = broker('kombu+memory://h/', conf)
        target._connect()
        assert target._files == [f'{tmp_path}/ca.pem', None, None]


class TestLastWords:
    """What a kept connection was told before the broker closed it."""

    @pytest.fixture
    def target(self, monkeypatch):
        target = broker('fake://')
        monkeypatch.setattr(target, '_connect', lambda: self.client)
        return target

    class Client:
        def __init__(self, *faults):
            self.faults = list(faults)

        def cast(self, *args):
            fault = self.faults.pop(0)
            if fault is not None:
                raise RuntimeError(fault)

    def test_are_not_what_is_so_now(self, target):
        self.client = self.Client(
            None, "CONNECTION_FORCED - vhost 'v' is down", None)
        assert [target.probe().result.reason for _ in range(2)] == ['OK', 'OK']

    def test_hold_if_a_new_connection_hears_the_same(self, target):
        self.client = self.Client(
            None, "CONNECTION_FORCED - vhost 'v' is down",
            "INTERNAL_ERROR - access refused: vhost 'v' is down")
        assert [target.probe().result.reason for _ in range(2)] == [
            'OK', broker_replies.VHOST_DOWN]

    def test_of_a_new_connection_hold(self, target):
        self.client = self.Client("CONNECTION_FORCED - vhost 'v' is down")
        assert target.probe().result.reason == broker_replies.VHOST_DOWN


class TestFilesOfThisHost:
    """A fault of these is no server's."""

    @staticmethod
    def probed(query):
        return target_of(
            f'mysql+pymysql://u@127.0.0.1:1/db?{query}').probe().result

    @pytest.mark.parametrize('option', ['ssl_ca', 'ssl_cert'])
    @pytest.mark.parametrize('content', [None, '', 'no certificate'])
    def test_one_that_cannot_be_used(self, tmp_path, option, content):
        path = tmp_path / 'file.pem'
        if content is not None:
            path.write_text(content)
        result = self.probed(f'{option}={path}')
        assert result.reason == failures.TLS_NOT_SET_UP
        assert str(path) in result.detail

    # PyMySQL leaves the socket that it could not connect to the collector.
    @pytest.mark.filterwarnings('ignore:unclosed:ResourceWarning')
    @pytest.mark.filterwarnings(
        'ignore::pytest.PytestUnraisableExceptionWarning')
    def test_a_missing_socket_is_a_server_that_is_down(self, tmp_path):
        result = self.probed(f'unix_socket={tmp_path}/sock')
        gc.collect()
        assert result.reason == failures.CONNECTION_REFUSED

    def test_a_missing_ca_of_an_option_file(self, tmp_path):
        options = tmp_path / 'client.cnf'
        options.write_text(f'[client]\nssl-ca = {tmp_path}/ca.pem\n')
        result = self.probed(f'read_default_file={options}')
        assert result.reason == failures.TLS_NOT_SET_UP
        assert f'{tmp_path}/ca.pem' in result.detail


class TestPartOfTheURL:
    """The one that is wrong is named, and not its value."""

    @pytest.mark.parametrize('url, wrong', [
        ('mysql+mysqldb://h/db?charset=utf8mb4&connect_timeout=zvalue7',
         'connect_timeout'),
        ('mysql+pymysql://h/db?connect_timeout=zvalue7', 'connect_timeout'),
        ('mysql+pymysql://h/db?charset=utf8mb4&client_flag=zvalue7',
         'client_flag'),
        ('mysql+pymysql://h/db?charset=zvalue7', 'charset'),
        ('mysql+pymysql://h/db?ssl=zvalue7', 'ssl'),
        ('mysql+pymysql://h/db?charset=utf8mb4&zoption7=zvalue7',
         'zoption7'),
        ('sqlite:////tmp/db?check_same_thread=zvalue7',
         'check_same_thread')])
    def test_an_option(self, url, wrong):
        with pytest.raises(exceptions.ConfigError) as caught:
            target_of(url)
        assert f'does not take the option {wrong} behind' in str(caught.value)
        assert 'zvalue7' not in str(caught.value)

    @pytest.mark.parametrize('port', [0, 65536, 99999])
    def test_a_port(self, port):
        with pytest.raises(exceptions.ConfigError,
                           match=f'port of the URL is {port} '):
            target_of(f'mysql+pymysql://h:{port}/db')

    @pytest.mark.parametrize('query', [
        '', '?charset=utf8', '?charset=utf8mb4&ssl_ca=/x', '?local_infile=1',
        '?read_default_file=/x', '?unix_socket=/x', '?connect_timeout=10',
        '?ssl_verify_cert=true&ssl_check_hostname=false'])
    def test_one_that_is_right(self, query):
        target_of(f'mysql+pymysql://h:3306/db{query}')

    @pytest.mark.parametrize('driver', [
        'mysql+pymysql', 'mysql+mysqldb', 'postgresql+psycopg2',
        'postgresql+psycopg'])
    @pytest.mark.parametrize('host', ['a..b', 'a' * 64 + '.b'])
    def test_a_label_of_the_host(self, driver, host):
        result = target_of(f'{driver}://u:zsecret7@{host}/db').probe().result
        assert result.reason == failures.UNKNOWN_HOST
        assert 'zsecret7' not in result.detail


class Server:
    """A connection, and a server that answers SHOW with what was set.

    :param errors: what USE raises, if anything
    """

    def __init__(self, schemas=('db',), error=None, **values):
        self.schemas = schemas
        self.error = error
        self.values = values
        self.asked = []
        self.connection = self.dbapi_connection = self
        self.dialect = types.SimpleNamespace(
            is_mariadb=True, loaded_dbapi=pymysql)

    def cursor(self):
        return self

    def execute(self, statement):
        self.asked.append(statement)
        _, exists, condition = statement.partition(' AND EXISTS ')
        self.listed = not exists or any(
            condition.endswith(f"schema_name = '{schema}')")
            for schema in self.schemas)

    def fetchall(self):
        return [(name, value) for name, value in self.values.items()
                if self.listed and f"'{name}'" in self.asked[-1]]

    def close(self):
        pass

    def exec_driver_sql(self, statement):
        self.asked.append(statement)
        if self.error:
            raise self.error


class TestMySQL:

    @staticmethod
    def ask(server, name='db'):
        url = sqlalchemy.URL.create('mysql+pymysql', host='h', database=name)
        return dialects.of(url, 4).ask(server, dialects.Tolerance())

    def test_one_statement_tells_that_all_is_well(self):
        server = Server(read_only='OFF')
        assert self.ask(server) == report.Result.ok()
        assert len(server.asked) == 1

    def test_a_schema_that_is_not_listed_is_asked_for(self):
        error = RuntimeError(1049, "Unknown database 'db'")
        with pytest.raises(RuntimeError, match='1049'):
            self.ask(Server((), error, read_only='OFF'))

    def test_one_that_is_there_all_the_same(self):
        server = Server(('DB',), read_only='ON')
        assert self.ask(server).reason == dialects.READ_ONLY
        assert server.asked[1] == 'USE `db`'

    @pytest.mark.parametrize('name, text, quoted', [
        ("a'b", "a''b", "a'b"), ('a`b', 'a`b', 'a``b'),
        ('a\\b', 'a\\\\b', 'a\\b'), ('a%b', 'a%b', 'a%%b')])
    def test_names_are_quoted(self, name, text, quoted):
        server = Server((text,), read_only='OFF')
        self.ask(server, name)
        assert len(server.asked) == 1
        server = Server((), read_only='OFF')
        self.ask(server, name)
        assert server.asked[1] == f'USE `{quoted}`'

    def test_without_a_schema(self):
        server = Server((), read_only='OFF')
        assert self.ask(server, None) == report.Result.ok()
        assert len(server.asked) == 1

    def test_writes_are_what_is_asked_for(self):
        """Proxies send a SELECT to a replica, and pin who reads @@."""
        server = Server((), read_only='OFF', wsrep_on='ON',
                        wsrep_provider='/lib/galera.so', wsrep_ready='ON',
                        wsrep_local_state='4')
        assert self.ask(server) == report.Result.ok()
        assert not [one for one in server.asked
                    if one.startswith('SELECT') or '@' in one]


class TestGalera:

    @pytest.mark.parametrize('values, strict, tolerant', [
        ({}, None, None),
        ({'wsrep_ready': 'OFF'}, 'NOT READY', 'NOT READY'),
        ({'wsrep_local_state': '2'}, 'NOT SYNCED', None),
        ({'wsrep_local_state': '2', 'wsrep_desync': 'ON'},
         'NOT SYNCED', None),
        ({'wsrep_desync': 'ON'}, 'NOT SYNCED', None),
        ({'wsrep_local_state': '1', 'wsrep_desync': 'ON'},
         'NOT SYNCED', 'NOT SYNCED'),
        ({'wsrep_reject_queries': 'NONE'}, None, None),
        ({'wsrep_reject_queries': 'ALL'}, 'NOT READY', 'NOT READY'),
        ({'wsrep_reject_queries': 'ALL_KILL'}, 'NOT READY', 'NOT READY'),
        ({'pxc_maint_mode': 'DISABLED'}, None, None),
        ({'pxc_maint_mode': 'MAINTENANCE'}, 'NOT READY', 'NOT READY'),
        ({'pxc_maint_mode': 'SHUTDOWN'}, 'NOT READY', 'NOT READY')])
    def test_a_node_that_is_not_in_full_service(
            self, values, strict, tolerant):
        dialect = dialects.of(sqlalchemy.make_url('mysql+pymysql://h/'), 4)
        rows = Server(**{
            'wsrep_on': 'ON', 'wsrep_provider': '/lib/galera.so',
            'wsrep_ready': 'ON', 'wsrep_local_state': '4', **values})
        for tolerates, reason in [(False, strict), (True, tolerant)]:
            result = dialect.ask(
                rows, dialects.Tolerance(galera_donor=tolerates))
            assert result.reason == (reason or 'OK')
            if reason:  # the detail names what is wrong
                assert any(name in result.detail for name in values)


class TestProvedAt:
    """What a statement of the service shows, in place of a probe."""

    READ, WROTE = 20.0, 10.0

    def proved(self, url, read_only=False, donor=False, **values):
        tolerance = dialects.Tolerance(read_only, donor)
        made = database_target.DatabaseTarget(url, option='o', bound=4,
                                              tolerance=tolerance)
        if values:
            made._dialect.ask(Server((), **values), tolerance)
        return made.proved_at(evidence.Seen(self.READ, self.WROTE))

    @pytest.mark.parametrize('url', [
        'mysql+pymysql://h/n', 'postgresql+psycopg2://h/n'])
    def test_a_read_does_not_show_that_writes_work(self, url):
        assert self.proved(url) == self.WROTE
        assert self.proved(url, read_only=True) == self.READ

    def test_a_file_that_is_held_open_is_not_one_that_is_there(self):
        assert self.proved('sqlite:////f', read_only=True) == -math.inf

    @pytest.mark.parametrize('values, strict, tolerant', [
        ({}, -math.inf, WROTE),
        ({'wsrep_on': 'OFF'}, WROTE, WROTE),
        ({'wsrep_provider': 'none'}, WROTE, WROTE),
        ({'pxc_maint_mode': 'DISABLED'}, -math.inf, -math.inf)])
    def test_a_node_of_a_cluster(self, values, strict, tolerant):
        known = {'wsrep_on': 'ON', 'wsrep_provider': '/lib/galera.so',
                 'wsrep_ready': 'ON', 'wsrep_local_state': '4', **values}
        url = 'mysql+pymysql://h/'
        assert self.proved(url, **known) == strict
        assert self.proved(url, donor=True, **known) == tolerant

    def test_a_call_that_is_observed_shows_no_write(self):
        made = target_of('mysql+pymysql://h/n')
        assert made.proved_at(evidence.Seen(self.READ)) == -math.inf


class TestQuestions:
    """What is asked besides, over the connection of a database."""

    @pytest.fixture
    def made(self, tmp_path):
        path = tmp_path / 'nova.db'
        path.touch()
        return target_of(f'sqlite:///{path}')

    @staticmethod
    def question(ask):
        return target_module.Question(lambda connection: target_module.Answer(
            report.Result.ok(), ask(connection)))

    def test_is_asked_in_the_same_visit_and_rolled_back(self, made):
        def ask(connection):
            connection.exec_driver_sql('CREATE TABLE IF NOT EXISTS t (i int)')
            connection.execute(sqlalchemy.text('INSERT INTO t VALUES (1)'))
            return connection.exec_driver_sql(
                'SELECT count(*) FROM t').scalar()

        question = self.question(ask)
        for _ in range(2):
            assert made.probe([question]) == target_module.Findings(
                report.Result.ok(),
                {question: target_module.Answer(report.Result.ok(), 1)})
        assert not made.connected  # SQLite's is opened each time

    def test_its_failure_is_its_own(self, made):
        missing = self.question(lambda connection: connection.exec_driver_sql(
            'SELECT 1 FROM services'))
        well = self.question(lambda connection: connection.exec_driver_sql(
            'SELECT 42').scalar())
        found = made.probe([missing, well])
        assert found.result == report.Result.ok()
        result = found.answers[missing].result
        assert (result.status, result.reason) == (
            report.Status.FAIL, failures.FAILED)
        assert result.detail.endswith(
            'OperationalError: no such table: services')
        assert found.answers[missing].value is None
        assert found.answers[well] == target_module.Answer(
            report.Result.ok(), 42)
        assert not made.connected

    @pytest.mark.parametrize('found, asked', [
        (report.Result.failed('READ ONLY'), False),
        (report.Result(report.Status.WARN, 'ODD'), True)])
    def test_is_asked_unless_the_database_failed(
            self, made, monkeypatch, found, asked):
        seen = []
        question = self.question(seen.append)
        monkeypatch.setattr(made._dialect, 'ask', lambda *args: found)
        findings = made.probe([question])
        assert findings.result == found
        assert bool(seen) is asked
        assert findings.answer(question).result == (
            report.Result.ok() if asked else found)


class TestRepeated:
    """A probe of a queue over a connection that worked."""

    @pytest.fixture
    def made(self):
        made = broker('rabbit://u:p@h,i/')
        made._client = mock.Mock()
        return made

    def test_the_message_goes_again(self, made):
        made._hold.repeat = repeat = mock.Mock()
        for count in (1, 2):
            assert made.ask() == report.Result.ok()
            assert repeat.call_count == count
        assert not made._client.cast.called

    @pytest.mark.parametrize('faults', [0, 1])
    def test_a_new_connection_takes_the_place_of_a_lost_one(
            self, made, monkeypatch, faults):
        """That may be lost, too, as if oslo.messaging had reconnected."""
        reset = ConnectionResetError(errno.ECONNRESET, 'reset')
        made._hold.repeat = mock.Mock(side_effect=reset)
        before, new = made._client, mock.Mock()
        new.cast.side_effect = [reset] * faults + [None]
        monkeypatch.setattr(made, '_connect', lambda: new)
        assert made.probe().result == report.Result.ok()
        assert before.transport.cleanup.called and not before.cast.called
        assert new.cast.call_count == 1 + faults
        assert made._hold.repeat is None

    def test_a_connection_that_is_lost_is_blocked_no_more(self, made,
                                                          monkeypatch):
        def repeat():
            made._hold.blocked.set()
            raise ConnectionResetError(errno.ECONNRESET, 'reset')

        def cast(*args):
            assert made.overdue() == (failures.NO_ANSWER, '')
        made._hold.repeat = repeat
        new = mock.Mock()
        new.cast.side_effect = cast
        monkeypatch.setattr(made, '_connect', lambda: new)
        assert made.probe().result == report.Result.ok()

    def test_what_was_broken_off_does_not_go_again(self, made):
        """Replies may be left unread."""
        made._hold.repeat = mock.Mock(side_effect=KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            made.probe()
        assert made._hold.repeat is None

    def test_what_the_broker_replies_is_the_result(self, made):
        made._hold.repeat = mock.Mock(side_effect=amqp.NotFound(
            'no exchange', (60, 40), 'Basic.publish'))
        client = made._client
        assert made.probe().result.reason == 'NO SUCH EXCHANGE'
        assert not client.cast.called
        assert made._hold.repeat is None


class TestKey:
    """One backend is one target, wherever its URL was found."""

    @pytest.mark.parametrize('one, other', [
        ('mysql+pymysql://u:p@h/db', 'mysql+pymysql://u:p@h/db'),
        ('mysql+pymysql://u:p%2F@h/db?charset=utf8',
         'mysql+pymysql://u:p%2f@h/db?charset=utf8')])
    def test_a_database(self, one, other):
        assert target_of(one).key == target_of(other).key

    @pytest.mark.parametrize('other', [
        'mysql+pymysql://u:q@h/db', 'mysql+pymysql://v:p@h/db',
        'mysql+pymysql://u:p@i/db', 'mysql+pymysql://u:p@h/cb',
        'mysql+pymysql://u:p@h:3307/db', 'mysql+mysqldb://u:p@h/db',
        'mysql+pymysql://u:p@h/db?charset=utf8'])
    def test_another_database(self, other):
        assert target_of('mysql+pymysql://u:p@h/db').key != (
            target_of(other).key)

    def test_a_queue(self):
        one = broker('rabbit://u:p@h:5672,v:q@i:5672/nova')
        assert one.key == broker('rabbit://u:p@h:5672,v:q@i:5672/nova').key
        for other in ('rabbit://u:p@h:5672,v:r@i:5672/nova',
                      'rabbit://u:p@h:5672,v:q@i:5672/',
                      'rabbit://u:p@h:5672/nova',
                      'rabbit://u:p@h:5672,v:q@i:5672/nova?ssl=1'):
            assert broker(other).key != one.key

    def test_a_database_is_no_queue(self):
        assert broker('rabbit://u:p@h/').key != target_of(
            'mysql+pymysql://u:p@h/').key

    def test_it_is_not_shown(self):
        for one in (broker('rabbit://u:sesame@h/'),
                    target_of('mysql+pymysql://u:sesame@h/')):
            assert 'sesame' in str(one.key)
            assert 'sesame' not in repr(one) + one.name


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
