# SPDX-License-Identifier: Apache-2.0

"""What nodes tell each other, the store, and the options of a fleet."""

from __future__ import annotations

import dataclasses
import json
import math
import threading
import time

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from oslo_config import cfg
import pytest

from healthcheck.config import views
from healthcheck import exceptions
from healthcheck.fleet import joining
from healthcheck.fleet import member as member_module
from healthcheck.fleet import members
from healthcheck.fleet import pace
from healthcheck.fleet import records
from healthcheck.fleet import thread as thread_module
from healthcheck.fleet import tooz_store
from healthcheck.probing import policy as policy_module
from healthcheck.reports import fleet
from healthcheck.reports import history
from healthcheck.reports import report
from tests.unit import documents
from tests.unit import fleets
from tests.unit import wsgi

Status = report.Status

LINE = st.text(st.characters(exclude_categories=['C', 'Z']), max_size=20)
times = st.floats(0, 4e9)
checks = st.builds(
    fleet.NodeCheck, LINE, st.none() | st.sampled_from(Status), LINE, LINE,
    st.booleans(), st.booleans(), st.none() | times,
    st.lists(LINE, max_size=3).map(tuple))
node_records = st.builds(
    fleet.NodeRecord, LINE, LINE, st.integers(0, 2 ** 53),
    st.floats(0.1, 60), st.sampled_from(['in', 'out', 'held', 'drained',
                                         'warns']),
    LINE, st.none() | times, st.lists(checks, max_size=3).map(tuple),
    st.lists(st.builds(fleet.Scan, LINE, times, LINE),
             max_size=3).map(tuple))


@given(node_records)
def test_a_record_is_read_as_it_was_written(record):
    data = members.dump(record)
    assert members.load(data) == record
    before = members.Heard(data, record, 0.0)
    later = dataclasses.replace(record, sequence=record.sequence + 1,
                                beat=3.0, scans=())
    assert members.load(members.dump(later), before) == later
    other = dataclasses.replace(later, reason=record.reason + '!')
    assert members.load(members.dump(other), before) == other


@given(node_records, st.data())
def test_a_torn_record_is_refused(record, data):
    text = members.dump(record)
    torn = text[:data.draw(st.integers(0, len(text) - 1))]
    with pytest.raises(ValueError):
        members.load(torn)


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.text(max_size=8), inner, max_size=4)).map(
            lambda value: json.dumps(value).encode()))
def test_anything_else_is_refused(data):
    for text in (data, b'{"sequence":1,"beat":1.0}\n%s\n{"scans":[]}'
                 % data.replace(b'\n', b'')):
        with pytest.raises(ValueError):
            members.load(text)


@pytest.mark.parametrize('changed', [
    {'beat': 0.0}, {'beat': -1.0}, {'beat': math.nan}, {'state': 'unknown'},
    {'state': 'well'}, {'sequence': 1.5}, {'checks': None}])
def test_a_record_that_makes_no_sense(changed):
    record = dataclasses.replace(a_record(), **changed)
    with pytest.raises(ValueError):
        members.load(members.dump(record))


def test_a_record_is_not_too_large():
    with pytest.raises(ValueError, match='too large'):
        members.load(bytes(members.LARGEST + 1))


def test_its_text_is_safe_for_pages_and_logs():
    record = dataclasses.replace(
        a_record(node='a\nb\x1b[0m', reason='x\u202e' * 500), checks=(
            fleet.NodeCheck('c\r', Status.FAIL, 'd\0', down=('e\n',)),))
    found = members.load(members.dump(record))
    texts = [found.node, found.reason, found.checks[0].name,
             found.checks[0].reason, *found.checks[0].down]
    assert all(text.isprintable() and len(text) <= 300 for text in texts)


def a_record(node='other', sequence=1, **more):
    return fleet.NodeRecord(**{
        'node': node, 'version': '1', 'sequence': sequence, 'beat': 2.0,
        'state': 'in', **more})


