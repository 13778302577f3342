# SPDX-License-Identifier: Apache-2.0

"""What the documentation says is so."""

from __future__ import annotations

import csv
import importlib
import pathlib
import re
import runpy
import shlex
import sys
import types

from docutils import core
from docutils import nodes
from oslo_config import cfg
import oslo_middleware
from paste import deploy
import pytest

from healthcheck.answers import holding
from healthcheck.answers import switches
from healthcheck.cells import cell
from healthcheck import engine
from healthcheck import exceptions
from healthcheck.plugins import base
from healthcheck.plugins import cells
from healthcheck.plugins import foreign
from healthcheck.plugins import services
from healthcheck.plugins import services_rules
from healthcheck.plugins import worker
from healthcheck.probing import guard
from healthcheck.probing import intake
from healthcheck.probing import policy as policy_module
from healthcheck.probing import state
from healthcheck.reports import advice
from healthcheck.reports import drain
from healthcheck.reports import report
from healthcheck.serving import wrapper
from healthcheck.targets import broker_replies
from healthcheck.targets import dialects
from healthcheck.targets import failures
from healthcheck.targets import mysql_faults
from healthcheck.targets import queue_target
from tests.unit import wsgi

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / 'doc' / 'source'
EXAMPLES = DOCS / 'examples'
REASONS = ROOT / 'healthcheck' / 'reports' / 'reasons.csv'

WITH_REASONS = (base, broker_replies, cells, dialects, drain, engine,
                failures, foreign, guard, holding, intake, mysql_faults,
                queue_target,
                report, services, services_rules, state, switches, worker,
                wrapper)


def _read(path: pathlib.Path) -> str:
    return path.read_text(encoding='utf-8')


def _get(app, path='/healthcheck'):
    answer = wsgi.ask(app, path)
    return answer.status, answer.text


def _reasons(*modules):
    return {value for module in modules
            for name, value in vars(module).items()
            if name.isupper() and not name.startswith('_')
            and isinstance(value, str) and value.isupper()}


def test_reasons_table_is_complete():
    defined = _reasons(*WITH_REASONS)
    with open(REASONS, newline='') as lines:
        documented = [row['Reason'].strip('`')
                      for row in csv.DictReader(lines)]
    assert sorted(documented) == sorted(defined)
    assert ':file: ../../healthcheck/reports/reasons.csv' in _read(
        DOCS / 'admin.rst')


def test_each_reason_has_an_anchor():
    conf = runpy.run_path(str(DOCS / 'conf.py'))
    tree = core.publish_doctree(
        f'.. csv-table::\n   :header-rows: 1\n   :file: {REASONS}\n',
        # It does not know Sphinx's roles.
        settings_overrides={'report_level': 5})
    app = types.SimpleNamespace(env=types.SimpleNamespace(docname='admin'))
    conf['_name_reasons'](app, tree)
    anchors = [name for row in tree.findall(nodes.row) for name in row['ids']]
    assert sorted(anchors) == sorted(
        'reason-' + reason.lower().replace(' ', '-')
        for reason in _reasons(*WITH_REASONS))


def test_every_reason_has_advice_in_plain_text():
    for reason in _reasons(*WITH_REASONS):
        text = advice.of(f'LABEL: {reason}')
        assert text.endswith('.') and '``' not in text
        assert '  ' not in text and ':doc:' not in text
    assert advice.of('STALE').startswith('No result for longer than ttl.')
    assert '"sharing" in the documentation' in advice.of(
        'PROBES NOT RUNNING')
    assert advice.of('NO SUCH REASON') == ''


@pytest.mark.parametrize('path', [ROOT / 'README.rst',
                                  DOCS / 'command.rst'])
def test_commands_can_be_typed(path):
    lines = re.findall(r'healthcheck ((?:probe|status|config|completion) '
                       r'[^#`>\n]*[^#`>\n ])', _read(path))
    assert len(lines) >= 3
    for line in lines:
        name, *arguments = shlex.split(
            line.replace('$ARG1$', 'http://node1').replace('…', ''))
        module = importlib.import_module(f'healthcheck.cmd.{name}')
        module.main_parser().parse_args(arguments)


def test_pictures_are_shown_and_small():
    shown = {(path.parent / name).resolve()
             for path in (ROOT / 'README.rst', *DOCS.glob('*.rst'))
             for name in re.findall(r'image:: (\S+)', _read(path))}
    assert shown == set((DOCS / 'images').iterdir())
    assert all(path.stat().st_size < 150_000 for path in shown)


def test_faults_of_cells_are_complete():
    """Those that anybody sees, and those that admins see of a cell."""
    table = _read(DOCS / 'cells.rst').split('What a fault looks like')[1]
    explained = set(re.findall(r'``([A-Z ]+)``', ' '.join(
        table.split('When a node is out')[0].split())))
    seen = _reasons(cells, services, services_rules)
    labels = {cell.DATABASE, cell.MESSAGE_QUEUE}
    assert (seen | _reasons(cell)) - labels <= explained
    codes = re.findall(r'^     - (200|503)\n     - ``([A-Z0-9 ]+)``$', table,
                       re.MULTILINE)
    assert {reason for code, reason in codes if code == '503'} == {
        cells.CRITICAL_DOWN, cells.NONE_UP, cells.TOO_FEW_UP, cells.NO_LIST}


