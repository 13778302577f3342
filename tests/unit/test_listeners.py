# SPDX-License-Identifier: Apache-2.0

"""Who hears of a change, and that this harms nobody else."""

from __future__ import annotations

import json
import logging
import pathlib
import queue
import sys
import threading
from unittest import mock

from oslo_config import cfg
from oslo_log import formatters
import oslo_messaging
from oslo_messaging.notify import _impl_test as sent
import pytest
from stevedore import extension

from healthcheck.config import views
from healthcheck import exceptions
from healthcheck.listeners import audience as audience_module
from healthcheck.listeners import notification
from healthcheck.probing import policy as policy_module
from healthcheck.reports import changes
from healthcheck.reports import history
from healthcheck.reports import report
from tests.unit import documents
from tests.unit import world
from tests.unit import wsgi

EXAMPLES = (pathlib.Path(__file__).parents[2] / 'doc' / 'source'
            / 'examples')
Status = report.Status

PROBER = report.ProberProcess(7, 'node1', 'nova-api', 1.5e9)
CHANGE = changes.StateChange(
    'database', Status.PASS, Status.WARN, 'CONNECTION REFUSED', 'db1:3306',
    1.6e9, 42.0, True, PROBER)


def numbered(number):
    return changes.StateChange('database', Status.PASS, Status.WARN, '', '',
                               float(number), None, True, None)


class Recorder:
    """Keeps what it hears, and can be held up."""

    def __init__(self, view=None):
        self.told = queue.Queue()
        self.going = threading.Event()
        self.going.set()
        self.closed = threading.Event()

    def changed(self, change):
        self.told.put(change)
        assert self.going.wait(10)

    def close(self):
        self.closed.set()


class Raises:
    """With a secret in it."""

    raises: type[BaseException] = RuntimeError

    def __init__(self, view=None):
        self.told = queue.Queue()

    def changed(self, change):
        self.told.put(change)
        raise self.raises('rabbit://user:sesame@host/')


@pytest.fixture
def courier():
    made = []

    def make(listener, waiting=100):
        made.append(audience_module.Courier('one', lambda: listener, waiting))
        return made[-1]
    yield make
    for one in made:
        for thread in one.stop():
            thread.join(10)
            assert not thread.is_alive()


def test_is_told_in_order_and_closed(courier):
    recorder = Recorder()
    one = courier(recorder)
    for number in range(5):
        one.take(numbered(number))
    thread, = one.stop()
    thread.join(10)
    assert [recorder.told.get().time for _ in range(5)] == [0, 1, 2, 3, 4]
    assert recorder.closed.is_set()


def test_nothing_is_made_before_the_first_change():
    def make():
        raise AssertionError
    assert audience_module.Courier('one', make).stop() == []


def test_one_that_hangs_holds_up_nobody(courier, caplog):
    """The oldest of what waits goes; what is new is what counts."""
    hanging, other = Recorder(), Recorder()
    hanging.going.clear()
    couriers = [courier(hanging, 3), courier(other)]
    audience = audience_module.Audience(couriers)
    audience.changed(numbered(0))
    assert hanging.told.get(timeout=10).time == 0
    for number in range(1, 11):
        audience.changed(numbered(number))
        assert other.told.get(timeout=10).time == number - 1
    assert [line for line in caplog.messages if 'does not keep up' in line
            ] == ['Healthcheck listener one does not keep up: it misses the '
                  'oldest changes in its queue']
    hanging.going.set()
    assert [hanging.told.get(timeout=10).time for _ in range(3)] == [8, 9, 10]
    hanging.told.put(None)
    audience.changed(numbered(11))
    assert 'it missed 7 changes' in caplog.messages[-1]


def test_the_end_finds_room_behind_one_that_hangs():
    hanging = Recorder()
    hanging.going.clear()
    one = audience_module.Courier('one', lambda: hanging, 1)
    one.take(numbered(0))
    hanging.told.get(timeout=10)
    one.take(numbered(1))
    thread, = one.stop()
    assert one.stop() == [thread]
    hanging.going.set()
    thread.join(10)
    assert hanging.told.get(timeout=10).time == 1
    assert not thread.is_alive()


@pytest.mark.parametrize('raises', [RuntimeError, SystemExit])
def test_one_that_raises(raises, courier, caplog):
    listener = Raises()
    listener.raises = raises
    one = courier(listener)
    for number in range(3):
        one.take(numbered(number))
    assert [listener.told.get(timeout=10).time
            for _ in range(3)] == [0, 1, 2]
    thread, = one.stop()
    thread.join(10)
    assert caplog.messages == [
        f'Healthcheck listener one raised builtins.{raises.__name__}; that '
        f'is logged once']
    assert 'sesame' not in caplog.text


