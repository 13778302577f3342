# SPDX-License-Identifier: Apache-2.0

"""What SQLAlchemy's engines see, and what is no evidence."""

import ctypes
import os
import sqlite3
import types

import pymysql
import pytest
import sqlalchemy
from sqlalchemy import event
from sqlalchemy import exc as sa_exc
from sqlalchemy import orm
from sqlalchemy import pool

from healthcheck.evidence import engines as engines_module
from healthcheck.evidence import ledger as ledger_module
from healthcheck.evidence import request
from healthcheck.probing import evidence
from healthcheck.targets import address

TABLE = sqlalchemy.Table('things', sqlalchemy.MetaData(),
                         sqlalchemy.Column('id', sqlalchemy.Integer,
                                           primary_key=True))


@pytest.fixture
def url(tmp_path):
    return f'sqlite:///{tmp_path}/service.sqlite'


@pytest.fixture
def early(url):
    """An engine that is made, and used, before anybody listens."""
    made = sqlalchemy.create_engine(url)
    TABLE.metadata.create_all(made)
    return made


@pytest.fixture
def ledger(early):
    # Those that other tests have left would hear of everything, too.
    for one in list(engines_module._listening):
        one.ignore()
    made = ledger_module.Ledger()
    listening = engines_module.Engines(made)
    listening.listen()
    yield made
    listening.ignore()


@pytest.fixture
def seen(ledger, url):
    mark = address.mark_of(sqlalchemy.make_url(url))
    return lambda: ledger.read().seen(mark)


def failed(ledger):
    return list(ledger.read().failed())


def insert(engine):
    with engine.begin() as connection:
        connection.execute(TABLE.insert().values())


@pytest.fixture(params=['early', 'late', 'optioned'])
def engine(request, early, url, ledger):
    if request.param == 'early':
        return early
    made = sqlalchemy.create_engine(url)
    return made if request.param == 'late' else (
        made.execution_options(isolation_level='SERIALIZABLE'))


def test_a_statement_that_worked(engine, seen):
    with engine.connect() as connection:
        connection.execute(sqlalchemy.select(TABLE))
    found = seen()
    assert found.answered_at > 0
    assert found.wrote_at < 0
    assert found.failed_at < 0
    assert found.calls == 1


@pytest.mark.parametrize('write', [
    TABLE.insert().values(), TABLE.update().values(id=TABLE.c.id + 1),
    TABLE.delete()])
def test_a_statement_that_writes(engine, seen, write):
    with engine.begin() as connection:
        connection.execute(write)
    assert seen().wrote_at == seen().answered_at > 0


def test_reads_write_nothing(engine, seen):
    with engine.connect() as connection:
        for _ in range(3):
            connection.execute(sqlalchemy.select(TABLE))
    assert seen().calls == 3
    assert seen().wrote_at < 0


def test_a_call_is_as_old_as_its_beginning(engine, seen, monkeypatch):
    clock = types.SimpleNamespace(now=11.0)
    # Listeners that other tests have left read this clock, too.
    monkeypatch.setattr(engines_module, 'time', types.SimpleNamespace(
        monotonic=lambda: clock.now))
    with engine.connect() as connection:
        connection.execute(sqlalchemy.select(TABLE))
        clock.now = 12.0
        connection.execute(sqlalchemy.select(TABLE))
        assert seen().answered_at == 11
        clock.now = 13.0
        connection.execute(sqlalchemy.select(TABLE))
        assert seen().answered_at == 12
    assert seen().answered_at == 13


def test_a_connection_that_is_dropped_tells_nothing(early, seen):
    with early.connect() as connection:
        connection.execute(sqlalchemy.select(TABLE))
        connection.invalidate()
    assert seen().calls == 0
    with early.connect() as connection:  # which takes its place in the pool
        connection.execute(sqlalchemy.select(TABLE))
    assert seen().calls == 1


def test_a_statement_that_was_broken_off_tells_nothing(early, seen,
                                                       monkeypatch):
    """As eventlet's Timeout and GreenletExit do it."""
    def break_off(*args):
        raise KeyboardInterrupt
    with monkeypatch.context() as patched, early.connect() as connection:
        patched.setattr(early.dialect, 'do_execute', break_off)
        with pytest.raises(KeyboardInterrupt):
            connection.exec_driver_sql('SELECT 1')
    assert seen().calls == 0
    with early.connect() as connection:
        connection.exec_driver_sql('SELECT 1')
        assert seen().calls == 0
    assert seen().calls == 1


