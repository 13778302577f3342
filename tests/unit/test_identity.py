# SPDX-License-Identifier: Apache-2.0
"""Processes share a prober if, and only if, they would probe the same.

Two that do not would answer from each other's report: one whose database is
away said 200. What counts is the value that is used, wherever it was set.
"""

import contextlib
from importlib import metadata
import itertools
import os
import pathlib
import tempfile
from unittest import mock

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies
from oslo_config import cfg
from oslo_messaging import opts as messaging_opts
import pytest
import requests_mock

import healthcheck
from healthcheck.config import entrypoints
from healthcheck.config import opts
from healthcheck.config import views
from healthcheck.host import group as group_module
from healthcheck.plugins import database
from tests.unit import stubs

# Where an option can be set.
SERVICES = ('file', 'last file', 'directory', 'environment', 'override',
            'command line', 'driver')
OURS = (*SERVICES, 'section')

BASE = {
    ('healthcheck', 'services_of'): 'nova',
    ('healthcheck', 'state_path'): '/nowhere',
    # Some values of shared_failure need them.
    ('healthcheck', 'balancer_source_ranges'): '10.0.0.0/8',
    ('healthcheck', 'fleet_url'): 'redis://store',
    ('DEFAULT', 'transport_url'): 'rabbit://u:p@mq/',
    ('database', 'connection'): 'sqlite:///a',
    ('api_database', 'connection'): 'sqlite:///api',
}

# Which check reads the options of a group; else it is the message queue.
CHECKS = {'healthcheck': 'database', 'database': 'database',
          'api_database': 'cells', 'nova': 'services'}

URL = 'https://conf.example.org/'

VALUES = {
    'backends': ['worker,database', 'database,worker'],
    'database_connection': ['sqlite:///1', 'sqlite:///2'],
    'cells_api_connection': ['sqlite:///1', 'sqlite:///2'],
    'message_queue_transport_url': ['rabbit://u:1@h/', 'rabbit://u:2@h/'],
    'transport_url': ['rabbit://u:1@h/', 'rabbit://u:2@h/'],
    'noncritical': ['database', 'services'],
    'listeners': ['notification'],
    'cells_critical': ['api_database', 'cell0,api_database'],
    'cells_min_up': ['2', '50%'],
    'services_of': ['cinder', 'neutron'],
    'fleet_url': ['redis://u:1@h', 'redis://u:2@h'],
    'fleet_quorum': ['2', '50%'],
    # The rules between them hold.
    'ttl': ['40', '50.5'], 'interval': ['8', '9.5'],
    'retry_interval': ['3', '1.5'], 'timeout': ['4', '4.5'],
}


def values(opt):
    """Two values that it may have."""
    if opt.dest in VALUES:
        return VALUES[opt.dest]
    kind = opt.type
    if isinstance(opt, cfg.BoolOpt):
        return [str(not opt.default), str(bool(opt.default))]
    if getattr(kind, 'choices', None):
        return [str(one) for one in kind.choices if one != opt.default][:2]
    if isinstance(opt, (cfg.IntOpt, cfg.FloatOpt, cfg.PortOpt)):
        least = kind.min if kind.min is not None else 0
        return [str(one) for one in (least + 0, least + (
            1 if isinstance(kind, cfg.types.Integer) else 0.07))
            if str(one) != str(opt.default)]
    return ['x', 'y']


def _options():
    for opt in opts.all_opts():
        if opt.dest not in opts.NOT_PROBED:
            yield 'healthcheck', opt
    for name in ('connection', 'connection_parameters'):
        for group in ('database', 'api_database'):
            if name == 'connection':
                VALUES[name] = ['sqlite:///1', 'sqlite:///2']
            else:
                VALUES[name] = ['timeout=5', 'timeout=6']
            yield group, cfg.StrOpt(name)
    yield 'nova', cfg.IntOpt('service_down_time', min=100)
    yield 'nova', cfg.IntOpt('report_interval', min=100)
    for group, options in messaging_opts.list_opts():
        for opt in options:
            yield group or 'DEFAULT', opt


OPTIONS = [(group, opt) for group, opt in _options()]


