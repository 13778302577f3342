# SPDX-License-Identifier: Apache-2.0

"""A process probes, follows, or probes for itself; and changes in time."""

import logging

import pytest

from healthcheck.host import group as group_module
from healthcheck.host import hostprober
from healthcheck.host import sharing
from healthcheck.probing import policy
from healthcheck.probing import simulated
from healthcheck.reports import fleet as fleet_module
from healthcheck.reports import report

POLICY = policy.Policy(interval=10.0, retry_interval=2.0)


class Scheduler:
    """Does what a test says while it runs; runs until it may not go on."""

    def __init__(self, publish):
        self.publish = publish
        self.acts = []
        self.told = []
        self.suspects = self
        self.differing = []

    def run(self, go_on, every):
        self.told.append('run')
        while go_on():
            assert self.acts, 'nothing left to do'
            self.acts.pop(0)()
        self.told.append('end')

    def others_differ(self, name, now):
        self.differing.append((name, now))

    def restore(self, last):
        self.told.append(('restore', last))

    def rest(self):  # again and again, as long as it follows
        if self.told[-1:] != ['rest']:
            self.told.append('rest')

    def refresh(self):
        self.told.append('refresh')

    def stop(self):
        """It finds out when it asks whether to go on."""

    def close(self):
        self.told.append('close')


class Member:
    """A process. ``run`` lasts until ``acts`` of its scheduler stop it."""

    def __init__(self, place, clock, fleet=None):
        self.shown = []

        def make(publish):
            self.scheduler = Scheduler(publish)
            return self.scheduler
        self.prober = hostprober.HostProber(
            group_module.Group(str(place), 'a' * 64, hostprober.lease(POLICY)),
            POLICY, make, self.shown.append, lambda: int(clock() * 1e9),
            fleet=fleet)
        self.prober._stopping.wait = lambda seconds: self.wait(seconds)
        self.waits = []

    def wait(self, seconds):
        self.waits.pop(0)()

    def run(self, *acts, waits=()):
        self.scheduler.acts = [*acts, self.prober.stop]
        self.waits = [*waits, self.prober.stop]
        self.prober._stopping.clear()
        self.prober.run()


@pytest.fixture
def clock():
    return simulated.Clock()


@pytest.fixture
def member(tmp_path, clock):
    return lambda: Member(tmp_path, clock)


def found(at, status=report.Status.PASS):
    return report.Report((report.CheckReport(
        'database', status, 'OK', '', at, 30.0, 1e9 + at),))


def test_who_is_elected_probes_and_publishes(member, clock):
    one, other = member(), member()
    one.run(lambda: one.scheduler.publish(found(1000.0)))
    assert one.scheduler.told == ['run', 'end', 'close']
    assert one.shown == [found(1000.0)]
    other.prober.look()
    assert other.shown == [found(1000.0)]


def test_the_others_follow(member, clock):
    one, other = member(), member()

    def published():
        one.scheduler.publish(found(clock.now))
        other.run(waits=[later])

    def later():
        clock.now += 1
        one.scheduler.publish(found(clock.now, report.Status.FAIL))
    one.run(published)
    assert other.scheduler.told == ['rest', 'close']
    assert [r.checks[0].status for r in other.shown] == [
        report.Status.PASS, report.Status.FAIL]


def test_who_takes_over_goes_on_where_the_last_one_stopped(member, clock):
    one, other = member(), member()
    one.run(lambda: one.scheduler.publish(found(1000.0)))
    other.run()
    assert other.scheduler.told == [('restore', found(1000.0)), 'run', 'end',
                                    'close']


def test_a_prober_that_was_stopped_yields_before_it_says_anything(
        member, clock):
    one, other = member(), member()

    def stopped():
        clock.now += 60
        other.run(lambda: other.scheduler.publish(found(clock.now)),
                  lambda: one.scheduler.publish(found(clock.now - 50,
                                                      report.Status.FAIL)))
    one.run(stopped, one.prober.look)
    assert one.shown == [found(1060.0)]
    assert [r.checks[0].judged_at for r in other.shown] == [1060.0]


