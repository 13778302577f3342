# SPDX-License-Identifier: Apache-2.0

"""The lines for each deployment tool, as that tool would read them."""

from __future__ import annotations

import pathlib
import re

from jinja2 import nativetypes
from paste.deploy import loadwsgi
import pytest
import yaml

import healthcheck
from healthcheck.config import opts

DOCS = pathlib.Path(__file__).parents[2] / 'doc' / 'source'
EXAMPLES = DOCS / 'examples'


def read(name):
    return yaml.safe_load((EXAMPLES / name).read_text(encoding='utf-8'))


def kubernetes(name='kubernetes.yaml'):
    return {name: (probe['httpGet']['path'], probe)
            for name, probe in read(name).items()}


def helm(service, component, container):
    probes = read(f'openstack-helm-{service}.yaml')['pod']['probes']
    return {f'{name}Probe': (
        probe['params'].get('httpGet', {}).get('path'), probe['params'])
        for name, probe in probes[component][container].items()}


def operator():
    probes = read('nova-operator.yaml')['spec']['apiServiceTemplate'][
        'override']['probes']
    return {name.removesuffix('s'): (probe['path'], probe)
            for name, probe in probes.items()}


@pytest.mark.parametrize('probes, ready', [
    (kubernetes(), '/healthcheck'),
    (kubernetes('kubernetes-open.yaml'),
     '/healthcheck/ready?exclude=database&exclude=message_queue'),
    (helm('nova', 'api-osapi', 'default'), '/healthcheck'),
    # It has /healthcheck already.
    (helm('cinder', 'api', 'cinder-api'), None),
    (operator(), '/healthcheck'),
], ids=['Kubernetes', 'Kubernetes, open', 'helm nova', 'helm cinder',
        'nova-operator'])
def test_liveness_looks_at_no_backend(probes, ready):
    paths = {name: path for name, (path, _) in probes.items()}
    assert paths == {'livenessProbe': '/healthcheck/live',
                     'readinessProbe': ready}
    waits, = (opt.default for opt in opts.all_opts()
              if opt.name == 'startup_wait')
    # Where it is left out, that is because the tool has 5 s or more.
    for name, (_, probe) in probes.items():
        assert probe.get('timeoutSeconds', 5) > waits, name


def ini(sections):
    """As oslo.config and PasteDeploy read it; the tools write it so."""
    return '\n'.join(f'[{name}]\n' + '\n'.join(
        f'{key} = {value}' for key, value in section.items())
        for name, section in sections.items())


def charm():
    page = (DOCS / 'deployment' / 'charms.rst').read_text()
    block, = re.findall(r'\.\. code-block:: ini\n\n((?:(?:    .*)?\n)+)', page)
    return re.sub('^    ', '', block, flags=re.MULTILINE)


PASTE = {
    'openstack-ansible': lambda: ini(
        read('openstack-ansible.yml')['nova_api_paste_ini_overrides']),
    'helm nova': lambda: ini(read('openstack-helm-nova.yaml')['conf'][
        'paste']),
    'helm cinder': lambda: ini(read('openstack-helm-cinder.yaml')['conf'][
        'paste']),
    'nova-operator': lambda: read('nova-operator.yaml')['spec'][
        'apiServiceTemplate']['defaultConfigOverwrite']['api-paste.ini'],
    'charms': charm,
}


@pytest.mark.parametrize('tool', PASTE)
def test_paste_file(tool, tmp_path):
    """The section is ours, and the service's composite has it."""
    text = PASTE[tool]()
    path = tmp_path / 'paste.ini'
    path.write_text(text)
    found = loadwsgi.loadcontext(loadwsgi.APP, f'config:{path}',
                                 name='healthcheck')
    assert found.object == healthcheck.Healthcheck.app_factory
    if tool != 'helm cinder':  # which has it
        composite = text.split('[composite:osapi_compute]')[1].split('[')[0]
        assert re.search(r'^/healthcheck ?[:=] healthcheck$', composite,
                         re.MULTILINE)


@pytest.mark.parametrize('service, expected', [
    ('nova-api', ['option httpchk GET /healthcheck',
                  'http-check expect status 200']),
    ('grafana', [])])
def test_kolla_adds_lines_for_one_service(service, expected):
    """The expression stands for a list, in Ansible as here."""
    text = read('kolla-ansible.yml')['haproxy_backend_http_extra']
    template = nativetypes.NativeEnvironment().from_string(text)
    assert template.render(item={'key': service}) == expected


@pytest.mark.parametrize('service, more', [
    ('nova-api', ['use_backend nova_open if { nbsrv(nova_api_back) eq 0 }']),
    ('grafana', [])])
def test_kolla_keeps_its_own_lines_of_a_frontend(service, more):
    text = read('kolla-ansible-open.yml')['haproxy_frontend_http_extra']
    template = nativetypes.NativeEnvironment().from_string(text)
    assert template.render(item={'key': service}) == [
        'option httplog', 'option forwardfor', *more]


@pytest.mark.parametrize('example', [
    'apache-open.conf', 'haproxy-open.cfg', 'haproxy-open-3.4.cfg',
    'kolla-ansible-open.cfg', 'kubernetes-open.yaml'])
def test_what_is_excluded_is_what_nodes_share(example):
    """A misspelt name excludes nothing, and nobody would know."""
    queries = re.findall(r'/healthcheck/ready\?(\S+)',
                         (EXAMPLES / example).read_text())
    assert set(queries) in ({'exclude=cells&exclude=message_queue'},
                            {'exclude=database&exclude=message_queue'})


def test_what_restarts_a_container_of_kolla_asks_for_live():
    kind, command = read('kolla-ansible.yml')['nova_api_healthcheck_test']
    assert kind == 'CMD-SHELL'
    assert command.startswith('healthcheck_curl http://')
    assert command.endswith('/healthcheck/live')
