# SPDX-License-Identifier: Apache-2.0

"""Which processes of a host share a prober, and where."""

from __future__ import annotations

from collections.abc import Sequence
import contextlib
import dataclasses
import functools
import hashlib
import os
import pathlib

from oslo_log import log as logging

from healthcheck.config import opts
from healthcheck.config import reading
from healthcheck.config import views
from healthcheck import exceptions

LOG = logging.getLogger(__name__)

HOST, PROCESS = 'host', 'process'
BOOT_ID = '/proc/sys/kernel/random/boot_id'

# Keys of a section that say how to find it and the configuration, and keys
# that paste adds by itself.
_NOT_READ = (*views.PROJECT_KEYS, 'here', '__file__')
# Environment variables that libpq reads for what a URL leaves open.
_ENVIRONMENT = 'PG'


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """The processes of a host that share a prober.

    :param place: the directory in which the shared one is made
    :param identity: a digest, equal for processes that would probe the same
    :param lease: seconds after which a stopped prober is deposed
    """

    place: str
    identity: str
    lease: float

    @property
    def key(self) -> str:
        """What the names of its files begin with: 32 hexadecimal digits.

        Half of the identity tells groups apart, and keeps names short.
        """
        return self.identity[:32]


def group_of(view: views.View, names: Sequence[str],
             lease: float) -> Group | None:
    """The group of a section; None where each process probes for itself.

    :param names: of its checks
    :param lease: seconds after which a stopped prober is deposed
    """
    if view.settings.sharing != HOST:
        return None
    place = find_place(view)
    if place is None:
        _say_that_no_place_is_known()
        return None
    if not boot_id():
        LOG.warning('Healthcheck: each process probes for itself, because %s '
                    'cannot be read, which identifies a host and its boot. '
                    'ProcSubset=pid of systemd hides it.',
                    BOOT_ID)
        return None
    return Group(place, identity(view, names), lease)


@functools.cache  # each plugin inside oslo.middleware's class calls this
def _say_that_no_place_is_known() -> None:
    LOG.warning('Healthcheck: each process probes for itself, because there '
                'is no directory to share a report in. Set [healthcheck]'
                'state_path or [oslo_concurrency]lock_path to a local '
                'directory that the service can write to, or [healthcheck]'
                'sharing to process.')


def find_place(view: views.View) -> str | None:
    """The directory in which workers share; None if none is known."""
    runtime = os.environ.get('RUNTIME_DIRECTORY', '').partition(':')[0]
    locks = None
    # Services use $state_path there, and only they know its default.
    with contextlib.suppress(exceptions.ConfigError):
        locks = views.service_option(view.service, 'oslo_concurrency',
                                     'lock_path')
    return view.settings.state_path or locks or runtime or None


def identity(view: views.View, names: Sequence[str]) -> str:
    """A digest that is equal for processes that would probe the same.

    It covers the values that probes use, wherever each was set: in a section,
    a file, the environment or code. Defaults in the service's code are left
    out, because two processes may not have loaded the same code. With a
    foreign plugin, it covers everything that the plugin could read. It differs
    between hosts, in case the place is on a network file system. It covers
    secrets, so it is a digest, and it stays where only those can see it who
    can read the files.
    """
    digest = hashlib.sha256()

    def add(*parts: object) -> None:
        digest.update(repr(parts).encode())
    # Monotonic times mean nothing on another host, or after a restart.
    add('host', clock_id())
    add('checks', *names)
    settings = view.healthcheck
    add('options', *((name, getattr(settings, name))
                     for name in sorted(view.options)
                     if name not in opts.NOT_PROBED))
    add('notes', *sorted(view.notes.items()))
    add('environment', *sorted(
        (name, value) for name, value in os.environ.items()
        if name.startswith(_ENVIRONMENT)))
    if view.foreign:
        add('section', *sorted((key, str(value))
                               for key, value in view.section.items()
                               if key not in _NOT_READ))
        add('everything', *reading.everything(view.service))
    return digest.hexdigest()


@functools.cache
def boot_id() -> str:
    """Identifies the host and its boot; empty if that is unknown."""
    try:
        return pathlib.Path(BOOT_ID).read_text().strip()
    except OSError:  # not Linux, or hidden
        return ''


def clock_id() -> str:
    """Identifies the monotonic clock of this process.

    Each boot of a host has its own, and so has each time namespace:
    time_namespaces(7) shifts CLOCK_MONOTONIC by an offset.
    """
    try:
        namespace = os.readlink('/proc/self/ns/time')
    except OSError:  # Linux before 5.6 has one for all
        namespace = ''
    return f'{boot_id()} {namespace}'
