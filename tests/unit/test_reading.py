# SPDX-License-Identifier: Apache-2.0
"""An option is what the service would make of it, registered or not."""

import itertools
import os

from oslo_config import cfg
import pytest
import requests_mock

from healthcheck.config import messaging
from healthcheck.config import opts
from healthcheck.config import reading
from healthcheck.config import views
from healthcheck import exceptions
from healthcheck.plugins import service_tables

GROUP, NAME = 'database', 'connection'


def read(conf, group=GROUP, name=NAME):
    return views.service_option(conf, group, name)


def registered(args=(), **kwargs):
    """What oslo.config makes of it for a service that has registered it."""
    conf = cfg.ConfigOpts()
    conf.register_opt(cfg.StrOpt(NAME), group=GROUP)
    conf.register_opts([cfg.StrOpt('my_ip'), cfg.StrOpt('state_path')])
    conf(list(args), **kwargs)
    return conf[GROUP][NAME]


def unregistered(args=(), **kwargs):
    conf = cfg.ConfigOpts()
    conf(list(args), **kwargs)
    return read(conf)


@pytest.fixture
def write(tmp_path):
    """Write a file that sets the option; returns its path."""
    def write(name, value, more=''):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'{more}[{GROUP}]\n{NAME} = {value}\n')
        return str(path)
    return write


def _orders():
    sources = [('--config-file', 'a.conf'), ('--config-file', 'b.conf'),
               ('--config-dir', 'c.d'), ('--config-dir', 'd.d')]
    for count in (1, 2, 3, 4):
        yield from itertools.permutations(sources, count)


class Test_order:
    @pytest.fixture
    def directory(self, tmp_path, write):
        for name in ('a.conf', 'b.conf', 'c.d/1.conf', 'c.d/2.conf',
                     'd.d/3.conf'):
            write(name, f'sqlite:///{name}')
        return tmp_path

    @pytest.mark.parametrize('order', _orders(), ids=lambda order: '-'.join(
        name[0] for _, name in order))
    @pytest.mark.parametrize('form', ['two', 'one'])
    def test_on_the_command_line(self, directory, order, form):
        args = []
        for option, name in order:
            path = str(directory / name)
            args += [option, path] if form == 'two' else [f'{option}={path}']
        wanted = registered(args)
        assert unregistered(args) == wanted
        last = order[-1][1]
        assert wanted == 'sqlite:///' + {
            'c.d': 'c.d/2.conf', 'd.d': 'd.d/3.conf'}.get(last, last)

    def test_of_defaults(self, directory):
        given = {'default_config_files': [str(directory / 'a.conf')],
                 'default_config_dirs': [str(directory / 'c.d'),
                                         str(directory / 'd.d')]}
        assert unregistered(**given) == registered(**given) == (
            'sqlite:///d.d/3.conf')

    def test_the_files_are_listed(self, directory):
        conf = cfg.ConfigOpts()
        conf(['--config-dir', str(directory / 'c.d'), '--config-file',
              str(directory / 'a.conf'), '--config-dir',
              str(directory / 'd.d')])
        assert [os.path.relpath(path, directory)
                for path in reading.files(conf)] == [
            'a.conf', 'c.d/1.conf', 'c.d/2.conf', 'd.d/3.conf']


def test_the_environment_comes_before_files(write, monkeypatch):
    monkeypatch.setenv('OS_DATABASE__CONNECTION', 'sqlite:///e')
    path = write('a.conf', 'sqlite:///a')
    for args in ([], ['--config-file', path]):
        assert unregistered(args, default_config_files=[]) == registered(
            args, default_config_files=[]) == 'sqlite:///e'


def test_a_service_may_read_no_environment(write, monkeypatch):
    monkeypatch.setenv('OS_DATABASE__CONNECTION', 'sqlite:///e')
    args = ['--config-file', write('a.conf', 'sqlite:///a')]
    assert unregistered(args, use_env=False) == 'sqlite:///a'


def test_drivers_of_oslo_config(write):
    args = ['--config-file', write('a.conf', '', more='''
[DEFAULT]
config_source = far
[far]
driver = remote_file
uri = http://conf.example.org/nova.conf
''').replace('a.conf', 'a.conf')]
    with open(args[1], encoding='utf-8') as file:
        text = file.read().replace(f'[{GROUP}]\n{NAME} = \n', '')
    with open(args[1], 'w', encoding='utf-8') as file:
        file.write(text)
    with requests_mock.Mocker() as web:
        web.get('http://conf.example.org/nova.conf',
                text=f'[{GROUP}]\n{NAME} = sqlite:///far\n')
        assert unregistered(args) == registered(args) == 'sqlite:///far'


