# SPDX-License-Identifier: Apache-2.0

"""The agent's command line, its sockets, and what it tells systemd."""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import shlex
import socket
import stat
import sys

from oslo_config import cfg
import pytest

from healthcheck.cmd import agent as command
from healthcheck.cmd import sources
from healthcheck.config import views
from healthcheck import exceptions
from healthcheck.reports import report
from healthcheck import serving
from healthcheck.serving import agent
from healthcheck.serving import listening
from healthcheck.serving import systemd
from tests.unit import wsgi

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def inbox(tmp_path):
    """What systemd would be: (name, function that returns what came)."""
    path = str(tmp_path / 'notify')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(path)
        receiver.setblocking(False)

        def read():
            said = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    said.append(receiver.recv(4096).decode())
            return said
        yield path, read


def test_notify(inbox):
    path, read = inbox
    notifier = systemd.Notifier({'NOTIFY_SOCKET': path})
    assert notifier.enabled and notifier.watchdog is None
    notifier.ready()
    notifier.status('one line,\nwhatever comes')
    notifier.alive()
    notifier.stopping()
    assert read() == ['READY=1', 'STATUS=one line, whatever comes',
                      'WATCHDOG=1', 'STOPPING=1']
    notifier.reloading()
    first, second = read()[0].splitlines()
    assert first == 'RELOADING=1'
    assert second.partition('=')[0] == 'MONOTONIC_USEC'
    assert int(second.partition('=')[2]) > 0


def test_notify_an_abstract_socket():
    name = f'healthcheck-{os.getpid()}'
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f'\0{name}')
        receiver.settimeout(5)
        systemd.Notifier({'NOTIFY_SOCKET': f'@{name}'}).ready()
        assert receiver.recv(100) == b'READY=1'


@pytest.mark.parametrize('environ', [
    {}, {'NOTIFY_SOCKET': ''}, {'NOTIFY_SOCKET': 'vsock:2:1234'}])
def test_notify_nobody(environ):
    notifier = systemd.Notifier(environ | {'WATCHDOG_USEC': '1000000'})
    assert not notifier.enabled and notifier.watchdog is None
    notifier.ready()


def test_notify_whom_cannot_be_reached(tmp_path):
    systemd.Notifier({'NOTIFY_SOCKET': str(tmp_path / 'gone')}).ready()


@pytest.mark.parametrize('environ, seconds', [
    ({'WATCHDOG_USEC': '30000000'}, 30.0),
    ({'WATCHDOG_USEC': '500000', 'WATCHDOG_PID': str(os.getpid())}, 0.5),
    ({'WATCHDOG_USEC': '500000', 'WATCHDOG_PID': '1'}, None),
    ({'WATCHDOG_USEC': '0'}, None), ({'WATCHDOG_USEC': 'x'}, None), ({}, None),
])
def test_watchdog(environ, seconds):
    assert systemd.Notifier(
        environ | {'NOTIFY_SOCKET': '/x'}).watchdog == seconds


@pytest.mark.parametrize('text, address, remote', [
    ('127.0.0.1:8079', '127.0.0.1:8079', False),
    ('localhost:0', '127.0.0.1:0', False),
    ('[::1]:8079', '[::1]:8079', False),
    ('192.0.2.1:80', '192.0.2.1:80', True),
    ('0.0.0.0:80', '0.0.0.0:80', True),
    ('[::]:80', '[::]:80', True),
    ('unix:/run/a.sock', 'unix:/run/a.sock', False),
])
def test_addresses(text, address, remote):
    parsed = listening.parse(text)
    assert str(parsed) == address
    assert listening.is_remote(parsed) is remote


@pytest.mark.parametrize('text', [
    '', ':8079', '8079', '127.0.0.1', '127.0.0.1:', '127.0.0.1:65536',
    '127.0.0.1:-1', 'host.example.org:80', 'unix:', 'unix:a.sock'])
def test_no_addresses(text):
    with pytest.raises(listening.ListenError, match='not an'):
        listening.parse(text)


