# SPDX-License-Identifier: Apache-2.0

"""``healthcheck status --fleet``: what it prints, and how it ends."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
import types

import pytest

from healthcheck.cmd import fleet as command
from healthcheck.cmd import main
from healthcheck.cmd import nodes
from healthcheck.cmd import output
from healthcheck.cmd import status
from healthcheck.reports import fleet
from tests.unit import fleet_views
from tests.unit import test_nodes
from tests.unit import test_status

a_node = fleet_views.a_node
ASKING = test_nodes.ASKING
ODD = fleet_views.a_document(*fleet_views.ODD)
WELL = fleet_views.a_document(a_node('node1'), a_node('node2'))
DRAINED = fleet_views.a_document(a_node('node1'),
                                 a_node('node2', fleet.DRAINED))


def shows(document):
    return 200, document


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command on places; return (exit status, what it printed)."""
    for name in ('OS_TOKEN', 'OS_CLOUD', 'OS_AUTH_URL', 'NO_COLOR', 'TERM'):
        monkeypatch.delenv(name, raising=False)

    def act(*arguments, answers=(shows(ODD),)):
        places = {f'node{number}': test_nodes.Stub(
            f'node{number}', fleet=answer)
            for number, answer in enumerate(answers, 1)}
        monkeypatch.setattr(nodes, 'Place', lambda text, path: places[text])
        code = status.main(['--fleet', *arguments, *places])
        return code, capsys.readouterr().out
    return act


@pytest.mark.parametrize('document, code', [(WELL, 0), (DRAINED, 1),
                                            (ODD, 2)])
def test_exit_status_is_that_of_the_fleet(run, document, code):
    for wanted in output.FORMATS:
        assert run('--format', wanted, answers=[shows(document)])[0] == code


def test_a_table_the_odd_one_out_first(run):
    _, text = run('--format', 'table')
    rows = [line.split() for line in text.splitlines() if line]
    assert [row[0] for row in rows] == [
        'Fleet', 'Seen', 'NODE', 'node3', 'node1', 'node2', 'CHECK',
        'database']
    assert rows[3][1] == 'OUT'


def test_colours(run, monkeypatch):
    screen = test_status.Screen()
    monkeypatch.setattr(sys, 'stdout', screen)
    run('--format', 'table')
    assert 'node3  \x1b[31mOUT\x1b[0m' in screen.getvalue()
    assert 'node1  \x1b[32mIN\x1b[0m' in screen.getvalue()


def test_json(run):
    found = json.loads(run()[1])
    assert found.pop('latency_seconds') >= 0
    assert found == {'status': 'fail', 'node': 'node1', 'reason': 'OK',
                     'note': '', 'fleet': ODD}


@pytest.mark.parametrize('document, line', [
    (WELL, 'HEALTHCHECK OK - Fleet nova has 2 nodes, 2 in | out=0 held=0 '
           'unknown=0 drained=0 warns=0 in=2'),
    (ODD, 'HEALTHCHECK CRITICAL - Fleet nova has 3 nodes, 1 out, 2 in: '
          'node3: DATABASE: NO ANSWER (unlike the others: database) | out=1 '
          'held=0 unknown=0 drained=0 warns=0 in=2'),
    (fleet_views.a_document(a_node('node1'), trouble='refused'),
     'HEALTHCHECK WARNING - Fleet nova has 1 node, 1 in: The store cannot be '
     'used: refused | out=0 held=0 unknown=0 drained=0 warns=0 in=1')])
def test_line_of_a_plugin(run, document, line):
    assert run('--format', 'line', answers=[shows(document)])[1] == (
        f'{line}\n')


def test_a_line_names_few(run):
    text = run('--format', 'line', answers=[shows(fleet_views.a_document(*(
        a_node(f'node{number}', fleet.HELD) for number in range(9))))])[1]
    assert 'node4' in text and 'node5' not in text and '; 4 more' in text


@pytest.mark.parametrize('first', [
    ConnectionRefusedError(111, 'refused'), (404, b''), (401, b''),
    (200, b'no JSON'), (200, {'status': 'pass'})])
