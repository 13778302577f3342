# SPDX-License-Identifier: Apache-2.0

"""The same answers, wherever in a service the health check is mounted."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import functools

import pytest

from tests.functional import served
from tests.functional.servers import wsgi
from tests.functional import test_serving

# What the paste files of the documentation name and do not define.
REST = '''
[filter:cors]
paste.filter_factory = oslo_middleware:CORS.factory
allowed_origin = https://dashboard.example.org
[filter:http_proxy_to_wsgi]
paste.filter_factory = oslo_middleware:HTTPProxyToWSGI.factory
[app:service]
paste.app_factory = pasted:app_factory
'''
PASTED = '''
from tests.functional import bench


def app_factory(global_conf, **local_conf):
    return bench.api
'''


def pasted(example: str) -> dict[str, str]:
    """A service that is loaded from a paste file of the documentation."""
    text = (wsgi.EXAMPLES / example).read_text()
    backends, = (line for line in text.splitlines()
                 if line.startswith('backends'))
    # One backend that can be broken is enough; the rest comes from the
    # service's configuration.
    text = '\n'.join(line for line in text.splitlines()
                     if not line.startswith(('backends', 'disable_by')))
    assert 'database' in backends
    return served.files('paste_file') | {
        'api-paste.ini': text + REST, 'pasted.py': PASTED}


SERVICES: dict[str, Callable[[], dict[str, str]]] = {
    'paste-filter': lambda: pasted('filter-paste.ini'),
    'paste-app': lambda: pasted('app-paste.ini'),
    **{name: functools.partial(served.files, name) for name in (
        'flask_filter', 'falcon_filter', 'pecan_filter', 'dispatcher_filter',
        'dispatcher_app')},
}


@pytest.fixture(scope='module', params=SERVICES)
def running(request: pytest.FixtureRequest) -> Iterator[served.Served]:
    files = SERVICES[request.param]()
    with served.running(lambda: wsgi.Gunicorn(
            files, ['--threads', '4'])) as service:
        yield service


class TestMounted(test_serving.Contract):

    def test_service_answers(self, running: served.Served) -> None:
        answer = running.server.ask('/v1/servers')
        assert answer.status == 200
        assert answer.text == 'the servers' or '"/v1/servers"' in answer.text