def test_a_connection_that_has_left_the_pool_tells_nothing(early, seen):
    """No event says that it is closed, and by then it can be anything."""
    with early.connect() as connection:
        connection.detach()
        for _ in range(2):
            connection.execute(sqlalchemy.select(TABLE))
    assert seen().calls == 0
    with early.connect() as connection:
        connection.execute(sqlalchemy.select(TABLE))
    assert seen().calls == 1


def test_many_at_once(engine, seen):
    with engine.begin() as connection:
        connection.execute(TABLE.insert(), [{'id': 1}, {'id': 2}])
    assert seen().wrote_at > 0


def test_through_a_session(engine, seen):
    with orm.Session(engine) as session:
        session.execute(TABLE.insert().values())
        session.commit()
    assert seen().wrote_at > 0


def test_one_that_has_not_come_back_is_no_evidence(early, ledger, seen):
    """Only the next one on its connection tells that it has."""
    found = []
    with early.connect() as connection:
        raw = connection.connection.dbapi_connection
        raw.create_function('look', 0, lambda: found.append(seen()) or 1)
        connection.exec_driver_sql('SELECT look()').scalar()
        assert found == [evidence.NOTHING] or found[0].calls == 0
        began_at = seen()
        connection.exec_driver_sql('SELECT 1').scalar()
        assert seen().calls == 1
        assert seen() != began_at


def test_one_that_failed_is_no_evidence(early, ledger, seen):
    with early.connect() as connection:
        with pytest.raises(sa_exc.OperationalError):
            connection.exec_driver_sql('SELECT nothing FROM nowhere')
    assert seen().calls == 0
    assert failed(ledger) == []


def test_an_integrity_error_is_none(early, ledger, seen):
    insert(early)
    with pytest.raises(sa_exc.IntegrityError):
        with early.begin() as connection:
            connection.execute(TABLE.insert().values(id=1))
    assert failed(ledger) == []


def test_our_own_engines_are_none(url, ledger, seen):
    own = sqlalchemy.create_engine(
        url, execution_options={address.PROBE: True})
    insert(own)
    assert seen() is evidence.NOTHING


def test_one_that_leads_nowhere_is_none(ledger):
    made = sqlalchemy.create_engine('sqlite://', poolclass=pool.StaticPool)
    with made.connect() as connection:
        connection.exec_driver_sql('SELECT 1')
    assert failed(ledger) == []


@pytest.fixture
def mysql(monkeypatch):
    """An engine for MySQL whose driver does what the test says."""
    made = sqlalchemy.create_engine(
        'mysql+pymysql://nova:s3same@db.example.org/nova')
    mark = address.mark_of(made.url)

    def fail(exc):
        raise exc

    def connects(exc):
        event.listen(made, 'do_connect', lambda *args: fail(exc))
    return made, mark, connects


def error(code, text='', kind=pymysql.err.OperationalError):
    return kind(code, text)


@pytest.mark.parametrize('exc', [
    error(2003, "Can't connect"), error(2003, "Can't connect (timed out)"),
    error(9999, 'anything'), error(1045, 'Access denied'),
    error(1040, 'Too many connections'), error(2013, 'Lost connection'),
    pymysql.err.InterfaceError(0, '')])
def test_a_connect_that_fails(mysql, ledger, exc):
    made, mark, connects = mysql
    connects(exc)
    with pytest.raises(Exception):
        made.connect()
    assert failed(ledger) == [mark]


@pytest.mark.parametrize('exc', [KeyboardInterrupt(), ValueError('a bug'),
                                 SystemExit()])
def test_a_fault_of_the_caller_is_no_evidence(mysql, ledger, exc):
    made, _, connects = mysql
    connects(exc)
    with pytest.raises(type(exc)):
        made.connect()
    assert failed(ledger) == []


