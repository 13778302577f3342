# SPDX-License-Identifier: Apache-2.0

"""What workers share: with whom, where, and that nothing else is believed."""

import dataclasses
import json
import os
import pathlib

import pytest

import healthcheck
from healthcheck.config import views
from healthcheck.host import group as group_module
from healthcheck.host import mounts
from healthcheck.host import sharing
from healthcheck.host import statefiles
from healthcheck.plugins import database
from healthcheck.reports import report
from tests.unit import wsgi

IDENTITY = 'a' * 64
KEY = IDENTITY[:32]


class Clock:
    now = 1000.0

    def __call__(self):
        self.now += 0.001
        return int(self.now * 1e9)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=[1, 1000, 10 ** 9, 2 * 10 ** 9])
def resolution(request, monkeypatch):
    """Nanoseconds that a file system keeps times to."""
    utime = os.utime
    monkeypatch.setattr(os, 'utime', lambda file, ns: utime(
        file, ns=tuple(time - time % request.param for time in ns)))
    return request.param


@pytest.fixture
def member(tmp_path, clock, resolution):
    made = []

    def make(identity=IDENTITY):
        made.append(sharing.Sharing(
            group_module.Group(str(tmp_path), identity, 4.0), clock))
        return made[-1]
    yield make
    for one in made:
        one.resign()


def found(status=report.Status.PASS, **kwargs):
    return report.Report((report.CheckReport(
        'database', status, 'OK', '', 1000.0, 30.0, 1e9, **kwargs),))


def rewrite(one, name, **changed):
    path = pathlib.Path(one.directory.join(f'{KEY}.{name}'))
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


def test_what_the_prober_publishes_is_read_once(member):
    one, other = member(), member()
    assert one.elect() and not other.elect()
    assert other.look() is None
    one.publish(found())
    assert other.look() == found()
    assert other.look() is None
    one.publish(found(report.Status.FAIL))
    assert other.look() == found(report.Status.FAIL)


def test_no_report_is_missed(member):
    """However many there are in the time of one stamp."""
    one, other, third = member(), member(), member()
    one.elect()
    for number in range(20):
        published = found(history=None, latency=float(number))
        one.publish(published)
        assert other.look() == published
        if number % 3 == 0:
            assert third.look() == published


def test_a_report_is_written_once(member, monkeypatch):
    """A stamp that is not what was asked for is no other prober's."""
    one = member()
    one.elect()
    one.publish(found())
    monkeypatch.setattr(one, 'publish', None)
    for _ in range(10):
        one.look()
        assert one.beat()


def test_an_old_report_costs_one_call(member, clock, resolution, monkeypatch):
    one, other = member(), member()
    one.elect()
    one.publish(found())
    assert other.look() == found()
    clock.now += 2 * resolution / 1e9
    assert other.look() is None
    monkeypatch.setattr(other.directory, 'read', None)
    for _ in range(10):
        assert other.look() is None


def test_the_prober_looks_for_itself_and_still_puts_it_right(member):
    """A request of its own process has seen the deposed one's report."""
    one, other = member(), member()
    one.elect()
    one.publish(found(report.Status.FAIL))
    other.publish(found())
    one.look()
    assert one.beat()
    assert member().look() == found(report.Status.FAIL)


def test_a_directory_that_is_made_again(member, tmp_path):
    """A process without a thread follows the prober there."""
    one, reader, other = member(), member(), member()
    one.elect()
    one.publish(found())
    assert reader.look() == found()
    pathlib.Path(one.directory.path).rename(tmp_path / 'elsewhere')
    assert other.elect()
    other.publish(found(report.Status.FAIL))
    reader.directory.follow()
    assert reader.look() == found(report.Status.FAIL)
    assert not one.beat()


def test_what_dead_groups_leave_is_removed_by_one_that_lives(member, clock):
    one, dead = member(), member('b' * 64)
    assert one.elect() and dead.elect()
    dead.publish(found())
    dead.resign()
    for _ in range(7):
        clock.now += 100
        assert one.beat()
    assert not [name for name in one.directory.names()
                if name.startswith('b')]


def test_what_admins_are_told_is_not_read_for_a_poll(member):
    one, other = member(), member()
    one.elect()
    full = found(components=(report.Component('cell1', None),),
                 history=report.History(fails=7))
    one.publish(full)
    assert other.look() == found()
    assert other.last() == full


def test_the_prober_does_not_read_what_it_has_written(member):
    one = member()
    one.elect()
    one.publish(found())
    assert one.look() is None


