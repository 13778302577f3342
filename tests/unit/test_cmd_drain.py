# SPDX-License-Identifier: Apache-2.0

"""The commands ``drain`` and ``resume``."""

from __future__ import annotations

import os
import pathlib
import shlex
import stat

import pytest
import yaml

from healthcheck.cmd import drain as command
from healthcheck.cmd import main
from healthcheck.host import drains
from healthcheck.reports import drain


EXAMPLES = pathlib.Path(__file__).parents[2] / 'doc/source/examples'


@pytest.fixture(autouse=True)
def login(monkeypatch):
    monkeypatch.setenv('SUDO_USER', 'alice')
    monkeypatch.delenv('RUNTIME_DIRECTORY', raising=False)


@pytest.fixture
def host(tmp_path):
    """Arguments that name a host's drain of our own, and its file."""
    path = tmp_path / 'run' / 'drain'
    return [f'--drain-path={path}'], drains.of_host(str(path))


@pytest.fixture
def service(tmp_path, host):
    return ([f'--state-path={tmp_path}', *host[0]],
            drains.of_service(str(tmp_path)))


def test_the_host(host, capsys):
    told, file = host
    assert command.main(['--for', '30m', '--reason', 'new disk', *told]) == 0
    held = file.look()
    assert (held.reason, held.by, held.scope) == ('new disk', 'alice', 'host')
    assert held.until - held.since == pytest.approx(1800)
    said = capsys.readouterr().out
    assert 'All services of this host are drained until 2' in said
    assert f'by alice: new disk\nFile: {file.path}; end it with: ' \
        f'healthcheck resume {told[0]}\n' in said
    assert command.resume(told) == 0
    assert file.look() is None
    assert 'no longer drained; it was by alice: new disk' in (
        capsys.readouterr().out)


def test_everybody_can_look_into_the_directory(host, tmp_path):
    before = os.umask(0o077)
    try:
        command.main(['--reason', 'x', *host[0]])
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / 'run').stat().st_mode) == 0o755


@pytest.mark.parametrize('option, named', [
    ('--drain-path={0}/drain', '--drain-path'),
    ('--state-path={0}', '[healthcheck]state_path')])
