# SPDX-License-Identifier: Apache-2.0

"""A server that lets no threads run is found out, and said once."""

import sys
import types

import pytest

from healthcheck.answers import render
from healthcheck.answers import switches
from healthcheck import engine
from healthcheck.host import group as group_module
from healthcheck.host import sharing
from healthcheck.probing import check as check_module
from healthcheck.probing import policy as policy_module
from healthcheck.probing import simulated
from healthcheck.probing import target as target_module
from healthcheck.probing import threads
from healthcheck.reports import report
from tests.unit import settings


def prober(alive_at):
    return types.SimpleNamespace(alive_at=alive_at)


@pytest.fixture
def uwsgi(monkeypatch):
    def make(**attributes):
        monkeypatch.setitem(sys.modules, 'uwsgi',
                            types.SimpleNamespace(**attributes))
    return make


def test_they_run():
    assert not threads.Threads([prober(999.0)], simulated.Clock()).stalled()
    assert not threads.Threads([], simulated.Clock()).stalled()


def test_they_do_not(caplog):
    clock = simulated.Clock()
    seen = threads.Threads([prober(999.0), prober(990.0)], clock)
    clock.now += 10
    assert seen.stalled() and seen.stalled()
    record, = caplog.records
    assert 'has not run for 11 s' in record.getMessage()
    assert 'enable-threads = true' in record.getMessage()


@pytest.mark.parametrize('has_threads, stalled', [(0, True), (1, False)])
def test_uwsgi_tells(uwsgi, has_threads, stalled):
    uwsgi(has_threads=has_threads)
    seen = threads.Threads([prober(1000.0)], simulated.Clock())
    assert seen.stalled() is stalled


def test_a_uwsgi_that_does_not_tell(uwsgi):
    uwsgi()
    assert not threads.Threads([prober(1000.0)], simulated.Clock()).stalled()


class Untouched(target_module.Target):
    def probe(self, questions=()):
        raise AssertionError('nothing is to be probed')


def check(name, per_worker=False):
    return check_module.Single(name, Untouched(), policy_module.Policy(),
                               per_worker=per_worker)


@pytest.fixture
def threadless(uwsgi, tmp_path):
    """An engine in a process whose threads do not run."""
    uwsgi(has_threads=0)
    group = group_module.Group(str(tmp_path), 'a' * 64, 4.0)

    def make(*checks, group=group):
        values = settings.make(startup_wait=5.0)
        return engine.Engine(
            [one.name for one in checks], checks, policy_module.Policy(),
            values, switches.Switches([], values, []), group)
    make.agent = sharing.Sharing(group)
    return make


def text(made):
    page = made.pages(()).ready.pages[render.TEXT]
    return page.status[:3], page.body[0].decode()


@pytest.mark.parametrize('shared', [True, False])
def test_no_threads_is_a_failure_at_once(threadless, shared):
    made = (threadless(check('database')) if shared
            else threadless(check('database'), group=None))
    made.start()
    assert text(made) == ('503', engine.NOT_RUNNING)


def test_no_threads_are_needed_where_somebody_else_probes(threadless):
    assert threadless.agent.elect()
    now = engine.time.monotonic()
    threadless.agent.publish(report.Report((report.CheckReport(
        'database', report.Status.PASS, 'OK', '', now, 30.0, 1e9),)))
    made = threadless(check('database'), check('worker', per_worker=True))
    made.start()
    assert text(made) == ('200', 'OK\nOK (PROBES NOT RUNNING)')
    assert [one.name for one in made.known().checks] == ['database', 'worker']


def test_a_report_that_goes_stale_is_no_answer(threadless):
    assert threadless.agent.elect()
    now = engine.time.monotonic()
    made = threadless(check('database'))
    made.start()
    threadless.agent.publish(report.Report((report.CheckReport(
        'database', report.Status.PASS, 'OK', '', now - 31, 30.0, 1e9),)))
    assert text(made) == ('503', engine.NOT_RUNNING)
