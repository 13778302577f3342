# SPDX-License-Identifier: Apache-2.0

"""Our plugins in a service that mounts oslo.middleware's class in code."""

from __future__ import annotations

from tests.functional import served
from tests.functional import servers
from tests.functional.servers import client


def test_database_lost_and_back(keystone: servers.Keystone) -> None:
    """``backends`` is all that a deployer sets."""
    def says(status: int, text: str) -> None:
        def agreed() -> bool:
            answer = client.ask(keystone.port)
            return (answer.status, answer.text) == (status, text)
        servers.wait_until(agreed, f'{status} {text!r}', served.WITHIN)

    says(200, 'OK')
    away = keystone.database.with_suffix('.away')
    keystone.database.rename(away)
    try:
        says(503, 'DATABASE: NO SUCH DATABASE')
    finally:
        away.rename(keystone.database)
    says(200, 'OK')