class Test_members:
    """A record counts from its first change, and not for long."""

    def took(self, made, now, *found):
        made.took({f'{one.node} {number}': members.dump(one)
                   for number, one in enumerate(found)}, now)
        return [one.record.node for one in made.fresh(1.0)]

    def test_a_record_that_was_seen_once_does_not_count(self):
        made = members.Members('me')
        assert self.took(made, 10, a_record()) == []
        assert self.took(made, 11, a_record()) == []
        assert self.took(made, 12, a_record(sequence=2)) == ['other']

    def test_it_counts_until_three_are_missed(self):
        made = members.Members('me')
        self.took(made, 10, a_record())
        self.took(made, 12, a_record(sequence=2))
        assert self.took(made, 19, a_record(sequence=2)) == ['other']
        assert self.took(made, 19.1, a_record(sequence=2)) == []
        # The others are not blamed for a store that is away.
        made.read_at = 19
        assert [one.record.node for one in made.fresh(1.0)] == ['other']

    def test_a_change_without_a_number_does_not_count(self):
        made = members.Members('me')
        self.took(made, 10, a_record())
        assert self.took(made, 12, a_record(reason='x')) == []

    def test_this_node_and_what_cannot_be_read_are_left_out(self):
        made = members.Members('me')
        for number in range(3):
            found = {'a': members.dump(a_record('me', number)),
                     'b': b'garbage', 'c': b'',
                     'd': members.dump(a_record('you', number))}
            made.took(found, number)
        assert [one.record.node for one in made.heard] == ['you']

    def test_one_that_left_is_forgotten(self):
        made = members.Members('me')
        self.took(made, 1, a_record(sequence=1))
        assert self.took(made, 2, a_record(sequence=2)) == ['other']
        assert self.took(made, 8) == ['other']
        assert self.took(made, 8.1) == [] == made.heard
        assert self.took(made, 9, a_record(sequence=3)) == []

    def test_nobody_can_promise_to_be_back_in_a_year(self):
        made = members.Members('me')
        for sequence in (1, 2):
            self.took(made, sequence, a_record(sequence=sequence, beat=1e9))
        assert self.took(made, 300) == []


class Test_records:
    """What a report says, for the other nodes."""

    NOW = documents.NOW.now

    def check(self, **changed):
        return report.CheckReport(**{
            'name': 'database', 'status': Status.PASS, 'reason': 'OK',
            'detail': 'secret', 'judged_at': self.NOW, 'ttl': 30.0,
            'time': 1e9, 'label': 'DATABASE', 'shared': True,
            'target': 't1', **changed})

    def of(self, **changed):
        found, = records.checks_of(report.Report((self.check(**changed),)),
                                   self.NOW)
        return found

    def test_fields(self):
        assert self.of(
            status=Status.FAIL, reason='NO ANSWER', fails=2, critical=False,
            history=history.History((history.Transition(
                7.0, Status.FAIL, 'NO ANSWER', 'secret'),)),
            components=tuple(report.Component(f'c{number}', status)
                             for number, status in enumerate(
                                 [Status.FAIL, Status.PASS, None]
                                 + [Status.FAIL] * 30)),
        ) == fleet.NodeCheck(
            'database', Status.FAIL, 'NO ANSWER', 't1', False, True, 7.0,
            ('c0', *(f'c{number}' for number in range(3, 22))))

    @pytest.mark.parametrize('changed, status, failing', [
        ({}, Status.PASS, False),
        ({'status': Status.WARN, 'fails': 1}, Status.WARN, True),
        ({'status': Status.WARN}, Status.WARN, False),
        ({'judged_at': 0.0}, None, False),
        ({'status': Status.FAIL, 'judged_at': 0.0}, Status.FAIL, True)])
    def test_status(self, changed, status, failing):
        found = self.of(**changed)
        assert (found.status, found.failing) == (status, failing)

    def test_no_detail(self):
        found = report.Report((self.check(status=Status.FAIL, fails=2),))
        assert 'secret' not in str(records.checks_of(found, self.NOW))

    @pytest.mark.parametrize('changed, drained, expected', [
        ({}, '', ('in', '')),
        ({}, 'DRAINED', ('drained', 'DRAINED')),
        ({'status': Status.WARN, 'reason': 'SLOW'}, '',
         ('warns', 'DATABASE: SLOW')),
        ({'status': Status.FAIL, 'reason': 'X'}, '',
         ('out', 'DATABASE: X'))])
    def test_state(self, changed, drained, expected):
        found = report.Report((self.check(**changed),))
        assert records.state_of(found, drained, self.NOW) == expected

    def test_held(self):
        found = report.Report(
            (self.check(status=Status.FAIL, reason='X'),),
            holds=(report.HeldCheck('database', ', ON 2 OF 2 NODES',
                                    self.NOW + 1),))
        assert records.state_of(found, '', self.NOW) == (
            'held', 'DATABASE: X, ON 2 OF 2 NODES')
        assert records.state_of(found, '', self.NOW + 1)[0] == 'out'

    def test_passed_once(self):
        past = history.History(last_passed=1.0)
        found = report.Report((
            self.check(history=past), self.check(name='b'),
            self.check(name='c', history=history.History())))
        assert records.passed_once(found) == {'database'}


