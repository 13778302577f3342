# SPDX-License-Identifier: Apache-2.0

"""From a section's options to the watch that its plugins share."""

from __future__ import annotations

import time
import weakref

from healthcheck.cells import fleet
from healthcheck.cells import mappings
from healthcheck.cells import watch
from healthcheck.config import databases
from healthcheck.config import messaging
from healthcheck.config import views
from healthcheck.host import processes
from healthcheck.probing import check
from healthcheck.targets import database_target
from healthcheck.targets import dialects

_watches: weakref.WeakKeyDictionary[
    views.View, processes.PerProcess[watch.Watch]] = (
        weakref.WeakKeyDictionary())


def of(view: views.View, policy: check.Policy) -> (
        processes.PerProcess[watch.Watch]):
    """The watch of a section: one in each process, whoever asks for it.

    Nothing is opened before somebody joins it.

    :raises healthcheck.exceptions.ConfigError: if the API database is not
        configured well
    """
    made = _watches.get(view)
    if made is None:
        sources = _sources(view, policy)
        workers: int = view.settings.cells_workers
        made = _watches.setdefault(view, processes.PerProcess(
            lambda: watch.Watch(fleet.Fleet(sources, time.monotonic),
                                workers)))
    return made


def _sources(view: views.View, policy: check.Policy) -> fleet.Sources:
    """:raises healthcheck.exceptions.ConfigError: see :func:`of`"""
    option, api_url = databases.find_url(
        view, 'cells_api_connection',
        'cells, services: there is no database that lists the cells',
        [('api_database', 'connection')])
    messaging.note(view)
    tolerance = dialects.Tolerance.of(view.settings)
    bound = policy.timeout * database_target.BOUND
    # What is wrong with it is told now.
    database_target.DatabaseTarget(api_url, option=option, bound=bound,
                                   tolerance=tolerance)
    templates = (views.service_option(view, 'database', 'connection'),
                 views.service_option(view, None, 'transport_url'))
    return fleet.Sources(
        view.private, api_url, option, mappings.Templates(*templates),
        tolerance, policy, bound)
