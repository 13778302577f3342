# SPDX-License-Identifier: Apache-2.0

"""Keystone, as far as keystonemiddleware talks to it, without a network."""

from __future__ import annotations

from collections.abc import Callable
import datetime
import logging
from typing import Any
import uuid

from keystoneauth1 import fixture
import requests
import requests_mock

URL = 'http://keystone.internal:5000/v3'
PUBLIC = 'https://keystone.example.org/v3'
PASSWORD = 'fhzg:r/t@k%w'

CONF = f"""
[keystone_authtoken]
auth_type = password
auth_url = {URL}
www_authenticate_uri = {PUBLIC}
username = nova
password = {PASSWORD.replace('$', '$$')}
user_domain_id = default
project_name = service
project_domain_id = default
"""

SCOPES: dict[str, Callable[[fixture.V3Token], object]] = {
    'project': fixture.V3Token.set_project_scope,
    'system': fixture.V3Token.set_system_scope,
    'domain': fixture.V3Token.set_domain_scope,
    'none': lambda token: None}


class Keystone:
    """Answers what is asked of it, and counts.

    :ivar asked: the tokens that it was asked about
    """

    def __init__(self, mocker: requests_mock.Mocker) -> None:
        self._mocker = mocker
        self.asked: list[str] = []
        self.away: Exception | None = None
        self.status = 200
        self._tokens: dict[str, fixture.V3Token] = {}
        self._own = uuid.uuid4().hex
        discovery = fixture.V3Discovery(URL)
        mocker.get(URL, json=self._guarded(
            lambda request, context: {'version': discovery}))
        mocker.post(f'{URL}/auth/tokens', json=self._guarded(self._issue))
        mocker.get(f'{URL}/auth/tokens', json=self._guarded(self._validate))

    def token(self, *roles: str, scope: str = 'project',
              expires: datetime.timedelta = datetime.timedelta(hours=1),
              ) -> str:
        """Issue a token."""
        made = fixture.V3Token(
            expires=datetime.datetime.now(datetime.timezone.utc) + expires)
        SCOPES[scope](made)
        for role in roles:
            made.add_role(role)
        name = f'gAAAA{uuid.uuid4().hex}'
        self._tokens[name] = made
        return name

    def revoke(self, token: str) -> None:
        del self._tokens[token]

    def replace(self, **answer: Any) -> None:
        """Have something else answer from now on.

        :param answer: as ``requests_mock`` takes it
        """
        self._mocker.register_uri(requests_mock.ANY, requests_mock.ANY,
                                  **answer)

    def _guarded(self, answer: Callable[[Any, Any], Any],
                 ) -> Callable[[Any, Any], Any]:
        def guarded(request: Any, context: Any) -> Any:
            if self.away is not None:
                raise self.away
            if self.status != 200:
                context.status_code = self.status
                return {'error': {'message': 'out of order'}}
            return answer(request, context)
        return guarded

    def _issue(self, request: Any, context: Any) -> Any:
        token = fixture.V3Token()
        token.set_project_scope()
        token.add_service('identity').add_standard_endpoints(
            public=PUBLIC, internal=URL)
        context.headers['X-Subject-Token'] = self._own
        context.status_code = 201
        return token

    def _validate(self, request: Any, context: Any) -> Any:
        name = request.headers['X-Subject-Token']
        assert request.headers['X-Auth-Token'] == self._own
        self.asked.append(name)
        if name not in self._tokens:
            context.status_code = 404
            return {'error': {'message': f'Could not find token: {name}'}}
        return self._tokens[name]


REFUSED = requests.exceptions.ConnectionError('refused')
SILENT = requests.exceptions.ReadTimeout('silent')


class Log(logging.Handler):
    """Every line that anybody logs, at any level."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))