class Test_writing:
    """When a node writes its record."""

    def made(self):
        made = fleets.Fleet(2, policy_module.Policy())
        made.go_on(30)
        return made, made.records

    def test_a_quiet_node_writes_at_each_beat(self):
        made, store = self.made()
        before = store.writes
        made.go_on(60)
        assert 2 * 29 <= store.writes - before <= 2 * 32

    def test_it_gives_signs_of_life(self):
        made, store = self.made()
        assert len(store.read()) == 2
        made.nodes[0].store.cut = True
        made.go_on(member_module.LEASE)
        assert list(store.read()) == ['n1']
        made.nodes[0].store.cut = False
        made.go_on(member_module.LONGEST * 1.5)
        assert len(store.read()) == 2

    def test_a_drain_is_written_soon(self):
        made, store = self.made()
        made.nodes[0].drained = 'DRAINED'
        made.go_on(pace.LOOK)
        record = members.load(store.read()['n0'])
        assert (record.state, record.reason) == ('drained', 'DRAINED')
        assert record.since == pytest.approx(1e9 + made.now, abs=1.1)

    def test_a_store_that_is_away_is_tried_again_and_logged_once(
            self, caplog):
        made, store = self.made()
        caplog.set_level('INFO')
        caplog.clear()
        made.records.away = True
        made.go_on(100)
        lines = [one for one in caplog.messages if 'store' in one]
        assert lines == [
            'Healthcheck: the store of the fleet cannot be used, so this '
            'node soon judges alone: it is away'] * 2
        assert made.nodes[0].member.view.trouble == 'it is away'
        made.records.away = False
        made.go_on(member_module.LONGEST * 1.5)
        assert [one for one in caplog.messages if 'store' in one][2:] == [
            'Healthcheck: the store of the fleet can be used again'] * 2
        assert made.nodes[0].member.view.trouble == ''

    def test_the_view(self):
        made, _ = self.made()
        view = made.nodes[0].member.view
        assert (view.group, view.node) == ('nova', 'n0')
        assert [(one.record.node, one.record.state, one.fresh)
                for one in view.nodes] == [('n0', 'in', True),
                                           ('n1', 'in', True)]
        assert made.now - view.read_at <= pace.LOOK


VIEW = fleet.FleetView('nova', 'me', None, '', ())


class Test_thread:
    """One thread for a process, and nobody waits for it."""

    @pytest.fixture
    def made(self):
        self.over = threading.Semaphore(0)
        self.news = frozenset(['database'])
        self.faults = []
        made = thread_module.FleetThread(lambda: self)
        yield made
        made.stop()
        if made._thread is not None:
            made._thread.join(10)
            assert not made._thread.is_alive()

    holds = (report.HeldCheck('database', ', ON 2 OF 2 NODES', math.inf),)
    view = VIEW

    def begin(self, holds):
        pass

    def step(self, found):
        self.found = found
        if self.faults:
            raise self.faults.pop()
        return time.monotonic() + 1000

    def others_differ(self):
        """The last call of a step."""
        news, self.news = self.news, frozenset()
        self.over.release()
        return news

    def take(self, made):
        """Leave a report, and wait for a step that works."""
        made.took('a report')
        assert self.over.acquire(timeout=10)

    def test_it_waits_for_a_report(self, made):
        made.lead()
        assert not self.over.acquire(blocking=False)
        assert made.view() is None
        self.take(made)
        self.take(made)  # so the first one is over to its end
        assert (self.found, made.holds) == ('a report', self.holds)
        assert made.others_differ() == {'database'}
        assert made.others_differ() == set()
        assert made.view() == VIEW and made.view() is None

    def test_nothing_is_held_when_another_process_probes(self, made):
        made.lead()
        self.take(made)
        made.rest()
        assert made.holds == ()
        first = made._thread
        made.lead()
        assert made._thread is first

    def test_a_fault_of_our_own_is_logged_once(self, made, caplog,
                                               monkeypatch):
        monkeypatch.setattr(thread_module, '_AGAIN', 0.0)
        self.faults = [OSError(1), OSError(2)]
        made.lead()
        self.take(made)
        assert made.holds
        assert len([one for one in caplog.messages if 'its fleet' in one]) == 1


