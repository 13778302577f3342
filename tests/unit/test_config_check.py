# SPDX-License-Identifier: Apache-2.0

"""``healthcheck config check``: what would be loaded, and how soon it acts."""

from __future__ import annotations

import json

from oslo_config import cfg
import pytest

from healthcheck.cmd import explain
from healthcheck.cmd import main
from healthcheck.probing import policy as policy_module

SERVICE = '''\
[DEFAULT]
transport_url = rabbit://nova:s3same@broker/
[database]
connection = mysql+pymysql://nova:s3same@db/nova
[healthcheck]
backends = database, message_queue
'''


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Check a configuration; return (exit status, what is printed)."""
    monkeypatch.delenv('RUNTIME_DIRECTORY', raising=False)

    def run(text, *arguments):
        path = tmp_path / 'nova.conf'
        path.write_text(text)
        code = main.main(['config', 'check', '--config-file', str(path),
                          *arguments])
        cfg.CONF.reset()
        said = capsys.readouterr()
        assert not said.err and 's3same' not in said.out
        return code, said.out
    yield run
    cfg.CONF.reset()


def shared(tmp_path):
    return f'{SERVICE}state_path = {tmp_path}\n'


def test_what_is_loaded_and_from_where(check, tmp_path, monkeypatch):
    monkeypatch.setenv('OS_HEALTHCHECK__FALL', '3')
    code, text = check(shared(tmp_path))
    found = json.loads(text)
    conf = str(tmp_path / 'nova.conf')
    assert code == 0 and found['status'] == 'pass'
    assert found['files'] == [conf]
    assert found['checks'] == ['database', 'message_queue']
    assert found['shares']['directory'].startswith(str(tmp_path))
    assert [(one['option'], one['value'], one['place'])
            for one in found['options']] == [
        ('[healthcheck]backends', 'database,message_queue', conf),
        ('[healthcheck]fall', '3', '$OS_HEALTHCHECK__FALL'),
        ('[healthcheck]state_path', str(tmp_path), conf)]
    assert {(one['option'], one['value'], one['place'])
            for one in found['of_the_service']} == {
        ('[database]connection', 'mysql+pymysql://***@db/nova', conf),
        ('[DEFAULT]transport_url', 'rabbit://***@broker/', conf)}
    assert not list(tmp_path.glob('healthcheck-*'))


def test_what_is_loaded_in_a_table(check, tmp_path):
    code, text = check(shared(tmp_path), '--format', 'table')
    assert code == 0
    assert text.startswith(f'files: {tmp_path}/nova.conf\nshares in ')
    assert ('a fault is reported within 23 s = max(10 * (1 + 0.1), 5) + 5 + '
            '(2 - 1) * (2 + 5)') in text
    assert text.endswith('\nPASS\n')


def test_a_section_is_named(check, tmp_path):
    paste = tmp_path / 'api-paste.ini'
    paste.write_text(
        '[app:health]\nbackends = database\nfall = 4\n'
        'database_connection = mysql+pymysql://me:s3same@db/other\n'
        'paste.app_factory = healthcheck:Healthcheck.app_factory\n')
    text = check(shared(tmp_path), '--paste', str(paste), '--section',
                 'app:health')[1]
    places = {one['option']: (one['value'], one['place'])
              for one in json.loads(text)['options']}
    assert places['[healthcheck]fall'] == ('4', f'{paste} [app:health]')
    assert places['[healthcheck]database_connection'] == (
        'mysql+pymysql://***@db/other', f'{paste} [app:health]')
    assert places['[healthcheck]state_path'][1].endswith('nova.conf')


def test_an_option_that_is_a_password_by_its_name(check, tmp_path):
    text = check('[oslo_messaging_kafka]\nsasl_mechanism = PLAIN\n'
                 f'ssl_client_key_password = s3same\n{shared(tmp_path)}')[1]
    found = {one['option']: one['value']
             for one in json.loads(text)['of_the_service']}
    assert found['[oslo_messaging_kafka]sasl_mechanism'] == 'PLAIN'


def test_every_mistake_at_once(check):
    code, text = check(
        f'{SERVICE}fall = 0\nttl = 1\ninterval = soon\n'
        f'listeners = nobody\n')
    found = json.loads(text)
    assert code == 2 and found['status'] == 'fail'
    for option in ('fall', 'interval', 'ttl', 'listeners'):
        assert any(line.startswith(f'{option} = ')
                   for line in found['mistakes']), option
    code, text = check(f'{SERVICE}fall = 0\n', '--format', 'table')
    assert text.startswith('FAIL  1 to correct\n  - fall = ')
    code, text = check(f'{SERVICE}fall = 0\n', '--format', 'line')
    assert text.startswith('HEALTHCHECK CRITICAL - fall = ')
    assert check('[oops\nx = s3same')[0] == 2


def test_what_is_logged_is_a_warning(check):
    code, text = check(f'{SERVICE}detailed = true\n')
    assert code == 1
    line, = json.loads(text)['warnings']
    assert 'detailed gives JSON its detailed shape' in line
    code, text = check('[healthcheck]\nstate_path = /tmp\n',
                       '--format', 'line')
    assert code == 1
    assert text.startswith('HEALTHCHECK WARNING - Healthcheck has no '
                           'backends configured')


@pytest.mark.parametrize('arguments, out, back, warnings', [
    ((), None, None, 0),
    (('--inter', '2s', '--fall', '3', '--rise', '2'), 29.0, 20.0, 0),
    (('--inter', '2s'), 29.0, 20.0, 0),
    (('--fall', '5'), 33.0, 20.0, 0),
    (('--inter', '500ms', '--fall', '2', '--rise', '1'), 24.0, 16.5, 0),
    (('--inter', '12s'), 59.0, 40.0, 2),
    (('--inter', '12s', '--fall', '1'), 35.0, 40.0, 1),
    (('--inter', '1m', '--fall', '1', '--rise', '1'), 83.0, 76.0, 2),
])
def test_what_the_balancer_adds(check, tmp_path, arguments, out, back,
                                warnings):
    code, text = check(shared(tmp_path), *arguments)
    found = json.loads(text)
    assert found['seconds'].get('out_within') == out
    assert found['seconds'].get('back_within') == back
    assert len(found['warnings']) == warnings
    assert code == (1 if warnings else 0)


@pytest.mark.parametrize('arguments', [
    [], ['check'], ['check', '--project', 'x', '--inter', '2'],
    ['check', '--project', 'x', '--inter', '2 s'],
    ['check', '--project', 'x', '--rise', '0']])
def test_wrong_usage_is_unknown(arguments, capsys):
    assert main.main(['config', *arguments]) == 3
    assert 'error: ' in capsys.readouterr().err


@pytest.mark.parametrize('changes', [
    {}, {'interval': 2.0, 'timeout': 5.0}, {'fall': 5, 'jitter': 0.5},
    {'retry_interval': 0.25, 'fall': 1}])
def test_the_formula_is_the_number(changes):
    policy = policy_module.Policy(**changes)
    assert eval(explain.formula(policy)) == pytest.approx(policy.detection)
