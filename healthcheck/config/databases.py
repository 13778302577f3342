# SPDX-License-Identifier: Apache-2.0

"""Where each service has the URL of its database."""

from __future__ import annotations

from collections.abc import Sequence

from healthcheck.config import views
from healthcheck import exceptions

Place = tuple[str | None, str]
"""(group, name) of an option; the group None is ``[DEFAULT]``."""

_DATABASE: Place = ('database', 'connection')
# Services that have the URL elsewhere, the newest place first. Read in the
# code of Placement and Barbican, and in configuration files of the others;
# Gnocchi's was not checked.
_DATABASES: dict[str, tuple[Place, ...]] = {
    'barbican': (_DATABASE, (None, 'sql_connection')),
    'designate': (('storage:sqlalchemy', 'connection'),),
    'gnocchi': (('indexer', 'url'),),
    'placement': (('placement_database', 'connection'),),
    'zaqar': (('drivers:management_store:sqlalchemy', 'uri'),),
}


def places_of(project: str | None) -> tuple[Place, ...]:
    """Where a service may have the URL of its database, the best first."""
    return _DATABASES.get(project or '', (_DATABASE,))


def find_url(view: views.View, own: str, missing: str,
             places: Sequence[Place] | None = None) -> tuple[str, str]:
    """(name of the option, URL) of a database of the service.

    :param own: our option for it, which takes precedence
    :param missing: the error's text if neither is set
    :param places: where the service has it; default: the one that all its
        processes use
    :raises healthcheck.exceptions.ConfigError: if neither is set
    """
    url: str | None = getattr(view.healthcheck, own)
    if url:
        return own, url
    for group, name in places or places_of(view.project):
        url = views.service_option(view, group, name)
        if url:
            parameters = views.service_option(
                view, group, 'connection_parameters')
            if parameters:
                url += ('&' if '?' in url else '?') + parameters
            view.note(own, url)
            return views.spelt(group, name), url
    wanted = views.spelt(*(places or places_of(view.project))[0])
    raise exceptions.ConfigError([
        f'{missing}; set {wanted} of the service, or {own}'
        + (_elsewhere(view) if places is None else '')])


def _elsewhere(view: views.View) -> str:
    """A hint, if another service's place has a URL."""
    for project, places in _DATABASES.items():
        for group, name in places:
            if view.project is None and views.service_option(
                    view.service, group, name):
                return (f' ({views.spelt(group, name)} is set: if this is '
                        f'{project}, say so with oslo_config_project, or '
                        f'--project of the agent)')
    return ''
