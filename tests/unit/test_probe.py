# SPDX-License-Identifier: Apache-2.0

"""``healthcheck probe``: the service's checks, run once."""

from __future__ import annotations

import io
import itertools
import json
import logging
import os
import sqlite3
import sys
import threading

from oslo_config import cfg
import pytest

from healthcheck.cmd import main
from healthcheck.cmd import probe
from healthcheck.cmd import trial
from healthcheck.probing import rota
from healthcheck.probing import rounds
from healthcheck.probing import scheduler
from healthcheck.reports import report
from tests.unit import stubs

Result = report.Result
FAILED = Result.failed('CONNECTION REFUSED', 'db:3306: refused')


@pytest.fixture
def act(monkeypatch):
    """Have the plugin "hostile" do something at each probe."""
    def script(*results):
        found = itertools.chain(results, itertools.repeat(results[-1]))
        monkeypatch.setattr(stubs.Hostile, 'act',
                            staticmethod(lambda: next(found)))
    return script


@pytest.fixture
def run(tmp_path, plugin, monkeypatch, capsys):
    """Probe; return (exit status, what it printed, what it complained)."""
    plugin(hostile='tests.unit.stubs:Hostile',
           hanging='tests.unit.stubs:Hanging',
           scripted='tests.unit.stubs:Scripted')
    # Other tests leave these as they had them.
    monkeypatch.setattr(stubs.Scripted, 'results', [])
    stubs.Hanging.release.clear()
    monkeypatch.setattr(scheduler, '_GRACE', 0.05)
    monkeypatch.setattr(rounds, 'SHARED_FOR', 0.0)
    root = logging.getLogger()
    handlers = root.handlers[:]
    paths = itertools.count()

    def make(text, *arguments):
        path = tmp_path / f'{next(paths)}.conf'
        path.write_text(text)
        code = main.main(['probe', '--config-file', str(path), *arguments])
        cfg.CONF.reset()
        said = capsys.readouterr()
        return code, said.out, said.err
    yield make
    root.handlers[:] = handlers
    cfg.CONF.reset()


HOSTILE = '[healthcheck]\nbackends = hostile\n'


@pytest.mark.parametrize('result, code, status', [
    (Result.ok(), 0, 'pass'),
    (Result(report.Status.WARN, 'SLOW'), 1, 'warn'), (FAILED, 2, 'fail')])
def test_one_result_is_the_status(run, act, result, code, status):
    """However often "fall" wants a failure to be repeated."""
    act(result)
    for text in (HOSTILE, f'{HOSTILE}fall = 5\nrise = 5\n'):
        found = run(text)
        assert found[0] == code
        assert json.loads(found[1])['status'] == status


def test_a_failure_is_explained(run, act):
    act(FAILED)
    code, text, _ = run(HOSTILE, '--format', 'table')
    assert code == 2
    assert [line.split() for line in text.splitlines()[:2]] == [
        ['CHECK', 'STATUS', 'LATENCY', 'REASON'],
        ['hostile', 'FAIL', *text.split()[6:8], 'HOSTILE:', 'CONNECTION',
         'REFUSED']]
    assert '\n  db:3306: refused\n' in text
    assert '  CONNECTION REFUSED: Nothing listens at that address' in text
    found = json.loads(run(HOSTILE)[1])
    assert found['checks'][0]['detail'] == 'db:3306: refused'
    assert list(found['advice']) == ['CONNECTION REFUSED']


def test_parts_of_a_check_are_explained_each_reason_once(run, act):
    act(Result(report.Status.WARN, 'SOME CELLS DOWN', '2 of 3', (
        report.Component('one', report.Status.PASS, latency=0.01),
        report.Component('two', report.Status.FAIL,
                         'DATABASE: LOGIN REFUSED', 'no such user'),
        report.Component('three', report.Status.FAIL,
                         'DATABASE: LOGIN REFUSED'))))
    text = run(HOSTILE, '--format', 'table')[1]
    assert 'FAIL     two: DATABASE: LOGIN REFUSED: no such user' in text
    assert text.count('Wrong user or password') == 1
    assert text.count('Enough others are up') == 1


def test_line_of_a_plugin(run, act):
    act(FAILED)
    code, text, _ = run(f'{HOSTILE}timeout = 3\n', '--format', 'line')
    assert text.startswith('HEALTHCHECK CRITICAL - HOSTILE: CONNECTION '
                           'REFUSED | hostile=0.')
    assert text.endswith('s;1;3;0\n') and text.count('\n') == 1


def test_a_check_that_is_not_critical_only_warns(run, act):
    act(FAILED)
    code, text, _ = run(f'{HOSTILE}noncritical = hostile\n',
                        '--format', 'table')
    assert code == 1 and '(not critical)' in text
    assert run(f'{HOSTILE}noncritical = hostile\n', '--warn-ok')[0] == 0


@pytest.mark.parametrize('arguments, code, failed, runs', [
    (['--repeat', '3'], 2, 1, 3), (['--wait', '60'], 0, 0, 2),
    ([], 2, 1, 1)])
def test_rounds(run, act, arguments, code, failed, runs):
    """The worst counts; while it waits, the last."""
    act(FAILED, Result.ok())
    found = run(HOSTILE, *arguments)
    document = json.loads(found[1])
    assert found[0] == code
    assert document['checks'][0]['failed_rounds'] == failed
    if '--repeat' in arguments:
        text = run(HOSTILE, *arguments, '--format', 'table')[1]
        assert '(0 of 3 failed)' in text