def test_a_unix_socket_and_its_file(tmp_path):
    path = tmp_path / 'a.sock'
    address = listening.Address(path=str(path))
    before = os.umask(0o022)
    try:
        first = listening.ListeningSocket(address)
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    found = path.stat().st_mode
    assert stat.S_ISSOCK(found) and stat.S_IMODE(found) == 0o660
    with pytest.raises(listening.ListenError, match='another process'):
        listening.ListeningSocket(address)

    # Left behind: nobody answers there.
    first.socket.close()
    second = listening.ListeningSocket(address, 0o600)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    # The file is another's by now.
    first.remove()
    assert path.exists()
    second.socket.close()
    second.remove()
    assert not path.exists()
    second.remove()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path):
    path = tmp_path / 'precious'
    path.write_text('data')
    with pytest.raises(listening.ListenError, match='no socket'):
        listening.ListeningSocket(listening.Address(path=str(path)))
    assert path.read_text() == 'data'


def test_an_address_that_is_taken():
    with socket.create_server(('127.0.0.1', 0)) as other:
        address = listening.Address('127.0.0.1', other.getsockname()[1])
        with pytest.raises(listening.ListenError, match=f'{address}: '):
            listening.ListeningSocket(address)


def test_without_a_web_server(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'waitress', None)
    monkeypatch.delitem(sys.modules, 'healthcheck.serving.web', raising=False)
    monkeypatch.delattr(serving, 'web', raising=False)
    listener = listening.ListeningSocket(listening.Address('127.0.0.1', 0))
    with listener.socket, pytest.raises(
            listening.ListenError, match=r'openstack-healthcheck\[agent\]'):
        listener.serve(lambda environ, start_response: [])


@pytest.mark.parametrize('line, problem', [
    ('', 'which service'),
    ('--config-file x --listen 0.0.0.0:8079', '--allow-remote'),
    ('--config-file x --listen [::]:8079', '--allow-remote'),
    ('--config-file x --listen nowhere', 'not an address'),
    ('--config-file x --socket-mode rw', 'not a mode'),
    ('--paste x --section healthcheck', 'neither filter:NAME nor app:NAME'),
    ('--paste x --section pipeline:main', 'neither filter:NAME'),
])
def test_wrong_arguments(line, problem, capsys):
    with pytest.raises(SystemExit) as caught:
        command.main(line.split())
    assert caught.value.code == 2
    assert problem in capsys.readouterr().err


