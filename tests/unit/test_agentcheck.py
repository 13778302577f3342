# SPDX-License-Identifier: Apache-2.0

"""What an agent says to HAProxy, and to any other client."""

from __future__ import annotations

import contextlib
import errno
import itertools
import socket
import struct
import threading

import pytest

from healthcheck.answers import board
from healthcheck.answers import switches
from healthcheck.cmd import agent as command
from healthcheck.probing import simulated
from healthcheck.reports import drain
from healthcheck.reports import report
from healthcheck.serving import agentcheck
from tests.unit import documents
from tests.unit import settings

PASS, WARN, FAIL = report.Status
NOW = documents.NOW.now


class Case:
    """A node with a drain file, and what is known of it."""

    def __init__(self, tmp_path):
        self.drain = tmp_path / 'drain'
        self.switches = switches.Switches(
            ['disable_by_file'],
            settings.make(disable_by_file_path=str(self.drain)), [])

    def pages(self, *checks, starting=False, last_stays=True, drained=False):
        state = self.switches.state({})
        reports = board.Reports(
            None if starting else report.Report(checks), report.Report(()))
        return board.Pages(
            [*(one.name for one in checks), 'disable_by_file'], reports,
            self.switches.verdicts(state), [report.Verdict.of(
                drain.NAME, FAIL, drain.DRAINED)] * drained,
            state=state, detailed=False,
            now=NOW, time=0.0, last_stays=last_stays)

    def word(self, *checks, weight=100, checked=False, **more):
        return agentcheck.word(self.pages(*checks, **more), self.switches,
                               weight, checked).decode()


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


def a_check(status=FAIL, name='database', **more):
    return documents.a_check(name, status, label=name.upper(), **more)


def test_well(case):
    assert case.word(a_check(PASS)) == 'up 100%\n'
    assert case.word() == 'up 100%\n'


@pytest.mark.parametrize('check', [a_check(WARN), a_check(critical=False)])
def test_a_warning_costs_weight_if_asked_for(case, check):
    assert case.word(check) == 'up 100%\n'
    assert case.word(check, weight=50) == 'up 50%\n'


def test_out(case):
    assert case.word(a_check(), a_check(name='queue'), weight=50) == (
        'down #DATABASE: CONNECTION REFUSED; QUEUE: CONNECTION REFUSED\n')
    assert case.word(a_check(PASS, judged_at=0.0)) == (
        'down #DATABASE: STALE\n')
    assert case.word(starting=True) == 'down #STARTING\n'


def test_a_drain_of_an_operator_is_no_failure(case):
    assert case.word(a_check(PASS), drained=True) == 'up 0%\n'
    assert case.word(drained=True, weight=50) == 'up 0%\n'
    assert case.word(a_check(), drained=True) == (
        'down #DATABASE: CONNECTION REFUSED\n')


def test_a_drain_is_no_failure(case):
    case.drain.touch()
    assert case.word(a_check(PASS)) == 'up 0%\n'
    assert case.word(a_check(WARN), weight=50) == 'up 0%\n'
    # Sessions that stick to it must leave, too.
    assert case.word(a_check()) == ('down #DATABASE: CONNECTION REFUSED\n')


@pytest.mark.parametrize('reason', [
    'x' * 1000, 'A\nup 100%', 'A\r\nup', 'é\x1b[31m', '\ud800', ''])
def test_a_reason_stays_one_short_line(case, reason):
    said = case.word(a_check(reason=reason))
    assert said.startswith('down #DATABASE: ') and said.count('\n') == 1
    assert said[:-1].isascii() and said[:-1].isprintable()
    assert len(said) <= 127


def test_who_may_be_the_last_is_left_to_the_http_check(case):
    shared = a_check(shared=True)
    assert case.word(shared, checked=True, weight=50) == 'up 50%\n'
    assert case.word(shared).startswith('down')
    assert case.word(shared, checked=True,
                     last_stays=False).startswith('down')
    assert case.word(shared, a_check(name='worker'),
                     checked=True).startswith('down')
    assert case.word(shared, checked=True, drained=True).startswith('down')
    case.drain.touch()
    assert case.word(shared, checked=True).startswith('down')


