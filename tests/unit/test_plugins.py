# SPDX-License-Identifier: Apache-2.0

"""Our plugins in stock oslo.middleware; plugins of others in ours."""

import os

from oslo_config import cfg
import oslo_middleware
from oslo_middleware.healthcheck import pluginbase
import pytest

from healthcheck.host import processes
from healthcheck.plugins import database
from healthcheck.plugins import foreign
from healthcheck.plugins import message_queue
from healthcheck.probing import guard
from healthcheck.reports import report
from healthcheck.targets import dialects
from healthcheck.targets import failures
from tests.unit import stubs
from tests.unit import wsgi

Result = pluginbase.HealthcheckResult


@pytest.fixture
def scripted(plugin):
    plugin(scripted='tests.unit.stubs:Scripted')
    stubs.Scripted.results = []
    stubs.Scripted.runs = 0


@pytest.fixture
def stock(scripted, conf):
    service = conf('''
        [healthcheck]
        backends = scripted
        fall = 1
        interval = 600
        ttl = 6000
        ''')
    made = oslo_middleware.Healthcheck(None, service)
    yield made
    for ext in made._backends:
        running = ext.obj._engine.peek()
        if running:
            running.stop(5)


def test_stock_oslo_middleware_answers_from_the_cache(stock):
    for _ in range(20):
        answer = wsgi.ask(stock)
        assert (answer.status, answer.body) == (200, b'OK')
    assert stubs.Scripted.runs == 1


def test_stock_oslo_middleware_reports_a_failure(stock):
    stubs.Scripted.results = [report.Result.failed('REFUSED', 'at host h')]
    answer = wsgi.ask(stock)
    assert (answer.status, answer.body) == (503, b'SCRIPTED: REFUSED')


def test_stock_oslo_middleware_does_not_wait_for_ever(plugin, conf):
    plugin(hanging='tests.unit.stubs:Hanging')
    stubs.Hanging.release.clear()
    made = oslo_middleware.Healthcheck(None, conf('''
        [healthcheck]
        backends = hanging
        startup_wait = 0
        '''))
    answer = wsgi.ask(made)
    assert (answer.status, answer.body) == (503, b'STARTING')
    stubs.Hanging.release.set()
    for ext in made._backends:
        ext.obj._engine.peek().stop(5)


@pytest.mark.parametrize('text', [
    '[healthcheck]\nbackends = misconfigured',
    '[healthcheck]\nbackends = scripted\ninterval = soon',
    '[healthcheck]\nbackends = scripted\nttl = 10'])
def test_stock_oslo_middleware_does_not_pass_over_a_mistake(
        plugin, conf, caplog, text):
    plugin(misconfigured='tests.unit.stubs:Misconfigured',
           scripted='tests.unit.stubs:Scripted')
    answer = wsgi.ask(oslo_middleware.Healthcheck(None, conf(text)))
    assert answer.status == 503
    assert answer.text.endswith(': MISCONFIGURED')
    assert 'configuration is not valid' in caplog.text


def test_ours_in_stock_write_nothing_into_the_configuration(scripted):
    # Stock's own set_override is stock's affair; ours must add none.
    plugin_options = {'interval': '33'}
    made = stubs.Scripted(cfg.CONF, plugin_options)
    assert made.settings.interval == 33.0
    assert cfg.CONF.healthcheck.interval == 10.0


@pytest.mark.parametrize('result, expected', [
    (Result(True, 'whatever it says'), report.Result.ok()),
    (Result(False, 'DATABASE DOWN', 'x'),
     report.Result.failed('DATABASE DOWN', 'DATABASE DOWN x')),
    (Result(False, 'cannot reach db.example'),
     report.Result.failed('FAILED', 'cannot reach db.example')),
    (Result(False, 'rabbit://u:sesame@h/'),
     report.Result.failed('FAILED', 'rabbit://***@h/')),
    (None, report.Result.failed(
        'PROBE ERROR', 'theirs returned NoneType, not a HealthcheckResult')),
    (True, report.Result.failed(
        'PROBE ERROR', 'theirs returned bool, not a HealthcheckResult')),
    (Result(True, None), report.Result.failed(
        'PROBE ERROR',
        'theirs returned HealthcheckResult, not a HealthcheckResult')),
])
def test_what_others_return(result, expected):
    class Theirs:
        def healthcheck(self, server_port):
            return result
    assert guard.visit(foreign.ForeignTarget(
        'theirs', Theirs(), 80)).result == expected


def test_each_process_has_its_own(scripted, door):
    """A fork after the first request, as no server announces it."""
    stubs.Scripted.pids = set()
    made = door(wsgi.below, {'backends': 'scripted', 'interval': '60',
                             'ttl': '600', 'sharing': 'process'})
    assert wsgi.ask(made).body == b'OK'
    read, write = os.pipe()
    child = os.fork()
    if not child:
        body = wsgi.ask(made).body
        os.write(write, body + b' %d' % (os.getpid() in stubs.Scripted.pids))
        os._exit(0)
    os.close(write)
    with os.fdopen(read, 'rb') as pipe:
        assert pipe.read() == b'OK 1'
    os.waitpid(child, 0)
    assert child not in stubs.Scripted.pids