def test_detection_table():
    with open(EXAMPLES / 'detection.csv') as lines:
        rows = [{key: float(value) for key, value in row.items()}
                for row in csv.DictReader(lines)]
    for row in rows:
        policy = policy_module.Policy(
            interval=row['interval'], retry_interval=row['retry_interval'],
            timeout=row['timeout'], fall=int(row['fall']),
            jitter=row['jitter'])
        assert policy.detection == pytest.approx(row['reported within'])
        assert policy.freshness == pytest.approx(row['ttl at least'])
    assert rows[0]['reported within'] == policy_module.Policy().detection


@pytest.mark.parametrize('path', [ROOT / 'README.rst', DOCS / 'balancer.rst'])
def test_default_detection_is_named(path):
    detection = policy_module.Policy().detection
    assert f'{detection:g} s with the defaults' in re.sub(
        r'[Ww]ith the\s+defaults that is (\d+ s)', r'\1 with the defaults',
        _read(path))


def test_documented_error(door):
    text = _read(DOCS / 'deployer.rst')
    documented = re.findall(r'^      - (.*)$', text, re.MULTILINE)
    with pytest.raises(exceptions.ConfigError) as caught:
        door(wsgi.below, {
            'fall': '0', 'backends': 'datbase', 'intervall': '3'})
    # What is installed differs from one machine to the next.
    assert [re.sub(r' \(installed.*', '', line) for line in documented] == [
        re.sub(r' \(installed.*', '', p) for p in caught.value.problems]


@pytest.mark.parametrize('name', ['filter-paste.ini', 'app-paste.ini'])
def test_paste_examples(name, tmp_path):
    service = tmp_path / 'service.conf'
    service.write_text(
        f'[DEFAULT]\ntransport_url = fake:/\n'
        f'[database]\nconnection = sqlite:///{tmp_path}/none.db\n'
        f'[healthcheck]\nstartup_wait = 10\nfall = 1\n')
    cfg.CONF([], default_config_files=[str(service)])
    filters = ''.join(
        f'[filter:{each}]\npaste.filter_factory = {__name__}:filter_factory\n'
        for each in ('cors', 'http_proxy_to_wsgi'))
    (tmp_path / 'paste.ini').write_text(
        _read(EXAMPLES / name) + filters
        + f'[app:service]\npaste.app_factory = {__name__}:app_factory\n')
    app = deploy.loadapp(f'config:{tmp_path}/paste.ini', 'main')
    code, body = _get(app)
    assert code == 503
    assert body.startswith('DATABASE: NO SUCH DATABASE\nOK')
    assert _get(app, '/v2.1/servers') == (200, 'below')
    # urlmap is a dictionary of what it has mounted, by host and path.
    mounted = app if name.startswith('filter') else dict(
        app.applications)[None, '/healthcheck']
    mounted.stop(5)


def filter_factory(global_conf, **local_conf):
    return lambda app: app


def app_factory(global_conf, **local_conf):
    return wsgi.below


@pytest.mark.parametrize('name', ['nova.conf', 'nova-cells.conf'])
def test_service_example(name, conf, door):
    service = conf(_read(EXAMPLES / name))
    service.project = 'nova'
    app = door(wsgi.below, service)
    assert _get(app, '/healthcheck/live') == (200, 'OK')


@pytest.fixture
def disk_space(plugin, monkeypatch):
    """The example of a plugin, as if it were installed."""
    plugin(disk_space='disk_space:DiskSpace')
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.delitem(sys.modules, 'disk_space', raising=False)


@pytest.mark.parametrize('min_free, path, expected', [
    (0, '.', (200, 'OK')),
    (100, '.', (503, 'DISK SPACE: DISK FULL')),
    (0, 'nowhere', (503, 'DISK SPACE: NO SUCH DIRECTORY')),
])
@pytest.mark.usefixtures('disk_space')
def test_plugin_example(min_free, path, expected, tmp_path, conf, door):
    service = conf(f'''
        [healthcheck]
        backends = disk_space
        disk_space_path = {tmp_path / path}
        disk_space_min_free = {min_free}
        startup_wait = 10
        fall = 1
        ''')
    assert _get(door(wsgi.below, service)) == expected
    stock = oslo_middleware.Healthcheck(None, service)
    assert _get(stock) == expected
    for loaded in stock._backends:
        loaded.obj._engine.peek().stop(5)


@pytest.mark.usefixtures('disk_space')
def test_plugin_example_that_is_not_configured(door):
    with pytest.raises(exceptions.ConfigError,
                       match='disk_space_path is not set'):
        door(wsgi.below, {'backends': 'disk_space'})


@pytest.mark.usefixtures('disk_space')
def test_plugin_example_takes_options_of_a_section(tmp_path, door):
    app = door(wsgi.below, {
        'backends': 'disk_space', 'disk_space_path': str(tmp_path),
        'disk_space_min_free': '100', 'startup_wait': '10', 'fall': '1'})
    assert _get(app) == (503, 'DISK SPACE: DISK FULL')
