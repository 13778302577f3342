# SPDX-License-Identifier: Apache-2.0

"""Where options come from, and what is said when they are wrong."""

import sys

from oslo_config import cfg
import oslo_middleware
from oslo_middleware import exceptions as oslo_exceptions
import pytest

import healthcheck
from healthcheck.config import databases
from healthcheck.config import opts
from healthcheck.config import views
from healthcheck import exceptions
from healthcheck.plugins import database
from tests.unit import wsgi


def view(section=(), conf=cfg.CONF):
    return views.View(conf, dict(section))


def problems(section, conf=None):
    with pytest.raises(exceptions.ConfigError) as caught:
        healthcheck.Healthcheck(wsgi.below, conf or section)
    return caught.value.problems


def test_defaults_are_the_documented_ones():
    settings = view().healthcheck
    assert (settings.path, settings.interval, settings.retry_interval,
            settings.timeout, settings.ttl, settings.fall, settings.rise,
            settings.slow_threshold, settings.jitter, settings.startup_wait,
            settings.noncritical) == (
        '/healthcheck', 10, 2, 5, 30, 2, 1, 1, 0.1, 1,
        ['services', 'worker'])


def test_a_section_comes_before_the_service(conf):
    service = conf('''
        [healthcheck]
        interval = 7
        fall = 4
        ''')
    settings = view({'interval': '9'}, service).healthcheck
    assert (settings.interval, settings.fall) == (9.0, 4)
    assert service.healthcheck.interval == 7


def test_values_may_be_of_their_type_already():
    settings = view({'backends': ['a', 'b'], 'detailed': True,
                     'interval': 3}).healthcheck
    assert (settings.backends, settings.detailed, settings.interval) == (
        ['a', 'b'], True, 3.0)


def test_everything_wrong_is_said_at_once():
    found = problems({
        'backends': 'databse', 'interval': 'soon', 'fall': '0',
        'noncritical': 'nobody', 'intervall': '3',
        'allowed_source_ranges': '10.0.0.0/99', 'path': 'healthcheck'})
    assert len(found) == 7
    text = '\n'.join(found)
    assert ("interval = 'soon': could not convert string to float: 'soon' "
            "(allowed: 0.1 to 3600)") in text
    assert "fall = '0': Should be greater than or equal to 1" in text
    assert ("backends = 'databse': there is no such plugin; did you mean "
            "database? (installed: ") in text
    assert "noncritical = 'nobody': there is no such check" in text
    assert 'intervall: there is no such option; did you mean interval?' in text
    assert "allowed_source_ranges = '10.0.0.0/99'" in text
    assert "path = 'healthcheck'" in text


def test_the_error_is_one_that_oslo_middleware_users_catch():
    with pytest.raises(oslo_exceptions.ConfigInvalid,
                       match='there is no such plugin'):
        healthcheck.Healthcheck(wsgi.below, {'backends': 'nope'})


def test_a_value_in_the_services_file(conf):
    service = conf('''
        [healthcheck]
        interval = 5000
        ''')
    assert problems(None, service) == (
        "interval = '5000' in [healthcheck]: Should be less than or equal "
        "to 3600 (allowed: 0.1 to 3600)",)


@pytest.mark.parametrize('section, start', [
    ({'ttl': '10'}, 'ttl = 10: a live prober can take 16 s'),
    ({'retry_interval': '11'}, 'retry_interval = 11: longer than interval'),
    ({'backends': 'live'}, "backends = 'live': a check cannot have the name"),
    ({'backends': 'metrics'}, "backends = 'metrics': a check cannot"),
    ({'backends': 'disable_by_file,enable_by_files'},
     'backends: disable_by_file and enable_by_files exclude each other'),
    ({'backends': 'disable_by_files_ports',
      'disable_by_file_paths': 'x:/drain'},
     "disable_by_file_paths = 'x:/drain': not of the form port:path"),
    ({'backends': 'database'}, 'database: there is no database to probe'),
    ({'backends': 'message_queue'},
     'message_queue: there is no message queue to probe'),
    ({'backends': 'database', 'database_connection': 'nonsense'},
     'database_connection: not the URL of a database'),
    ({'backends': 'database',
      'database_connection': 'mysql+pymysql://u:p@ss@host/db'},
     'database_connection: the password holds an @'),
    ({'backends': 'database',
      'database_connection': 'mysql+nodriver://u:pass@host/db'},
     'database_connection asks for mysql+nodriver'),
    ({'backends': 'message_queue',
      'message_queue_transport_url': 'kafka://u:p@h:1/'},
     'message_queue_transport_url: there is no proof that kafka:// works'),
    ({'backends': 'message_queue', 'message_queue_transport_url': 'none:///'},
     'message_queue_transport_url: there is no proof that none:// works'),
    ({'backends': 'message_queue', 'message_queue_transport_url': 'nope'},
     'message_queue_transport_url: not a transport URL'),
])
def test_one_mistake_is_one_line(section, start):
    found = problems(section)
    assert len(found) == 1
    assert found[0].startswith(start)
    assert 'p@ss' not in found[0] and 'pass@' not in found[0]