def test_a_remote_address_has_to_be_allowed():
    args = command._parse(['--config-file', 'x', '--allow-remote',
                           '--listen', '0.0.0.0:8079'])
    assert args.listen == [listening.Address('0.0.0.0', 8079)]


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Check a configuration; return what is printed."""
    monkeypatch.delenv('RUNTIME_DIRECTORY', raising=False)

    def run(text, *arguments):
        path = tmp_path / 'service.conf'
        path.write_text('[database]\nconnection = sqlite:///none.db\n'
                        f'[healthcheck]\nbackends = database\n{text}\n')
        try:
            command.main(['--check', '--config-file', str(path), *arguments])
        except SystemExit as exc:
            return str(exc.code)
        return capsys.readouterr().out
    yield run
    cfg.CONF.reset()


@pytest.mark.parametrize('text, why', [
    ('', 'there is no directory to share a report in'),
    ('sharing = process\nstate_path = /tmp', 'sharing is process'),
    ('backends =\nstate_path = /tmp', 'backends is empty'),
])
def test_an_agent_that_nobody_would_hear(check, text, why):
    said = check(text)
    assert why in said
    for way_out in ('--listen', 'state_path', 'lock_path'):
        assert way_out in said
    # It may answer for itself, whatever it shares.
    assert 'listens on 127.0.0.1:0' in check(text, '--listen', '127.0.0.1:0')
    assert "answers HAProxy's agent-check on 127.0.0.1:0" in check(
        text, '--agent-check', '127.0.0.1:0')


def test_check_tells_who_shares(check, tmp_path):
    said = check(f'state_path = {tmp_path}')
    assert f'files: {tmp_path}/service.conf\n' in said
    key = said.split()[-1]
    assert len(key) == 32
    assert f'shares in {tmp_path}/healthcheck-{os.geteuid()}' in said
    assert not list(tmp_path.glob('healthcheck-*'))
    assert check(f'state_path = {tmp_path}\nttl = 40').split()[-1] != key
    assert check(f'state_path = {tmp_path}').split()[-1] == key


@pytest.mark.parametrize('text, problem', [
    ('backends = databse', 'did you mean database?'),
    ('[other', 'service.conf'),
])
def test_check_tells_what_is_wrong(check, text, problem):
    said = check(text, '--listen', '127.0.0.1:0')
    assert said.startswith('healthcheck-agent: ') and problem in said


@pytest.mark.parametrize('content, problem', [
    (None, 'api-paste.ini'),
    ('[app:main]\nuse = egg:none#none\n', 'filter:healthcheck'),
    ('[filter:healthcheck]\nuse = egg:openstack-healthcheck#healthcheck\n'
     'intervall = 3\n', 'did you mean interval?'),
])
def test_a_paste_file_that_cannot_be_used(check, tmp_path, content, problem):
    paste = tmp_path / 'api-paste.ini'
    if content is not None:
        paste.write_text(content)
    said = check('', '--listen', '127.0.0.1:0', '--paste', str(paste))
    assert said.startswith('healthcheck-agent: ') and problem in said


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(SystemExit, match='healthcheck-agent: .*none.conf'):
        command.main(['--check', '--config-file', str(tmp_path / 'none.conf')])
    cfg.CONF.reset()


def test_finds_files_as_the_service_does(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('HOME', str(tmp_path))
    home = tmp_path / '.myservice'
    (home / 'myservice-api.conf.d').mkdir(parents=True)
    (home / 'myservice.conf').write_text(
        f'[healthcheck]\nbackends = database\nstate_path = {tmp_path}\n')
    (home / 'myservice-api.conf.d' / 'database.conf').write_text(
        '[database]\nconnection = sqlite:///none.db\n')
    command.main(['--check', '--project', 'myservice', '--prog',
                  'myservice-api'])
    cfg.CONF.reset()
    assert capsys.readouterr().out.startswith(
        f'files: {home}/myservice.conf '
        f'{home}/myservice-api.conf.d/database.conf\n')


@pytest.mark.parametrize('order', itertools.permutations('abc'))
def test_the_later_of_files_and_directories_wins(tmp_path, order):
    """As in oslo.config, which gets them in their order."""
    args = []
    for name in order:
        path = tmp_path / (f'{name}.conf' if name < 'c' else 'c.d/c.conf')
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'[database]\nconnection = sqlite:///{name}\n')
        args += (['--config-file', str(path)] if name < 'c' else
                 [f'--config-dir={path.parent}'])
    sources.read_files(command._parse(args))
    try:
        assert views.service_option(
            cfg.CONF, 'database', 'connection') == f'sqlite:///{order[-1]}'
    finally:
        cfg.CONF.reset()


SHIPPED = '[oslo_concurrency]\nlock_path = $state_path/tmp\n'


def test_a_place_that_only_the_service_knows(check):
    """As most nova.conf files that are shipped have it."""
    assert 'there is no directory to share a report in' in check(SHIPPED)
    assert 'listens on' in check(SHIPPED, '--listen', '127.0.0.1:0')


def test_a_place_that_the_files_know(check, tmp_path):
    said = check(f'{SHIPPED}[DEFAULT]\nstate_path = {tmp_path}\n')
    assert f'shares in {tmp_path}/tmp/healthcheck-' in said


def test_a_url_that_the_files_do_not_know(check, tmp_path):
    said = check('[database]\nconnection = sqlite:///$state_path/a.db\n',
                 '--listen', '127.0.0.1:0')
    assert said == (
        'healthcheck-agent: The healthcheck configuration is not valid:\n'
        f'  - [database]connection refers to $state_path, which is not set '
        f'in {tmp_path}/service.conf (set state_path there, or write its '
        f'value in place of $state_path)')


@pytest.mark.parametrize('paste', [False, True])
def test_head_of_what_an_agent_does_not_have(paste, tmp_path):
    (tmp_path / 'service.conf').write_text('')
    (tmp_path / 'paste.ini').write_text(
        '[filter:healthcheck]\nuse = egg:openstack-healthcheck#healthcheck\n')
    args = command._parse([
        '--config-file', f'{tmp_path}/service.conf', '--listen',
        '127.0.0.1:0', *(['--paste', f'{tmp_path}/paste.ini'] * paste)])
    sources.read_files(args)
    door = command._load(args)
    whole, head = wsgi.ask(door, '/'), wsgi.ask(door, '/', 'HEAD')
    assert (whole.status, whole.text) == (404, 'Not Found')
    assert (head.status, head.headers, head.body) == (404, whole.headers, b'')


@pytest.mark.parametrize('code, problem', [
    ('pass', None),
    ('import sys; sys.exit("wrong: all of it")', 'wrong: all of it'),
    ('import sys; sys.exit(1)', 'no reason given'),
])
def test_the_look_of_another_process(code, problem):
    look = agent.ConfigCheck([sys.executable, '-c', code])
    look._process.wait()
    assert look.is_over and look.problem() == problem


def test_a_look_that_takes_too_long(monkeypatch):
    monkeypatch.setattr(agent, '_CHECK_TIMEOUT', 0.0)
    look = agent.ConfigCheck([sys.executable, '-c',
                              'import signal; signal.pause()'])
    assert look.is_over
    assert look.problem() == 'not read within 0 s'
    assert look._process.returncode


class _Door:
    """A door that a section was loaded for."""

    alive_at = 0.0
    heir_of = None

    def __init__(self, status=None):
        self.status = status
        self.stopped = False

    def probed(self, environ):
        """Start, which this one need not do."""

    def inherit(self, other):
        """Go on with what another one has heard."""
        self.heir_of = other

    def stop(self, timeout=0.0):
        self.stopped = True


@pytest.mark.parametrize('code, loads', [
    ('pass', 2), ('import sys; sys.exit("wrong")', 1)])
def test_what_is_wrong_is_never_loaded(inbox, code, loads):
    path, read = inbox
    doors = []

    def load():
        doors.append(_Door(report.Status.PASS))
        return doors[-1]
    running = agent.Agent(
        load, lambda: agent.ConfigCheck([sys.executable, '-c', code]),
        systemd.Notifier({'NOTIFY_SOCKET': path}))
    running._describe = lambda: 'pass'
    running._step()
    running._reload()
    running._check._process.wait()
    running._step()
    running._step()
    assert len(doors) == loads
    assert [door.stopped for door in doors] == [True, False][-loads:]
    # A node that stays in goes on to know why.
    assert [door.heir_of for door in doors] == [None, doors[0]][:loads]
    said = read()
    assert said[-1] == 'READY=1' and said[-2].startswith('RELOADING=1')


def test_a_first_report_that_does_not_come(inbox, monkeypatch):
    path, read = inbox
    monkeypatch.setattr(agent, '_FIRST_REPORT', -1.0)
    running = agent.Agent(_Door, None, systemd.Notifier(
        {'NOTIFY_SOCKET': path}))
    running._describe = lambda: 'no report yet'
    running._start(running._door)
    running._step()
    assert read() == ['READY=1', 'STATUS=no report yet']


def test_the_unit_starts_an_agent():
    unit = ROOT / 'etc' / 'systemd' / 'healthcheck-agent@.service'
    line, = (line.partition('=')[2]
             for line in unit.read_text().splitlines()
             if line.startswith('ExecStart='))
    program, *arguments = shlex.split(line.replace('%i', 'nova').replace(
        ' $AGENT_ARGS', ' --prog=nova-conductor'))
    assert pathlib.Path(program).name == command.PROG
    args = command._parse(arguments)
    assert (args.project, args.prog) == ('nova', 'nova-conductor')
    assert args.listen == [listening.Address(
        path='/run/healthcheck-nova/agent.sock')]


def test_a_broken_section_is_one_error():
    args = command._parse(['--paste', '/nowhere/api-paste.ini'])
    with pytest.raises(exceptions.ConfigError, match='/nowhere'):
        sources.section(args)