def test_a_report_that_is_older_than_the_last_is_not_believed(member):
    """A prober that was stopped as it published goes on, for a moment."""
    deposed, reader = member(), member()
    deposed.elect()
    old = deposed.directory.join(f'{KEY}.report')
    deposed.publish(found())
    kept = pathlib.Path(old).read_bytes(), os.stat(old).st_mtime_ns
    one = member()
    deposed.resign()
    assert one.elect()
    one.publish(found(report.Status.FAIL))
    assert reader.look() == found(report.Status.FAIL)
    one.directory.write(f'{KEY}.report', *kept, 'x.tmp')
    assert reader.look() is None
    assert one.beat()  # puts it right
    assert reader.look() == found(report.Status.FAIL)


def test_a_report_that_was_removed_comes_back(member):
    one = member()
    one.elect()
    one.publish(found())
    one.directory.remove(f'{KEY}.report')
    assert one.beat()
    assert member().look() == found()


@pytest.mark.parametrize('changed, why', [
    ({'format': 0}, 'of format 0, and not 3'),
    ({'format': '1'}, 'not a report of this release'),
    ({'identity': 'b' * 64}, 'of another service'),
    ({'published_at': 1e9}, 'from the future'),
    ({'report': {'checks': []}}, 'not a report of this release'),
    ({'more': 1}, 'not a report of this release'),
])
def test_another_file_is_refused_with_a_reason(member, changed, why):
    one, other = member(), member()
    one.elect()
    one.publish(found())
    rewrite(one, 'report', **changed)
    rewrite(one, 'detail', **changed)
    for look in (other.look, other.look, other.last):
        with pytest.raises(sharing.Unusable, match=why):
            look()
    one.publish(found())
    assert other.look() == found()


def test_a_disk_that_is_full_is_found_before_anybody_follows(
        member, monkeypatch):
    one, other = member(), member()

    def full(*args):
        raise sharing.Unusable('no space left on device')
    monkeypatch.setattr(one.directory, 'write', full)
    with pytest.raises(sharing.Unusable):
        one.elect()
    assert other.elect()


def test_whoever_asks_reaches_the_prober(member):
    one, other, third = member(), member(), member()
    one.elect()
    assert not one.asked()
    other.ask()
    third.ask()
    assert one.asked() and not one.asked()
    other.ask()
    assert one.asked() and not one.asked()
    other.ask()
    assert one.asked()


def test_who_asks_before_there_is_a_prober_reaches_it(member):
    """The request that starts a process may be one for a round."""
    one, other = member(), member()
    one.directory.prepare()
    other.ask()
    assert one.elect()
    assert one.asked() and not one.asked()


def test_who_asks_during_an_election_reaches_the_prober(member, monkeypatch):
    one, other = member(), member()
    write = statefiles.Directory.write

    def meanwhile(directory, *args):
        other.ask()
        return write(directory, *args)
    monkeypatch.setattr(statefiles.Directory, 'write', meanwhile)
    assert one.elect()
    assert one.asked() and not one.asked()


def test_who_was_deposed_leaves_a_question_to_the_next(member, clock,
                                                       resolution):
    one, other, third = member(), member(), member()
    one.elect()
    clock.now += 4.1 + resolution / 1e9
    assert other.elect()
    third.ask()
    assert not one.asked()
    assert other.asked()


def test_groups_do_not_meet(member):
    one, other = member(), member('b' * 64)
    assert one.elect() and other.elect()
    one.publish(found())
    other.publish(found(report.Status.FAIL))
    assert member().look() == found()
    assert member('b' * 64).look() == found(report.Status.FAIL)


@pytest.fixture
def place(tmp_path, conf, monkeypatch):
    monkeypatch.delenv('RUNTIME_DIRECTORY', raising=False)

    def find(section=(), text=''):
        return group_module.find_place(views.View(conf(text), dict(section)))
    return find


def test_where(place, monkeypatch):
    assert place() is None
    monkeypatch.setenv('RUNTIME_DIRECTORY', '/run/nova:/run/other')
    assert place() == '/run/nova'
    locks = '[oslo_concurrency]\nlock_path = /var/lock/nova\n'
    assert place(text=locks) == '/var/lock/nova'
    assert place(text=f'{locks}[healthcheck]\nstate_path = /a\n') == '/a'
    assert place({'state_path': '/b'}, locks) == '/b'


@pytest.fixture
def group(conf, monkeypatch):
    monkeypatch.delenv('RUNTIME_DIRECTORY', raising=False)
    return lambda **section: group_module.group_of(
        views.View(conf(''), section), ['database'], 4.0)


def test_a_place_that_nobody_has_told(group, caplog, monkeypatch):
    monkeypatch.setenv('TMPDIR', '/var/tmp')
    assert (group().place, group().told) == ('/var/tmp', False)
    monkeypatch.delenv('TMPDIR')
    assert (group().place, group().told) == ('/tmp', False)
    told = group(state_path='/a')
    assert (told.place, told.told) == ('/a', True)
    assert group(sharing='process') is None
    assert group(sharing='process', state_path='/a') is None
    assert not caplog.records