class Site:
    """A service that has been started, with options set in many places."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self._count = itertools.count()

    def identity(self, *wanted, check=None, register=False):
        """The identity, with each (where, group, option, text) set."""
        base = {('healthcheck', 'backends'): CHECKS.get(
            check or wanted[0][1], 'message_queue'), **BASE}
        if any(opt.dest == 'listeners' for _, _, opt, _ in wanted):
            base['oslo_messaging_notifications', 'driver'] = 'messagingv2'
        wanted = [(where, 'DEFAULT' if group == 'nova' else group, *rest)
                  for where, group, *rest in wanted]
        place = self.directory / str(next(self._count))
        (place / 'conf.d').mkdir(parents=True)
        texts = {name: {} for name in ('file', 'last file', 'directory',
                                       'driver')}
        for (group, name), value in base.items():
            texts['file'].setdefault(group, {})[name] = value
        conf, args, section, environ, later = cfg.ConfigOpts(), [], {}, {}, []
        for where, group, opt, value in wanted:
            own = None if group == 'DEFAULT' else group
            if where == 'section':
                section[opt.dest] = value
            elif where == 'environment':
                environ[f'OS_{group.upper()}__{opt.dest.upper()}'] = value
            elif where == 'override':
                conf.register_opt(opt, group=own)
                later.append((opt.dest, [value] if opt.multi
                              else opt.type(value), own))
            elif where == 'command line':
                conf.register_cli_opt(opt, group=own)
                flag = '--' + ('' if own is None else f'{group}-')
                if isinstance(opt, cfg.BoolOpt):
                    flag += opt.name if value == 'True' else f'no{opt.name}'
                else:
                    flag += f'{opt.name}={value}'
                args.append(flag)
            else:
                if where == 'driver':  # it comes last of all
                    texts['file'].get(group, {}).pop(opt.dest, None)
                texts[where].setdefault(group, {})[opt.dest] = value
        if register:
            for group, opt in OPTIONS:
                with contextlib.suppress(cfg.DuplicateOptError):
                    conf.register_opt(opt, group=(
                        None if group in ('DEFAULT', 'nova') else group))
        with requests_mock.Mocker() as web:
            if texts['driver']:
                web.get(URL, text=_text(texts['driver']))
                texts['file'].setdefault('DEFAULT', {})[
                    'config_source'] = 'far'
                texts['file']['far'] = {'driver': 'remote_file', 'uri': URL}
            for name in ('file', 'last file', 'directory'):
                (place / 'conf.d' / 'a.conf' if name == 'directory'
                 else place / name).write_text(_text(texts[name]))
            with mock.patch.dict(os.environ, environ):
                conf([f'--config-file={place / "file"}',
                      f'--config-dir={place / "conf.d"}',
                      f'--config-file={place / "last file"}', *args],
                     project='nova')
                for name, value, group in later:
                    conf.set_override(name, value, group=group)
                if conf.config_source:
                    assert conf._sources
                return self.door(conf, section)._group.identity

    def door(self, conf, section):
        with mock.patch.object(views, 'service_conf', lambda section: conf):
            return healthcheck.Healthcheck(None, section)


def _text(sections):
    return ''.join(f'[{group}]\n' + ''.join(
        f'{name} = {str(value).replace("$", "$$")}\n'
        for name, value in options.items())
        for group, options in sections.items())


@pytest.fixture(scope='module')
def site():
    with tempfile.TemporaryDirectory() as directory:
        yield Site(directory)


def places(group):
    return OURS if group == 'healthcheck' else SERVICES


@given(strategies.data())
@settings(max_examples=40, deadline=None)
def test_what_a_probe_uses_counts_and_not_where_it_is_set(site, data):
    group, opt = data.draw(strategies.sampled_from(OPTIONS))
    one, other = data.draw(strategies.tuples(
        *[strategies.sampled_from(places(group))] * 2))
    first = data.draw(strategies.sampled_from(values(opt)))
    register = data.draw(strategies.booleans())
    made = site.identity((one, group, opt, first), register=register)
    # Whether the service has registered its options by now is all the same.
    assert made == site.identity((other, group, opt, first),
                                 register=not register)
    second = data.draw(strategies.sampled_from(
        [value for value in values(opt) if value != first] or ['']))
    if second:
        assert made != site.identity((one, group, opt, second),
                                     register=register)


@pytest.mark.parametrize('group, opt', OPTIONS, ids=[
    f'{group}-{opt.dest}' for group, opt in OPTIONS])
def test_each_option_in_a_file_and_in_the_environment(site, group, opt):
    first = values(opt)[0]
    made = {site.identity((where, group, opt, first))
            for where in ('file', 'environment')}
    assert len(made) == 1
    assert site.identity(check=group) not in made


@given(strategies.data())
@settings(max_examples=15, deadline=None)
def test_the_place_that_wins_decides(site, data):
    """Of two places that set an option, what the lesser one says is void."""
    group, opt = data.draw(strategies.sampled_from(
        [(group, opt) for group, opt in OPTIONS if not opt.multi
         and len(values(opt)) > 1]))
    ranks = ['file', 'directory', 'last file', 'environment', 'override']
    if group == 'healthcheck':
        ranks.append('section')
    lesser, greater = sorted(data.draw(strategies.lists(
        strategies.sampled_from(ranks), min_size=2, max_size=2,
        unique=True)), key=ranks.index)
    first, second = values(opt)[:2]
    assert site.identity((lesser, group, opt, first),
                         (greater, group, opt, second)) == site.identity(
        (greater, group, opt, second))


@pytest.mark.parametrize('name', sorted(opts.NOT_PROBED))
def test_what_each_process_reads_for_itself_does_not_count(site, name):
    opt = {opt.dest: opt for opt in opts.all_opts()}[name]
    value = {'path': '/other', 'state_path': '/elsewhere', 'sharing': 'host',
             'drain_path': '/run/drain', 'allowed_source_ranges': '10.0.0.0/8',
             'detail_source_ranges': '10.0.0.0/8',
             'metrics_source_ranges': '10.0.0.0/8',
             'balancer_source_ranges': '192.0.2.0/24',
             }.get(name) or values(opt)[0]
    assert site.identity(('section', 'healthcheck', opt, value)) == (
        site.identity(check='healthcheck'))


class Test_two_processes:
    """What a plugin reads of others, of code and of the host."""

    text = '[database]\nconnection = mysql://nova:secret@db/nova\n'

    @pytest.fixture
    def identity(self, conf):
        def make(section=(), text=self.text, names=('database',),
                 kind=database.Database):
            view = views.View(conf(text), dict(section))
            kind(view, view.section)
            return group_module.identity(view, names)
        return make

    def test_comments_do_not_count(self, identity):
        assert identity(text=self.text + '# edited\n') == identity()

    def test_options_of_others_do_not_count(self, identity):
        assert identity(text=self.text + '[other]\na = 1\n') == identity()

    def test_their_names_and_their_order_count(self, identity):
        assert len({identity(), identity(names=['a', 'database']),
                    identity(names=['database', 'a'])}) == 3

    def test_which_code_a_plugin_is_counts(self, identity, monkeypatch):
        class Database(database.Database):
            pass
        made = {identity(), identity(kind=Database)}
        monkeypatch.setattr(
            'healthcheck.config.entrypoints.version_of',
            lambda module: 'another')
        made.add(identity())
        assert len(made) == 3

    def test_what_is_installed_is_read_once(self, monkeypatch, tmp_path):
        """Nothing else at a start takes as long."""
        read, times = metadata.packages_distributions, []
        monkeypatch.setattr(metadata, 'packages_distributions',
                            lambda: times.append(1) or read())
        entrypoints._distributions.cache_clear()
        for _ in range(2):
            assert entrypoints.version_of('pytest').startswith(
                f'pytest {pytest.__version__} ')
            assert entrypoints.version_of('late') == ''
        assert times == [1]
        # What has come to the path since is found.
        info = tmp_path / 'late-1.5.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text(
            'Metadata-Version: 2.1\nName: late\nVersion: 1.5\n')
        (info / 'top_level.txt').write_text('late\n')
        monkeypatch.syspath_prepend(str(tmp_path))
        assert entrypoints.version_of('late') == 'late 1.5'

    @pytest.mark.parametrize('name', ['PGHOST', 'PGPASSWORD'])
    def test_what_drivers_read_in_the_environment_counts(
            self, identity, monkeypatch, name):
        here = identity()
        monkeypatch.setenv(name, 'x')
        assert identity() != here

    @pytest.mark.parametrize('where', ['file', 'section', 'environment',
                                       'override', 'command line'])
    def test_of_a_plugin_of_others_everything_counts(
            self, plugin, tmp_path, monkeypatch, where):
        plugin(foreign='tests.unit.stubs:Foreign')
        names = itertools.count()

        def identity(value):
            path = tmp_path / str(next(names))
            path.write_text('[theirs]\nother = 1\n' + (
                f'their_own = {value}\n' if where == 'file' else ''))
            conf = cfg.ConfigOpts()
            args, section = [], {'backends': 'foreign', 'state_path': '/x'}
            if where == 'section':
                section['their_own'] = value
            if where == 'environment':
                monkeypatch.setenv('OS_THEIRS__THEIR_OWN', value)
            if where == 'override':
                conf.register_opt(cfg.StrOpt('their_own'), group='theirs')
            if where == 'command line':
                conf.register_cli_opt(cfg.StrOpt('their_own'),
                                      group='theirs')
                args = ['--theirs-their_own', value]
            conf(['--config-file', str(path), *args])
            if where == 'override':
                conf.set_override('their_own', value, group='theirs')
            monkeypatch.setattr(views, 'service_conf', lambda section: conf)
            return healthcheck.Healthcheck(None, section)._group.identity
        assert identity('1') == identity('1')
        assert identity('1') != identity('2')
        assert stubs.Foreign


def test_a_file_that_is_edited_between_two_reads(tmp_path):
    """Ours came after oslo.config's, and had the text of another one."""
    path = tmp_path / 'a.conf'
    made = []
    for first in ('sqlite:///a', 'sqlite:///b'):
        path.write_text(f'[database]\nconnection = {first}\n')
        conf = cfg.ConfigOpts()
        conf(['--config-file', str(path)])
        path.write_text('[database]\nconnection = sqlite:///b\n')
        view = views.View(conf, {})
        database.Database(view, {})
        made.append(group_module.identity(view, ['database']))
    assert made[0] != made[1]


def test_a_default_that_the_service_sets_in_code_counts(conf):
    made = set()
    for url in ('sqlite:///a', 'sqlite:///b'):
        service = conf('')
        service.register_opt(cfg.StrOpt('connection'), group='database')
        service.set_default('connection', url, group='database')
        view = views.View(service, {})
        database.Database(view, {})
        made.add(group_module.identity(view, ['database']))
    assert len(made) == 2