def gave_up():
    """What PyMySQL raises after ``read_timeout``: no answer is a fault."""
    exc = error(2013, 'Lost connection to MySQL server during query')
    exc.__cause__ = TimeoutError('timed out')
    return exc


class Cursor:
    """A cursor of PyMySQL's that fails."""

    description = None
    rowcount = -1

    def __init__(self, exc):
        self.exc = exc

    def execute(self, statement, *args):
        if statement == 'SELECT 1':
            raise self.exc

    def close(self):
        pass


def execute(made, exc):
    """Run a statement that raises ``exc``."""
    class Connection(sqlite3.Connection):
        def cursor(self, *args):
            return Cursor(exc)

        def character_set_name(self):
            return 'utf8mb4'
    event.listen(made, 'do_connect',
                 lambda *args: sqlite3.connect(':memory:',
                                               factory=Connection))
    made.dialect.initialize = lambda connection: None
    made.dialect.do_rollback = made.dialect.do_close = lambda raw: None
    with pytest.raises(sa_exc.DBAPIError):
        with made.connect() as connection:
            connection.exec_driver_sql('SELECT 1')


@pytest.mark.parametrize('exc, blamed', [
    (error(2006, 'gone away'), True), (error(2013, 'Lost connection'), True),
    (gave_up(), True),
    (error(1047, 'WSREP has not yet prepared node'), True),
    (error(1290, 'The server is running with --read-only'), True),
    (error(9001, 'Max connect timeout'), True),
    (error(1213, 'Deadlock'), False),
    (error(1205, 'Lock wait timeout'), False),
    (error(3024, 'maximum statement execution time'), False),
    (error(1064, 'syntax', pymysql.err.ProgrammingError), False),
    (error(1142, 'denied for table'), False),
    (error(1062, 'Duplicate', pymysql.err.IntegrityError), False),
    (error(1406, 'too long', pymysql.err.DataError), False)])
def test_a_statement_that_fails(mysql, ledger, exc, blamed):
    made, mark, _ = mysql
    execute(made, exc)
    assert failed(ledger) == ([mark] if blamed else [])


@request.serves
def serve(environ, function):
    return function()


class TestAnonymous:

    @pytest.fixture(params=[
        {}, {'HTTP_X_IDENTITY_STATUS': 'Confirmed'},
        {'HTTP_KEYSTONE_TOKEN_INFO': 'x'}])
    def environ(self, request):
        return request.param

    def test_a_failure_of_a_request_that_nobody_vouched_for(
            self, mysql, ledger, environ):
        made, _, connects = mysql
        connects(error(2003))
        with pytest.raises(Exception):
            serve(environ, made.connect)
        assert failed(ledger) == []

    def test_a_failure_of_one_that_auth_token_vouched_for(self, mysql,
                                                          ledger):
        made, mark, connects = mysql
        connects(error(2003))
        with pytest.raises(Exception):
            serve({'keystone.token_info': {}}, made.connect)
        assert failed(ledger) == [mark]


def test_a_ping_that_finds_an_idle_connection_closed_is_none(ledger, url):
    """The pool opens another one, and that tells."""
    made = sqlalchemy.create_engine(url, pool_pre_ping=True)
    with made.connect() as connection:
        idle = connection.connection.dbapi_connection
    idle.close()
    with made.connect() as connection:
        assert connection.connection.dbapi_connection is not idle
    assert failed(ledger) == []


def test_after_it_ends_nothing_is_heard(early, seen, ledger):
    for one in list(engines_module._listening):
        one.ignore()
    insert(early)
    assert seen() is evidence.NOTHING


@pytest.mark.parametrize('change', ['listen', 'ignore'])
def test_who_begins_or_ends_meanwhile_disturbs_no_statement(
        early, ledger, monkeypatch, change):
    """As one does at the first poll, or at the end, in another thread."""
    other = engines_module.Engines(ledger_module.Ledger())
    if change == 'ignore':
        other.listen()
    changed = []

    def in_the_middle(url):
        changed.append(getattr(other, change)())
    monkeypatch.setattr(address, 'mark_of', in_the_middle)
    insert(early)
    other.ignore()
    assert changed