def test_a_file_counts_as_it_was_read(write):
    path = write('a.conf', 'sqlite:///a')
    conf = cfg.ConfigOpts()
    conf(['--config-file', path])
    write('a.conf', 'sqlite:///b')
    assert read(conf) == 'sqlite:///a'
    conf.reload_config_files()
    assert read(conf) == 'sqlite:///b'


class Test_names_in_values:
    """As ``$state_path`` in most nova.conf files that are shipped."""

    MORE = '[DEFAULT]\nmy_ip = 192.0.2.1\nstate_path = /var/lib/$my_ip\n'

    @pytest.mark.parametrize('value, wanted', [
        ('mysql://u:p@$my_ip/db', 'mysql://u:p@192.0.2.1/db'),
        ('mysql://u:p@${my_ip}0/db', 'mysql://u:p@192.0.2.10/db'),
        ('sqlite:///$state_path/a', 'sqlite:////var/lib/192.0.2.1/a'),
        ('mysql://u:p$$my_ip@h/db', 'mysql://u:p$my_ip@h/db'),
        (r'mysql://u:p\$my_ip@h/db', 'mysql://u:p$my_ip@h/db'),
        ('mysql://u:p$@h/db', 'mysql://u:p$@h/db'),
    ])
    def test_are_looked_up(self, write, value, wanted):
        args = ['--config-file', write('a.conf', value, self.MORE)]
        assert unregistered(args) == registered(args) == wanted

    def test_of_another_group(self, write):
        args = ['--config-file', write('a.conf', 'sqlite:///${far.path}',
                                       '[far]\npath = /$away\naway = x\n')]
        assert unregistered(args) == 'sqlite:////x'

    def test_of_the_same_group_first(self, write):
        path = write('a.conf', 'sqlite:///$my_ip', self.MORE)
        with open(path, 'a', encoding='utf-8') as file:
            file.write('my_ip = 198.51.100.1\n')
        assert unregistered(['--config-file', path]) == (
            'sqlite:///198.51.100.1')

    def test_in_the_environment(self, write, monkeypatch):
        args = ['--config-file', write('a.conf', 'sqlite:///$my_ip')]
        monkeypatch.setenv('OS_DEFAULT__MY_IP', '203.0.113.1')
        assert unregistered(args) == registered(args) == (
            'sqlite:///203.0.113.1')

    def test_that_the_service_has_set_in_code(self, write):
        conf = cfg.ConfigOpts()
        conf(['--config-file', write('a.conf', 'sqlite:///$state_path/x')])
        conf.register_opt(cfg.StrOpt('state_path', default='/var/lib/nova'))
        assert read(conf) == 'sqlite:////var/lib/nova/x'
        conf.set_override('state_path', '/srv')
        assert read(conf) == 'sqlite:////srv/x'

    def test_in_an_option_that_the_service_has_registered(self, write):
        conf = cfg.ConfigOpts()
        conf.register_opt(cfg.StrOpt(NAME), group=GROUP)
        conf(['--config-file', write('a.conf', '$my_ip', self.MORE)])
        assert read(conf) == '192.0.2.1'

    def test_in_our_own_options(self, write):
        path = write('a.conf', 'sqlite://', self.MORE
                     + '[healthcheck]\ndatabase_connection = '
                       'mysql://u:p@$my_ip/db\n')
        conf = cfg.ConfigOpts()
        conf(['--config-file', path])
        made = views.View(conf, {})
        made.check()
        assert made.healthcheck.database_connection == (
            'mysql://u:p@192.0.2.1/db')

    def test_that_are_nowhere(self, write):
        path = write('a.conf', 'mysql://u:seesaw@$my_ip/db')
        with pytest.raises(exceptions.ConfigError) as caught:
            unregistered(['--config-file', path])
        assert caught.value.problems == (
            f'[database]connection refers to $my_ip, which is not set in '
            f'{path} (set my_ip there, or write its value in place of '
            f'$my_ip)',)

    @pytest.mark.parametrize('value', [
        'mysql://u:see$saw@h/db', 'mysql://u:see${saw}@h/db',
        'mysql://u:p@h/db?ssl_key_password=see$saw',
        'mysql://u:pa/see$saw@h/db', 'mysql://u:p@see$saw:p@h/db',
        'mysql://u:a@h1:1,see$saw:b@h2/db'])
    def test_that_may_be_of_a_password_are_not_shown(self, write, value):
        path = write('a.conf', value)
        with pytest.raises(exceptions.ConfigError) as caught:
            unregistered(['--config-file', path])
        assert 'saw' not in str(caught.value)
        assert '(allowed: $$ for a $ that is part of a password)' in str(
            caught.value)

    @pytest.mark.parametrize('more, value', [
        ('', '$connection'), ('[DEFAULT]\na = $b\nb = $a\n', '$a')])
    def test_that_refer_to_themselves(self, write, more, value):
        with pytest.raises(exceptions.ConfigError,
                           match=r'\[database\]connection: a \$name'):
            unregistered(['--config-file', write('a.conf', value, more)])

    def test_of_a_library(self, write):
        conf = cfg.ConfigOpts()
        conf(['--config-file', write(
            'a.conf', 'x', '[oslo_messaging_rabbit]\n'
            'ssl_ca_file = $state_path/ca.pem\n')])
        with pytest.raises(exceptions.ConfigError,
                           match=r'\[oslo_messaging_rabbit\]ssl_ca_file '
                           r'refers to \$state_path'):
            messaging.note(views.View(conf, {}))


