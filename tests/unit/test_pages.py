# SPDX-License-Identifier: Apache-2.0

"""Age is judged when the report is read; pages are made when it changes."""

import math

import pytest

from healthcheck.answers import board as board_module
from healthcheck.answers import render
from healthcheck.answers import switches
from healthcheck.probing import simulated
from healthcheck.reports import report
from tests.unit import settings

Status = report.Status
NAMES = ['database', 'message_queue']
TO_COME = board_module.Reports(None, report.Report(()))


def check(name, status=Status.PASS, at=0.0, **kwargs):
    return report.CheckReport(
        name=name, status=status, reason='OK' if not status else 'REFUSED',
        detail='', judged_at=at, ttl=30.0, time=1e9 + at, **kwargs)


@pytest.fixture
def clock():
    return simulated.Clock(0.0)


@pytest.fixture
def board(clock):
    nothing = switches.Switches([], settings.make(), [])
    return board_module.Board(NAMES, nothing, TO_COME, clock=clock,
                              wall_clock=lambda: 1e9 + clock.now)


def publish(board, **statuses):
    board.publish(report.Report(tuple(
        check(name, *found) for name, found in statuses.items())))


def text(view):
    return view.pages[render.TEXT].status[:3], (
        view.pages[render.TEXT].body[0].decode())


def test_starting_before_the_first_report(board):
    assert text(board.pages(()).ready) == ('503', 'STARTING')
    assert not board.reported.is_set()


def test_a_report_is_published_by_one_swap(board):
    publish(board, database=(Status.PASS,), message_queue=(Status.FAIL,))
    assert board.reported.is_set()
    assert text(board.pages(()).ready) == ('503', 'OK\nREFUSED')
    assert text(board.pages(()).checks['database']) == ('200', 'OK')
    assert board.pages(()) is board.pages(())


def test_a_stale_result_is_a_warning_and_all_stale_a_failure(board, clock):
    publish(board, database=(Status.PASS, 0.0),
            message_queue=(Status.PASS, 10.0))
    clock.now = 29.9
    assert text(board.pages(()).ready) == ('200', 'OK\nOK')
    clock.now = 30.0
    assert text(board.pages(()).ready) == ('200', 'OK (STALE)\nOK')
    assert text(board.pages(()).checks['message_queue']) == ('200', 'OK')
    clock.now = 40.0
    assert text(board.pages(()).ready) == ('503', 'STALE\nSTALE')
    assert board.pages(()).expires_at == math.inf


def test_a_dead_prober_cannot_turn_a_failure_green(board, clock):
    """Not even between the first and the last check to go stale."""
    publish(board, database=(Status.FAIL, 0.0),
            message_queue=(Status.PASS, 10.0))
    for clock.now in (29.0, 31.0, 41.0, 1e6):
        assert text(board.pages(()).ready)[0] == '503'


def test_a_stale_page_is_made_once(board, clock):
    publish(board, database=(Status.PASS,), message_queue=(Status.PASS,))
    clock.now = 31.0
    assert board.pages(()) is board.pages(())
    publish(board, database=(Status.PASS, 31.0),
            message_queue=(Status.PASS, 31.0))
    assert text(board.pages(()).ready) == ('200', 'OK\nOK')


def test_a_slow_reader_cannot_put_an_old_report_back(board, clock):
    publish(board, database=(Status.PASS,), message_queue=(Status.PASS,))
    clock.now = 31.0
    old = board.pages(())
    publish(board, database=(Status.FAIL, 31.0),
            message_queue=(Status.PASS, 31.0))
    board._remade[()] = old  # its write comes late
    assert text(board.pages(()).ready)[0] == '503'
    clock.now = 62.0
    assert text(board.pages(()).ready)[0] == '503'


def test_everything_stale_but_what_is_excluded(board, clock):
    publish(board, database=(Status.PASS, 0.0),
            message_queue=(Status.PASS, 10.0))
    clock.now = 30.0
    view = board.pages(()).excluding('exclude=message_queue')
    assert text(view) == ('503', 'STALE')


def test_excluding_is_kept_and_bounded(board):
    publish(board, database=(Status.FAIL,), message_queue=(Status.PASS,))
    here = board.pages(())
    view = here.excluding('exclude=database')
    assert text(view) == ('200', 'OK')
    assert here.excluding('exclude=database&exclude=database') is view
    assert here.excluding('other=1') is not view
    assert text(here.excluding('&'.join(
        f'exclude={n}' for n in range(1000)))) == ('503', 'REFUSED\nOK')
    assert len(here._excluding) <= 64


@pytest.fixture
def drained(tmp_path, clock):
    path = tmp_path / 'drain'
    made = switches.Switches(
        ['disable_by_file'],
        settings.make(disable_by_file_path=str(path)), [])
    board = board_module.Board(['disable_by_file', 'database'], made, TO_COME,
                               clock=clock, wall_clock=lambda: 1e9)
    publish(board, database=(Status.PASS,))
    return path, lambda: text(board.pages(made.state({})).ready)