@pytest.mark.parametrize('scheme, module, extra', [
    ('mysql', 'MySQLdb', 'mysqlclient'),
    ('mysql+mysqldb', 'MySQLdb', 'mysqlclient'),
    ('mysql+pymysql', 'pymysql', 'mysql'),
    ('postgresql+psycopg2', 'psycopg2', 'postgresql'),
    ('postgresql+psycopg', 'psycopg', 'postgresql3')])
def test_a_missing_driver_names_its_extra(scheme, module, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    found = problems({'backends': 'database',
                      'database_connection': f'{scheme}://u:secret@h/d'})
    assert len(found) == 1 and 'secret' not in found[0]
    assert found[0].endswith(
        f"(pip install 'openstack-healthcheck[{extra}]')")


def test_a_secret_is_not_shown_when_it_is_wrong():
    opt = cfg.IntOpt('pin', secret=True)
    made = view({'pin': 'sesame'})
    made.register_opt(opt, group='healthcheck')
    assert made.problems == ['pin = ***: not valid (allowed: integer)']


def test_plugins_that_cannot_be_loaded(plugin):
    plugin(misconfigured='tests.unit.stubs:Misconfigured',
           broken='tests.unit.stubs:Broken',
           absent='tests.unit.nowhere:Absent')
    found = problems({'backends': 'misconfigured,broken,absent'})
    assert set(found) == {
        'first wrong', 'second wrong',
        "backends = 'broken': cannot be loaded: RuntimeError: no way: "
        "rabbit://***@host/",
        "backends = 'absent': cannot be loaded: ModuleNotFoundError: No "
        "module named 'tests.unit.nowhere'"}


def test_paste_defaults_are_not_taken_for_mistakes():
    healthcheck.Healthcheck.app_factory({'intervall': '1', 'here': '/etc'})
    with pytest.raises(exceptions.ConfigError, match='did you mean interval'):
        healthcheck.Healthcheck.app_factory({}, intervall='1')


def test_the_options_of_foreign_plugins_are_left_to_them(plugin):
    plugin(foreign='tests.unit.stubs:Foreign')
    healthcheck.Healthcheck(None, {'backends': 'foreign', 'their_own': '1'})
    assert problems({'backends': 'foreign', 'intervall': '1'}) == (
        'intervall: there is no such option; did you mean interval?',)


def test_nothing_is_written_into_the_services_configuration():
    made = view({'greeting': 'good day', 'interval': '3'})
    made.register_opt(cfg.StrOpt('greeting'), group='healthcheck')
    made.set_override('greeting', 'good day', group='healthcheck')
    assert made.healthcheck.greeting == 'good day'
    assert cfg.CONF.healthcheck.greeting is None
    assert cfg.CONF.healthcheck.interval == 10


def test_a_view_stands_in_for_the_service(conf):
    service = conf('[DEFAULT]\nhost = me\n')
    service.register_opt(cfg.StrOpt('host'))
    made = view({}, service)
    assert made.host == made['host'] == 'me'
    assert 'host' in made


def test_a_service_may_have_an_option_of_that_name(conf):
    service = conf('[healthcheck]\ninterval = 7\n')
    service.register_opt(cfg.IntOpt('interval', help='Our own.'),
                         group='healthcheck')
    assert view({}, service).healthcheck.interval == 7


def test_a_services_option_is_asked_for(conf):
    service = conf('[database]\nconnection = sqlite:///a\n')
    service.register_opt(cfg.StrOpt('connection'), group='database')
    service.set_override('connection', 'sqlite:///b', group='database')
    assert views.service_option(service, 'database',
                                'connection') == 'sqlite:///b'


def test_a_services_option_that_it_has_not_registered_is_read(conf):
    service = conf('''
        [DEFAULT]
        transport_url = fake://
        [database]
        connection = sqlite:///a
        ''')
    made = view({}, service)
    assert views.service_option(made, 'database',
                                'connection') == 'sqlite:///a'
    assert views.service_option(made, None, 'transport_url') == 'fake://'
    assert 'database' not in service and 'transport_url' not in service


def test_a_service_that_was_told_no_files_has_no_options():
    assert views.service_option(cfg.ConfigOpts(), 'database',
                                'connection') is None


def test_a_project_can_be_named(tmp_path):
    path = tmp_path / 'my.conf'
    path.write_text('[healthcheck]\nfall = 7\n')
    section = {'oslo_config_project': 'mine', 'oslo_config_file': str(path)}
    service = views.service_conf(section)
    assert service is not cfg.CONF
    assert view(section, service).healthcheck.fall == 7
    assert healthcheck.Healthcheck(None, section).policy.fall == 7


def test_a_parsed_database_connection_has_its_parameters(conf):
    service = conf('''
        [database]
        connection = mysql+pymysql://u:p@h/db?charset=utf8
        connection_parameters = ssl_ca=/ca.pem
        ''')
    made = database.Database(service, {})
    assert made._target._dialect.url.query == {'charset': 'utf8',
                                               'ssl_ca': '/ca.pem'}


@pytest.mark.parametrize('project, place', [
    (None, '[database]connection'), ('nova', '[database]connection'),
    ('placement', '[placement_database]connection'),
    ('designate', '[storage:sqlalchemy]connection'),
    ('zaqar', '[drivers:management_store:sqlalchemy]uri'),
    ('gnocchi', '[indexer]url'), ('barbican', '[database]connection'),
    ('barbican', '[DEFAULT]sql_connection')])
class Test_whose_database:
    @pytest.fixture
    def find(self, project, tmp_path):
        def find(text, section=()):
            path = tmp_path / 'service.conf'
            path.write_text(text)
            service = cfg.ConfigOpts()
            service(['--config-file', str(path)], project=project)
            return databases.find_url(
                view(section, service), 'database_connection', 'none')
        return find

    def test_where_the_service_has_it(self, find, place, project):
        group, _, name = place[1:].partition(']')
        text = f'[{group}]\n{name} = sqlite:///a\n'
        assert find(text) == (place, 'sqlite:///a')
        assert find(text, {'database_connection': 'sqlite:///b'}) == (
            'database_connection', 'sqlite:///b')

    def test_the_error_names_it(self, find, place, project):
        if place == '[DEFAULT]sql_connection':
            place = '[database]connection'
        with pytest.raises(exceptions.ConfigError) as caught:
            find('')
        assert caught.value.problems == (
            f'none; set {place} of the service, or database_connection',)


def test_a_database_of_a_service_that_is_not_named(conf):
    service = conf('[placement_database]\nconnection = sqlite:///a\n')
    with pytest.raises(exceptions.ConfigError,
                       match=r'set \[database\]connection .* '
                       r'\(\[placement_database\]connection is set: if this '
                       r'is placement, say so with oslo_config_project'):
        databases.find_url(view({}, service), 'database_connection', 'none')


def test_the_error_of_the_cells_names_their_database():
    found = problems({'backends': 'cells'})
    assert found == (
        'cells, services: there is no database that lists the cells; set '
        '[api_database]connection of the service, or cells_api_connection',)


@pytest.mark.parametrize('url', [
    'sqlite:///x?plugin=dbcounter',
    'mysql+pymysql://u:seesaw@h/db?charset=utf8&plugin=dbcounter'])
def test_a_plugin_of_sqlalchemy_that_is_not_there(url):
    line, = problems({'backends': 'database', 'database_connection': url})
    assert line.startswith('database_connection: plugin= behind the ? of the '
                           'URL asks for a plugin of SQLAlchemy')
    assert 'sqlalchemy.plugins:dbcounter' in line
    assert 'driver' not in line and 'seesaw' not in line


def test_options_can_be_listed_beside_oslo_middlewares():
    (group, ours), = opts.list_opts()
    assert group == 'healthcheck'
    names = [opt.dest for opt in opts.all_opts()]
    assert len(names) == len(set(names))
    assert all(opt.help for opt in ours)
    secrets = {opt.dest for opt in ours if opt.secret}
    assert secrets == {'cells_api_connection', 'database_connection',
                       'fleet_url', 'message_queue_transport_url'}


def test_stock_oslo_middleware_may_be_loaded_beside_us():
    healthcheck.Healthcheck(None, {})
    oslo_middleware.Healthcheck(None, cfg.CONF)