class Running:
    """An agent and its door, as a test says that they are."""

    def __init__(self, case):
        self.case = case
        self.door = self
        self.switches = case.switches
        self.policy = settings_policy()
        self.pages = None
        self.allowed = {'192.0.2.1', '192.0.2.2', '127.0.0.1'}
        self.checked = set()
        self.asked = []

    def allows(self, environ):
        return environ['REMOTE_ADDR'] in self.allowed

    def shown(self, environ):
        self.asked.append(environ['SERVER_PORT'])
        return self.pages

    def is_checked_by(self, address):
        return address in self.checked


def settings_policy():
    class Policy:
        detection = 23.0
    return Policy


@pytest.fixture
def running(case):
    return Running(case)


@pytest.fixture
def clock():
    return simulated.Clock()


@pytest.fixture
def speaker(running, clock):
    return agentcheck.Speaker(running, 50, clock)


def test_silent_until_there_is_a_report(case, running, speaker, clock):
    """An agent that is restarted takes no node out that is well."""
    assert speaker.say('192.0.2.1', '80') == b''
    running.pages = case.pages(starting=True)
    clock.now += 22.9
    assert speaker.say('192.0.2.1', '80') == b''
    clock.now += 0.1
    assert speaker.say('192.0.2.1', '80') == b'down #STARTING\n'
    running.pages = None
    assert speaker.say('192.0.2.1', '80') == b'down #STARTING\n'
    running.pages = case.pages(a_check(PASS))
    assert speaker.say('192.0.2.1', '80') == b'up 100%\n'


def test_strangers_hear_nothing(case, running, speaker):
    running.pages = case.pages(a_check())
    assert speaker.say('198.51.100.1', '80') == b''
    assert running.asked == []


def test_a_line_is_made_once_for_each_report(case, running, speaker,
                                             monkeypatch):
    made = []
    monkeypatch.setattr(agentcheck, 'word', lambda *args: made.append(
        args) or b'up 100%\n')
    running.pages = case.pages(a_check())
    for _ in range(3):
        speaker.say('192.0.2.1', '80')
    running.pages = case.pages(a_check())
    speaker.say('192.0.2.1', '80')
    assert len(made) == 2


def test_each_balancer_is_told_what_it_can_judge(case, running, speaker):
    running.pages = case.pages(a_check(shared=True))
    running.checked.add('192.0.2.1')
    for _ in range(2):
        assert speaker.say('192.0.2.1', '80') == b'up 50%\n'
        assert speaker.say('192.0.2.2', '80').startswith(b'down')


@pytest.mark.parametrize('checks, drained, line, waits', [
    ([a_check(PASS)], False, b'up 100%\n', False),
    ([a_check(WARN)], False, b'up 100%\n', True),
    ([a_check()], False, b'up 100%\n', True),
    ([a_check(PASS)], True, b'up 0%\n', False)])
def test_its_last_word(case, running, speaker, checks, drained, line, waits):
    if drained:
        case.drain.touch()
    running.pages = case.pages(*checks)
    speaker.say('192.0.2.1', '80')
    assert speaker.leave() is waits
    assert speaker.say('192.0.2.1', '80') == line


def test_who_has_not_come_for_long_is_not_waited_for(case, running, speaker,
                                                     clock):
    running.pages = case.pages(a_check())
    speaker.say('192.0.2.1', '80')
    clock.now += 61
    assert not speaker.leave()


def test_who_is_remembered_is_bounded(case, running, speaker):
    running.pages = case.pages(a_check())
    running.allowed = {f'192.0.2.{number}' for number in range(256)}
    for address in sorted(running.allowed):
        speaker.say(address, '80')
    assert len(speaker._said) == 64