class Test_options:
    """What a section says of its fleet."""

    OPTIONS = {'fleet_url': 'redis://u:sEcret@store', 'fleet_name': 'nova'}

    def of(self, tmp_path, service='', **options):
        file = tmp_path / 'service.conf'
        file.write_text(service)
        conf = cfg.ConfigOpts()
        conf([f'--config-file={file}'], project='nova')
        view = views.View(conf, {**self.OPTIONS, **options})
        made = joining.of(view, policy_module.Policy())
        view.check()
        return made

    def test_none(self, tmp_path):
        assert self.of(tmp_path, fleet_url='') is None

    def test_names(self, tmp_path, monkeypatch):
        monkeypatch.setattr('socket.gethostname', lambda: 'a.example.org')
        one = self.of(tmp_path).membership
        assert (one.group, one.node, one.holds) == ('nova', 'a.example.org',
                                                    False)
        two = self.of(tmp_path, '[keystone_authtoken]\nregion_name = east\n',
                      fleet_name='', fleet_node='b',
                      shared_failure='majority_stays').membership
        assert (two.group, two.node, two.holds) == ('nova.east', 'b', True)

    def test_no_secret_is_shown(self, tmp_path):
        assert 'sEcret' not in repr(self.of(tmp_path))

    @pytest.mark.parametrize('options, problem', [
        ({'fleet_url': '', 'shared_failure': 'majority_stays'},
         'set fleet_url to a store that all nodes share'),
        ({'sharing': 'process'}, 'each process would be a node'),
        ({'fleet_name': 'a/b'}, "fleet_name = 'a/b': not a name"),
        ({'fleet_node': 'a b'}, "fleet_node = 'a b': not a name"),
        ({'fleet_url': 'sEcret'}, 'fleet_url: no driver://'),
        ({'fleet_url': 'mysql://u:sEcret@db/x'},
         "fleet_url: driver 'mysql': not a store"),
        ({'fleet_url': 'etcd3+http://u:sEcret@h:port'},
         'fleet_url: tooz does not take it'),
        ({'fleet_quorum': '0'}, 'fleet_quorum'),
        ({'fleet_quorum': '101%'}, 'fleet_quorum')])
    def test_mistakes(self, tmp_path, options, problem):
        with pytest.raises(exceptions.ConfigError) as caught:
            self.of(tmp_path, **options)
        text, = caught.value.problems
        assert problem in text and 'sEcret' not in text

    def test_a_driver_that_is_not_installed(self, tmp_path, monkeypatch):
        def missing(scheme):
            raise ImportError("No module named 'redis'")
        monkeypatch.setattr(tooz_store, '_load', missing)
        with pytest.raises(exceptions.ConfigError,
                           match=r'pip install openstack-healthcheck\[fleet'):
            self.of(tmp_path)

    def test_the_key_of_a_record_tells_nothing(self, door):
        made = door(wsgi.below, {
            'backends': 'database', 'database_connection': 'sqlite:///x',
            **self.OPTIONS})
        identity = made._group.identity
        thread = made._joining.make(made._group, None, lambda: '')
        store = thread._make_member()._store
        node, _, digest = store._key.decode().rpartition('.')
        assert len(digest) == 8 and digest not in identity
