# SPDX-License-Identifier: Apache-2.0

"""The program ``healthcheck``, with a token of a real Keystone."""

from __future__ import annotations

import pathlib

import yaml

from tests.functional import servers
from tests.functional.servers import keystone as keystone_module
from tests.functional import test_command


def test_status_with_a_token_of_keystone(
        keystone: servers.Keystone, tmp_path: pathlib.Path) -> None:
    auth = {'auth_url': keystone.url, 'username': 'admin',
            'password': keystone_module.PASSWORD, 'project_name': 'admin',
            'user_domain_id': 'default', 'project_domain_id': 'default'}
    variables = {f'OS_{name.upper()}': value for name, value in auth.items()}
    files = tmp_path / 'clouds.yaml'
    files.write_text(yaml.safe_dump({'clouds': {'zcloud': {'auth': auth}}}))
    with test_command.recording() as running:
        url = f'http://127.0.0.1:{running.server_port}'
        for environ, arguments in (
                (variables, ()),
                ({'OS_CLIENT_CONFIG_FILE': str(files)},
                 ('--os-cloud', 'zcloud')),
                ({'OS_TOKEN': keystone.token('admin', project='admin')}, ())):
            done = test_command.run(
                'status', *arguments, url,
                environ={**test_command.ENVIRONMENT, **environ})
            assert done.code == 0 and not done.err, done
            assert done.json['nodes'][0]['detail'] is not None
        assert len(running.tokens) == 3
        assert all(map(keystone.is_valid, running.tokens))
        # Without Keystone it goes on, as everybody.
        done = test_command.run('status', url, environ={
            **test_command.ENVIRONMENT, **variables,
            'OS_PASSWORD': 'wrong+secret'})
        assert done.code == 0
        assert 'no token, so there are no details' in done.err
        assert 'wrong+secret' not in done.err + done.out
        assert running.tokens[-1] is None