@pytest.fixture
def listener():
    """A listener, and a way to call it; (step, connect, said)."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(
            socket.create_server(('127.0.0.1', 0), backlog=512))
        told = []

        def say(address, port):
            told.append((address, port))
            return b'up 100%\n'
        made = agentcheck.LineServer([listening], say)
        stack.callback(made._selector.close)
        stack.callback(lambda: [each.close() for each in [*made._waiting]])

        def connect():
            caller = stack.enter_context(socket.create_connection(
                listening.getsockname(), 5))
            return caller
        yield made, connect, told


def test_the_line_comes_before_a_word(listener):
    made, connect, told = listener
    caller = connect()
    made.step(5)
    assert caller.recv(100) == b'up 100%\n'
    assert caller.recv(100) == b''
    assert told == [(caller.getsockname()[0],
                     str(caller.getpeername()[1]))]
    caller.close()
    made.step(5)
    assert not made._waiting


def test_what_a_caller_sends_does_not_cost_it_the_line(listener):
    made, connect, _ = listener
    caller = connect()
    for word in (b'node1', b'\n', b'more'):
        caller.sendall(word)
        made.step(5)
        made.step(0.05)
    # Closed too soon, the connection would be reset, and the line lost.
    assert caller.recv(100) == b'up 100%\n'
    caller.close()
    made.step(5)
    assert not made._waiting


def test_silent_callers_are_closed_and_bounded(listener, monkeypatch):
    made, connect, _ = listener
    callers = [connect() for _ in range(200)]
    while len(made._waiting) < agentcheck._MOST:
        made.step(5)
    for _ in range(20):
        made.step(0)
        assert len(made._waiting) <= agentcheck._MOST
    assert [caller.recv(100) for caller in callers] == [b'up 100%\n'] * 200
    late = itertools.repeat(agentcheck.time.monotonic()
                            + agentcheck._LINGER + 1)
    monkeypatch.setattr(agentcheck.time, 'monotonic', lambda: next(late))
    made.step(0)
    assert not made._waiting


def test_a_caller_that_resets_harms_nobody(listener):
    made, connect, _ = listener
    first, second = connect(), connect()
    first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                     struct.pack('ii', 1, 0))
    first.close()
    for _ in range(3):
        made.step(0.05)
    assert second.recv(100) == b'up 100%\n'


def test_a_unix_socket_counts_as_this_host(tmp_path):
    path = str(tmp_path / 'a.sock')
    told = []
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(
            socket.AF_UNIX) as caller:
        listening.bind(path)
        listening.listen()
        made = agentcheck.LineServer(
            [listening], lambda *args: told.append(args) or b'')
        caller.connect(path)
        made.step(5)
        assert told == [('127.0.0.1', '')]
        assert caller.recv(100) == b''
        caller.close()
        made.step(5)
        made._selector.close()


def test_a_fault_of_its_own_is_said_once(listener, monkeypatch, caplog):
    """Such as no more descriptors; the thread goes on."""
    made, connect, _ = listener
    tries, rests, over = [], [], threading.Event()

    def accept(listening):
        tries.append(1)
        if len(tries) == 5:
            over.set()
            raise SystemExit  # ends the test's thread
        raise OSError(errno.EMFILE, 'Too many open files')
    monkeypatch.setattr(made, '_accept', accept)
    monkeypatch.setattr(agentcheck.time, 'sleep', rests.append)
    caller = connect()
    with pytest.raises(SystemExit):
        made._run()
    assert over.is_set() and len(rests) == 4
    assert [record.levelname for record in caplog.records] == ['ERROR']
    caller.close()


@pytest.mark.parametrize('line, problem', [
    ('--config-file x --agent-check 0.0.0.0:8078', '--allow-remote'),
    ('--config-file x --agent-check nowhere', 'not an address'),
    ('--config-file x --agent-check-warn-weight 0', 'not from 1 to 100'),
    ('--config-file x --agent-check-warn-weight 101', 'not from 1 to 100'),
    ('--config-file x --agent-check-warn-weight x', 'not from 1 to 100')])
def test_wrong_arguments(line, problem, capsys):
    with pytest.raises(SystemExit) as caught:
        command.main(line.split())
    assert caught.value.code == 2
    assert problem in capsys.readouterr().err