@pytest.mark.parametrize('written', [True, False])
def test_a_prober_that_was_stopped_while_it_wrote_shows_nothing_old(
        member, clock, monkeypatch, written):
    one, other = member(), member()
    directory = one.prober._sharing.directory
    write = directory.write

    def stopped(*args):
        monkeypatch.setattr(directory, 'write', write)
        if written:
            write(*args)
        clock.now += 60
        other.run(lambda: other.scheduler.publish(found(clock.now,
                                                        report.Status.FAIL)),
                  one.prober.look)  # for a request, in another thread
        if not written:
            raise sharing.Unusable('it was removed')

    def publish():
        monkeypatch.setattr(directory, 'write', stopped)
        one.scheduler.publish(found(clock.now))
    one.run(publish)
    assert one.shown == [found(1060.0, report.Status.FAIL)]


def test_a_deposed_prober_follows_and_gives_its_connections_back(
        member, clock):
    one, other = member(), member()
    one.run(lambda: one.scheduler.publish(found(clock.now)),
            lambda: setattr(clock, 'now', clock.now + 20))
    assert one.scheduler.told == ['run', 'end', 'close']

    def lead():
        other.scheduler.publish(found(clock.now))
        one.run()
    other.run(lead)
    assert one.scheduler.told == ['run', 'end', 'close', 'rest', 'close']
    assert one.shown[-1] == found(1020.0)


def test_a_prober_that_ends_leaves_the_place_to_another(member):
    one, other = member(), member()
    one.run()
    other.run()
    assert other.scheduler.told[0] == 'run'


def test_without_a_place_it_probes_for_itself(tmp_path, clock, caplog):
    caplog.set_level(logging.INFO)
    place = tmp_path / 'later'
    one = Member(place, clock)

    def interval():
        clock.now += POLICY.interval
    one.run(lambda: one.scheduler.publish(found(clock.now)), interval,
            interval, place.mkdir, interval)
    assert one.shown == [found(1000.0)]
    said = [r.getMessage() for r in caplog.records]
    assert len(said) == 2, said
    assert 'because it cannot share' in said[0] and 'No such file' in said[0]
    assert 'this process probes for all that share' in said[1]
    other = Member(place, clock)
    other.prober.look()


def test_a_disk_that_fills_up(member, clock, monkeypatch, caplog):
    one, other = member(), member()

    def full(*args):
        raise sharing.Unusable('no space')

    def fills():
        for each in (one, other):
            monkeypatch.setattr(each.prober._sharing.directory, 'write',
                                full)
        one.scheduler.publish(found(clock.now))
    # One that comes then does not follow one that cannot publish.
    one.run(fills, lambda: other.run(
        lambda: other.scheduler.publish(found(clock.now))))
    assert one.shown and other.shown
    assert other.scheduler.told[0] == 'run'
    assert caplog.text.count('no space') == 2


def test_a_report_of_another_release_is_not_followed(member, clock, caplog):
    one, other = member(), member()

    def publish():
        one.scheduler.publish(found(clock.now))
        shared = one.prober._sharing
        for name in (shared._brief, shared._full):
            shared.directory.write(name, b'{', 1, 'x.tmp')
        other.run(lambda: other.scheduler.publish(found(clock.now)))
    one.run(publish)
    assert other.scheduler.told == ['run', 'end', 'close']
    assert other.shown == [found(1000.0)]
    assert 'not a report of this release' in caplog.text


def test_what_was_left_behind_is_no_report(member, clock):
    one, other = member(), member()
    one.run(lambda: one.scheduler.publish(found(clock.now)))
    clock.now += 31
    other.prober.look()
    assert other.shown == []


def test_what_goes_stale_while_one_follows_is_shown_to_be(member, clock):
    one, other = member(), member()
    one.run(lambda: one.scheduler.publish(found(clock.now)))
    other.prober.look()
    clock.now += 31
    assert other.shown[-1].stale(clock.now)


def test_who_asks_for_a_round_reaches_the_prober(member, clock):
    one, other = member(), member()

    def ask():
        one.scheduler.publish(found(clock.now))
        clock.now += 0.1
        other.run(waits=[other.prober.refresh])
    one.run(ask, lambda: None)
    assert 'refresh' in one.scheduler.told
    assert 'refresh' not in other.scheduler.told