def test_waiting_has_an_end(run, act):
    act(FAILED)
    assert run(HOSTILE, '--wait', '0.01')[0] == 2


def test_what_only_warns_is_not_waited_for(run, act):
    act(FAILED, Result.ok())
    assert run(f'{HOSTILE}noncritical = hostile\n', '--wait', '60')[0] == 1


def test_what_has_no_thread_is_unknown(run, monkeypatch):
    """All threads hang, and it is no target's turn any more."""
    monkeypatch.setattr(trial, '_PATIENCE', 0.0)
    monkeypatch.setattr(rota.Rota, 'step', lambda self: [])
    text = '[healthcheck]\nbackends = hanging\ntimeout = 0.1\n'
    code, said, _ = run(text, '--format', 'table')
    assert code == 3
    assert 'hanging  UNKNOWN' in said
    assert run(text, '--format', 'line')[1] == (
        'HEALTHCHECK UNKNOWN - OK; not probed: hanging\n')


def test_one_that_hangs_does_not_keep_the_command(run, monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(stubs.Hanging, 'release', release)
    try:
        code, text, _ = run('[healthcheck]\nbackends = hanging, scripted\n',
                            '--timeout', '0.1', '--repeat', '2')
    finally:
        release.set()
    checks = json.loads(text)['checks']
    assert code == 2
    assert [(one['status'], one['reason']) for one in checks] == [
        ('fail', 'HANGING: NO ANSWER'), ('pass', 'OK')]


def test_names(run, act, tmp_path):
    """Those that are named, configured or not, and no others."""
    act(FAILED)
    sqlite3.connect(tmp_path / 'a.db').close()
    text = (f'[database]\nconnection = sqlite:///{tmp_path}/a.db\n'
            f'[healthcheck]\nbackends = hostile, scripted\n'
            f'noncritical = hostile\n')
    for names in (['scripted'], ['database'], ['scripted', 'database']):
        code, said, _ = run(text, *names)
        assert code == 0
        assert [one['name'] for one in json.loads(said)['checks']] == names


@pytest.mark.parametrize('text, arguments, problems', [
    ('[healthcheck]\n', (), ['backends is empty']),
    ('[healthcheck]\nbackends = worker\n', (), ['worker']),
    ('[healthcheck]\nbackends = databse\nfall = 0\n', (),
     ['did you mean database?', 'fall = ']),
    (HOSTILE, ('databse',), ['did you mean database?']),
    (HOSTILE, ('--timeout', '0.001'), ['timeout = ']),
    ('[oops', (), ['conf']),
])
def test_what_cannot_be_probed_is_unknown(run, text, arguments, problems):
    code, said, complaint = run(text, *arguments)
    assert code == 3 and not said
    assert complaint.startswith('healthcheck probe: ')
    for problem in problems:
        assert problem in complaint


@pytest.mark.parametrize('arguments', [
    [], ['--config-file', 'x', '--section', 'y'],
    ['--project', 'x', '--repeat', '0'],
    ['--project', 'x', '--repeat', '2', '--wait', '2'],
    ['--project', 'x', '--timeout', '-1']])
def test_wrong_usage_is_unknown(arguments, capsys):
    assert main.main(['probe', *arguments]) == 3
    assert 'healthcheck probe: error: ' in capsys.readouterr().err


@pytest.mark.parametrize('line, problem', [
    ('  s3cret', ':1, '), ("  it's s3cret", ':1, '),
    ('[x]\ns3cret', ':2, '), ('[s3cret', ':1, '),
    (' mysql://me:s3cret@db/nova', ':1, ')])
def test_a_line_that_cannot_be_read_is_not_shown(run, line, problem):
    code, said, complaint = run(line)
    assert code == 3
    assert problem in complaint and 's3cret' not in said + complaint


def test_what_does_not_count_is_said(run, act, tmp_path):
    act(Result.ok())
    code, text, _ = run(
        '[healthcheck]\nbackends = hostile, worker, disable_by_file\n'
        f'disable_by_file_path = {tmp_path}\n', '--format', 'table')
    assert code == 0
    assert 'worker only runs in a worker: ask the service' in text
    assert ('disable_by_file says DISABLED BY FILE, which does not count '
            'here') in text


def test_no_state_is_read_or_written(run, act, tmp_path):
    act(Result.ok())
    shared = tmp_path / 'state'
    shared.mkdir(mode=0o755)
    before = os.stat(shared)
    assert run(f'{HOSTILE}state_path = {shared}\n')[0] == 0
    assert not list(shared.iterdir())
    assert os.stat(shared).st_mtime_ns == before.st_mtime_ns


def test_a_section_of_a_paste_file(run, act, tmp_path):
    act(FAILED)
    paste = tmp_path / 'api-paste.ini'
    paste.write_text('[filter:health]\nbackends = hostile\n'
                     'noncritical = hostile\n'
                     'paste.filter_factory = healthcheck:Healthcheck.factory')
    code, text, _ = run('', '--paste', str(paste), '--section',
                        'filter:health')
    assert code == 1
    assert json.loads(text)['checks'][0]['name'] == 'hostile'


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_for_terminals_and_many(monkeypatch):
    for stream, total, told in ((Terminal(), 60, True),
                                (Terminal(), 3, False),
                                (io.StringIO(), 60, False)):
        monkeypatch.setattr(sys, 'stderr', stream)
        progress = probe._Progress()
        progress(1, total)
        progress(2, total)
        progress.end()
        assert ('\r2 of 60 probed\x1b[K\r\x1b[K'
                in stream.getvalue()) is told
        assert bool(stream.getvalue()) is told