def test_no_worker_would_believe_it(tmp_path, option, named):
    place = tmp_path / 'run'
    place.mkdir()
    place.chmod(0o777)
    with pytest.raises(SystemExit) as caught:
        command.main(['--reason', 'x', option.format(place)])
    assert 'others can replace it' in caught.value.code
    assert named in caught.value.code
    assert list(place.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can drain others')
def test_root_drains_the_service_of_another_user(service, tmp_path,
                                                 monkeypatch):
    """And its workers believe it."""
    os.chown(tmp_path, 4711, 4711)
    command.main(['--reason', 'x', *service[0]])
    monkeypatch.setattr(os, 'geteuid', lambda: 4711)
    assert service[1].look().reason == 'x'


def test_a_service(service, capsys):
    told, file = service
    assert command.main(['--reason', 'upgrade', *told]) == 0
    held = file.look()
    assert (held.scope, held.until) == ('service', None)
    assert 'The service is drained, without an end, by alice: upgrade' in (
        capsys.readouterr().out)
    assert command.resume(told) == 0
    assert file.look() is None
    assert command.resume(told) == 0
    assert 'The service was not drained' in capsys.readouterr().out


def test_a_service_of_a_host_that_is_drained(service, host, capsys):
    command.main(['--reason', 'kernel', *host[0]])
    command.main(['--reason', 'upgrade', *service[0]])
    command.resume(service[0])
    assert 'All services of this host are still drained' in (
        capsys.readouterr().out)
    assert host[1].look() is not None


@pytest.mark.parametrize('text, place', [
    ('[healthcheck]\nstate_path = {0}\n', 'state_path'),
    ('[oslo_concurrency]\nlock_path = {0}\n', 'lock_path')])
def test_the_configuration_says_where(tmp_path, text, place):
    conf = tmp_path / 'nova.conf'
    conf.write_text(text.format(tmp_path))
    command.main(['--reason', 'x', '--config-file', str(conf)])
    assert drains.of_service(str(tmp_path)).look() is not None


def test_the_later_file_wins(tmp_path):
    directory = tmp_path / 'conf.d'
    directory.mkdir()
    (tmp_path / 'a').mkdir()
    first, last = tmp_path / 'nova.conf', directory / 'last.conf'
    first.write_text('[healthcheck]\nstate_path = /nowhere\n')
    last.write_text(f'[healthcheck]\nstate_path = {tmp_path}/a\n')
    command.main(['--reason', 'x', '--config-file', str(first),
                  '--config-dir', str(directory)])
    assert drains.of_service(f'{tmp_path}/a').look() is not None


@pytest.mark.parametrize('arguments, why', [
    (['--config-file', '{0}/none.conf'], 'none.conf'),
    (['--config-file', '{0}/empty.conf'], 'Name it with --state-path'),
    (['--config-file', '{0}/wrong.conf'], 'interval'),
    (['--state-path', '{0}/none'], 'No such file or directory'),
    (['--drain-path', '{0}/none/none/drain'], 'No such file or directory')])
def test_what_is_wrong_is_said(tmp_path, arguments, why):
    (tmp_path / 'empty.conf').touch()
    (tmp_path / 'wrong.conf').write_text('[healthcheck]\ninterval = x\n')
    with pytest.raises(SystemExit) as caught:
        command.main(['--reason', 'x',
                      *(each.format(tmp_path) for each in arguments)])
    assert why in caught.value.code


def test_what_is_wrong_with_the_end(service, monkeypatch):
    (service_path := drains.os.path.dirname(service[1].path))
    os.mkdir(service[1].path)
    with pytest.raises(SystemExit, match='Is a directory'):
        command.resume([f'--state-path={service_path}'])


def test_a_reason_is_needed(service, capsys):
    with pytest.raises(SystemExit):
        command.main(service[0])
    with pytest.raises(SystemExit, match='--reason is empty'):
        command.main(['--reason', '  ', *service[0]])


def test_a_unit_keeps_what_an_operator_began(service, capsys):
    told, file = service
    command.main(['--reason', 'upgrade', '--for', '2h', *told])
    unit = ['--by', 'systemd', *told]
    command.main(['--reason', 'stops', '--for', '1m', '--keep', *unit])
    assert 'is still drained until' in capsys.readouterr().out
    assert file.look().reason == 'upgrade'
    command.resume(unit)
    assert 'is still drained until' in capsys.readouterr().out
    assert file.look().by == 'alice'
    command.resume(told)
    command.main(['--reason', 'stops', '--for', '1m', '--keep', *unit])
    assert file.look().by == 'systemd'
    command.resume(unit)
    assert file.look() is None


def test_one_that_holds_is_replaced(service):
    told, file = service
    command.main(['--reason', 'one', *told])
    command.main(['--reason', 'two', '--by', 'bob', *told])
    assert (file.look().reason, file.look().by) == ('two', 'bob')


@pytest.mark.parametrize('arguments, seconds', [
    ([], None), (['--wait'], 10.0), (['--wait', '2.5'], 2.5)])
def test_it_waits_for_the_balancer(service, monkeypatch, arguments, seconds):
    slept = []

    def sleep(seconds):
        assert service[1].read() is not None
        slept.append(seconds)
    monkeypatch.setattr(command.time, 'sleep', sleep)
    command.main(['--reason', 'x', *service[0], *arguments])
    assert slept == ([] if seconds is None else [seconds])


@pytest.mark.parametrize('arguments', [
    ['--wait', '-1'], ['--wait', 'x'], ['--wait', '3601'], ['--for', '0'],
    ['--for', 'soon'], ['--for', '-5m'], ['--for', '367d'], ['--for', 'nan']])
def test_a_wrong_number(service, capsys, arguments):
    with pytest.raises(SystemExit):
        command.main(['--reason', 'x', *service[0], *arguments])
    assert arguments[0] in capsys.readouterr().err
    assert service[1].look() is None


@pytest.mark.parametrize('text, seconds', [
    ('90', 90), ('90s', 90), ('30m', 1800), ('1h30m', 5400), ('2d', 172800),
    (' 1H ', 3600), ('366d', drain.LONGEST)])
def test_durations(text, seconds):
    assert drain.seconds_of(text) == seconds


@pytest.mark.parametrize('text', [
    '', '0', '0s', '1x', 'h', '1h30', '1.5h', '-1', '1e3', '367d', '9' * 40,
    '²m', 'm' * 10000])
def test_no_durations(text):
    with pytest.raises(ValueError, match='not a duration'):
        drain.seconds_of(text)


def test_who_nobody_knows(monkeypatch):
    monkeypatch.delenv('SUDO_USER')
    monkeypatch.setattr(command.getpass, 'getuser', lambda: {}['nobody'])
    assert command._login() == f'user {os.getuid()}'


def test_another_user_than_root_is_told_who_believes_it(service, monkeypatch,
                                                        capsys):
    monkeypatch.setattr(command.os, 'geteuid', lambda: 4711)
    command.main(['--reason', 'x', *service[0]])
    assert 'Only services that run as user alice' in capsys.readouterr().out
    with pytest.raises(SystemExit, match='Run it as root, or as the user of'):
        command.main(['--reason', 'x', '--state-path', '/nowhere'])
    with pytest.raises(SystemExit, match='Run it as root$'):
        command.main(['--reason', 'x', '--drain-path', '/nowhere/x/drain'])


def test_they_are_commands(service, monkeypatch):
    told, file = service
    monkeypatch.setattr('sys.argv', ['healthcheck', 'drain', '--reason', 'x',
                                     *told])
    main.main()
    assert file.look() is not None
    monkeypatch.setattr('sys.argv', ['healthcheck', 'resume', *told])
    main.main()
    assert file.look() is None


def test_the_unit_of_the_documentation(service):
    """Its commands are valid, and undo each other."""
    lines = dict(line.split('=', 1) for line in (
        EXAMPLES / 'drain.service').read_text().splitlines()[1:])
    stop, start = (
        shlex.split(lines[name].replace('/run/nova', os.path.dirname(
            service[1].path))) for name in ('ExecStop', 'ExecStartPost'))
    assert stop[:2] == ['-/usr/bin/healthcheck', 'drain']
    args = command.main_parser().parse_args(stop[2:])
    assert (args.seconds, args.wait, args.keep) == (120, 10, True)
    assert float(lines['TimeoutStopSec']) > args.wait
    command.main([*stop[2:], '--wait', '0'])
    assert service[1].look() is not None
    assert start[:2] == ['-/usr/bin/healthcheck', 'resume']
    command.resume(start[2:])
    assert service[1].look() is None


def test_the_pod_of_the_documentation():
    pod = yaml.safe_load((EXAMPLES / 'drain-kubernetes.yaml').read_text())
    program, name, *rest = pod['containers'][0]['lifecycle']['preStop'][
        'exec']['command']
    assert (program, name) == ('healthcheck', 'drain')
    args = command.main_parser().parse_args(rest)
    assert (args.wait, args.reason) == (10, 'the pod ends')
    assert pod['terminationGracePeriodSeconds'] > args.wait
