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
    :param told: whether the operator has chosen the place
    """

    place: str
    identity: str
    lease: float
    told: bool = True

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
    if not boot_id():
        LOG.warning('Healthcheck: each process probes for itself, because %s '
                    'cannot be read, which identifies a host and its boot. '
                    'ProcSubset=pid of systemd hides it.',
                    BOOT_ID)
        return None
    place = find_place(view)
    return Group(place or temporary_directory(), identity(view, names), lease,
                 told=place is not None)


def temporary_directory() -> str:
    """Where workers share if no place is configured.

    Not that of the module ``tempfile``, which may be the working directory.
    """
    return os.environ.get('TMPDIR') or '/tmp'


def find_place(view: views.View) -> str | None:
    """The directory in which the operator has workers share, if any."""
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
    if find_place(view) is None:
        # Containers may have one /tmp, and each another network.
        add('network', _namespace('net'))
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
    return f'{boot_id()} {_namespace("time")}'


def _namespace(kind: str) -> str:
    """Identifies a namespace of this process; empty if there is one for all.

    For example ``time``, which came with Linux 5.6.
    """
    try:
        return os.readlink(f'/proc/self/ns/{kind}')
    except OSError:
        return ''
