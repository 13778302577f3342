# SPDX-License-Identifier: Apache-2.0

"""One program: it finds its commands, and says how they ended."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
import types

import pytest

import healthcheck
from healthcheck.cmd import main
from healthcheck import middleware


@pytest.mark.parametrize('arguments, status, text', [
    ([], 0, 'agent'), (['--help'], 0, 'demo'), (['agnet'], 3, 'no such'),
    (['agent', '--help'], 0, '--config-file'),
    (['agent', '--nonsense'], 3, '--nonsense'),
    (['--version'], 0, 'healthcheck '),
])
def test_one_program_for_all(arguments, status, text):
    done = subprocess.run(
        [sys.executable, '-m', main.__name__, *arguments],
        capture_output=True, text=True)
    assert done.returncode == status
    assert text in done.stdout + done.stderr


@pytest.fixture
def command(monkeypatch):
    """Make a command whose function is the given one."""
    def make(act):
        monkeypatch.setitem(main.COMMANDS, 'made', main.Command('made', ''))
        monkeypatch.setitem(sys.modules, 'healthcheck.cmd.made',
                            types.SimpleNamespace(main=act))
    return make


def leave(code):
    def act(argv):
        raise SystemExit(code)
    return act


def raises(exc):
    def act(argv):
        raise exc
    return act


@pytest.mark.parametrize('act, status, text', [
    (lambda argv: None, 0, ''), (lambda argv: 2, 2, ''),
    (lambda argv: print(*argv), 0, 'a b\n'),
    (leave(None), 0, ''), (leave(0), 0, ''), (leave(2), 3, ''),
    (leave('not so'), 3, 'not so\n'), (raises(KeyboardInterrupt), 130, ''),
])
def test_exit_status(command, act, status, text, capsys):
    command(act)
    assert main.main(['made', 'a', 'b']) == status
    said = capsys.readouterr()
    assert said.out + said.err == text


def test_a_fault_of_ours_is_not_a_warning_and_has_no_text(command, capsys):
    command(raises(ValueError('mysql://me:secret@db')))
    assert main.main(['made']) == 3
    said = capsys.readouterr()
    assert said.err.endswith('healthcheck: ValueError\n')
    assert 'secret' not in said.err


def test_the_class_is_found_in_the_package():
    assert healthcheck.Healthcheck is middleware.Healthcheck
    with pytest.raises(AttributeError, match='Helthcheck'):
        healthcheck.Helthcheck


@pytest.mark.parametrize('name', main.COMMANDS)
def test_every_command_teaches(name, capsys):
    assert main.main([name, '--help']) == 0
    text = capsys.readouterr().out
    assert text.startswith('usage: healthcheck')
    assert '\nexamples:\n' in text
    assert max(map(len, text.splitlines())) < 80


@pytest.mark.parametrize('name, command', main.COMMANDS.items())
def test_examples_can_be_typed(name, command, capsys):
    """Those in the help."""
    assert main.main([name, '--help']) == 0
    text = capsys.readouterr().out.partition('examples:')[2]
    lines = re.findall(rf'healthcheck[ -]{name}\b(.*)',
                       re.sub(r'\\\n *', '', text))
    assert len(lines) >= 2
    module = importlib.import_module(f'healthcheck.cmd.{command.module}')
    parser = getattr(module, f'{command.function}_parser')()
    for line in lines:
        parser.parse_args(shlex.split(line.partition('>')[0]))


@pytest.mark.parametrize('shell', ['bash', 'zsh', 'fish'])
def test_completion(shell, capsys):
    assert main.main(['completion', shell]) == 0
    text = capsys.readouterr().out
    for word in (*main.COMMANDS, '--config-file', '--inter', '--watch'):
        assert word.lstrip('-') in text, word


# What bash does at a Tab, with the words of a line as arguments.
COMPLETE = '''
. "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
COMP_TYPE=9
$(complete -p healthcheck | sed 's/.*-F //; s/ .*//')
echo "${COMPREPLY[@]}"
'''


def test_bash_completes(tmp_path, capsys):
    assert main.main(['completion', 'bash']) == 0
    script = tmp_path / 'healthcheck'
    script.write_text(capsys.readouterr().out)

    def complete(*words):
        return subprocess.run(
            ['bash', '-c', COMPLETE, 'bash', str(script), *words],
            capture_output=True, text=True, check=True).stdout.split()
    assert complete('healthcheck', 'pro') == ['probe']
    assert complete('healthcheck', 'config', '') == ['check']
    assert '--warn-ok' in complete('healthcheck', 'status', '--')
    assert complete('healthcheck', 'probe', '--format', '') == [
        'table', 'json', 'line']
    (tmp_path / 'some.conf').touch()
    assert complete('healthcheck', 'probe', '--config-file',
                    f'{tmp_path}/so') == [f'{tmp_path}/some.conf']


def test_completion_without_its_library(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'shtab', None)
    assert main.main(['completion', 'bash']) == 3
    assert 'openstack-healthcheck[completion]' in capsys.readouterr().err
