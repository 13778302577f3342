# SPDX-License-Identifier: Apache-2.0

"""A plugin costs its own check only, whatever it returns and raises."""

import dataclasses
import itertools
import json
import logging
import math
import sys
import types

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import oslo_middleware
import pytest

from healthcheck.admin.views import detail
from healthcheck.admin.views import timeline
from healthcheck.answers import board as board_module
from healthcheck.answers import switches
from healthcheck import exceptions
from healthcheck.host import codec
from healthcheck.probing import guard
from healthcheck.probing import intake
from healthcheck.probing import policy
from healthcheck.probing import state
from healthcheck.probing import target
from healthcheck.reports import lines
from healthcheck.reports import report
from tests.unit import settings as settings_module
from tests.unit import stubs
from tests.unit import world
from tests.unit import wsgi

Component = report.Component
Result = report.Result
Status = report.Status


class Raising:
    """Raises in whatever is asked of it."""

    def _raise(self, *args):
        raise SystemExit(3)

    __str__ = __repr__ = __bool__ = __len__ = __iter__ = __eq__ = _raise
    __hash__ = __float__ = __int__ = __format__ = __index__ = _raise

    @property
    def __class__(self):
        raise KeyboardInterrupt


class Pretending:
    """Says that it is what it is not."""

    def __init__(self, kind):
        self._kind = kind

    @property
    def __class__(self):
        return self._kind


class Lying(str):
    def __str__(self):
        raise SystemExit(3)

    __len__ = __format__ = isprintable = encode = __str__
    __getitem__ = __hash__ = __eq__ = lambda self, *args: 1 / 0


class Number(float):
    def __float__(self):
        raise SystemExit(3)

    __lt__ = __gt__ = __sub__ = lambda self, *args: 1 / 0


class Whole(int):
    __int__ = __float__ = __lt__ = lambda self, *args: 1 / 0


class Half(Result):
    """Raises when a field of it is read."""

    @property
    def detail(self):
        raise GeneratorExit


class Turning(Result):
    """Has another status each time."""

    found = itertools.cycle([Status.PASS, 'fail'])

    @property
    def status(self):
        return next(self.found)


class Unsayable(Exception):
    __module__ = Raising()

    def __str__(self):
        raise SystemExit(3)


def made_of(kind):
    """A sub-class of Result whose fields are set, all but its properties."""
    made = object.__new__(kind)
    for field in dataclasses.fields(Result):
        if field.name not in vars(kind):
            object.__setattr__(made, field.name, getattr(world.OK,
                                                         field.name))
    return made


def half():
    return made_of(Half)


def endless():
    while True:
        yield Component('cell', Status.PASS)


# Hypothesis and pytest look at what they are given, so they get the names.
VALUES = {
    'None': lambda: None, 'word': lambda: 'pass', 'bytes': lambda: b'OK',
    'zero': lambda: 0, 'true': lambda: True, 'float': lambda: 1.5,
    'nan': lambda: math.nan, 'less': lambda: -math.inf,
    'more': lambda: math.inf, 'negative': lambda: -3.0,
    'huge': lambda: 10 ** 400, 'large': lambda: 1e308,
    'lying': lambda: Lying('x'), 'number': lambda: Number(2.5),
    'whole': lambda: Whole(7), 'raising': Raising, 'list': list,
    'dict': dict, 'str': lambda: Pretending(str),
    'float too': lambda: Pretending(float),
    'Status': lambda: Pretending(Status),
    'Component': lambda: Pretending(Component),
    'Result': lambda: Pretending(Result), 'type': lambda: object,
    'exception': lambda: ValueError('sesame'),
    'unsayable': lambda: Unsayable('sesame'),
    'surrogate': lambda: '\ud800', 'lines': lambda: '\n2026 forged line',
    'controls': lambda: 'a\u2028b\x1b[31m\u202ec',
    'long': lambda: 'x' * 100_000, 'pass': lambda: Status.PASS,
    'fail': lambda: Status.FAIL, 'empty': str,
    'endless': endless, 'half': half, 'turning': lambda: made_of(Turning),
    'many': lambda: (Component('cell', Status.FAIL),) * 6000}