def test_containers_with_another_network_do_not_meet_by_chance(
        group, monkeypatch):
    chance, told = group(), group(state_path='/a')
    assert chance == group()
    real = os.readlink
    monkeypatch.setattr(os, 'readlink', lambda path: (
        'net:[1]' if path.endswith('/net') else real(path)))
    assert chance.identity != group().identity
    assert told == group(state_path='/a')


def test_a_place_that_nobody_has_told_has_to_be_local(group, monkeypatch,
                                                      tmp_path):
    monkeypatch.setattr(mounts, 'kind', lambda descriptor: 'nfs4')
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    with pytest.raises(sharing.Unusable, match='of type nfs4'):
        sharing.Sharing(group()).elect()
    one = sharing.Sharing(group(state_path=str(tmp_path)))
    assert one.elect()
    one.resign()


def test_a_host_that_cannot_be_told_from_others(conf, caplog, monkeypatch,
                                                tmp_path):
    monkeypatch.setattr(group_module, 'boot_id', lambda: '')
    view = views.View(conf(''), {'state_path': str(tmp_path)})
    assert group_module.group_of(view, ['database'], 4.0) is None
    assert 'ProcSubset' in caplog.text


def test_an_unknown_way_to_share_is_an_error():
    with pytest.raises(healthcheck.exceptions.ConfigError,
                       match="sharing = 'cluster'"):
        healthcheck.Healthcheck(wsgi.below, {'sharing': 'cluster'})


class Test_identity:
    text = '[database]\nconnection = mysql://nova:secret@db/nova\n'

    @pytest.fixture
    def identity(self, conf):
        def make(section=(), text=self.text, names=('database',)):
            view = views.View(conf(text), dict(section))
            database.Database(view, section)
            return group_module.identity(view, names)
        return make

    def test_it_is_the_same_for_the_same(self, identity):
        assert identity() == identity()
        assert identity({'a': '1', 'b': '2'}) == identity({'b': '2',
                                                           'a': '1'})

    def test_any_difference_makes_another_one(self, identity):
        made = [identity(), identity({'interval': '3'}),
                identity(names=['database', 'message_queue']),
                identity(text=self.text.replace('secret', 'other')),
                identity(text=self.text + 'connection_parameters = a=1\n')]
        assert len(set(made)) == len(made)

    def test_another_host_makes_another_one(self, identity, monkeypatch):
        """As does a restart: what was known then is not true now."""
        here = identity()
        monkeypatch.setattr(group_module, 'boot_id', lambda: 'another')
        assert identity() != here

    def test_another_time_namespace_makes_another_one(self, identity,
                                                      monkeypatch):
        """Its monotonic clock may be ahead of ours, or behind."""
        here = identity()
        monkeypatch.setattr(os, 'readlink', lambda path: 'time:[1]')
        assert identity() != here

    def test_a_kernel_without_time_namespaces(self, monkeypatch):
        def unknown(path):
            raise FileNotFoundError(path)
        monkeypatch.setattr(os, 'readlink', unknown)
        assert group_module.clock_id().strip() == group_module.boot_id()

    def test_it_tells_no_secret(self, identity):
        assert 'secret' not in identity()

    def test_how_the_configuration_was_found_does_not_matter(self, identity):
        assert identity({'oslo_config_project': 'nova'}) == identity()

    def test_files_of_a_directory_count(self, tmp_path):
        from oslo_config import cfg
        drop_in = tmp_path / 'nova.conf.d'
        drop_in.mkdir()

        def identity():
            conf = cfg.ConfigOpts()
            conf(['--config-dir', str(drop_in)], project='nova')
            view = views.View(conf, {})
            database.Database(view, {})
            return group_module.identity(view, ['database'])
        (drop_in / 'a.conf').write_text(self.text)
        before = identity()
        (drop_in / 'b.conf').write_text(self.text.replace('db/', 'other/'))
        assert identity() != before


def test_a_brief_report_is_all_that_a_verdict_needs():
    full = dataclasses.replace(
        found(components=(report.Component('cell1', report.Status.FAIL),),
              history=report.History()),
        prober=report.ProberProcess(1, 'host', 'uwsgi', 1e9), refreshed_at=5.0)
    brief = full.brief()
    assert [c.verdict(2000) for c in brief.checks] == [
        c.verdict(2000) for c in full.checks]
    assert (brief.prober, brief.refreshed_at) == (full.prober, 5.0)
    assert brief.checks[0].components == ()
    assert brief.checks[0].history is None
