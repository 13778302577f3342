# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Which processes of a host share a prober, and where."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import functools
import hashlib
import os
import pathlib
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging

from healthcheck import config

LOG = logging.getLogger(__name__)

HOST, PROCESS = 'host', 'process'
BOOT_ID = '/proc/sys/kernel/random/boot_id'

# What a section holds that changes nothing in what is probed: how the
# configuration is found, and what paste adds by itself.
_NOT_PROBED = (*config.PROJECT_KEYS, 'here', '__file__')


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """The processes of a host that share a prober.

    :param place: the directory in which the shared one is made
    :param identity: a digest, the same for those that would probe the same
    :param lease: seconds after which a prober that is stopped is deposed
    """

    place: str
    identity: str
    lease: float


def group_of(view: config.View, names: Sequence[str],
             lease: float) -> Group | None:
    """The group of a section; None where each process probes for itself.

    :param names: of its checks
    :param lease: seconds after which a prober that is stopped is deposed
    """
    if view.healthcheck.sharing != HOST:
        return None
    place = find_place(view)
    if place is None:
        _say_that_no_place_is_known()
        return None
    if not boot_id():
        LOG.warning('Healthcheck: each process probes for itself, as %s '
                    'cannot be read, which tells one host, and one start of '
                    'it, from another. ProcSubset=pid of systemd hides it.',
                    BOOT_ID)
        return None
    return Group(place, identity(view, names), lease)


@functools.cache  # inside oslo.middleware's class, each plugin comes here
def _say_that_no_place_is_known() -> None:
    LOG.warning('Healthcheck: each process probes for itself, as no place is '
                'known where they could share a report. Set [healthcheck]'
                'state_path, or [oslo_concurrency]lock_path, to a local '
                'directory that the service can write to; or [healthcheck]'
                'sharing to process.')


def find_place(view: config.View) -> str | None:
    """The directory in which workers share; None if none is known."""
    runtime = os.environ.get('RUNTIME_DIRECTORY', '').partition(':')[0]
    return (view.healthcheck.state_path
            or config.service_option(view, 'oslo_concurrency', 'lock_path')
            or runtime or None)


def identity(view: config.View, names: Sequence[str]) -> str:
    """What two processes have in common that would probe the same.

    That is the section and the content of the service's configuration files:
    whoever has read others, before an edit or for another service, has to
    probe for itself. So has another host, should the place be on a network
    file system. Secrets are in it, so it is a digest, and stays where only
    those can see it that can read the files.
    """
    digest = hashlib.sha256()

    def add(*parts: object) -> None:
        digest.update(repr(parts).encode())
    # Monotonic times mean nothing on another host, or after a restart.
    add('host', clock_id())
    add('checks', *names)
    add('section', *sorted((key, str(value))
                           for key, value in view.section.items()
                           if key not in _NOT_PROBED))
    for path in _config_files(view.service):
        try:
            add('file', path.read_bytes())
        except OSError as exc:
            add('file', exc.errno)
    return digest.hexdigest()


def _config_files(conf: cfg.ConfigOpts) -> list[pathlib.Path]:
    def told(name: str) -> list[Any]:
        try:
            return list(conf[name] or [])
        except cfg.NoSuchOptError:  # it has not been told its files yet
            return []
    files = [pathlib.Path(name) for name in told('config_file')]
    for directory in told('config_dir'):
        files += sorted(pathlib.Path(directory).glob('*.conf'))
    return files


@functools.cache
def boot_id() -> str:
    """Which start of which host this is; empty where that is not known."""
    try:
        return pathlib.Path(BOOT_ID).read_text().strip()
    except OSError:  # not Linux, or hidden
        return ''


def clock_id() -> str:
    """Which monotonic clock this process reads.

    Each start of a host has one of its own, and so has each time namespace:
    time_namespaces(7) moves CLOCK_MONOTONIC by an offset.
    """
    try:
        namespace = os.readlink('/proc/self/ns/time')
    except OSError:  # Linux before 5.6 has one for all
        namespace = ''
    return f'{boot_id()} {namespace}'
