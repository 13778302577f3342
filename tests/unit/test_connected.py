# SPDX-License-Identifier: Apache-2.0

"""When a connection that is gone is replaced within the same probe."""

import ssl
import types

from oslo_config import cfg
import psycopg
from psycopg import errors
import psycopg2
import pymysql
import pytest
from sqlalchemy import exc as sa_exc

from healthcheck.probing import target as target_module
from healthcheck.reports import report
from healthcheck.targets import connected
from healthcheck.targets import database_target
from healthcheck.targets import dialects
from healthcheck.targets import failures
from healthcheck.targets import queue_target

BOUND = 4.0
OK = report.Result.ok()


class Lost(Exception):
    pass


class Scripted(connected.Connected):
    """Does what the test says; a step takes no time unless it says so.

    :param script: (seconds, an exception to raise or None) of each look at
        the backend, and of each question
    :ivar opened: how many connections there were
    """

    connected = False

    def __init__(self, clock, *script):
        super().__init__(BOUND)
        self.clock = clock
        self.script = list(script)
        self.opened = self.rests = 0

    def ask(self):
        if not self.connected:
            self.opened += 1
        self.connected = True
        return self._next()

    def put(self, question):
        assert self.connected
        self._next()
        return question.ask(self.opened)

    def rest(self):
        self.rests += 1

    def _next(self):
        seconds, fault = self.script.pop(0)
        self.clock.now += seconds
        if fault:
            raise fault
        return report.Result.ok()

    def drop(self):
        self.connected = False

    def reason(self, exc):
        return failures.CONNECTION_LOST if isinstance(exc, Lost) else str(exc)

    def describe(self, exc):
        return ' <- '.join(map(repr, failures.chain(exc)))


@pytest.fixture
def scripted(monkeypatch):
    clock = types.SimpleNamespace(now=1000.0)
    monkeypatch.setattr(connected, 'time', types.SimpleNamespace(
        monotonic=lambda: clock.now))
    return lambda *script: Scripted(clock, *script)


class TestProbe:

    def test_a_kept_connection_that_is_gone_is_replaced(self, scripted):
        target = scripted((0, None), (0, Lost()), (0, None))
        assert [target.probe().result for _ in range(2)] == [OK] * 2
        assert not target.script and target.connected

    def test_the_next_connection_has_the_true_reason(self, scripted):
        target = scripted((0, None), (0, Lost()), (0, OSError('REFUSED')))
        target.probe()
        assert target.probe().result == report.Result.failed(
            'REFUSED', "OSError('REFUSED')")  # and not the one before it
        assert not target.script and not target.connected

    def test_it_is_replaced_once(self, scripted):
        target = scripted((0, None), (0, Lost()), (0, Lost()), (0, None))
        target.probe()
        assert target.probe().result.reason == failures.CONNECTION_LOST
        assert len(target.script) == 1

    def test_a_new_one_that_is_lost_is_a_failure(self, scripted):
        target = scripted((0, Lost()), (0, None))
        assert target.probe().result.reason == failures.CONNECTION_LOST
        assert len(target.script) == 1

    def test_other_faults_of_a_kept_connection_are_failures(self, scripted):
        target = scripted((0, None), (0, ValueError('READ ONLY')), (0, None))
        target.probe()
        assert target.probe().result.reason == 'READ ONLY'
        assert len(target.script) == 1

    def test_there_is_no_time_for_two_that_are_silent(self, scripted):
        target = scripted((0, None), (BOUND, Lost()), (0, None))
        target.probe()
        assert target.probe().result.reason == failures.NO_ANSWER
        assert len(target.script) == 1


