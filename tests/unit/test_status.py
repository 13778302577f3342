# SPDX-License-Identifier: Apache-2.0

"""``healthcheck status``: what it prints, and how it ends."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
import types

import pytest

from healthcheck.cmd import main
from healthcheck.cmd import nodes
from healthcheck.cmd import output
from healthcheck.cmd import status
from healthcheck.cmd import tokens
from tests.unit import documents

Reply = nodes.Reply

OUT = Reply('node3', 'fail', 'DATABASE: NO ANSWER', [
    {'name': 'database', 'status': 'fail', 'reason': 'DATABASE: NO ANSWER'},
    {'name': 'message_queue', 'status': 'pass', 'reason': 'OK'}], 0.0031)
SLOW = Reply('node2', 'warn', 'DATABASE: SLOW', (), 0.002)
WELL = Reply('node1', 'pass', 'OK', (), 0.001)
AWAY = Reply('node4', 'fail', 'CONNECTION REFUSED', note='[Errno 111]')
ELSE = Reply('node5', 'unknown', 'NO HEALTH CHECK AT THIS PATH')


class Screen(io.StringIO):
    """A terminal that keeps what is written."""

    def isatty(self):
        return True

    def fileno(self):
        return 1


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command on replies; return (exit status, what it printed)."""
    for name in ('OS_TOKEN', 'OS_CLOUD', 'OS_AUTH_URL', 'NO_COLOR', 'TERM'):
        monkeypatch.delenv(name, raising=False)

    def act(*arguments, replies=(WELL,)):
        monkeypatch.setattr(nodes, 'ask_all',
                            lambda places, asking: list(replies))
        code = status.main([*arguments, *(one.node for one in replies)])
        return code, capsys.readouterr().out
    return act


@pytest.mark.parametrize('replies, code', [
    ([WELL], 0), ([WELL, SLOW], 1), ([WELL, SLOW, OUT], 2), ([ELSE], 3),
    ([WELL, ELSE], 3), ([SLOW, ELSE], 1), ([OUT, ELSE], 2), ([AWAY], 2)])
def test_exit_status_is_that_of_the_worst(run, replies, code):
    for wanted in output.FORMATS:
        assert run('--format', wanted, replies=replies)[0] == code


def test_a_warning_may_count_as_a_pass(run):
    assert run('--warn-ok', replies=[WELL, SLOW])[0] == 0
    assert run('--warn-ok', replies=[OUT])[0] == 2


@pytest.mark.parametrize('replies, line', [
    ([WELL], 'HEALTHCHECK OK - node1: OK | latency=0.0010s;;5;0'),
    ([OUT], 'HEALTHCHECK CRITICAL - node3: DATABASE: NO ANSWER | '
            'latency=0.0031s;;5;0'),
    ([AWAY], 'HEALTHCHECK CRITICAL - node4: CONNECTION REFUSED'),
    ([ELSE], 'HEALTHCHECK UNKNOWN - node5: NO HEALTH CHECK AT THIS PATH'),
    ([WELL, SLOW, AWAY],
     'HEALTHCHECK CRITICAL - 3 nodes, 1 fail, 1 warn, 1 pass: '
     'node4: CONNECTION REFUSED; node2: DATABASE: SLOW | fail=1 warn=1 '
     'unknown=0 pass=1 node1=0.0010s;;5;0 node2=0.0020s;;5;0'),
])
def test_line_of_a_plugin(run, replies, line):
    assert run('--format', 'line', replies=replies)[1] == f'{line}\n'


def test_nothing_in_a_line_ends_its_text():
    line = output.plugin_line('pass', 'a | b', {"it's=1:80": '1s'})
    assert line == "HEALTHCHECK OK - a / b | 'it_s_1:80'=1s"


def test_json_in_a_pipe(run):
    code, text = run(replies=[OUT, WELL])
    found = json.loads(text)
    assert found['status'] == 'fail'
    assert found['nodes'][0] == {
        'node': 'node3', 'status': 'fail', 'reason': 'DATABASE: NO ANSWER',
        'latency_seconds': 0.0031, 'note': '', 'checks': OUT.checks,
        'detail': None}


