# SPDX-License-Identifier: Apache-2.0

"""Whatever comes from outside, the answer is one of the contract's.

``make soak`` does the same for longer: ``FUZZ_SEED`` and ``FUZZ_FACTOR`` in
the environment change what comes, and how much of it.
"""

from __future__ import annotations

import os
import pathlib
import random
import threading
import types

import pytest
import requests_mock

from healthcheck.admin.auth import refusals
from healthcheck.admin.auth import tokens
from healthcheck.config import reading
from healthcheck.host import codec
from healthcheck.host import group as group_module
from healthcheck.host import sharing
from healthcheck.probing import guard
from healthcheck.reports import history
from healthcheck.reports import report
from tests import fuzz
from tests.unit import keystone as fake
from tests.unit import stubs

SEED = int(os.environ.get('FUZZ_SEED', '15'))
FACTOR = int(os.environ.get('FUZZ_FACTOR', '1'))


@pytest.fixture
def chance():
    print(f'FUZZ_SEED={SEED} FUZZ_FACTOR={FACTOR}')
    return random.Random(SEED)


class Probed(stubs.Scripted):
    """Notes which threads it is run in."""

    threads: set[int] = set()

    def probe(self):
        self.threads.add(threading.get_ident())
        return report.Result.failed(
            'CONNECTION REFUSED', 'mysql://nova:hunter2@db.internal/nova')


@pytest.mark.parametrize('application', [fuzz.below, None])
def test_requests(application, conf, door, plugin, chance):
    plugin(scripted='tests.unit.test_fuzz:Probed')
    Probed.threads.clear()
    with requests_mock.Mocker() as mocker:
        keystone = fake.Keystone(mocker)
        made = door(application, conf(
            fake.CONF + '[healthcheck]\nbackends = scripted\nfall = 1\n'
            'sharing = process\n'))
        statuses = set()
        for _ in range(2000 * FACTOR):
            environ = fuzz.request(chance)
            if application is None:  # an app, with its mount point taken off
                environ['PATH_INFO'] = environ['PATH_INFO'].removeprefix(
                    '/healthcheck')
            anonymous = not environ.get('HTTP_X_AUTH_TOKEN', '').strip()
            before = mocker.call_count
            statuses.add(fuzz.check_answer(made, environ))
            assert not anonymous or mocker.call_count == before, environ
        assert keystone.asked
    # The requests have come everywhere but past the gate.
    assert statuses >= {200, 204, 401, 404 if application is None
                        else fuzz.BELOW, 405, 503}
    assert Probed.threads and threading.get_ident() not in Probed.threads


def test_tokens(conf, chance):
    with requests_mock.Mocker() as mocker:
        keystone = fake.Keystone(mocker)
        checked = tokens.Tokens(reading.Private(conf(fake.CONF)))
        for _ in range(500 * FACTOR):
            environ = fuzz.request(chance)
            environ['HTTP_X_AUTH_TOKEN'] = fuzz.token(chance)
            outcome = checked.identify(environ)
            assert isinstance(outcome, refusals.Refusal), environ
        assert keystone.asked
        for asked in keystone.asked:
            assert tokens._TOKEN.fullmatch(asked)


IDENTITY = 'a' * 64
PUBLISHED = report.Report((
    report.CheckReport(
        'database', report.Status.PASS, 'OK', 'detail', 1000.0, 30.0, 1e9,
        latency=0.1, components=(report.Component('cell1', None),
                                 report.Component(
                                     'cell2', report.Status.FAIL, 'DOWN')),
        history=history.History(latencies=(0.1, 0.2), transitions=(
            history.Transition(1e9, report.Status.PASS, 'OK'),))),
    report.CheckReport('queue', report.Status.WARN, 'SLOW', '', 999.0, 30.0,
                       1e9, critical=False)),
    report.ProberProcess(7, 'node1', 'nova-api', 1e9))


def test_mutated_reports(chance):
    data = codec.dump(PUBLISHED)
    assert codec.load(report.Report, data) == PUBLISHED
    refused = 0
    for _ in range(3000 * FACTOR):
        try:
            read = codec.load(report.Report, fuzz.mutated(chance, data))
        except ValueError:
            refused += 1
        else:
            assert isinstance(read, report.Report)
    assert 2000 < refused / FACTOR < 3000


def test_mutated_files(tmp_path, chance):
    now = iter(range(10 ** 12, 10 ** 15, 10 ** 6))
    prober, reader = (sharing.Sharing(
        group_module.Group(str(tmp_path), IDENTITY, 4.0),
        lambda: next(now)) for _ in range(2))
    assert prober.elect()
    prober.publish(PUBLISHED)
    name = f'{IDENTITY[:32]}.report'
    path = pathlib.Path(prober.directory.join(name))
    data = path.read_bytes()
    refused = 0
    for _ in range(1000 * FACTOR):
        stamp = next(now)
        prober.directory.write(name, fuzz.mutated(chance, data), stamp,
                               'x.tmp')
        try:
            read = reader.look()
        except sharing.Unusable as exc:
            assert str(exc).startswith(f'{path}: ')
            refused += 1
        else:
            assert read is None or isinstance(read, report.Report)
    assert 500 < refused / FACTOR < 1000
    prober.publish(PUBLISHED)
    assert reader.look() == PUBLISHED.brief()
    prober.resign()


def test_plugins(chance):
    for _ in range(500 * FACTOR):
        result = guard.visit(guard.Guarded('disk', types.SimpleNamespace(
            label='DISK', per_worker=False, probe=fuzz.probe(chance)))).result
        assert (result.status, result.reason) == (report.Status.FAIL,
                                                  guard.PROBE_ERROR)
        assert not [one for one in fuzz.SECRETS if one in result.detail]
