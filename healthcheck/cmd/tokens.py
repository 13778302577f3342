# SPDX-License-Identifier: Apache-2.0

"""A Keystone token, for a node's details."""

from __future__ import annotations

from collections.abc import Callable
import os
import sys
from typing import Any

Source = Callable[[], 'str | None']
"""Returns a token that is valid now, or None."""


def find(cloud: str | None) -> Source:
    """The source of tokens: the option, else the environment.

    ``OS_TOKEN`` is used unchanged. Only ``--os-cloud``, ``OS_CLOUD`` and
    ``OS_AUTH_URL`` need openstacksdk, which is imported for them.

    :param cloud: of clouds.yaml
    """
    ready = os.environ.get('OS_TOKEN')
    if cloud is None:
        if ready:
            return lambda: ready
        if not os.environ.keys() & {'OS_CLOUD', 'OS_AUTH_URL'}:
            return lambda: None
    return _of_cloud(cloud)


def _of_cloud(cloud: str | None) -> Source:
    session: Any = None

    def get() -> str | None:
        nonlocal session
        try:
            if session is None:
                from openstack import config
                session = config.OpenStackConfig().get_one(
                    cloud=cloud).get_session()
            token: str | None = session.get_token()
            return token
        except ImportError:
            print('healthcheck: to get a token, openstacksdk is missing; '
                  'install openstack-healthcheck[cloud], or set OS_TOKEN',
                  file=sys.stderr)
        except Exception as exc:  # of many kinds
            from healthcheck.config import redact
            print('healthcheck: no token, so there are no details: '
                  f'{type(exc).__name__}: {redact.Redactor()(exc)}',
                  file=sys.stderr)
        return None
    return get