def test_a_child_writes_nothing_and_its_own_ledger_takes_over(
        early, url, seen, ledger):
    insert(early)
    before = seen()
    pid = ctypes.CDLL(None).fork()
    if pid == 0:
        try:
            made = sqlalchemy.create_engine(url)
            with made.begin() as connection:
                connection.execute(TABLE.insert().values())
                connection.execute(TABLE.insert().values())
            unheard = seen() == before
            own = ledger_module.Ledger()
            engines_module.Engines(own).listen()
            insert(made)
            heard = own.read().seen(address.mark_of(made.url)).calls > 0
            os._exit(0 if (unheard and heard and seen() == before
                           and len(engines_module._listening) == 1) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_connection_that_a_child_inherits_tells_it_nothing(early, seen):
    connection = early.connect()
    connection.execute(TABLE.insert().values())
    before = seen()
    pid = ctypes.CDLL(None).fork()
    if pid == 0:
        try:
            connection.execute(TABLE.insert().values())
            connection.close()
            os._exit(0 if seen() == before else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    connection.close()
    assert seen().calls == 1


def test_what_raises_in_it_is_not_the_services_problem(early, ledger,
                                                       monkeypatch):
    def broken(url):
        raise RuntimeError
    monkeypatch.setattr(address, 'mark_of', broken)
    insert(early)


def introduced(url, statement):
    """An engine whose dialect says something to a server it meets."""
    made = sqlalchemy.create_engine(url)
    made.dialect.initialize = lambda connection: connection.exec_driver_sql(
        statement)
    return made


def test_what_sqlalchemy_asks_a_server_that_it_meets(url, seen):
    """As it does of MySQL; that connection has no place for a note."""
    made = introduced(url, 'SELECT 2')
    with made.connect() as connection:
        connection.exec_driver_sql('SELECT 1')
    assert seen().calls == 1


def test_what_fails_there_comes_through(url, ledger, monkeypatch):
    made = introduced(url, 'SELECT nothing FROM nowhere')
    monkeypatch.setattr(engines_module, '_UNSUSPICIOUS', ())
    with pytest.raises(sa_exc.OperationalError):
        made.connect()
    assert failed(ledger) == [address.mark_of(made.url)]


def test_what_raises_for_a_failure_hides_none(early, ledger, monkeypatch):
    def broken(*args):
        raise RuntimeError
    monkeypatch.setattr(engines_module.dialects, 'of', broken)
    with pytest.raises(sa_exc.OperationalError):
        with early.connect() as connection:
            connection.exec_driver_sql('SELECT nothing FROM nowhere')


def test_a_connection_that_only_came_and_went_tells_nothing(early, seen):
    insert(early)
    before = seen()
    early.connect().close()
    assert seen() == before


class TestAddress:

    @pytest.mark.parametrize('one, other', [
        ('mysql+pymysql://u:a@DB/nova', 'mysql://u:b@db:3306/nova?x=1'),
        ('mysql+mysqldb://u@db/nova', 'mariadb+pymysql://u@db/nova'),
        ('postgresql://u@db/nova', 'postgresql+psycopg://u@db:5432/nova'),
        ('postgresql://u@/nova?host=/run', 'postgresql://u@/nova?host=/run'),
        ('sqlite:////a/b', 'sqlite+pysqlite:////a/../a/b')])
    def test_the_same(self, one, other):
        assert address.mark_of(sqlalchemy.make_url(one)) == (
            address.mark_of(sqlalchemy.make_url(other))) is not None

    @pytest.mark.parametrize('other', [
        'mysql://u:a@db2/nova', 'mysql://u:a@db/nova_api',
        'mysql://u:a@db:3307/nova', 'mysql://v:a@db/nova',
        'postgresql://u:a@db/nova', 'mysql://u:a@/nova?unix_socket=/run/s'])
    def test_another(self, other):
        assert address.mark_of(sqlalchemy.make_url(other)) != (
            address.mark_of(sqlalchemy.make_url('mysql://u:a@db/nova')))

    @pytest.mark.parametrize('url', [
        'sqlite://', 'sqlite:///:memory:', 'sqlite:///file:x?uri=true',
        'oracle://'])
    def test_nowhere(self, url):
        assert address.mark_of(sqlalchemy.engine.make_url(url)) is None
