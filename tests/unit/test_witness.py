# SPDX-License-Identifier: Apache-2.0

"""Where a process takes evidence, and where it does not."""

from oslo_config import cfg
import pytest

import healthcheck
from healthcheck.evidence import engines
from healthcheck.evidence import observing
from healthcheck.host import mounts
from healthcheck.probing import evidence
from tests.unit import stubs
from tests.unit import wsgi


@pytest.fixture(autouse=True)
def scripted(plugin, monkeypatch):
    plugin(scripted='tests.unit.stubs:Scripted')
    stubs.Scripted.results = []
    stubs.Scripted.runs = 0
    monkeypatch.setattr(mounts, 'is_in_memory', lambda path: True)


def listens():
    return len(engines._listening), 'scripted' in observing._listening


@pytest.fixture(autouse=True)
def alone():
    """No other test's engine listens."""
    for one in list(engines._listening):
        one.ignore()
    observing._listening = {}


def make(door, below=wsgi.below, **options):
    return door(below, {'backends': 'scripted', **options})


def test_from_the_first_poll_to_the_end(door):
    made = make(door)
    assert listens() == (0, False)
    wsgi.ask(made)
    assert listens() == (1, True)
    made.stop(5)
    assert listens() == (0, False)


def test_not_where_it_is_turned_off(door):
    made = make(door, evidence='false')
    wsgi.ask(made)
    wsgi.ask(made, '/servers')
    assert listens() == (0, False)


def test_not_where_nothing_is_shared(door):
    made = door(wsgi.below, {'backends': 'worker'})
    wsgi.ask(made)
    assert listens()[0] == 0


def test_not_inside_of_another_class():
    service = cfg.ConfigOpts()
    service([], project='x', default_config_files=[], default_config_dirs=[])
    plugin = stubs.Scripted(service, {})
    assert plugin.healthcheck(80).available
    assert listens() == (0, False)
    plugin._engine.peek().stop(5)


def test_the_first_request_that_is_passed_on_begins(door, tmp_path):
    """An agent may answer all polls."""
    made = make(door, state_path=str(tmp_path))
    wsgi.ask(made, '/servers')
    assert listens() == (1, True)


def test_but_not_where_a_process_would_probe_for_itself(door):
    made = make(door, sharing='process')
    wsgi.ask(made, '/servers')
    assert listens() == (0, False)
    assert stubs.Scripted.runs == 0


def test_a_fault_of_the_service_is_noted(door):
    def below(environ, start_response):
        environ['keystone.token_info'] = {}
        start_response('500 Oh', [('Content-Length', '0')])
        return []
    made = make(door, below)
    for _ in range(3):
        wsgi.ask(made, '/servers')
    witness = made._engine.peek()._witness
    assert witness.ledger.read().errors == 3


def test_what_a_function_meets_is_heard(door):
    made = make(door)
    wsgi.ask(made)

    @healthcheck.observe('scripted')
    def call():
        pass
    call()
    call()
    witness = made._engine.peek()._witness
    mark = evidence.check_mark('scripted')
    assert witness.traffic.seen([mark]).calls == 2