class Test_what_a_library_gets:
    @pytest.fixture
    def service(self, write):
        conf = cfg.ConfigOpts()
        conf(['--config-file', write('a.conf', 'sqlite:///$my_ip',
                                     '[DEFAULT]\nmy_ip = 192.0.2.1\n')],
             project='nova')
        return conf

    def test_it_registers_its_options_for_itself(self, service):
        private = reading.Private(service)
        private.register_opt(cfg.StrOpt(NAME, default='x'), group=GROUP)
        private.register_opt(cfg.IntOpt('more', default=3), group=GROUP)
        assert private.database.connection == 'sqlite:///192.0.2.1'
        assert private.database.more == private['database']['more'] == 3
        assert GROUP not in service
        assert private.project == 'nova'
        assert private.config_file == service.config_file

    def test_it_sees_what_the_service_has_set_in_code(self, service):
        service.register_opt(cfg.StrOpt(NAME), group=GROUP)
        service.set_override(NAME, 'sqlite:///b', group=GROUP)
        private = reading.Private(service)
        private.register_opt(cfg.StrOpt(NAME), group=GROUP)
        assert private.database.connection == 'sqlite:///b'

    def test_what_it_sets_stays_there(self, service):
        service.register_opt(cfg.StrOpt('my_ip'))
        service.register_opt(cfg.StrOpt(NAME), group=GROUP)
        private = reading.Private(service)
        private.register_opt(cfg.StrOpt(NAME), group=GROUP)
        private.set_override(NAME, 'sqlite:///c', group=GROUP)
        assert private.database.connection == 'sqlite:///c'
        assert service.database.connection == 'sqlite:///192.0.2.1'


FLOATS = sorted(opt.dest for opt in opts.all_opts()
                if isinstance(opt, cfg.FloatOpt))


@pytest.mark.parametrize('value', ['nan', 'NaN', 'inf', '-inf', 'infinity'])
@pytest.mark.parametrize('name', FLOATS)
class Test_numbers_that_are_none:
    """With a ttl that is nan a dead prober would answer 200 for ever."""

    def refused(self, section, conf, start):
        made = views.View(conf, section)
        assert len(made.problems) == 1
        assert made.problems[0].startswith(start), made.problems
        opt = made.options[self.name]
        assert made.problems[0].endswith(
            f'(allowed: {opt.type.min:g} to {opt.type.max:g})')
        assert getattr(made.healthcheck, self.name) == opt.default

    @pytest.fixture(autouse=True)
    def _named(self, name):
        self.name = name

    def test_in_a_section(self, name, value):
        self.refused({name: value}, cfg.CONF, f'{name} = {value!r}: ')

    def test_of_their_type_in_a_section(self, name, value):
        self.refused({name: float(value)}, cfg.CONF, f'{name} = ')

    def test_in_a_file(self, name, value, conf):
        self.refused({}, conf(f'[healthcheck]\n{name} = {value}\n'),
                     f'{name} = {value!r} in [healthcheck]: ')

    def test_in_the_environment(self, name, value, conf, monkeypatch):
        variable = f'OS_HEALTHCHECK__{name.upper()}'
        monkeypatch.setenv(variable, value)
        self.refused({}, conf(''), f'{name} = {value!r} in ${variable}: ')


def test_there_are_ten_or_more():
    assert len(FLOATS) >= 10


@pytest.mark.parametrize('name', ['service_down_time', 'report_interval'])
@pytest.mark.parametrize('value', ['nan', 'inf', '-inf'])
def test_numbers_of_the_service_that_are_none(name, value):
    with pytest.raises(ValueError):
        service_tables.NOVA.down_time({name: value}.get)