def value_of(spec):
    """From what Hypothesis has drawn to what a plugin returns."""
    if isinstance(spec, str):
        return VALUES[spec]()
    kind, *fields = spec
    return kind(*map(value_of, fields))


def several(*values):
    return values


anything = st.sampled_from(list(VALUES))
component = st.tuples(st.just(Component), *[anything] * 7)
components = st.one_of(anything, st.tuples(
    st.just(several), st.one_of(anything, component), component))
returned = st.one_of(anything, st.tuples(
    st.just(Result), st.sampled_from(['pass', 'fail', 'word', 'zero']),
    anything, anything, components, anything))
raised = st.sampled_from([
    RuntimeError('sesame'), SystemExit(1), KeyboardInterrupt(),
    GeneratorExit(), RecursionError()])


class Hostile(world.Backend):
    """Behaves as it is told to, in all of its methods."""

    def __init__(self, name, result, took, exc):
        super().__init__(name, lambda now: (result, took))
        self._exc = exc

    def _raise(self, *args):
        raise self._exc

    close = overdue = _raise


def taken_in(result):
    """What is made of what a plugin returns."""
    return guard.visit(guard.Guarded('one', types.SimpleNamespace(
        label='ONE', per_worker=False, probe=lambda: result))).result


def shown(name, found):
    """All that is made of a report, for everybody."""
    data = codec.dump(found)
    assert codec.load(report.Report, data) == found
    board = board_module.Board(
        [one.name for one in found.checks],
        switches.Switches([], settings_module.make(), []),
        board_module.Reports(None, report.Report(())), clock=lambda: 100.0)
    board.publish(found)
    for one in found.checks:
        assert '\n' not in one.reason + one.detail
        assert len(one.reason) <= intake.MAX_REASON
        assert len(one.detail) <= intake.MAX_DETAIL
        assert len(one.components) <= intake.MAX_COMPONENTS + 1
    moment = timeline.Moment(100.0, 1e9 + 100)
    json.dumps(detail.document(
        detail.Known(found, {}, '', {}), policy.Policy(), {}, moment),
        allow_nan=False).encode()
    return board.pages(()).checks[name]


@settings(max_examples=150, deadline=None)
@given(spec=returned, took=st.one_of(st.none(), st.floats(0, 40)),
       exc=raised)
def test_the_others_keep_their_interval_and_their_verdict(spec, took, exc):
    hostile = Hostile('hostile', value_of(spec), took, exc)
    well = world.Backend('well', lambda now: (world.OK, 0.01))
    here = world.World([hostile, well], policy.Policy(jitter=0.0))
    here.scheduler.restore(report.Report((report.CheckReport(
        'hostile', Status.FAIL, 'DOWN', '', 0.0, 30.0, 1e9),)))
    here.scheduler.run(go_on=lambda: False)  # from here on it publishes
    here.at(31.0, here.scheduler.refresh)
    here.run(100.0)
    # Every ten seconds, and when somebody has asked.
    assert well.started == [0.0, 10.0, 20.0, 30.0, 31.0, 41.0, 51.0, 61.0,
                            71.0, 81.0, 91.0]
    _, last = here.reports[-1]
    assert {c.name: c.status for c in last.checks}['well'] is Status.PASS
    assert [c.judged_at for c in last.checks if c.name == 'well'] == [91.01]
    # That it is known at all: it does not keep the node STARTING.
    assert 'hostile' in [c.name for c in last.checks]
    view = shown('well', last)
    assert view.pages['text/plain'].body == (b'OK',)


@settings(max_examples=300, deadline=None)
@given(returned)
def test_what_is_taken_in_is_exact(spec):
    taken = taken_in(value_of(spec))
    assert type(taken) is Result
    for one in (taken, *taken.components):
        assert type(one.reason) is type(one.detail) is str
        assert (one.reason + one.detail).isprintable()
        assert type(one.latency) in (float, type(None))
        assert one.latency is None or 0 <= one.latency < math.inf
    assert taken.status is Status.PASS or taken.reason not in ('', 'OK')


