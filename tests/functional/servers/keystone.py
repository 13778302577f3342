# SPDX-License-Identifier: Apache-2.0

"""A private Keystone."""

from __future__ import annotations

import base64
from collections.abc import Mapping
import os
import sys
from typing import Any

import requests

from tests.functional.servers import process

PASSWORD = 'p@ss/w:rd%with#all'  # a password, and of nothing that lasts


class Keystone(process.Server):
    """Keystone with Fernet tokens and SQLite, bootstrapped.

    There is user ``admin`` with project ``admin``, and ``nova``, who may
    validate tokens; roles are those of the bootstrap.
    """

    name = 'keystone'

    def __init__(self) -> None:
        super().__init__()
        self.url = f'http://{self.host}:{self.port}/v3'
        self.database = self.directory / 'db'
        # Where oslo.middleware, in code, finds it: in the home directory.
        self._config = self.directory / 'keystone.conf'
        self._admin = ''

    def prepare(self) -> None:
        repositories = {}
        for name in ('fernet_tokens', 'fernet_receipts', 'credential'):
            repository = self.directory / name
            repository.mkdir(mode=0o700)
            for key in ('0', '1'):
                (repository / key).write_bytes(
                    base64.urlsafe_b64encode(os.urandom(32)))
            repositories[name] = f'[{name}]\nkey_repository = {repository}\n'
        self._config.write_text(
            f'[database]\nconnection = sqlite:///{self.database}\n'
            # To write one row locks it for seconds on a busy disk.
            'sqlite_synchronous = false\n'
            + ''.join(repositories.values())
            + '[healthcheck]\nbackends = database\n'
            + 'interval = 0.3\nretry_interval = 0.1\nfall = 1\n'
            # So that creating users does not take most of the time.
            + '[identity]\npassword_hash_rounds = 4\n')
        # In a file, as Keystone takes a command line for its own.
        (self.directory / 'gunicorn.conf.py').write_text(
            f'bind = "{self.host}:{self.port}"\n'
            'wsgi_app = "keystone.server.wsgi:'
            'initialize_public_application()"\n'
            'threads = 4\n'
            'graceful_timeout = 1\n')
        manage = [sys.executable, '-W', 'ignore', '-c',
                  'from keystone.cmd import manage; manage.main()',
                  '--config-file', str(self._config)]
        self.run([*manage, 'db_sync'])
        self.run([*manage, 'bootstrap', '--bootstrap-password', PASSWORD,
                  '--bootstrap-region-id', 'RegionOne',
                  *(f'--bootstrap-{kind}-url={self.url}'
                    for kind in ('public', 'internal', 'admin'))])

    def command(self) -> list[str]:
        return [sys.executable, '-W', 'ignore', '-m', 'gunicorn']

    def environment(self) -> dict[str, str]:
        return {'OS_KEYSTONE_CONFIG_FILES': str(self._config)}

    def ready(self) -> bool:
        try:
            if not self._admin:
                self._admin = self.token('admin', project='admin')
                self._prepare_service()
            return requests.get(self.url, timeout=5).ok
        except requests.RequestException:
            return False

    def token(self, user: str, *, project: str | None = None,
              system: bool = False, domain: str | None = None) -> str:
        """Return a token with that scope, for a user of the bench."""
        scope: dict[str, Any] = {}
        if project:
            scope = {'project': {'name': project, 'domain': {
                'id': 'default'}}}
        elif system:
            scope = {'system': {'all': True}}
        elif domain:
            scope = {'domain': {'id': domain}}
        return self._issue({'methods': ['password'], 'password': {'user': {
            'name': user, 'domain': {'id': 'default'},
            'password': PASSWORD}}}, scope)

    def brief_token(self, user: str, project: str, expires: str) -> str:
        """Return a token that expires at a given time.

        :param expires: moment, as ISO 8601 has it
        """
        own = self.token(user, project=project)
        identity = self.api('GET', 'auth/tokens', token=own, headers={
            'X-Subject-Token': own})['token']['user']['id']
        made = self.api(
            'POST', f'users/{identity}/application_credentials', token=own,
            json={'application_credential': {
                'name': expires, 'expires_at': expires}},
        )['application_credential']
        return self._issue({
            'methods': ['application_credential'],
            'application_credential': {
                'id': made['id'], 'secret': made['secret']}})

    def is_valid(self, token: str) -> bool:
        """Ask Keystone itself about a token."""
        return requests.get(
            f'{self.url}/auth/tokens', timeout=30, headers={
                'X-Auth-Token': self._admin,
                'X-Subject-Token': token}).ok

    def revoke(self, token: str) -> None:
        self.api('DELETE', 'auth/tokens',
                 headers={'X-Subject-Token': token})

    def add_user(self, name: str, role: str, *, project: str | None = None,
                 system: bool = False, domain: str | None = None) -> None:
        """Create a user who has one role in one place."""
        user = self.api('POST', 'users', json={'user': {
            'name': name, 'domain_id': 'default', 'password': PASSWORD,
        }})['user']['id']
        where = 'system'
        if project:
            where = f'projects/{self._id("projects", project)}'
        elif domain:
            where = f'domains/{domain}'
        self.api('PUT', f'{where}/users/{user}/roles/'
                        f'{self._id("roles", role)}')

    def add_project(self, name: str) -> None:
        self.api('POST', 'projects', json={'project': {
            'name': name, 'domain_id': 'default'}})

    def api(self, method: str, path: str, token: str | None = None,
            headers: Mapping[str, str] | None = None, **kwargs: Any) -> Any:
        """Call Keystone's API, as admin unless a token is given."""
        answer = requests.request(
            method, f'{self.url}/{path}', timeout=30,
            headers={'X-Auth-Token': token or self._admin,
                     **(headers or {})}, **kwargs)
        if not answer.ok:
            raise process.ServerError(f'{method} {path}: {answer.text}')
        return answer.json() if answer.content else None

    def authtoken(self) -> dict[str, str]:
        """Return what a service has in ``[keystone_authtoken]``."""
        return {'auth_type': 'password', 'auth_url': self.url,
                'www_authenticate_uri': 'https://keystone.example.org/v3',
                'username': 'nova', 'password': PASSWORD,
                'user_domain_id': 'default', 'project_name': 'service',
                'project_domain_id': 'default'}

    def _prepare_service(self) -> None:
        self.add_project('service')
        self.add_user('nova', 'service', project='service')

    def _id(self, kind: str, name: str) -> str:
        found = self.api('GET', f'{kind}?name={name}')[kind]
        return str(found[0]['id'])

    def _issue(self, identity: Mapping[str, Any],
               scope: Mapping[str, Any] | None = None) -> str:
        auth: dict[str, Any] = {'identity': identity}
        if scope:
            auth['scope'] = scope
        # The first token of a user on a day is written down, for which
        # Keystone waits 5 s at most.
        for _ in range(3):
            answer = requests.post(f'{self.url}/auth/tokens', timeout=30,
                                   json={'auth': auth})
            if answer.ok:
                return answer.headers['X-Subject-Token']
        raise process.ServerError(
            f'no token: {answer.text}\n{self.log_tail()}')

    @staticmethod
    def _unprivileged(command: list[str]) -> list[str]:
        # It is Python, from where the tests run, which may be a place that
        # no other account can read.
        return ['setpriv', '--pdeathsig', 'KILL', '--', *command]