def test_the_prober_asks_itself(member):
    one = member()
    one.run(one.prober.refresh)
    assert one.scheduler.told == ['run', 'refresh', 'end', 'close']


def test_all_that_is_known_comes_from_whoever_probes(member, clock):
    one, other = member(), member()
    full = report.Report((report.CheckReport(
        'cells', report.Status.PASS, 'OK', '', clock.now, 30.0, 1e9,
        components=(report.Component('cell1', report.Status.PASS),)),))
    assert other.prober.known() is None
    one.run(lambda: one.scheduler.publish(full))
    assert other.prober.known() == one.prober.known() == full


class Fleet:
    """What other hosts find, as a test says."""

    def __init__(self):
        self.holds = ()
        self.told = []
        self.differing = set()
        self.seen = None

    def lead(self, holds=()):
        self.told.append('lead')

    def rest(self):
        self.told.append('rest')

    def stop(self):
        self.told.append('stop')

    def took(self, found):
        self.told.append(found)

    def others_differ(self):
        found, self.differing = self.differing, set()
        return found

    def view(self):
        found, self.seen = self.seen, None
        return found


HOLDS = (report.HeldCheck('database', ', ON 2 OF 2 NODES', 1030.0),)
VIEW = fleet_module.FleetView('nova', 'me', 1000.0, '', (
    fleet_module.NodeSeen(fleet_module.NodeRecord(
        'me', '1', 7, 2.0, fleet_module.IN), 999.0, True),))


class Test_fleet:
    """The prober takes part in the fleet of its host."""

    @pytest.fixture
    def fleet(self):
        return Fleet()

    @pytest.fixture
    def one(self, tmp_path, clock, fleet):
        return Member(tmp_path, clock, fleet)

    @pytest.fixture
    def other(self, member):
        return member()

    def test_it_hears_of_each_report(self, one, fleet):
        one.run(lambda: one.scheduler.publish(found(1000.0)))
        assert fleet.told == ['lead', found(1000.0), 'rest', 'stop']

    def test_what_others_hold_is_published_with_the_next_report(
            self, one, other, fleet):
        def act():
            fleet.holds = HOLDS
            one.scheduler.publish(found(1000.0))
        one.run(act)
        other.prober.look()
        assert other.shown[-1].holds == one.shown[-1].holds == HOLDS

    def test_and_without_one_when_it_changes(self, one, other, fleet):
        def change(holds):
            def act():
                fleet.holds = holds
            return act
        one.run(lambda: one.scheduler.publish(found(1000.0)), change(HOLDS),
                change(()), lambda: None)
        assert [each.holds for each in one.shown] == [(), HOLDS, ()]
        other.prober.look()
        assert other.shown[-1].holds == ()

    def test_a_process_that_probes_for_itself_holds_nothing(
            self, one, fleet, tmp_path):
        fleet.holds = HOLDS
        tmp_path.rmdir()
        one.run(lambda: one.scheduler.publish(found(1000.0)))
        assert [each.holds for each in one.shown] == [()]
        assert fleet.told == ['stop']

    def test_what_others_find_sets_off_a_probe(self, one, fleet, clock):
        def act():
            fleet.differing = {'database'}
        one.run(act, lambda: None)
        assert one.scheduler.differing == [('database', clock.now)]

    def test_every_process_can_show_the_fleet(self, one, other, fleet):
        assert other.prober.fleet() is None

        def act():
            fleet.seen = VIEW
        one.run(act, lambda: None)
        assert other.prober.fleet() == VIEW

    def test_a_view_that_is_not_ours_is_not_shown(self, one, other, fleet):
        def act():
            fleet.seen = VIEW
        one.run(act, lambda: None)
        directory = other.prober._sharing.directory
        path = next(name for name in directory.names()
                    if name.endswith('.fleet'))
        for data in (b'torn', directory.read(path)[0].replace(
                b'aaaa', b'bbbb')):
            directory.write(path, data, 1, path[:32] + '.1.tmp')
            assert other.prober.fleet() is None
