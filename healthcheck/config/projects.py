# SPDX-License-Identifier: Apache-2.0

"""Which service a configuration belongs to, where nobody says so."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence
import pathlib
import re
from typing import Any

from healthcheck.config import databases
from healthcheck.config import views

PROJECTS = frozenset((
    'barbican', 'cinder', 'designate', 'glance', 'gnocchi', 'heat', 'ironic',
    'keystone', 'magnum', 'manila', 'neutron', 'nova', 'octavia',
    'placement', 'zaqar'))

# Options that no other service has.
_OPTIONS: dict[databases.Place, str] = {
    ('api_database', 'connection'): 'nova',
    ('placement_database', 'connection'): 'placement',
    ('storage:sqlalchemy', 'connection'): 'designate',
    ('drivers:management_store:sqlalchemy', 'uri'): 'zaqar',
    ('indexer', 'url'): 'gnocchi',
    (None, 'core_plugin'): 'neutron',
    (None, 'osapi_volume_listen'): 'cinder',
}

_BACKENDS = {
    'cinder': ('database', 'message_queue', 'services'),
    'neutron': ('database', 'message_queue', 'services'),
    'nova': ('cells', 'services', 'message_queue'),
}


def guess(conf: Any, files: Sequence[str]) -> str | None:
    """The service that a configuration belongs to; None if it is not known.

    The name of a file counts first, then options that only one service has,
    then the directories, as in ``/etc/kolla/nova-api/service.conf``.

    :param conf: what was read from the files
    """
    paths = [pathlib.PurePath(name) for name in files]
    return (_named(path.name for path in paths)
            or next((project for (group, name), project in _OPTIONS.items()
                     if views.service_option(conf, group, name)), None)
            or _named(part for path in paths
                      for part in reversed(path.parts[:-1])))


def backends_of(conf: Any, project: str | None) -> list[str]:
    """The checks that fit a service which names none itself."""
    known = _BACKENDS.get(project or '')
    if known:
        return list(known)
    return ['database', *(['message_queue'] if views.service_option(
        conf, None, 'transport_url') else [])]


def _named(texts: Iterable[str]) -> str | None:
    """The first service that one of the texts begins with, as a word."""
    return next((word for text in texts
                 if (word := re.split('[^a-z]', text.lower())[0])
                 in PROJECTS), None)
