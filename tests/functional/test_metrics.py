# SPDX-License-Identifier: Apache-2.0

"""Prometheus gets the same figures from whichever worker it meets."""

from __future__ import annotations

from collections.abc import Iterator
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
from typing import Any

from prometheus_client import parser
import pytest
import yaml

from tests.functional import served
from tests.functional import servers
from tests.functional.servers import process
from tests.functional.servers import wsgi

WORKERS = 4
ETC = wsgi.ROOT / 'etc'
RULES = ETC / 'prometheus' / 'alerts.yaml'
RULE_TESTS = pathlib.Path(__file__).parent / 'prometheus' / 'alerts.yaml'
DASHBOARD = ETC / 'grafana' / 'healthcheck-dashboard.json'

Figures = dict[tuple[str, ...], float]

# Everything is found once, and then nothing changes any more.
STILL = {'interval': 3600, 'retry_interval': 3600, 'ttl': 7200}
OPTIONS = {'sharing': 'host', 'state_path': '{directory}', 'jitter': 0,
           'metrics_source_ranges': '127.0.0.0/8',
           'detail_source_ranges': '127.0.0.0/8'}


def promtool(*arguments: str, text: str = '',
             directory: pathlib.Path | None = None) -> str:
    """Run it; return what it says. It must agree."""
    program = process.find_binary('promtool', 'prometheus')
    done = subprocess.run([program, *arguments], input=text, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          cwd=directory, timeout=60)
    assert done.returncode == 0, done.stdout
    return done.stdout


def figures(text: str) -> Figures:
    return {(sample.name, *sample.labels.values()): sample.value
            for family in parser.text_string_to_metric_families(text)
            for sample in family.samples}


def scrape(server: wsgi.WSGIServer) -> tuple[int, str]:
    """(process, text) of whichever worker answers."""
    answer = server.ask('/healthcheck/metrics')
    assert answer.status == 200, answer
    return answer.pid, answer.text


def of_each(server: wsgi.WSGIServer) -> dict[int, str]:
    """The last that each worker has said, when all have."""
    said: dict[int, str] = {}

    def ask() -> bool:
        said.update([scrape(server)])
        return len(said) == server.workers
    servers.wait_until(ask, f'{server.workers} workers: {sorted(said)}', 30,
                       interval=0.0)
    return said


@pytest.mark.parametrize('kind', [wsgi.UWSGI, wsgi.Gunicorn])
def test_each_worker_tells_the_same(kind: Any) -> None:
    with kind(served.files(**OPTIONS, **STILL), workers=WORKERS) as server:
        servers.wait_until(lambda: server.ask().status == 200, 'well', 30)
        of_each(server)
        texts = set(of_each(server).values())
        text, = texts
    found = figures(text)
    assert found['healthcheck_report_shared',] == 1
    assert found['healthcheck_verdicts_total', 'database', 'pass'] == 1
    assert found['healthcheck_status', 'pass'] == 1
    # It says what it does not like, and exits with 0 for some of that.
    assert promtool('check', 'metrics', text=text) == ''


def test_counters_go_up_whoever_probes() -> None:
    """Seen by somebody who meets any worker, while the prober is killed."""
    options = OPTIONS | {'interval': 0.1, 'retry_interval': 0.05}
    with wsgi.UWSGI(served.files(**options), workers=WORKERS) as server:
        servers.wait_until(lambda: server.ask().status == 200, 'well', 30)
        seen: Figures = {}

        def passes(at_least: float) -> bool:
            pid, text = scrape(server)
            for key, value in figures(text).items():
                if key[0].endswith(('_total', '_bucket', '_count', '_sum')):
                    assert value >= seen.get(key, 0.0), (pid, key)
                    seen[key] = value
            return seen.get(('healthcheck_verdicts_total', 'database',
                             'pass'), 0.0) >= at_least
        for goal in (15, 30, 45):
            servers.wait_until(lambda: passes(goal), f'{goal} passes', 30,
                               interval=0.0)
            os.kill(prober(server), signal.SIGKILL)
        servers.wait_until(lambda: passes(60), '60 passes', 30,
                           interval=0.0)
        of_each(server)


def prober(server: wsgi.WSGIServer) -> int:
    answer = server.ask('/healthcheck/detail', accept='application/json')
    pid: int = json.loads(answer.text)['prober']['pid']
    return pid


def test_well_or_not_it_is_answered() -> None:
    options = OPTIONS | {'backends': 'database'}
    with wsgi.UWSGI(served.files(
            database='sqlite:///{directory}/none.db', **options)) as server:
        servers.wait_until(lambda: server.ask().text == (
            'DATABASE: NO SUCH DATABASE'), 'out', 30)
        found = figures(scrape(server)[1])
    assert found['healthcheck_status', 'fail'] == 1
    assert found['healthcheck_check_status', 'database', 'fail'] == 1


def test_workers_that_do_not_share_count_nothing() -> None:
    options = OPTIONS | {'sharing': 'process'} | STILL
    with wsgi.UWSGI(served.files(**options), workers=2) as server:
        servers.wait_until(lambda: server.ask().status == 200, 'well', 30)
        for text in of_each(server).values():
            found = figures(text)
            assert found['healthcheck_report_shared',] == 0
            assert not [key for key in found if key[0].endswith('_total')]
            assert promtool('check', 'metrics', text=text) == ''


@pytest.fixture
def rules(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Where the rules are, beside what tests them."""
    shutil.copy(RULES, tmp_path / 'alerts-under-test.yaml')
    shutil.copy(RULE_TESTS, tmp_path / 'tests.yaml')
    yield tmp_path


def test_rules(rules: pathlib.Path) -> None:
    promtool('check', 'rules', 'alerts-under-test.yaml', directory=rules)
    promtool('test', 'rules', 'tests.yaml', directory=rules)


def test_each_rule_has_a_test() -> None:
    alerts = {rule['alert'] for group in yaml.safe_load(
        RULES.read_text())['groups'] for rule in group['rules']}
    assert alerts == set(re.findall(
        r'\bHealthcheck[A-Z]\w+', RULE_TESTS.read_text()))


def test_queries_of_the_dashboard(tmp_path: pathlib.Path) -> None:
    """Each can be parsed, whatever is chosen."""
    queries = [target['expr']
               for panel in json.loads(DASHBOARD.read_text())['panels']
               for target in panel['targets']]
    rules = [{'record': f'query:{number}', 'expr': query.replace(
        '$__rate_interval', '1m')} for number, query in enumerate(queries)]
    (tmp_path / 'queries.yaml').write_text(yaml.safe_dump(
        {'groups': [{'name': 'queries', 'rules': rules}]}))
    said = promtool('check', 'rules', 'queries.yaml', directory=tmp_path)
    assert f'{len(queries)} rules found' in said


def test_documented_scrape(tmp_path: pathlib.Path) -> None:
    text = (wsgi.EXAMPLES / 'prometheus.yml').read_text()
    (tmp_path / 'prometheus.yml').write_text(text.replace(
        '/etc/prometheus/alerts.yaml', str(RULES)))
    promtool('check', 'config', str(tmp_path / 'prometheus.yml'))