def test_a_table_of_the_fleet_the_worst_first(run):
    detailed = WELL._replace(detail={'since': {'age_seconds': 86400}})
    text = run('--format', 'table', replies=[detailed, SLOW, ELSE, OUT])[1]
    rows = [line.split() for line in text.splitlines()]
    assert [row[0] for row in rows if row] == [
        'NODE', 'node3', 'node2', 'node5', 'node1', '4']
    assert rows[1][1:] == ['FAIL', '-', '3.1', 'ms', 'DATABASE:', 'NO',
                           'ANSWER']
    assert '1 d ago' in text
    assert text.endswith('4 nodes, 1 fail, 1 warn, 1 unknown, 1 pass\n')


def test_a_table_of_one_node(run):
    text = run('--format', 'table', replies=[OUT])[1]
    assert text.splitlines() == [
        'node3  FAIL  DATABASE: NO ANSWER', '',
        'CHECK          STATUS  REASON',
        'database       FAIL    DATABASE: NO ANSWER',
        'message_queue  PASS    OK']
    assert '([Errno 111])' in run('--format', 'table', replies=[AWAY])[1]


def test_all_that_an_admin_may_see_of_one_node(run):
    document = documents.a_document(documents.a_check('database'))
    text = run('--format', 'table', replies=[
        WELL._replace(detail=document)])[1]
    assert text.startswith('This node is in the balancer')
    assert 'IN A ROW' in text
    # Another release may have another document.
    text = run('--format', 'table', replies=[
        WELL._replace(detail={'status': 'pass', 'checks': []})])[1]
    assert text == 'node1  PASS  OK\n'


def test_colours_are_for_terminals_that_want_them(run, monkeypatch):
    assert '\x1b' not in run('--format', 'table', replies=[OUT])[1]

    def printed():
        screen = Screen()
        monkeypatch.setattr(sys, 'stdout', screen)
        run('--format', 'table', replies=[OUT, WELL])
        return screen.getvalue()
    text = printed()
    assert 'node3  \x1b[31mFAIL\x1b[0m' in text
    assert 'node1  \x1b[32mPASS\x1b[0m' in text
    for name, value in (('NO_COLOR', '1'), ('TERM', 'dumb')):
        monkeypatch.setenv(name, value)
        assert '\x1b' not in printed()
        monkeypatch.delenv(name)


def test_a_table_on_a_terminal(run, monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, 'stdout', screen)
    run(replies=[WELL, SLOW])
    assert screen.getvalue().startswith('NODE')


@pytest.mark.parametrize('columns, rows, shown, longest', [
    (30, 5, 4, 29), (0, 0, 7, 60)])
def test_watch_redraws_in_place(monkeypatch, columns, rows, shown, longest):
    rounds = [[WELL, SLOW], [OUT, SLOW]]
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if not rounds:
            raise KeyboardInterrupt
    monkeypatch.setattr(nodes, 'ask_all',
                        lambda places, asking: rounds.pop(0))
    monkeypatch.setattr(status, 'time', types.SimpleNamespace(
        sleep=sleep, monotonic=lambda: 0.0, strftime=time.strftime))
    monkeypatch.setattr(os, 'get_terminal_size',
                        lambda fd: os.terminal_size((columns, rows)))
    screen = Screen()
    monkeypatch.setattr(sys, 'stdout', screen)
    assert status.main(['--watch', '--interval', '3', 'a', 'b']) == 2
    assert slept == [3, 3]
    _, first, second = screen.getvalue().split('\x1b[H')
    for text in (first, second):
        plain = re.sub(r'\x1b\[[0-9]*[A-Za-z]', '', text)
        assert len(plain.splitlines()) == shown  # it does not scroll
        assert max(map(len, plain.splitlines())) <= longest
        assert text.count('\x1b[K\n') == shown and text.endswith('\x1b[J')
    assert 'node2' in first and 'node3' in second
    assert ('NO ANSWER' in second) is (columns == 0)


def test_watch_in_a_pipe(monkeypatch, capsys):
    def sleep(seconds):
        raise KeyboardInterrupt
    monkeypatch.setattr(nodes, 'ask_all', lambda places, asking: [WELL])
    monkeypatch.setattr(status, 'time', types.SimpleNamespace(
        sleep=sleep, monotonic=time.monotonic))
    assert status.main(['--watch', '--format', 'line', 'a']) == 0
    assert capsys.readouterr().out == (
        'HEALTHCHECK OK - node1: OK | latency=0.0010s;;5;0\n')


