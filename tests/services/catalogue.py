# SPDX-License-Identifier: Apache-2.0

"""The services, and the ways in which the health check is mounted in them."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses

Sections = Mapping[str, Mapping[str, object]]
Edit = tuple[str, str, str]
"""(file, what stands there, what a deployer puts in its place)."""

OURS = 'application/health+json'
"""What only our pages are in."""

SHIPPED_CLASS = 'paste.app_factory = oslo_middleware:Healthcheck.app_factory'
OUR_CLASS = 'paste.app_factory = healthcheck:Healthcheck.app_factory'
SHIPPED_BACKENDS = 'backends = disable_by_file\n'

APP = '''
[app:healthcheck]
use = egg:openstack-healthcheck#healthcheck
'''
FILTER = '''
[filter:healthcheck]
use = egg:openstack-healthcheck#healthcheck
'''


@dataclasses.dataclass(frozen=True)
class Way:
    """One way to mount the health check.

    :param how: for the table
    :param edits: of the files that the package ships
    :param appended: what is added at the end of a file
    :param sections: of the service's configuration
    :param in_paste: whether a paste file names the backends, and
        ``disable_by_file`` behind the service's own
    :param wrapped: whether ``healthcheck.wsgi`` wraps the service
    :param ours: whether the pages are ours, not oslo.middleware's
    """

    name: str
    how: str
    edits: Sequence[Edit] = ()
    appended: Mapping[str, str] = dataclasses.field(default_factory=dict)
    sections: Sections = dataclasses.field(default_factory=dict)
    in_paste: bool = False
    wrapped: bool = False
    ours: bool = True


@dataclasses.dataclass(frozen=True)
class Service:
    """A service, and what its deployer has to say to it at least.

    :param title: for the table
    :param project: its name for oslo.config, and below /etc
    :param package: on PyPI
    :param module: its WSGI entry point
    :param sections: of its configuration; ``{database}``, ``{queue}`` and
        ``{directory}`` are filled in
    :param prepare: its commands before the first start
    :param file: its configuration, below ``/etc/<project>``
    :param more: files of its configuration that it needs besides, by name
    """

    title: str
    project: str
    package: str
    module: str
    sections: Sections
    prepare: Sequence[Sequence[str]]
    ways: Sequence[Way]
    file: str = ''
    more: Mapping[str, Sections] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.title.lower().replace(' ', '-')

    @property
    def config(self) -> str:
        return self.file or f'{self.project}.conf'

    @property
    def has_queue(self) -> bool:
        return '{queue}' in str(self.sections)

    @property
    def backends(self) -> list[str]:
        return ['database', *(['message_queue'] if self.has_queue else [])]


def wrapper() -> Way:
    return Way('wrapper', '``healthcheck.wsgi``', wrapped=True)


def with_services(service: Service) -> Way:
    """Our app, with the check ``services`` and its details for anybody."""
    way, *_ = service.ways
    return dataclasses.replace(way, edits=[
        (name, before, after.replace(BOTH, 'database,services'))
        for name, before, after in way.edits],
        sections={'healthcheck': {'detail_source_ranges': '127.0.0.0/8'}})


def in_code(how: str, sections: Sections | None = None) -> Way:
    """oslo.middleware's class, which the service mounts in code."""
    return Way('in code', how, sections=sections or {}, ours=False)


def paste_app(file: str, backends: str, shipped: str = SHIPPED_BACKENDS,
              ) -> tuple[Way, Way]:
    """The app of the service's own paste file: ours, and oslo.middleware's.

    :param shipped: its line of backends; empty if there is none
    """
    change: list[Edit] = []
    if shipped:
        change.append((file, shipped,
                       f'backends = {backends},disable_by_file\n'))
    return (
        Way('our app', 'paste app, class replaced',
            edits=[(file, SHIPPED_CLASS, OUR_CLASS), *change],
            in_paste=bool(shipped)),
        Way('shipped app', 'paste app as shipped', edits=change,
            in_paste=bool(shipped), ours=False))


BOTH = 'database,message_queue'

DATABASE = {'connection': '{database}'}
QUEUE = {'transport_url': '{queue}'}
NOVA_SCHEMA = [
    ['nova-manage', 'api_db', 'sync'],
    ['nova-manage', 'cell_v2', 'map_cell0',
     '--database_connection', '{database}'],
    ['nova-manage', 'db', 'sync', '--local_cell']]
LOCKS = {'lock_path': '{directory}/locks'}

