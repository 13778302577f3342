# SPDX-License-Identifier: Apache-2.0

"""Who has the right to what."""

from __future__ import annotations

import logging
import os
import pathlib
import re

from oslo_policy import generator
from oslo_policy import policy
import pytest
import stevedore

from healthcheck.admin.auth import policies

ROOT = pathlib.Path(__file__).parents[2]
ETC = ROOT / 'etc' / 'healthcheck'
DOC = ROOT / 'doc' / 'source' / 'access.rst'
RULES = ('detail', 'refresh', 'metrics', 'drain', 'fleet')

ADMIN = {'roles': ['admin', 'member', 'reader'], 'project_id': 'p'}
SYSTEM_ADMIN = {'roles': ['admin', 'member', 'reader'],
                'system_scope': 'all'}
DOMAIN_ADMIN = {'roles': ['admin', 'member', 'reader'], 'domain_id': 'd'}
SYSTEM_READER = {'roles': ['reader'], 'system_scope': 'all'}
SYSTEM_MEMBER = {'roles': ['member', 'reader'], 'system_scope': 'all'}
READER = {'roles': ['reader'], 'project_id': 'p', 'system_scope': None}
MEMBER = {'roles': ['member', 'reader'], 'project_id': 'p'}
NOBODY = {'roles': [], 'system_scope': 'all'}


def _allowed(made, credentials):
    return {rule for rule in RULES if made.allows(rule, credentials)}


@pytest.mark.parametrize('credentials, allowed', [
    (ADMIN, set(RULES)), (SYSTEM_ADMIN, set(RULES)), (DOMAIN_ADMIN, set()),
    (SYSTEM_READER, {'detail', 'metrics', 'fleet'}),
    (SYSTEM_MEMBER, {'detail', 'metrics', 'fleet'}),
    (READER, set()), (MEMBER, set()), (NOBODY, set()), ({}, set())])
def test_defaults(conf, credentials, allowed):
    assert _allowed(policies.Rules(conf('')), credentials) == allowed


def _write(path, text):
    mtime = path.stat().st_mtime if path.exists() else 0
    path.write_text(text)
    os.utime(path, (mtime + 10, mtime + 10))


def test_policy_file(conf, tmp_path):
    """The service's file, found as the service finds it, and read again."""
    path = tmp_path / 'rules.yaml'
    made = policies.Rules(conf('[oslo_policy]\npolicy_file = rules.yaml'))
    _write(path, '"healthcheck:detail": "role:member"\n')
    assert _allowed(made, MEMBER) == {'detail'}
    assert _allowed(made, SYSTEM_READER) == {'metrics', 'fleet'}
    _write(path, '"healthcheck:refresh": "role:member or role:admin"\n')
    assert _allowed(made, MEMBER) == {'refresh'}
    assert _allowed(made, ADMIN) == set(RULES)


def test_policy_directory(conf, tmp_path):
    (tmp_path / 'policy.d').mkdir()
    (tmp_path / 'policy.d' / 'healthcheck.yaml').write_text(
        '"healthcheck:metrics": "!"\n')
    made = policies.Rules(conf(''))
    assert _allowed(made, ADMIN) == set(RULES) - {'metrics'}


def test_policy_file_that_is_none(conf, tmp_path):
    (tmp_path / 'policy.yaml').write_text('[')
    made = policies.Rules(conf(''))
    for _ in range(2):
        with pytest.raises(ValueError, match='while parsing'):
            made.allows('detail', ADMIN)


def test_the_rules_of_the_service_are_no_affair_of_ours(conf, tmp_path,
                                                        caplog):
    (tmp_path / 'policy.yaml').write_text(
        '"os_compute_api:servers": "rule:project_reader_api"\n')
    assert policies.Rules(conf('')).allows('detail', ADMIN)
    assert not caplog.records


def test_our_rules_are_no_trouble_for_the_service(conf, tmp_path, caplog):
    """It reads the same file, which overrides rules that it does not know."""
    (tmp_path / 'policy.yaml').write_text(
        '"healthcheck:detail": "role:member"\n')
    enforcer = policy.Enforcer(conf(''))
    enforcer.register_default(policy.RuleDefault('get', 'role:reader'))
    assert enforcer.authorize('get', {}, dict(READER))
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def test_sample_is_what_the_generator_makes(tmp_path):
    made = tmp_path / 'policy.yaml.sample'
    generator._generate_sample(['openstack-healthcheck'], str(made))
    shipped = (ETC / 'policy.yaml.sample').read_text()
    assert shipped == made.read_text()


def test_documented_table():
    documented = dict(re.findall(
        r'\* - ``(healthcheck:\w+)``\n     - ``(.+)``', DOC.read_text()))
    assert documented == {rule.name: rule.check_str
                          for rule in policies.list_rules()}


def test_enforcer_for_the_tools():
    entry = stevedore.NamedExtensionManager(
        'oslo.policy.enforcer', ['openstack-healthcheck'])
    assert entry.extensions[0].plugin is policies.get_enforcer