def test_a_drain_acts_at_once(drained):
    path, ask = drained
    assert ask() == ('200', 'OK\nOK')
    path.touch()
    assert ask() == ('503', 'DISABLED BY FILE\nOK')
    path.unlink()
    assert ask() == ('200', 'OK\nOK')


def test_a_drain_is_logged_when_it_changes(drained, caplog):
    path, ask = drained
    for _ in range(3):
        ask()
    path.touch()
    for _ in range(3):
        ask()
    assert [r.getMessage() for r in caplog.records] == [
        'Healthcheck disable_by_file: OK -> DISABLED BY FILE']


def test_a_drain_outlives_a_stale_report(drained, clock):
    path, ask = drained
    path.touch()
    clock.now = 100.0
    assert ask() == ('503', 'DISABLED BY FILE\nSTALE')


@pytest.mark.parametrize('port, reason', [
    ('8774', switches.DISABLED), ('8775', 'OK'), ('x', 'OK'), ('', 'OK')])
def test_a_drain_of_a_port(tmp_path, port, reason):
    (tmp_path / 'drain').touch()
    made = switches.Switches(
        ['disable_by_files_ports'], settings.make(disable_by_file_paths=[
            f'8774:{tmp_path}/drain', ' 8775:/nowhere']), [])
    assert made.state({'SERVER_PORT': port}) == (reason,)


def test_a_drain_is_logged_once_for_each_port(tmp_path, caplog):
    """A process serves two ports, and one of them is drained."""
    drain = tmp_path / 'drain'
    made = switches.Switches(
        ['disable_by_files_ports'],
        settings.make(disable_by_file_paths=[f'8774:{drain}']), [])

    def poll():
        for port in ('8774', '80', '8775') * 3:
            made.state({'SERVER_PORT': port})
    drain.touch()
    poll()
    drain.unlink()
    poll()
    assert [r.getMessage() for r in caplog.records] == [
        'Healthcheck disable_by_files_ports, port 8774: '
        'OK -> DISABLED BY FILE',
        'Healthcheck disable_by_files_ports, port 8774: '
        'DISABLED BY FILE -> OK']


def test_what_is_kept_of_ports_is_bounded(tmp_path, caplog):
    """Some servers take the port from a header, so a client makes it up."""
    path = tmp_path / 'drain'
    made = switches.Switches(
        ['disable_by_file', 'disable_by_files_ports'], settings.make(
            disable_by_file_path=str(path),
            disable_by_file_paths=['8774:/nowhere']), [])
    path.touch()
    for port in range(1000, 3000):
        made.state({'SERVER_PORT': str(port)})
    assert [r.getMessage() for r in caplog.records] == [
        'Healthcheck disable_by_file: OK -> DISABLED BY FILE']


def test_switches_without_a_path_have_no_effect_and_say_so(caplog):
    made = switches.Switches(list(switches.KINDS), settings.make(), [])
    for _ in range(3):
        assert made.state({}) == ('OK',) * 3
    assert len(caplog.records) == 3


def test_a_noncritical_check_can_go_stale_too(board, clock):
    board.publish(report.Report((
        check('database', at=10.0), check('message_queue', critical=False))))
    clock.now = 30.0
    assert text(board.pages(()).ready) == ('200', 'OK\nOK (STALE)')
    clock.now = 40.0
    assert text(board.pages(()).ready)[0] == '503'


class Test_held_by_others:
    """Other nodes fail a check, too, so that does not take this one out."""

    def publish(self, board, until, *, holds=('database',), **changed):
        failing = check('database', Status.FAIL, **{
            'label': 'DATABASE', 'shared': True, **changed})
        board.publish(report.Report(
            (failing, check('message_queue')),
            holds=tuple(report.HeldCheck(name, ', ON 2 OF 2 NODES', until)
                        for name in holds)))
        return board.pages(())

    def test_it_answers_200_with_a_warning(self, board):
        shown = self.publish(board, 20.0)
        held = 'OK (DATABASE: REFUSED, ON 2 OF 2 NODES)'
        assert text(shown.ready) == ('200', f'{held}\nOK')
        assert text(shown.excluding('exclude=message_queue')) == ('200', held)
        assert text(shown.last) == text(shown.ready)
        # Who asks for one check wants to know of that check.
        assert text(shown.checks['database']) == ('503', 'DATABASE: REFUSED')

    def test_it_ends_by_itself(self, board, clock):
        assert self.publish(board, 20.0).expires_at == 20.0
        clock.now = 19.9
        assert text(board.pages(()).ready)[0] == '200'
        clock.now = 20.0
        assert text(board.pages(()).ready) == ('503', 'DATABASE: REFUSED\nOK')

    @pytest.mark.parametrize('changed', [
        {'holds': ()}, {'holds': ('message_queue',)}, {'shared': False},
        # The prober of this node is dead.
        {'at': -30.0}])
    def test_what_is_not_held(self, board, changed):
        assert text(self.publish(board, 20.0, **changed).ready)[0] == '503'

    def test_what_is_this_nodes_own_takes_it_out(self, board):
        board._names += 'worker',
        board.publish_own(report.Report((check('worker', Status.FAIL),)))
        assert text(self.publish(board, 20.0).ready) == (
            '503', 'DATABASE: REFUSED\nOK\nREFUSED')