def test_one_is_made_for_a_process():
    made = processes.PerProcess(lambda *args: object())
    assert made.peek() is None
    assert made.get(1) is made.get(2) is made.peek()


def in_a_child(act):
    """What ``act`` gives in a process that is forked for it."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(write, act().encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, 'rb') as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    return said


@pytest.mark.parametrize('asked_between', [True, False])
def test_a_recycled_pid_is_another_process(monkeypatch, asked_between):
    """A grandchild gets the pid of the process that has made one."""
    made = processes.PerProcess(lambda: object())
    ours, pid = made.get(), os.getpid()

    def grandchild():
        monkeypatch.setattr('os.getpid', lambda: pid)
        one = made.get()
        return 'inherited' if one is ours else (
            'its own' if made.get() is one is made.peek() else 'many')

    def child():
        if asked_between:
            made.get()
        return in_a_child(grandchild)
    assert in_a_child(child) == 'its own'
    assert made.get() is ours


def test_pids_alone_tell_where_the_kernel_wipes_nothing(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(22, 'Invalid argument')
    monkeypatch.setattr(processes.mmap, 'mmap', refuse)
    monkeypatch.setattr(processes, '_ITSELF', processes._Itself())
    made = processes.PerProcess(lambda: object())
    ours = made.get()
    assert made.get() is ours
    assert in_a_child(lambda: str(made.get() is ours)) == 'False'


def test_the_start_of_a_process_is_read_once(monkeypatch):
    reads = []
    monkeypatch.setattr(processes, '_started_at',
                        lambda: reads.append(1) or 'then')
    monkeypatch.setattr(processes, '_ITSELF', processes._Itself())
    made = processes.PerProcess(lambda: object())
    for _ in range(3):
        made.get()
    assert len(reads) == 1


class TestReasons:

    @pytest.mark.parametrize('exc, reason', [
        (ConnectionRefusedError(), failures.CONNECTION_REFUSED),
        (TimeoutError(), failures.NO_ANSWER),
        (BrokenPipeError(), failures.CONNECTION_LOST),
        (OSError(113, 'No route to host'), failures.UNREACHABLE),
        (OSError(28, 'No space left'), None), (ValueError(), None)])
    def test_of_the_network(self, exc, reason):
        outer = RuntimeError('wrapped')
        outer.__cause__ = exc
        assert failures.network_reason(outer) == reason

    def test_a_chain_may_be_a_ring(self):
        one, two = RuntimeError('1'), RuntimeError('2')
        one.__cause__, two.__context__ = two, one
        assert list(failures.chain(one)) == [one, two]


@pytest.mark.parametrize('url, expected', [
    ('mysql+pymysql://h/db', {'connect_timeout': 4.0, 'read_timeout': 4.0,
                              'write_timeout': 4.0}),
    ('mysql+mysqldb://h/db', {'connect_timeout': 4, 'read_timeout': 4,
                              'write_timeout': 4}),
    ('postgresql+psycopg2://h/db', {'connect_timeout': 4,
                                    'application_name': 'healthcheck'}),
    ('postgresql+psycopg://h/db', {'connect_timeout': 4,
                                   'application_name': 'healthcheck',
                                   'prepare_threshold': None}),
    ('sqlite:////tmp/x', {'timeout': 4.0})])
def test_each_driver_is_bounded(url, expected):
    made = database.Database(cfg.CONF, {'database_connection': url})
    assert made._target._dialect.connect_args() == expected


def target_of(made):
    """What the check of a plugin probes."""
    return made.check(made.name, {}).probe.target


def test_a_missing_sqlite_file_is_not_made(tmp_path):
    path = tmp_path / 'nova.db'
    made = target_of(database.Database(cfg.CONF, {
        'database_connection': f'sqlite:///{path}'}))
    assert made.probe().result == report.Result.failed(
        dialects.NO_SUCH_DATABASE, f'{path} does not exist')
    assert not path.exists()
    path.write_bytes(b'')
    assert made.probe().result == report.Result.ok()
    path.write_bytes(b'something else' * 1000)
    assert made.probe().result.reason == dialects.CORRUPT
    path.unlink()
    assert made.probe().result.reason == dialects.NO_SUCH_DATABASE


def test_messages_to_nobody_are_not_kept(conf):
    for url in ('fake://', 'kombu+memory://'):
        made = target_of(message_queue.MessageQueue(
            conf(''), {'message_queue_transport_url': url}))
        for _ in range(3):
            assert made.probe().result == report.Result.ok()
        made.close()
