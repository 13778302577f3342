# SPDX-License-Identifier: Apache-2.0

"""The door in front of an application that may not be loaded yet."""

from __future__ import annotations

import gc
import importlib
import logging
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import types

import pytest

from healthcheck.config import redact
from healthcheck import exceptions
from healthcheck.reports import report
from healthcheck.serving import loader
from healthcheck.serving import wrapper
from tests.unit import stubs
from tests.unit import wsgi

OUTER = (200, 'OK')

SERVICE = """
import world
world.loads.append(1)
world.load()
application = world.application
"""


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A module ``service``, and a module ``world`` that it depends on."""
    package = tmp_path / 'modules'
    package.mkdir()
    (package / 'service.py').write_text(SERVICE)
    (package / 'world.py').write_text('loads = []\n')
    monkeypatch.syspath_prepend(str(package))
    module = importlib.import_module('world')
    module.load = lambda: None
    module.application = wsgi.below
    yield module
    for name in ('world', 'service'):
        sys.modules.pop(name, None)


def target(text='service:application'):
    return loader.ImportPath(text, 'HEALTHCHECK_APP')


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def make_loader(clock, text='service:application'):
    return loader.Loader(target(text), redact.Redactor(), clock=clock,
                         uniform=lambda least, most: most)


def fail(exc):
    def load():
        raise exc
    return load


@pytest.mark.parametrize('text', [
    '', 'service', 'service:', ':application', 'service/x:application',
    'service:application(1)', 'service:application()()', 'a:b:c'])
def test_not_an_import_path(text):
    with pytest.raises(exceptions.ConfigError) as caught:
        target(text)
    problem, = caught.value.problems
    assert f'HEALTHCHECK_APP = {text!r}: not an import path' in problem
    assert 'module:attribute' in problem


@pytest.mark.parametrize('name', [
    'nowhere', 'service.wsgi', 'oslo_config.nowhere', 'nowhere.at.all'])
def test_no_such_module(name, world):
    with pytest.raises(exceptions.ConfigError,
                       match=f'there is no module {name} '):
        target(f'{name}:application').find()


@pytest.mark.usefixtures('world')
def test_find_does_not_run_the_module():
    target().find()
    assert 'service' not in sys.modules


def test_package_that_cannot_be_imported_yet(world, tmp_path):
    for name, line in (('later', 'import not_installed_at_all'),
                       ('broken', 'raise OSError')):
        directory = tmp_path / 'modules' / name
        directory.mkdir()
        (directory / '__init__.py').write_text(line + '\n')
        (directory / 'wsgi.py').write_text('')
        target(f'{name}.wsgi:application').find()


@pytest.mark.parametrize('text, problem', [
    ('service:aplication', 'has no aplication; did you mean application?'),
    ('service:zzz', 'has no zzz'),
    ('service:world.nothing', 'has no world.nothing'),
    ('service:world.loads', 'list is not a WSGI application'),
    ('service:world.load()', 'NoneType is not a WSGI application'),
])
def test_no_application_there(text, problem, world):
    with pytest.raises(exceptions.ConfigError, match=problem):
        target(text).load()


def test_dotted_names_and_factories(world):
    assert target('service:world.application').load() is wsgi.below
    world.make = lambda: wsgi.below
    assert target('service:world.make()').load() is wsgi.below


@pytest.mark.parametrize('exc', [
    RuntimeError('x'), SystemExit(2), ModuleNotFoundError('x', name='x'),
    AttributeError('x')])
def test_runs_the_module_again_after_a_failure(exc, world, clock):
    one = make_loader(clock)
    world.load = fail(exc)
    one.load()
    assert one.application is None
    world.load = lambda: None
    one.load()
    assert one.application is wsgi.below
    assert len(world.loads) == 2


def test_control_c_is_not_held_up(world, clock):
    world.load = fail(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        make_loader(clock).load()


def test_backs_off(world, clock):
    one = make_loader(clock)
    world.load = fail(RuntimeError())
    times = []
    for _ in range(400):
        before = len(world.loads)
        one.attempt(lambda: True)
        if len(world.loads) > before:
            times.append(clock.now)
        clock.now += 0.5
    gaps = [after - before for before, after in zip(times, times[1:])]
    assert gaps == [1, 2, 4, 8, 16, 32, 60, 60]


def test_jitter_shortens_the_wait(world, clock):
    one = loader.Loader(target(), redact.Redactor(), clock=clock,
                        uniform=lambda least, most: least)
    world.load = fail(RuntimeError())
    one.attempt(lambda: True)
    clock.now += 0.5
    one.attempt(lambda: True)
    assert len(world.loads) == 2


def test_waits_for_backends_and_then_tries_at_once(world, clock):
    one = make_loader(clock)
    one.attempt(lambda: False)
    assert world.loads == []
    world.load = fail(RuntimeError())
    for _ in range(5):
        one.attempt(lambda: True)
        clock.now += 100
    one.attempt(lambda: True)
    tried = len(world.loads)
    one.attempt(lambda: True)
    assert len(world.loads) == tried
    one.attempt(lambda: False)
    world.load = lambda: None
    one.attempt(lambda: True)
    assert one.application is wsgi.below


def test_gives_up_what_can_never_be_loaded(world, clock, caplog):
    one = make_loader(clock, 'service:aplication')
    for _ in range(3):
        one.attempt(lambda: True)
        clock.now += 100
    assert len(world.loads) == 1
    assert [r.levelname for r in caplog.records] == ['ERROR']
    assert 'did you mean application?' in caplog.text


def test_loads_once(world, clock):
    one = make_loader(clock)
    one.attempt(lambda: True)
    one.attempt(lambda: True)
    assert len(world.loads) == 1


def _other_process(one, connection):
    one.attempt(lambda: True)
    connection.send(one.application is not None)


def test_forked_processes_take_turns(world, clock):
    context = multiprocessing.get_context('fork')
    one = make_loader(clock)

    def ask_other():
        ours, theirs = context.Pipe()
        other = context.Process(target=_other_process, args=(one, theirs))
        # As if this process was not loading: that is a lock of its own.
        loading, one._loading = one._loading, loader.threading.Lock()
        other.start()
        one._loading = loading
        other.join(30)
        return ours.recv()
    answers = []
    world.load = lambda: answers or answers.extend(['x', ask_other()])
    one.attempt(lambda: True)
    assert one.application is wsgi.below
    assert answers == ['x', False]
    one.application = None
    assert ask_other() is True


def test_failure_is_logged_once_with_its_traceback(world, clock, caplog):
    caplog.set_level(logging.INFO)
    one = make_loader(clock)
    for exc in (RuntimeError('a mysql://me:hunter2@host/x'),
                RuntimeError('again'), OSError('other')):
        world.load = fail(exc)
        one.load()
    first, second = caplog.messages
    assert 'service:application cannot be loaded' in first
    assert 'builtins.RuntimeError' in first and 'in load' in first
    assert 'hunter2' not in caplog.text and 'mysql://***@host/x' in first
    assert 'builtins.OSError' in second


def test_signal_handlers_are_named_as_the_cause(world, clock, caplog):
    world.load = fail(ValueError(
        'signal only works in main thread of the main interpreter'))
    make_loader(clock).load()
    assert 'only the main thread can do' in caplog.text


@pytest.fixture
def start(world, plugin, tmp_path):
    """Make the wrapper, as a server does, of environment variables."""
    plugin(scripted='tests.unit.stubs:Scripted')
    stubs.Scripted.results = []
    made = []

    def start(app='service:application', options='', **variables):
        path = tmp_path / 'service.conf'
        path.write_text('[healthcheck]\nbackends = scripted\n'
                        'startup_wait = 10\nfall = 1\nrise = 1\n'
                        f'interval = 0.1\nretry_interval = 0.1\n{options}')
        made.append(wrapper.from_environment({
            'HEALTHCHECK_APP': app,
            'HEALTHCHECK_CONFIG_FILES': str(path), **variables}))
        return made[-1]
    yield start
    for one in made:
        one.stop(5)


DOWN = report.Result.failed('DOWN')


def get(app, path='/healthcheck', **kwargs):
    """Ask as a server does, which closes what it was given."""
    bodies = []

    def asked(environ, start_response):
        bodies.append(app(environ, start_response))
        return bodies[0]
    answer = wsgi.ask(asked, path, **kwargs)
    for body in bodies:
        if hasattr(body, 'close'):
            body.close()
    return answer.status, answer.text


def test_loads_at_the_start(start, world):
    app = start()
    assert len(world.loads) == 1
    assert get(app) == (200, 'OK\nOK')
    assert get(app, '/healthcheck/application') == (200, 'OK')
    assert get(app, '/servers') == (200, 'below')


def test_backends_are_looked_at_in_another_process(start, world):
    # A thread of this one could leave its locks to the next child.
    runs = stubs.Scripted.runs
    start()
    assert stubs.Scripted.runs == runs
    assert len(world.loads) == 1


def test_probe_that_hangs_at_the_start(start, world, plugin, caplog):
    plugin(scripted='tests.unit.stubs:Hanging')
    stubs.Hanging.release.clear()
    start(options='timeout = 0.1\n')
    assert world.loads == []
    assert 'not loaded before its backends are well' in caplog.text


def test_child_that_hangs_is_killed(world, conf, monkeypatch):
    monkeypatch.setattr(wrapper, '_look', lambda *args: signal.pause())
    monkeypatch.setattr(wrapper, '_GRACE', 0.0)
    assert not wrapper._are_well(conf(''), 0.05)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def descriptors():
    gc.collect()  # what an earlier test has left
    return len(os.listdir('/proc/self/fd'))


def test_descriptors_past_1023(world, conf, monkeypatch):
    """select() would refuse them."""
    monkeypatch.setattr(wrapper, '_look', lambda *args: True)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    held = []
    try:
        while not held or held[-1] < 1024:
            held.append(os.open(os.devnull, os.O_RDONLY))
        assert wrapper._are_well(conf(''), 30.0)
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize('look', [
    lambda *args: True, lambda *args: False, lambda *args: 1 / 0,
    lambda *args: signal.pause()])
def test_child_is_reaped_and_nothing_stays_open(look, world, conf,
                                                monkeypatch):
    monkeypatch.setattr(wrapper, '_look', look)
    monkeypatch.setattr(wrapper, '_GRACE', 0.0)
    before = descriptors()
    wrapper._are_well(conf(''), 0.05)
    assert descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_child_is_reaped_when_the_wait_is_interrupted(world, conf,
                                                      monkeypatch):
    fork = os.fork

    def fork_and_interrupt():
        pid = fork()
        if pid:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
        return pid
    monkeypatch.setattr(os, 'fork', fork_and_interrupt)
    monkeypatch.setattr(wrapper, '_look', lambda *args: signal.pause())
    before = descriptors()
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            wrapper._are_well(conf(''), 30.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)
    assert descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_no_child_can_be_had(world, conf, monkeypatch):
    def fork():
        raise BlockingIOError
    monkeypatch.setattr(os, 'fork', fork)
    before = descriptors()
    with pytest.raises(BlockingIOError):
        wrapper._are_well(conf(''), 30.0)
    assert descriptors() == before


@pytest.fixture
def in_main_thread(monkeypatch):
    def set_to(is_main):
        monkeypatch.setattr(
            wrapper.threading, 'get_native_id',
            lambda: os.getpid() if is_main else os.getpid() + 1)
    set_to(True)
    return set_to


def until_not(app, text, path='/healthcheck'):
    for _ in range(100000):
        answer = get(app, path)
        if answer[1] != text:
            return answer
    raise AssertionError(text)


@pytest.mark.parametrize('is_main', [True, False])
def test_backends_down_at_the_start(is_main, start, world, in_main_thread):
    in_main_thread(is_main)
    stubs.Scripted.results = [DOWN]
    app = start()
    for _ in range(3):
        assert get(app) == (
            503, 'SCRIPTED: DOWN\nAPPLICATION: NOT LOADED')
    assert get(app, '/healthcheck/application') == (
        503, 'APPLICATION: NOT LOADED')
    assert get(app, '/healthcheck/live') == (200, 'OK')
    answer = wsgi.ask(app, '/servers')
    assert answer.status == 503
    assert answer.text == 'Service Unavailable: the application is not ' \
                          'loaded yet'
    assert answer.headers['Retry-After'] == '1'
    assert answer.headers['Cache-Control'] == 'no-store'
    head = wsgi.ask(app, '/servers', 'HEAD')
    assert (head.status, head.headers, head.body) == (
        503, answer.headers, b'')
    assert world.loads == []
    stubs.Scripted.results = [report.Result.ok()]
    assert until_not(app, 'APPLICATION: NOT LOADED',
                     '/healthcheck/application') == (200, 'OK')
    assert len(world.loads) == 1
    assert get(app) == (200, 'OK\nOK')
    assert get(app, '/servers') == (200, 'below')


def test_health_json_has_a_line_for_it(start, in_main_thread):
    stubs.Scripted.results = [DOWN]
    answer = wsgi.ask(start(), accept='application/health+json')
    assert answer.status == 503
    assert answer.json['checks']['application'] == [
        {'status': 'fail', 'output': 'APPLICATION: NOT LOADED'}]


def test_answer_comes_before_the_load(start, world, in_main_thread):
    world.load = fail(RuntimeError('a secret reason'))
    app = start()
    world.load = lambda: None
    body = app(wsgi.environ('/servers'), lambda *args: None)
    assert list(body) == [b'Service Unavailable: the application is not '
                          b'loaded yet']
    assert len(world.loads) == 1


def test_no_text_of_an_exception_in_a_body(start, world, in_main_thread):
    world.load = fail(RuntimeError('a secret reason'))
    app = start()
    for path in ('/healthcheck', '/healthcheck/application', '/servers'):
        status, text = get(app, path)
        assert status == 503
        assert 'secret' not in text and 'RuntimeError' not in text


def test_one_of_uwsgi_threads_is_left_to_the_main_one(
        start, world, in_main_thread, monkeypatch):
    monkeypatch.setitem(sys.modules, 'uwsgi', sys)
    stubs.Scripted.results = [DOWN]
    app = start()
    stubs.Scripted.results = [report.Result.ok()]
    in_main_thread(False)
    assert until_not(app, 'SCRIPTED: DOWN\nAPPLICATION: NOT LOADED') == (
        503, 'OK\nAPPLICATION: NOT LOADED')
    for _ in range(10):
        get(app)
    assert world.loads == []
    in_main_thread(True)
    get(app)
    assert get(app) == (200, 'OK\nOK')


@pytest.fixture
def loading_threads(monkeypatch):
    """All threads that have been started to load, as a list that grows."""
    started, start = [], threading.Thread.start

    def count(self):
        if self.name == 'healthcheck-loader':
            started.append(self)
        start(self)
    monkeypatch.setattr(threading.Thread, 'start', count)
    yield started
    for each in started:
        each.join(30)


def test_one_thread_loads_however_many_ask(start, world, in_main_thread,
                                           loading_threads):
    in_main_thread(False)
    world.load = fail(RuntimeError())
    app = start()
    app._loader._due_at = 0.0
    loading, go_on = threading.Event(), threading.Event()

    def load():
        loading.set()
        assert go_on.wait(30)
    world.load = load
    get(app)
    assert loading.wait(30)
    for _ in range(50):
        assert get(app)[0] == 503
    go_on.set()
    only, = loading_threads
    only.join(30)
    assert get(app) == (200, 'OK\nOK')


def test_requests_start_no_thread_while_one_looks(world, clock,
                                                  loading_threads):
    """A look at the backends takes a while, too: see startup_wait."""
    one = make_loader(clock)
    go_on = threading.Event()
    one.attempt_aside(lambda: not go_on.wait(30))
    for _ in range(50):
        one.attempt_aside(lambda: True)
    go_on.set()
    only, = loading_threads
    only.join(30)
    assert world.loads == []
    one.attempt_aside(lambda: True)
    loading_threads[1].join(30)
    assert one.application is wsgi.below


def test_no_thread_can_be_had(start, world, in_main_thread, monkeypatch,
                              loading_threads, caplog):
    in_main_thread(False)
    world.load = fail(RuntimeError())
    app = start()
    world.load = lambda: None
    app._loader._due_at = 0.0
    get(app)  # the door has its own threads by now
    for each in loading_threads:
        each.join(30)

    def refuse(self):
        raise RuntimeError("can't start new thread")
    caplog.clear()
    app._loader.application = None
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, 'start', refuse)
        for _ in range(3):
            assert get(app)[0] == 503
    line, = [line for line in caplog.messages if 'thread' in line]
    assert 'service:application' in line and 'next request' in line
    # As soon as there is one, it loads.
    assert until_not(app, 'APPLICATION: NOT LOADED',
                     '/healthcheck/application') == (200, 'OK')


def test_noncritical_backends_do_not_hold_it_up(start, world):
    stubs.Scripted.results = [DOWN]
    app = start(options='noncritical = scripted\n')
    assert len(world.loads) == 1
    assert get(app, '/servers') == (200, 'below')


def test_where_nothing_is_critical_nothing_is_looked_at(conf, monkeypatch):
    monkeypatch.setattr(wrapper.scheduler, 'Scheduler', None)
    assert wrapper._look(conf(
        '[healthcheck]\nbackends = worker\nnoncritical = worker\n'), 1.0)


def test_application_is_a_name_of_ours(start, tmp_path):
    path = tmp_path / 'other.conf'
    path.write_text('[healthcheck]\nbackends = application\n')
    with pytest.raises(exceptions.ConfigError,
                       match="backends = 'application': a check of that"):
        start(HEALTHCHECK_CONFIG_FILES=str(path))


def test_variable_is_not_set():
    with pytest.raises(exceptions.ConfigError,
                       match='HEALTHCHECK_APP is not set: .*for example'):
        wrapper.from_environment({})


def test_module_without_the_variable():
    environ = {k: v for k, v in os.environ.items() if k != 'HEALTHCHECK_APP'}
    done = subprocess.run([sys.executable, '-c', 'import healthcheck.wsgi'],
                          env=environ, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        '  - HEALTHCHECK_APP is not set')


@pytest.mark.parametrize('variable', ['HEALTHCHECK_CONFIG_FILES',
                                      'HEALTHCHECK_CONFIG_DIRS'])
def test_configuration_that_is_not_there(variable, start):
    with pytest.raises(exceptions.ConfigError, match='/no/such/place'):
        start(**{variable: '/no/such/place'})


def test_places_and_urls_that_only_the_service_knows(start, world):
    """Nobody probes those, so nothing is wrong with them."""
    app = start(options='[oslo_concurrency]\nlock_path = $state_path/tmp\n'
                '[database]\nconnection = sqlite:///$state_path/a.db\n')
    assert get(app, '/healthcheck/scripted') == (200, 'OK')


def test_a_url_that_only_the_service_knows(start, world):
    with pytest.raises(exceptions.ConfigError,
                       match=r'transport_url refers to \$my_ip, which is not '
                       r'set in /.*service.conf'):
        start(options='backends = message_queue\n'
              '[DEFAULT]\ntransport_url = rabbit://u:p@$my_ip:5999/\n')


def test_several_files(start, tmp_path, world):
    for name, text in (('a', 'backends ='), ('b', 'backends = scripted')):
        (tmp_path / name).write_text(f'[healthcheck]\n{text}\n')
    app = start(HEALTHCHECK_CONFIG_FILES=f'{tmp_path}/a; {tmp_path}/b;')
    assert get(app, '/healthcheck/scripted') == (200, 'OK')


@pytest.mark.parametrize('has_threads', [True, False])
def test_eventlet_is_not_imported_for_the_service(has_threads, monkeypatch):
    chooser = types.ModuleType('oslo_service.backend')
    chooser.register_backend_default_hook = lambda hook: hooks.append(hook())
    chooser.BackendType = types.SimpleNamespace(THREADING='threading')
    hooks = []
    eventlet = types.ModuleType('eventlet')
    for name, module in (
            ('oslo_service.backend', chooser),
            ('oslo_service.backend._threading',
             chooser if has_threads else None)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, 'eventlet', eventlet)
    del sys.modules['eventlet']
    with wrapper._native_threads():
        assert ('eventlet' in sys.modules) == has_threads
        assert hooks == ['threading'] * has_threads
        if has_threads:
            with pytest.raises(ModuleNotFoundError):
                importlib.import_module('eventlet')
    assert 'eventlet' not in sys.modules


def test_eventlet_of_the_service_is_left_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, 'eventlet', sys)
    with wrapper._native_threads():
        assert sys.modules['eventlet'] is sys
    assert sys.modules['eventlet'] is sys