SERVICES = [
    Service(
        'Placement', 'placement', 'openstack-placement',
        'placement.wsgi.api:application', {
            'api': {'auth_strategy': 'noauth2'},
            'placement_database': DATABASE},
        [['placement-manage', 'db', 'sync']], [wrapper()]),
    Service(
        'Glance', 'glance', 'glance', 'glance.wsgi.api:application', {
            'DEFAULT': {'node_staging_uri': 'file://{directory}/staging'},
            'database': DATABASE, 'oslo_concurrency': LOCKS,
            'glance_store': {'filesystem_store_datadir': '{directory}/images'},
        }, [['glance-manage', 'db_sync']],
        paste_app('glance-api-paste.ini', 'database'),
        file='glance-api.conf'),
    Service(
        'Cinder', 'cinder', 'cinder', 'cinder.wsgi.api:application', {
            'DEFAULT': {**QUEUE, 'auth_strategy': 'noauth',
                        'state_path': '{directory}',
                        'report_interval': 2, 'service_down_time': 8},
            'database': DATABASE, 'oslo_concurrency': LOCKS},
        [['cinder-manage', 'db', 'sync']],
        paste_app('api-paste.ini', BOTH)),
    Service(
        'Neutron', 'neutron', 'neutron', 'neutron.wsgi.api:application', {
            'DEFAULT': {**QUEUE, 'auth_strategy': 'noauth',
                        'core_plugin': 'ml2', 'agent_down_time': 8},
            'agent': {'report_interval': 2},
            'database': DATABASE, 'oslo_concurrency': LOCKS},
        [['neutron-db-manage', 'upgrade', 'heads']],
        paste_app('api-paste.ini', BOTH),
        more={'plugins/ml2/ml2_conf.ini': {'ml2': {
            'type_drivers': 'flat', 'tenant_network_types': '',
            'mechanism_drivers': ''}}}),
    Service(
        'Nova metadata', 'nova', 'nova', 'nova.wsgi.metadata:application', {
            'DEFAULT': {**QUEUE, 'state_path': '{directory}'},
            'api_database': {'connection': '{api_database}'},
            'database': DATABASE,
            'oslo_concurrency': LOCKS},
        NOVA_SCHEMA,
        [Way('filter', 'paste filter', appended={'api-paste.ini': FILTER},
             edits=[('api-paste.ini',
                     'pipeline = cors http_proxy_to_wsgi metaapp',
                     'pipeline = healthcheck cors http_proxy_to_wsgi '
                     'metaapp')]), wrapper()]),
    Service(
        'Nova', 'nova', 'nova', 'nova.wsgi.osapi_compute:application', {
            'DEFAULT': {**QUEUE, 'state_path': '{directory}'},
            'api_database': {'connection': '{api_database}'},
            'database': DATABASE,
            'oslo_concurrency': LOCKS},
        NOVA_SCHEMA,
        [Way('app', 'paste app added', appended={'api-paste.ini': APP},
             edits=[('api-paste.ini', '/: oscomputeversions\n',
                     '/: oscomputeversions\n/healthcheck: healthcheck\n')]),
         wrapper()]),
    Service(
        'Keystone', 'keystone', 'keystone', 'keystone.wsgi.api:application', {
            'database': DATABASE, 'oslo_concurrency': LOCKS,
            'fernet_tokens': {'key_repository': '{directory}/keys'},
            'fernet_receipts': {'key_repository': '{directory}/keys'}},
        [['keystone-manage', 'db_sync'],
         ['keystone-manage', 'fernet_setup',
          '--keystone-user', 'root', '--keystone-group', 'root']],
        [in_code('as shipped (in code)'), wrapper()]),
    Service(
        'Heat', 'heat', 'openstack-heat', 'heat.wsgi.api:application', {
            'DEFAULT': QUEUE, 'database': DATABASE,
            'oslo_concurrency': LOCKS},
        [['heat-manage', 'db_sync']],
        paste_app('api-paste.ini', BOTH, shipped='')),
    Service(
        'Barbican', 'barbican', 'barbican', 'barbican.wsgi.api:application', {
            'DEFAULT': {'db_auto_create': False}, 'database': DATABASE},
        [['barbican-manage', 'db', 'upgrade']],
        paste_app('barbican-api-paste.ini', 'database')),
    Service(
        'Octavia', 'octavia', 'octavia', 'octavia.wsgi.api:application', {
            'DEFAULT': QUEUE, 'database': DATABASE,
            'api_settings': {'auth_strategy': 'noauth',
                             'enabled_provider_drivers':
                                 'noop_driver:no operation',
                             'default_provider_driver': 'noop_driver'},
            'oslo_messaging': {'topic': 'octavia_prov'}},
        [['octavia-db-manage', 'upgrade', 'head']],
        [in_code('as shipped (in code, ``healthcheck_enabled``)',
                 {'api_settings': {'healthcheck_enabled': True}}),
         wrapper()]),
    Service(
        'Ironic', 'ironic', 'ironic', 'ironic.wsgi.api:application', {
            'DEFAULT': {**QUEUE, 'auth_strategy': 'noauth'},
            'database': DATABASE, 'oslo_concurrency': LOCKS},
        [['ironic-dbsync', 'create_schema']],
        [in_code('as shipped (in code, ``[healthcheck]enabled``)',
                 {'healthcheck': {'enabled': True}}), wrapper()]),
    Service(
        'Manila', 'manila', 'manila', 'manila.wsgi.api:application', {
            'DEFAULT': {**QUEUE, 'auth_strategy': 'noauth',
                        'state_path': '{directory}'},
            'database': DATABASE, 'oslo_concurrency': LOCKS},
        [['manila-manage', 'db', 'sync']],
        paste_app('api-paste.ini', BOTH)),
    Service(
        'Designate', 'designate', 'designate',
        'designate.wsgi.api:application', {
            'DEFAULT': {**QUEUE, 'state_path': '{directory}'},
            'service:api': {'auth_strategy': 'noauth'},
            'storage:sqlalchemy': DATABASE, 'oslo_concurrency': LOCKS},
        [['designate-manage', 'database', 'sync']],
        paste_app('api-paste.ini', BOTH)),
    Service(
        'Magnum', 'magnum', 'magnum', 'magnum.wsgi.api:application', {
            'DEFAULT': {**QUEUE, 'state_path': '{directory}'},
            'database': DATABASE, 'oslo_concurrency': LOCKS},
        [['magnum-db-manage', 'upgrade']],
        paste_app('api-paste.ini', BOTH)),
]
