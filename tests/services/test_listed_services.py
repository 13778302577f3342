# SPDX-License-Identifier: Apache-2.0

"""The check ``services``, and what the service's own API lists."""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import json
from typing import Any

import pytest

from tests.functional import servers
from tests.services import catalogue
from tests.services import conftest
from tests.services import deployment

SERVICES = {service.name: service for service in catalogue.SERVICES}

# Seconds until both say so, on a busy machine: a process has to start; or 8 s
# pass without a heartbeat, which are fewer than by default.
WITHIN = {True: 90.0, False: 40.0}


@dataclasses.dataclass(frozen=True)
class Case:
    """A service whose own list is compared.

    :param programs: what runs beside the API; the last one is stopped
    :param listed: (binary, whether it is up) of each row of its list
    """

    service: catalogue.Service
    programs: tuple[tuple[str, ...], ...]
    listed: Callable[[deployment.Deployment], list[tuple[str, bool]]]


def cinder(running: deployment.Deployment) -> list[tuple[str, bool]]:
    found = ask(running, f'/v3/{"a" * 32}/os-services',
                x_auth_token=f'admin:{"a" * 32}')
    return [(one['binary'], one['state'] == 'up')
            for one in found['services']]


def neutron(running: deployment.Deployment) -> list[tuple[str, bool]]:
    found = ask(running, '/v2.0/agents')
    return [(one['binary'], one['alive']) for one in found['agents']]


def ask(running: deployment.Deployment, path: str, **headers: str) -> Any:
    answer = running.api.ask(path, accept='application/json', **headers)
    assert answer.status == 200, answer.text
    return json.loads(answer.text)


CASES = [
    Case(SERVICES['cinder'], (('cinder-scheduler',),), cinder),
    Case(SERVICES['neutron'], (
        ('neutron-rpc-server', '--config-file', '/etc/neutron/neutron.conf'),
        ('neutron-metadata-agent',
         '--config-file', '/etc/neutron/neutron.conf')), neutron),
]


def counted(running: deployment.Deployment) -> dict[str, str]:
    """What the check says of each binary."""
    detail = ask(running, '/healthcheck/detail')
    check, = (one for one in detail['checks'] if one['name'] == 'services')
    return {part['name']: part['status'] for part in check['components']}


@pytest.mark.parametrize('case', CASES, ids=lambda case: case.service.name)
def test_services_agrees_with_its_list(case: Case,
                                       deploy: conftest.Deploy) -> None:
    way = catalogue.with_services(case.service)
    running = deploy(case.service, way)
    running.prepare()
    running.api.start()
    *_, last = [running.program(*one) for one in case.programs]

    def agreed(up: bool) -> bool:
        listed = case.listed(running)
        expected = {binary: 'pass' if is_up else 'fail'
                    for binary, is_up in listed}
        return (len(listed) == 1 and listed[0][1] is up
                and counted(running) == expected)

    def soon(up: bool) -> None:
        try:
            servers.wait_until(lambda: agreed(up), f'both say up: {up}',
                               WITHIN[up], 0.5)
        except servers.ServerError as error:
            raise AssertionError(
                f'{error}: {case.listed(running)}, {counted(running)}\n'
                f'{last.log_tail()}') from None

    soon(True)
    running.says(200, 'OK\nOK\nOK')
    last.kill()
    soon(False)
    running.says(200, 'OK\nOK (SERVICES: ALL OF A KIND DOWN)\nOK')
    last.start()
    soon(True)
    running.says(200, 'OK\nOK\nOK')