@pytest.mark.parametrize('arguments, problem', [
    ([], 'URL'), (['ftp://node1'], 'not an address'),
    (['--timeout', '0', 'a'], '--timeout'),
    (['--timeout', 'x', 'a'], '--timeout'),
    (['--cacert', '/nowhere', 'https://a'], '--cacert /nowhere'),
    (['http://me:s3cret@a'], 'a user or password in a URL')])
def test_wrong_usage_is_unknown(arguments, problem, capsys):
    assert main.main(['status', *arguments]) == 3
    said = capsys.readouterr().err
    assert problem in said and 's3cret' not in said


def test_tls(monkeypatch):
    seen = []

    def ask_all(places, asking):
        seen.append(asking.tls)
        return [WELL]
    monkeypatch.setattr(nodes, 'ask_all', ask_all)
    for arguments in (['http://a'], ['https://a'],
                      ['--insecure', 'https://a']):
        status.main([*arguments, '--format', 'line'])
    none, checked, unchecked = seen
    assert none is None
    assert checked.check_hostname and checked.verify_mode == 2
    assert not unchecked.check_hostname and unchecked.verify_mode == 0


@pytest.fixture
def cloud(monkeypatch):
    """Stands for openstacksdk; a list of what it is asked for."""
    asked = []

    class OpenStackConfig:
        def get_one(self, cloud):
            asked.append(cloud)
            return types.SimpleNamespace(get_session=lambda: session)
    session = types.SimpleNamespace(get_token=lambda: 'fresh')
    config = types.ModuleType('openstack.config')
    config.OpenStackConfig = OpenStackConfig
    package = types.ModuleType('openstack')
    package.config = config
    monkeypatch.setitem(sys.modules, 'openstack', package)
    monkeypatch.setitem(sys.modules, 'openstack.config', config)
    for name in ('OS_TOKEN', 'OS_CLOUD', 'OS_AUTH_URL'):
        monkeypatch.delenv(name, raising=False)
    return types.SimpleNamespace(asked=asked, session=session)


@pytest.mark.parametrize('environ, option, token, asked', [
    ({}, None, None, []),
    ({'OS_TOKEN': 'ready', 'OS_AUTH_URL': 'x'}, None, 'ready', []),
    ({'OS_AUTH_URL': 'http://keystone'}, None, 'fresh', [None]),
    ({'OS_CLOUD': 'admin'}, None, 'fresh', [None]),
    ({'OS_TOKEN': 'ready'}, 'other', 'fresh', ['other'])])
def test_where_a_token_comes_from(cloud, monkeypatch, environ, option, token,
                                  asked):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    find = tokens.find(option)
    assert [find(), find()] == [token, token]
    assert cloud.asked == asked  # once


def test_without_a_token_it_goes_on(cloud, monkeypatch, capsys):
    def refuse():
        raise RuntimeError('http://admin:s3cret@keystone: refused')
    cloud.session.get_token = refuse
    assert tokens.find('admin')() is None
    said = capsys.readouterr().err
    assert 'no details: RuntimeError' in said and 's3cret' not in said
    monkeypatch.setitem(sys.modules, 'openstack', None)
    assert tokens.find('admin')() is None
    assert 'openstack-healthcheck[cloud]' in capsys.readouterr().err


def test_no_library_of_openstack_is_imported():
    """A container runs it every few seconds."""
    done = subprocess.run([sys.executable, '-c', '''
import sys
before = set(sys.modules)
from healthcheck.cmd import main
assert main.main(['status', '--format', 'line', '127.0.0.1:1']) == 2
print(*{name.partition('.')[0] for name in set(sys.modules) - before})
'''], capture_output=True, text=True, env={'PATH': os.environ['PATH']})
    assert done.returncode == 0, done.stderr
    roots = set(done.stdout.splitlines()[-1].split())
    assert 'healthcheck' in roots
    assert roots - sys.stdlib_module_names == {'healthcheck'}