class TestQuestions:

    QUESTIONS = [target_module.Question(
        lambda opened, number=number: target_module.Answer(
            OK, (number, opened))) for number in range(3)]

    def values(self, found):
        """What was answered: (number of the question, connection)."""
        return [found.answers[one].value for one in self.QUESTIONS]

    def test_are_asked_over_the_connection_of_the_probe(self, scripted):
        target = scripted(*[(0, None)] * 8)
        for _ in range(2):
            found = target.probe(self.QUESTIONS)
            assert found.result == OK
            assert self.values(found) == [(0, 1), (1, 1), (2, 1)]
        assert not target.script
        assert (target.opened, target.rests) == (1, 2)

    def test_one_that_fails_is_its_own_failure(self, scripted):
        target = scripted((0, None), (0, None), (0, ValueError('DENIED')),
                          (0, None), (0, None))
        found = target.probe(self.QUESTIONS)
        assert found.result == OK
        assert found.answers[self.QUESTIONS[1]] == target_module.Answer(
            report.Result.failed('DENIED', "ValueError('DENIED')"))
        # The next one has a new connection.
        assert self.values(found) == [(0, 1), None, (2, 2)]
        assert not target.script
        assert (target.connected, target.rests) == (True, 1)

    def test_after_the_last_one_that_fails_nothing_is_open(self, scripted):
        target = scripted((0, None), (0, ValueError('DENIED')))
        target.probe(self.QUESTIONS[:1])
        assert not target.connected and target.opened == 1

    def test_all_may_fail(self, scripted):
        target = scripted((0, None), (0, ValueError('A')),
                          (0, None), (0, ValueError('B')),
                          (0, None), (0, ValueError('C')))
        found = target.probe(self.QUESTIONS)
        assert found.result == OK
        assert [found.answers[one].result.reason
                for one in self.QUESTIONS] == ['A', 'B', 'C']
        assert not target.script and not target.connected

    def test_one_that_gets_no_new_connection_fails(self, scripted):
        target = scripted((0, None), (0, ValueError('DENIED')),
                          (0, OSError('REFUSED')), (0, None), (0, None))
        found = target.probe(self.QUESTIONS)
        assert found.result == OK
        assert [found.answers[one].result.reason
                for one in self.QUESTIONS] == ['DENIED', 'REFUSED', 'OK']

    def test_a_kept_connection_that_is_lost_is_replaced(self, scripted):
        target = scripted((0, None), (0, None), (0, Lost()),
                          *[(0, None)] * 4)
        target.probe()
        found = target.probe(self.QUESTIONS)
        assert found.result == OK
        assert self.values(found) == [(0, 2), (1, 2), (2, 2)]
        assert not target.script

    def test_it_is_replaced_once(self, scripted):
        target = scripted((0, None), (0, None), (0, Lost()), (0, None),
                          (0, Lost()), (0, None))
        target.probe()
        found = target.probe(self.QUESTIONS)
        assert found.result.reason == failures.CONNECTION_LOST
        assert [found.answer(one).result for one in self.QUESTIONS] == [
            found.result] * 3
        assert len(target.script) == 1 and not target.connected

    def test_a_new_one_that_is_lost_is_a_failure(self, scripted):
        target = scripted((0, None), (0, Lost()), (0, None))
        found = target.probe(self.QUESTIONS)
        assert found.result.reason == failures.CONNECTION_LOST
        assert found.answers == {} and len(target.script) == 1

    @pytest.mark.parametrize('step', [
        (BOUND, Lost()), (0, ValueError(failures.NO_ANSWER))])
    def test_there_is_no_time_for_others_after_one_that_is_silent(
            self, scripted, step):
        target = scripted((0, None), (0, None), (0, None), step, (0, None))
        target.probe()
        found = target.probe(self.QUESTIONS)
        assert found.result == OK
        assert [found.answers[one].result.reason
                for one in self.QUESTIONS] == [
            'OK', failures.NO_ANSWER, failures.NO_ANSWER]
        assert len(target.script) == 1 and not target.connected

    def test_none_is_asked_of_a_backend_that_fails(self, scripted):
        target = scripted((0, OSError('REFUSED')), (0, None))
        found = target.probe(self.QUESTIONS)
        assert found.answers == {} and len(target.script) == 1
        assert found.answer(self.QUESTIONS[0]).result == found.result