@pytest.mark.parametrize('result, fault', [
    (Result('pass'), 'status is str, not a Status'),
    (Result(None), 'status is NoneType, not a Status'),
    (Result(Status.PASS, detail=ValueError('sesame')),
     'detail is ValueError, not a text'),
    (Result(Status.PASS, latency='1'),
     'latency is str, not a number of seconds'),
    (Result(Status.PASS, latency=math.nan),
     'latency is nan, not a number of seconds'),
    (Result(Status.FAIL, None), 'reason is NoneType, not a text'),
    (Result(Status.FAIL, components=None),
     'components is NoneType, not a tuple')])
def test_a_wrong_field_is_named(result, fault):
    assert taken_in(result) == Result.failed(
        guard.PROBE_ERROR, f'one returned a Result whose {fault}')


@pytest.mark.parametrize('component, fault', [
    ('cell1', 'returned str among components, not a Component'),
    (Component('cell1', 'up'),
     'returned a Component whose status is str, not a Status'),
    (Component('cell1', None, since=math.inf),
     'returned a Component whose since is inf, not a number of seconds')])
def test_so_is_one_of_a_component(component, fault):
    found = Result(Status.PASS, components=(component,))
    assert taken_in(found).detail == f'one {fault}'


def test_what_is_right_is_left_as_it_is():
    found = Result(Status.WARN, 'SOME CELLS DOWN', '1 of 2: zürich', (
        Component('zürich', Status.FAIL, 'DATABASE: NO ANSWER', 'db:3306',
                  0.5, 1e9, False), Component('cell2', None, disabled=True)),
        0.25)
    assert taken_in(found) == found


def test_numbers_are_bounded():
    taken = taken_in(Result(
        Status.PASS, latency=-1e-3, components=[
            Component('one', None, since=1e300, latency=Whole(2))]))
    assert taken.latency == 0.0
    assert taken.components[0].latency == 2.0
    detail.render.timestamp(taken.components[0].since)


def test_components_that_are_left_out_are_counted():
    taken = taken_in(Result(
        Status.PASS, components=(Component('x', None),) * 6000))
    assert len(taken.components) == 5001
    assert taken.components[-1] == Component(
        '1000 more', None, intake.NOT_SHOWN)


@pytest.mark.parametrize('status', [Status.WARN, Status.FAIL])
@pytest.mark.parametrize('reason', ['', 'OK'])
def test_a_fault_never_says_ok(status, reason):
    assert taken_in(Result(status, reason)).reason == intake.NO_REASON


@pytest.mark.parametrize('why', [
    lambda: None, lambda: (), lambda: ('SLOW',), lambda: ('SLOW', None),
    lambda: (1, 2), Raising, lambda: 'OK', lambda: (Lying('x'), Raising())])
def test_a_reason_to_be_late_is_taken_in_too(why):
    one = world.Backend('one', None)
    one.overdue = why
    assert guard.why_overdue(one) == (state.NO_ANSWER, '')
    one.overdue = lambda: ('LOCKED', 'by\n7')
    assert guard.why_overdue(one) == ('LOCKED', 'by\\n7')


@pytest.mark.parametrize('text, line', [
    ('two\nlines\r', 'two\\nlines\\r'),
    ('\x1b[2K\x9b\x00', '\\x1b[2K\\x9b\\x00'),
    ('a\u2028b\u2029c', 'a\\u2028b\\u2029c'),
    ('\u202egnp.exe\u2066', '\\u202egnp.exe\\u2066'),
    ('\udcff', '\\udcff'), ('à\xa0la — 東京 ✓', 'à la — 東京 ✓'),
    ('x' * 11, 'x' * 9 + '…'), ('x' * 10, 'x' * 10)])
def test_a_text_is_one_line(text, line):
    assert lines.one(text, max(10, len(line))) == line


@pytest.mark.parametrize('exc', [
    SystemExit(3), KeyboardInterrupt(), RuntimeError('sesame')])
