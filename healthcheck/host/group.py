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

# What a section holds that says how it and the configuration are found, and
# what paste adds by itself.
_NOT_READ = (*views.PROJECT_KEYS, 'here', '__file__')
# What libpq reads in the environment, for what a URL leaves open.
_ENVIRONMENT = 'PG'


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


def group_of(view: views.View, names: Sequence[str],
             lease: float) -> Group | None:
    """The group of a section; None where each process probes for itself.

    :param names: of its checks
    :param lease: seconds after which a prober that is stopped is deposed
    """
    if view.settings.sharing != HOST:
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


def find_place(view: views.View) -> str | None:
    """The directory in which workers share; None if none is known."""
    runtime = os.environ.get('RUNTIME_DIRECTORY', '').partition(':')[0]
    locks = None
    # Services write $state_path there, whose default only they know.
    with contextlib.suppress(exceptions.ConfigError):
        locks = views.service_option(view.service, 'oslo_concurrency',
                                     'lock_path')
    return view.settings.state_path or locks or runtime or None


def identity(view: views.View, names: Sequence[str]) -> str:
    """What two processes have in common that would probe the same.

    That is the values that probes are made from, wherever each was set: in a
    section, a file, the environment or code. It leaves out defaults of the
    service's code, which two processes may not have loaded alike. Where a
    plugin of others is used, it is all that such a plugin could read. Another
    host has to probe for itself, should the place be on a network file
    system. Secrets are in it, so it is a digest, and stays where only those
    can see it that can read the files.
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