def target_of(driver):
    return database_target.DatabaseTarget(
        f'{driver}://u@h/db', option='o', bound=BOUND,
        tolerance=dialects.Tolerance())


def wrapped(target, fault):
    """As SQLAlchemy raises it, of a connection that is closed by now."""
    dialect = target._sa_engine.dialect
    connection = types.SimpleNamespace(closed=True, broken=True)
    return sa_exc.DBAPIError.instance(
        'SELECT 1', None, fault, dialect.loaded_dbapi.Error,
        connection_invalidated=dialect.is_disconnect(
            fault, connection, None), dialect=dialect)


class TestLost:

    @pytest.mark.parametrize('driver, fault', [
        ('postgresql+psycopg2', psycopg2.OperationalError(
            'SSL SYSCALL error: EOF detected\n')),
        ('postgresql+psycopg2', psycopg2.OperationalError(
            'SSL connection has been closed unexpectedly\n')),
        ('postgresql+psycopg', psycopg.OperationalError(
            'consuming input failed: SSL error: unexpected eof while '
            'reading')),
        ('postgresql+psycopg', errors.AdminShutdown(
            'terminating connection due to administrator command')),
        ('postgresql+psycopg', psycopg.OperationalError(
            'in words that nobody knows')),
        ('mysql+pymysql', pymysql.OperationalError(
            4031, 'The client was disconnected by the server because of '
            'inactivity.')),
        ('mysql+pymysql', pymysql.OperationalError(2013, 'Lost'))])
    def test_what_sqlalchemy_and_the_reasons_know(self, driver, fault):
        target = target_of(driver)
        assert target.lost(wrapped(target, fault))
        assert target.reason(wrapped(target, fault)) == (
            failures.CONNECTION_LOST)

    @pytest.mark.parametrize('fault', [
        'SSL SYSCALL error: EOF detected',
        'SSL connection has been closed unexpectedly',
        'SSL error: unexpected eof while reading'])
    def test_over_tls_without_sqlalchemy(self, fault):
        # psycopg 3, of a connect: SQLAlchemy has no connection to look at.
        target = target_of('postgresql+psycopg')
        assert target.reason(psycopg.OperationalError(fault)) == (
            failures.CONNECTION_LOST)

    @pytest.mark.parametrize('fault', [
        ssl.SSLEOFError(8, 'EOF occurred in violation of protocol'),
        ssl.SSLZeroReturnError(6, 'TLS/SSL connection has been closed')])
    def test_a_queue_over_tls(self, fault):
        target = queue_target.QueueTarget(
            cfg.CONF, 'rabbit://h/', option='o', bound=BOUND)
        assert target.lost(fault)

    def test_mysqlclients_code_over_tls(self):
        target = target_of('mysql+mysqldb')
        fault = RuntimeError(2026, 'TLS/SSL error: unexpected eof')
        assert target.lost(fault)
        # Of a connect it is a fault of TLS.
        assert target.reason(fault) != failures.CONNECTION_LOST

    @pytest.mark.parametrize('driver, fault', [
        ('postgresql+psycopg', psycopg.OperationalError(
            'connection failed: connection to server at "127.0.0.1", port '
            '5432 failed: SSL error: certificate verify failed')),
        ('postgresql+psycopg2', psycopg2.OperationalError(
            'connection to server at "127.0.0.1", port 5432 failed: SSL '
            'error: certificate verify failed\n')),
        ('mysql+pymysql', pymysql.OperationalError(
            1290, 'The server is running with the --read-only option'))])
    def test_other_faults(self, driver, fault):
        target = target_of(driver)
        dialect = target._sa_engine.dialect
        exc = sa_exc.DBAPIError.instance(
            None, None, fault, dialect.loaded_dbapi.Error,
            connection_invalidated=dialect.is_disconnect(fault, None, None))
        assert not target.lost(exc)
        assert target.reason(exc) != failures.CONNECTION_LOST