def test_what_methods_raise_is_logged_once(exc, caplog):
    def fail():
        raise exc
    one = guard.Guarded('hostile', types.SimpleNamespace(
        label='HOSTILE', per_worker=False, probe=fail, overdue=fail,
        close=fail))
    for _ in range(3):
        one.close()
    assert [r.getMessage() for r in caplog.records] == [
        f'Healthcheck hostile: close raised builtins.{type(exc).__name__}; '
        f'that is logged once']
    assert guard.why_overdue(one) == (state.NO_ANSWER, '')
    assert guard.visit(one) == target.Findings(Result.failed(
        guard.PROBE_ERROR, f'hostile raised builtins.{type(exc).__name__}'))


@pytest.mark.parametrize('found', [
    lambda: None, lambda: Result.ok(), Raising,
    lambda: Pretending(target.Findings), lambda: target.Findings(None)])
def test_so_is_what_a_target_finds(found):
    one = world.Backend('one', None)
    one.probe = lambda questions: found()
    assert guard.visit(one).result.reason == guard.PROBE_ERROR


def test_answers_are_taken_in_too():
    one = world.Backend('one', None)
    question = target.Question(lambda connection: target.Answer(world.OK))
    value = object()
    one.probe = lambda questions: target.Findings(world.OK, {
        question: target.Answer(Result(Status.FAIL, 'OK', 'a\nb'), value)})
    assert guard.visit(one, [question]).answers == {question: target.Answer(
        Result(Status.FAIL, intake.NO_REASON, 'a\\nb'), value)}


# From here on, through the door.

ROUND = {'interval': '0.2', 'retry_interval': '0.05', 'timeout': '1',
         'jitter': '0', 'ttl': '3', 'fall': '1'}


@pytest.fixture
def here(plugin, door):
    """A door with one plugin that is well, and one that does as it is told."""
    plugin(scripted='tests.unit.stubs:Scripted',
           hostile='tests.unit.stubs:Hostile')
    stubs.Scripted.results = []

    def make(act, **options):
        stubs.Hostile.act = staticmethod(act)
        return door(wsgi.below, {
            'backends': 'scripted,hostile', 'startup_wait': '20',
            'detail_source_ranges': '127.0.0.0/8',
            **ROUND, **options})
    return make


@pytest.mark.parametrize('result', [
    Result('pass'), Result(None), Result(Status.PASS, latency='1'),
    Result(Status.PASS, detail=ValueError('sesame')),
    Result(Status.FAIL, 'A\ud800B'), Result(Status.PASS, latency=math.nan),
    Result(Status.PASS, components=('cell1',)),
    Result(Status.FAIL, 'DOWN', components=(
        Component('x', None, since=1e300),)),
    Result(Status.FAIL, 'DOWN', components=(Component('x', 'up'),))])
def test_a_result_costs_its_own_check_only(here, result):
    made = here(lambda: result)
    assert wsgi.ask(made, '/healthcheck/scripted').text == 'OK'
    bad = wsgi.ask(made, '/healthcheck/hostile')
    assert bad.status == 503
    for accept in ('text/plain', 'text/html', 'application/json',
                   'application/health+json'):
        assert wsgi.ask(made, accept=accept).status == 503
        answer = wsgi.ask(made, '/healthcheck/detail', accept=accept)
        assert answer.status == (503 if 'health' in accept else 200)
        assert 'sesame' not in answer.text
    assert 'STARTING' not in bad.text


def test_what_a_database_says_forges_no_line(here, caplog):
    caplog.set_level(logging.INFO)
    forged = 'x\n2026-11-25 ERROR nova: all lost\u2028y\x1b[2K\u202ez\x85'
    made = here(lambda: Result(Status.FAIL, 'DOWN' + forged, forged, (
        Component(forged, Status.FAIL, forged, forged),)))
    answers = [wsgi.ask(made, path, accept='text/plain').text for path in
               ('/healthcheck', '/healthcheck/hostile', '/healthcheck/detail')]
    said = [r.getMessage() for r in caplog.records]
    assert any('all lost' in line for line in said)
    for text in said:
        assert text.isprintable()
    for answer in answers:
        assert 'all lost' in answer
        for line in answer.split('\n'):
            assert line.isprintable()
            assert not line.startswith('2026')