def test_one_that_cannot_be_made_is_tried_again(caplog):
    recorder, attempts = Recorder(), []

    def make():
        attempts.append(1)
        if len(attempts) < 3:
            raise OSError('no')
        return recorder
    one = audience_module.Courier('one', make)
    for number in range(3):
        one.take(numbered(number))
    assert recorder.told.get(timeout=10).time == 2
    thread, = one.stop()
    thread.join(10)
    assert len(caplog.messages) == 1


def test_no_more_threads(monkeypatch, courier, caplog):
    recorder = Recorder()
    one = courier(recorder)

    def fail(thread):
        raise RuntimeError("can't start new thread")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, 'start', fail)
        one.take(numbered(0))
    assert 'RuntimeError' in caplog.messages[0]
    one.take(numbered(1))
    assert [recorder.told.get(timeout=10).time for _ in range(2)] == [0, 1]


# What the scheduler tells.

def walked(behaviour, until, policy=policy_module.Policy()):
    told = []
    here = world.World([world.Backend('database', behaviour)], policy,
                       changed=told.append)
    here.run(until)
    return told


def test_each_change_is_told():
    told = walked(lambda now: (
        world.OK if now < 30 or now > 90 else world.REFUSED, 0.0), 200)
    assert [(one.before, one.after, one.reason) for one in told] == [
        (None, Status.PASS, 'OK'),
        (Status.PASS, Status.WARN, 'CONNECTION REFUSED'),
        (Status.WARN, Status.FAIL, 'CONNECTION REFUSED'),
        (Status.FAIL, Status.PASS, 'OK')]
    assert [one.lasted for one in told][0] is None
    assert [one.lasted for one in told[1:]] == [
        pytest.approx(later.time - earlier.time)
        for earlier, later in zip(told, told[1:])]


def test_a_reason_that_changes_is_no_change_of_status(caplog):
    caplog.set_level(logging.INFO, 'healthcheck.probing.changelog')
    reasons = iter(['A', 'A', 'B', 'A', 'B'])
    told = walked(lambda now: (
        report.Result.failed(next(reasons, 'B')), 0.0), 60,
        policy_module.Policy(fall=1))
    assert [one.after for one in told] == [Status.FAIL]
    assert caplog.messages == ['Healthcheck database: never run -> fail: A',
                               'Healthcheck database: fail -> fail: B']


