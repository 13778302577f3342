# SPDX-License-Identifier: Apache-2.0

"""Whose configuration a file is."""

from oslo_config import cfg
import pytest

from healthcheck.config import projects


def read(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[str(path)], default_config_dirs=[])
    return conf, [str(path)]


API = '[api_database]\nconnection = mysql://there\n'


@pytest.mark.parametrize('name, text, project', [
    ('nova.conf', '', 'nova'), ('nova-api.conf', '', 'nova'),
    ('etc/cinder_api.conf', '', 'cinder'), ('Glance.conf', '', 'glance'),
    ('service.conf', '', None), ('innova.conf', '', None),
    ('novata.conf', '', None), ('my-nova/service.conf', '', None),
    ('service.conf', API, 'nova'),
    # What a file says of itself counts more than where it lies.
    ('cinder/service.conf', API, 'nova'),
    ('kolla/neutron-server/x.conf', '', 'neutron'),
    ('keystone/nova.conf', '', 'nova'),
    ('a.conf', '[placement_database]\nconnection = x\n', 'placement'),
    ('a.conf', '[DEFAULT]\ncore_plugin = ml2\n', 'neutron'),
])
def test_project(tmp_path, name, text, project):
    assert projects.guess(*read(tmp_path / name, text)) == project


QUEUE = '[DEFAULT]\ntransport_url = rabbit://there\n'


@pytest.mark.parametrize('project, text, backends', [
    ('nova', '', ['cells', 'services', 'message_queue']),
    ('cinder', '', ['database', 'message_queue', 'services']),
    ('keystone', '', ['database']), (None, '', ['database']),
    (None, QUEUE, ['database', 'message_queue']),
])
def test_backends(tmp_path, project, text, backends):
    conf, _ = read(tmp_path / 'a.conf', text)
    assert projects.backends_of(conf, project) == backends