def test_a_plugin_that_ends_the_process_is_an_error_at_load(plugin, door):
    plugin(exits='tests.unit.stubs:Exits')
    with pytest.raises(exceptions.ConfigError) as caught:
        door(wsgi.below, {'backends': 'exits'})
    assert "backends = 'exits': cannot be loaded: SystemExit: no thanks" in (
        str(caught.value))


@pytest.mark.parametrize('exc', ['SystemExit', 'AssertionError'])
def test_so_is_one_whose_module_does(plugin, door, tmp_path, exc):
    plugin(bad='bad_module:Plugin')
    (tmp_path / 'site' / 'bad_module.py').write_text(f'raise {exc}("no")')
    with pytest.raises(exceptions.ConfigError) as caught:
        door(wsgi.below, {'backends': 'bad'})
    assert f"'bad': cannot be loaded: {exc}" in str(caught.value)


def test_so_is_one_that_raises_when_it_is_asked_its_label(plugin, door):
    plugin(nameless='tests.unit.stubs:Nameless')
    with pytest.raises(exceptions.ConfigError) as caught:
        door(wsgi.below, {'backends': 'nameless'})
    assert "'nameless': cannot be loaded: RuntimeError" in str(caught.value)


def test_a_check_has_the_name_it_is_configured_by(plugin, door):
    plugin(misnamed='tests.unit.stubs:Misnamed')
    made = door(wsgi.below, {'backends': 'misnamed'})
    assert wsgi.ask(made).body == b'OK'
    assert wsgi.ask(made, '/healthcheck/misnamed').body == b'OK'


@pytest.mark.parametrize('name, class_', [
    ('exits', 'Exits'), ('nameless', 'Nameless')])
def test_inside_stock_it_is_out_and_raises_nothing(plugin, conf, caplog,
                                                   name, class_):
    plugin(**{name: f'tests.unit.stubs:{class_}'})
    made = oslo_middleware.Healthcheck(None, conf(
        f'[healthcheck]\nbackends = {name}'))
    answer = wsgi.ask(made)
    assert answer.status == 503
    assert answer.text.endswith(': MISCONFIGURED')
    assert 'cannot be loaded' in caplog.text


@pytest.mark.parametrize('ask', [
    lambda environ: 1 / 0, lambda environ: None, lambda environ: sys.exit(1),
    lambda environ: Raising()])
def test_a_switch_that_raises_is_out(door, caplog, ask):
    made = door(wsgi.below, {}, switches={'mine': ask})
    for _ in range(3):
        answer = wsgi.ask(made)
        assert (answer.status, answer.text) == (503, 'MINE: PROBE ERROR')
    assert len([r for r in caplog.records
                if 'logged once' in r.getMessage()]) == 1


@pytest.mark.parametrize('reason', ['surrogate', 'lines', 'lying', 'empty'])
def test_what_a_switch_says_is_taken_in(door, reason):
    made = door(wsgi.below, {}, switches={
        'mine': lambda environ: VALUES[reason]()})
    answer = wsgi.ask(made)
    assert answer.status == 503
    assert answer.text.isprintable()


def test_others_results_are_taken_in(plugin, door):
    plugin(foreign='tests.unit.stubs:Foreign')
    kept = stubs.Foreign.answer
    section = {'backends': 'foreign', 'fall': '1', 'sharing': 'process'}
    try:
        for answer in (types.SimpleNamespace(available=False, reason=Lying(
                'DOWN'), details=Raising()), half(), Raising()):
            stubs.Foreign.answer = answer
            made = door(wsgi.below, section)
            assert wsgi.ask(made).text == 'PROBE ERROR'
        stubs.Foreign.answer = types.SimpleNamespace(
            available=False, reason='a\nb' * 10 ** 6, details='\ud800' * 10)
        made = door(wsgi.below, section)
        assert wsgi.ask(made).text == 'FAILED'
    finally:
        stubs.Foreign.answer = kept
