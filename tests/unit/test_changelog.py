# SPDX-License-Identifier: Apache-2.0

"""Each change is said once, and each reason for it once."""

import logging

import pytest

from healthcheck.probing import changelog
from healthcheck.reports import report
from tests.unit import documents

Status = report.Status
PASS, WARN, FAIL = Status.PASS, Status.WARN, Status.FAIL


class Said:
    """Says what becomes of one thing."""

    def __init__(self):
        self.said = changelog.Said()
        self.before = None

    def __call__(self, now, reason='OK'):
        before, self.before = self.before, now
        return self.said.is_news(before, now, reason)


def test_a_pass_is_said_once():
    said = Said()
    assert said(PASS) and not said(PASS)
    assert not said.said.any


def test_a_reason_is_said_once_until_it_passes():
    said = Said()
    found = [said(FAIL, reason) for reason in 'ABABAB']
    assert found == [True, True, False, False, False, False]
    assert said.said.any
    assert said(PASS) and not said.said.any
    assert said(FAIL, 'A')


def test_a_change_of_status_is_always_said():
    said = Said()
    assert all(said(status, 'A') for status in [WARN, FAIL] * 3)


def test_the_same_reason_for_another_status_is_news():
    said = Said()
    assert said(WARN, 'A') and said(FAIL, 'A')
    assert not said(FAIL, 'A')


@pytest.fixture
def changed():
    return []


@pytest.fixture
def log(changed):
    return changelog.Changelog(None, changed.append)


@pytest.fixture
def lines(caplog):
    """Those of the log so far; they are read once."""
    caplog.set_level(logging.INFO, 'healthcheck.probing.changelog')

    def read():
        found = [(r.levelname, r.getMessage()) for r in caplog.records]
        caplog.clear()
        return found
    return read


def found(status, reason='OK', name='database'):
    return documents.a_check(name, status, reason=reason)


def test_who_listens_learns_of_changes_of_status_only(log, changed, lines):
    for status, reason in [(PASS, 'OK'), (PASS, 'OK'), (WARN, 'A'),
                           (FAIL, 'A'), (FAIL, 'B'), (FAIL, 'A'),
                           (PASS, 'OK')]:
        log.judged(found(status, reason))
    assert [(one.before, one.after, one.reason) for one in changed] == [
        (None, PASS, 'OK'), (PASS, WARN, 'A'), (WARN, FAIL, 'A'),
        (FAIL, PASS, 'OK')]
    assert lines() == [
        ('INFO', 'Healthcheck database: never run -> pass: OK'),
        ('WARNING', 'Healthcheck database: pass -> warn: A'),
        ('WARNING', 'Healthcheck database: warn -> fail: A'),
        ('WARNING', 'Healthcheck database: fail -> fail: B'),
        ('INFO', 'Healthcheck database: fail -> pass: OK')]


def test_checks_do_not_speak_for_each_other(log, changed, lines):
    log.judged(found(FAIL, 'A'))
    log.judged(found(FAIL, 'A', 'message_queue'))
    assert [one.check for one in changed] == ['database', 'message_queue']
    assert len(lines()) == 2


def test_what_another_process_has_said_is_not_said_again(log, changed, lines):
    log.restore('database', found(FAIL, 'A'))
    log.judged(found(FAIL, 'A'))
    assert (changed, lines()) == ([], [])
    log.judged(found(FAIL, 'B'))
    assert changed == []
    assert [line for _, line in lines()] == [
        'Healthcheck database: fail -> fail: B']


def test_what_is_out_of_date_is_said_again(log, changed, lines):
    log.judged(found(FAIL, 'A'))
    lines()
    log.restore('database', None)
    log.judged(found(FAIL, 'A'))
    assert changed[-1].before is None
    assert [line for _, line in lines()] == [
        'Healthcheck database: never run -> fail: A']


def test_this_process_forgets_what_it_has_said_itself(log, changed, lines):
    """While it followed, the other one may have said that it passed."""
    log.judged(found(FAIL, 'A'))
    lines()
    log.restore('database', found(PASS))
    log.judged(found(FAIL, 'A'))
    assert changed[-1].before is PASS
    assert [line for _, line in lines()] == [
        'Healthcheck database: pass -> fail: A']