def test_back_and_forth_between_slow_and_out_is_told_and_logged(caplog):
    """None of these is well, and each of them is news."""
    caplog.set_level(logging.INFO, 'healthcheck.probing.changelog')
    runs = iter([(world.OK, 2.0), (world.REFUSED, 0.0)] * 3)
    told = walked(lambda now: next(runs, (world.REFUSED, 0.0)), 45,
                  policy_module.Policy(fall=1))
    found = [one.after for one in told]
    assert found == [Status.WARN, Status.FAIL] * (len(found) // 2)
    assert len(found) >= 4
    assert len(caplog.messages) == len(found)


def test_the_log_has_the_fields(caplog):
    caplog.set_level(logging.INFO, 'healthcheck.probing.changelog')
    walked(lambda now: (world.OK if now < 5 else report.Result.failed(
        'REFUSED', 'db1: 100% off'), 0.0), 15)
    written = json.loads(formatters.JSONFormatter().format(
        caplog.records[-1]))
    assert written['message'].startswith(
        'Healthcheck database: warn -> fail: REFUSED (db1: 100% off)')
    extra = written['extra']
    assert extra.pop('time') > 1e9
    assert extra.items() >= {
        'check': 'database', 'before': 'warn', 'after': 'fail',
        'reason': 'REFUSED', 'detail': 'db1: 100% off', 'lasted': 2.0,
        'critical': True}.items()


@pytest.mark.parametrize('cause, said', [
    (history.TRAFFIC, 'set off by traffic'),
    (history.REFRESH, 'set off by refresh'), (history.PROBE, None)])
def test_what_set_it_off(cause, said):
    past = history.History(transitions=(
        history.Transition(1000.0, Status.FAIL, 'LOST', '', cause),))
    change = changes.StateChange.of(documents.a_check(
        status=Status.FAIL, history=past), Status.WARN, None)
    assert change.cause == change.fields()['cause'] == cause
    assert (said in str(change)) if said else 'set off' not in str(change)


def test_another_reason_for_the_same_status_was_set_off_by_nothing_else():
    past = history.History(transitions=(
        history.Transition(1000.0, Status.FAIL, 'LOST', '',
                           history.TRAFFIC),))
    change = changes.StateChange.of(documents.a_check(
        status=Status.FAIL, history=past), Status.FAIL, None)
    assert change.cause == history.PROBE


def test_a_clock_that_was_put_back():
    past = history.History(transitions=(
        history.Transition(1000.0, Status.PASS, 'OK'),
        history.Transition(900.0, Status.WARN, 'SLOW')))
    change = changes.StateChange.of(
        documents.a_check(status=Status.WARN, history=past), Status.PASS,
        None)
    assert change.lasted == 0.0


# Configuration.

@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install listeners, by entry points."""
    def install(**entry_points):
        info = tmp_path / 'site' / 'stubs-1.0.dist-info'
        info.mkdir(parents=True, exist_ok=True)
        (info / 'METADATA').write_text(
            'Metadata-Version: 2.1\nName: stubs\nVersion: 1.0\n')
        (info / 'entry_points.txt').write_text(
            f'[{audience_module.NAMESPACE}]\n' + ''.join(
                f'{name} = {target}\n'
                for name, target in entry_points.items()))
        monkeypatch.syspath_prepend(str(info.parent))
        monkeypatch.setattr(extension.ExtensionManager,
                            'ENTRY_POINT_CACHE', {})
    return install


def problems(section, conf=cfg.CONF):
    view = views.View(conf, section)
    audience_module.Listeners(view)
    return view.problems


def test_a_misspelt_one(door):
    with pytest.raises(exceptions.ConfigError) as caught:
        door(wsgi.below, {'backends': '', 'listeners': 'notifcation'})
    assert ("listeners = 'notifcation': there is no such listener; did you "
            'mean notification? (installed: ') in str(caught.value)


def test_those_that_cannot_be_loaded(install):
    install(raises=f'{__name__}:NotMade', absent='tests.unit.nowhere:Nothing')
    found = problems({'listeners': 'raises,absent'})
    assert found == [
        "listeners = 'absent': cannot be loaded: ModuleNotFoundError: No "
        "module named 'tests.unit.nowhere'",
        "listeners = 'raises': cannot be loaded: RuntimeError: no way: "
        "rabbit://***@host/"]


def test_one_that_ends_the_process_is_a_problem_too(install):
    install(exits=f'{__name__}:Exits')
    assert problems({'listeners': 'exits'}) == [
        "listeners = 'exits': cannot be loaded: SystemExit: no thanks"]


class Exits:
    def __init__(self, view):
        raise SystemExit('no thanks')


class NotMade:
    def __init__(self, view):
        raise RuntimeError('no way: rabbit://user:sesame@host/')


def test_the_process_that_probes_tells(install, plugin, door, tmp_path):
    """All the way, from a probe to what is installed under the name."""
    install(recorder=f'{__name__}:Kept')
    app = door(wsgi.below, {
        'backends': 'database,worker', 'listeners': 'recorder', 'fall': '1',
        'database_connection': f'sqlite:///{tmp_path}/none.db',
        'startup_wait': '10'})
    assert wsgi.ask(app).status == 503
    change = Kept.told.get(timeout=10)
    assert (change.check, change.before, change.after, change.reason) == (
        'database', None, Status.FAIL, 'NO SUCH DATABASE')
    assert change.prober.pid > 0
    app.stop(10)
    assert Kept.closed.wait(10)
    # The worker's own check is not told of.
    assert Kept.told.empty()


class Kept:
    told: queue.Queue[changes.StateChange] = queue.Queue()
    closed = threading.Event()

    def __init__(self, view):
        assert view.healthcheck.listeners == ['recorder']

    def changed(self, change):
        self.told.put(change)

    def close(self):
        self.closed.set()


@pytest.fixture
def pager(install, monkeypatch):
    install(pager='pager:Pager')
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.delitem(sys.modules, 'pager', raising=False)


@pytest.mark.usefixtures('pager')
def test_documented_example(tmp_path, monkeypatch):
    import pager
    assert problems({'listeners': 'pager'}) == ['pager_command is not set']
    view = views.View(cfg.CONF, {'listeners': 'pager',
                                 'pager_command': '/bin/page'})
    made = audience_module.Listeners(view)
    assert view.problems == []
    ran = queue.Queue()
    monkeypatch.setattr(pager.subprocess, 'run',
                        lambda command, **kwargs: ran.put(command))
    audience = made.make()
    audience.changed(CHANGE)
    audience.changed(changes.StateChange.of(
        documents.a_check(status=Status.FAIL), Status.WARN, PROBER))
    assert ran.get(timeout=10) == [
        '/bin/page', 'database: warn -> fail: CONNECTION REFUSED']
    for thread in audience.stop():
        thread.join(10)
    assert ran.empty()


# The one that is shipped.

SERVICE = '''
    [DEFAULT]
    transport_url = fake:/
    [oslo_messaging_notifications]
    driver = test
    '''


@pytest.mark.parametrize('after, priority', [
    (Status.PASS, 'INFO'), (Status.WARN, 'WARN'), (Status.FAIL, 'ERROR')])
def test_notification(after, priority, conf):
    sent.reset()
    one = notification.Notification(views.View(conf(SERVICE), {}))
    one.changed(changes.StateChange(
        'database', Status.WARN, after, 'REFUSED', 'db1:3306', 1.6e9, 42.0,
        True, PROBER))
    (_, message, told, _), = sent.NOTIFICATIONS
    assert told.upper() == message['priority'] == priority
    assert message['event_type'] == 'healthcheck.state.change'
    assert message['publisher_id'] == 'healthcheck.node1'
    assert json.loads(json.dumps(message['payload'])) == {
        'check': 'database', 'before': 'warn', 'after': after.word,
        'reason': 'REFUSED', 'detail': 'db1:3306',
        'time': '2020-09-13T12:26:40.000Z', 'lasted': 42.0, 'critical': True,
        'cause': 'probe',
        'host': 'node1', 'program': 'nova-api', 'pid': 7}


@pytest.mark.parametrize('text, expected', [
    ('', 'driver is not set'),
    ('[oslo_messaging_notifications]\ndriver = messagingv2\n',
     'there is no message queue'),
    ('[oslo_messaging_notifications]\ndriver = messagingv2\n'
     'transport_url = rabbit://user:sesame@host:port/\n',
     r'\[oslo_messaging_notifications\]transport_url: not a transport URL'),
    ('[DEFAULT]\ntransport_url = rabbit://user:ses%2Fame@host/\n'
     '[oslo_messaging_notifications]\ndriver = messagingv2\n',
     r'\[DEFAULT\]transport_url: oslo.messaging cannot use')])
def test_notification_that_would_not_be_sent(text, expected, conf):
    path = conf('')
    path = pathlib.Path(path.config_file[0])
    path.write_text(text)
    service = cfg.ConfigOpts()
    service(['--config-file', str(path)])
    with pytest.raises(exceptions.ConfigError, match=expected) as caught:
        notification.Notification(views.View(service, {}))
    assert 'ses' not in str(caught.value)
    assert 'ame@' not in str(caught.value)


def test_notification_needs_no_queue_to_be_logged(conf):
    one = notification.Notification(views.View(conf(
        '[oslo_messaging_notifications]\ndriver = log\n'), {}))
    one.changed(CHANGE)


@pytest.mark.parametrize('url, given', [
    ('rabbit://a,b/', ('0', '10')),
    ('kombu+memory:///', ('0', '10')),
    ('rabbit://a/?heartbeat_timeout_threshold=5', ('0', '5')),
    # Any driver refuses options that it does not have.
    ('kafka://a/', (None, None))])
def test_notification_that_gives_up_soon(url, given, conf, monkeypatch):
    one = notification.Notification(views.View(conf(
        SERVICE.replace('fake:/', url)), {}))
    transports = mock.Mock()
    monkeypatch.setattr(oslo_messaging, 'get_notification_transport',
                        transports)
    monkeypatch.setattr(oslo_messaging, 'Notifier', mock.Mock())
    one.changed(CHANGE)
    query = transports.call_args.kwargs['url'].query
    assert (query.get('kombu_reconnect_delay'),
            query.get('heartbeat_timeout_threshold')) == given


def test_notification_leaves_the_fake_exchanges_of_the_service(conf):
    """Its driver keeps them for the whole process."""
    service = conf(SERVICE.replace('test', 'messagingv2'))
    emptied = []
    transport = oslo_messaging.get_notification_transport(service)
    driver = type(transport._driver)
    original = driver.cleanup
    driver.cleanup = lambda self: emptied.append(self)
    try:
        notification.Notification(views.View(service, {})).changed(CHANGE)
    finally:
        driver.cleanup = original
    assert not emptied