def test_the_first_that_answers_counts(run, first):
    code, text = run(answers=[first, shows(WELL), shows(ODD)])
    assert (code, json.loads(text)['node']) == (0, 'node2')


@pytest.mark.parametrize('answer, said', [
    (ConnectionRefusedError(111, 'refused'),
     'CONNECTION REFUSED ([Errno 111] refused)'),
    (http.client.BadStatusLine('x'), 'NO HTTP ANSWER'),
    ((404, b''), 'NO FLEET (HTTP status 404: the node has no fleet_url'),
    ((401, b''), 'NO FLEET (HTTP status 401: it needs a token'),
    ((500, b''), 'NO FLEET (HTTP status 500)')])
def test_a_fleet_that_nobody_shows_is_unknown(run, answer, said):
    code, text = run('--format', 'table', answers=[answer, answer])
    assert code == 3
    assert text.startswith(f'node1  UNKNOWN  {said}')
    code, text = run('--format', 'line', answers=[answer])
    assert text.startswith(f'HEALTHCHECK UNKNOWN - node1: {said}')
    assert json.loads(run(answers=[answer])[1])['fleet'] is None


@pytest.mark.parametrize('document', [
    {'nodes': []}, {'nodes': 1, 'status': 'pass'},
    {**WELL, 'nodes': [{}]}, {**WELL, 'states': []},
    {**WELL, 'store': None}])
def test_a_document_of_another_release(run, document):
    for wanted in (output.TABLE, output.LINE):
        _, text = run('--format', wanted, answers=[shows(document)])
        assert 'NOT A FLEET OF THIS RELEASE' in text


def test_what_a_node_says_cannot_move_the_cursor(run):
    evil = '\x1b[2J\nnode'
    for wanted in output.FORMATS:
        text = run('--format', wanted, answers=[shows(fleet_views.a_document(
            a_node(evil, fleet.OUT, reason=evil), trouble=evil))])[1]
        assert '\x1b' not in text and '\nnode\n' not in text


@pytest.mark.parametrize('text, token', [
    ('node1', 'token'), ('unix:/run/a.sock', None), ('node1', None)])
def test_one_page_is_asked_for(text, token):
    place = test_nodes.Stub(text, fleet=shows(WELL))
    asked = ASKING._replace(token=token)
    assert command.ask_one(place, asked).detail == WELL
    assert place.asked == [('/fleet', 'application/json')]


def test_a_node_that_hangs_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(nodes, 'ask_all', lambda places, asking, ask: [
        nodes.Reply(places[0].name, 'fail', 'NO ANSWER')])
    (reply,) = command.ask([nodes.Place('node1')], ASKING)
    assert (reply.status, reply.reason) == ('unknown', 'NO ANSWER')


def test_a_real_request(real):
    text, came = real
    reply = command.ask_one(nodes.Place(text),
                            ASKING._replace(token='secret'))
    assert (reply.status, reply.detail) == ('unknown', None)
    ((path, headers),) = came
    assert path.endswith('/fleet') and headers['X-Auth-Token'] == 'secret'


real = test_nodes.real


def test_watch(run, monkeypatch):
    def sleep(seconds):
        raise KeyboardInterrupt
    monkeypatch.setattr(status, 'time', types.SimpleNamespace(
        sleep=sleep, monotonic=time.monotonic))
    code, text = run('--watch', '--format', 'table')
    assert code == 2 and text.startswith('Fleet nova')


def test_one_check_of_a_fleet_is_wrong_usage(capsys):
    assert main.main(['status', '--fleet', '--check', 'a', 'node1']) == 3
    assert '--check' in capsys.readouterr().err


def test_no_library_of_openstack_is_imported():
    done = subprocess.run([sys.executable, '-c', '''
import sys
before = set(sys.modules)
from healthcheck.cmd import main
assert main.main(['status', '--fleet', '--format', 'line', '127.0.0.1:1']) == 3
print(*{name.partition('.')[0] for name in set(sys.modules) - before})
'''], capture_output=True, text=True, env={'PATH': os.environ['PATH']})
    assert done.returncode == 0, done.stderr
    roots = set(done.stdout.splitlines()[-1].split())
    assert roots - sys.stdlib_module_names == {'healthcheck'}
