# SPDX-License-Identifier: Apache-2.0

"""Where Nova, Cinder and Neutron keep heartbeats, and when a service is up.

None of them is imported. A table here has only the columns that are read.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import datetime
import math
from typing import Any

import sqlalchemy
from sqlalchemy import sql


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """A table of heartbeats, and the rule by which a service is up.

    :param rows: the table itself; its column ``id`` is never NULL
    :param heartbeat: when a service was last seen, in UTC
    :param disabled: whether an administrator has disabled it
    :param forced_down: whether an administrator has declared it down; None
        if that does not exist
    :param live: which rows count; None: all
    :param future_is_up: whether a heartbeat far in the future counts as up
    :param option: the option of the service, in ``[DEFAULT]``, with the
        seconds without a heartbeat after which a service is down
    :param default: of that option
    :param report_interval: default of ``[DEFAULT]report_interval``, if a long
        one raises the down time; else None
    :param left_out: binaries that are registered but never beat
    """

    rows: sqlalchemy.TableClause
    binary: sql.ColumnElement[str]
    heartbeat: sql.ColumnElement[datetime.datetime]
    disabled: sql.ColumnElement[bool]
    forced_down: sql.ColumnElement[bool] | None = None
    live: sql.ColumnElement[bool] | None = None
    future_is_up: bool = False
    option: str = 'service_down_time'
    default: int = 60
    report_interval: int | None = 10
    left_out: frozenset[str] = frozenset()

    def down_time(self, option: Callable[[str], Any]) -> float:
        """Seconds without a heartbeat after which a service is down.

        Nova and Cinder raise it if services report too rarely for it
        (nova.servicegroup.api.API, cinder.service.Service).

        :param option: gives the value of an option of ``[DEFAULT]`` by its
            name; None if it is not set
        :raises ValueError: if a value is not a number
        """
        value = option(self.option)
        seconds = _finite(self.default if value is None else value)
        if self.report_interval is not None:
            value = option('report_interval')
            interval = _finite(
                self.report_interval if value is None else value)
            if seconds <= interval:
                return float(int(interval * 2.5))
        return seconds


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f'{value!r} is not a finite number')
    return number


def _table(name: str, **types: type[Any]) -> sqlalchemy.TableClause:
    return sqlalchemy.table(
        name, sqlalchemy.column('id'), sqlalchemy.column('binary'),
        *(sqlalchemy.column(column, type_)
          for column, type_ in types.items()))


_nova_services = _table(
    'services', disabled=sqlalchemy.Boolean, forced_down=sqlalchemy.Boolean,
    deleted=sqlalchemy.Integer, last_seen_up=sqlalchemy.DateTime,
    created_at=sqlalchemy.DateTime)
_nova = _nova_services.c
# Rule: nova.servicegroup.api.API.service_is_up and drivers.db.DbDriver.is_up.
# Left out: nova.api.openstack.compute.services (bug 1543625).
NOVA = Table(
    rows=_nova_services, binary=_nova.binary, disabled=_nova.disabled,
    heartbeat=sqlalchemy.func.coalesce(_nova.last_seen_up, _nova.created_at),
    forced_down=_nova.forced_down, live=_nova.deleted == 0,
    left_out=frozenset(('nova-osapi_compute', 'nova-metadata')))

_cinder_services = _table(
    'services', disabled=sqlalchemy.Boolean, deleted=sqlalchemy.Boolean,
    updated_at=sqlalchemy.DateTime, created_at=sqlalchemy.DateTime)
_cinder = _cinder_services.c
# Rule: cinder.api.v3.services, which makes an administrator's list. The
# scheduler's rule, cinder.objects.service.Service.is_up, differs in one point:
# a heartbeat in the future counts as up.
CINDER = Table(
    rows=_cinder_services, binary=_cinder.binary, disabled=_cinder.disabled,
    heartbeat=sqlalchemy.func.coalesce(_cinder.updated_at,
                                       _cinder.created_at),
    live=_cinder.deleted == sqlalchemy.false())

_neutron_agents = _table(
    'agents', admin_state_up=sqlalchemy.Boolean,
    heartbeat_timestamp=sqlalchemy.DateTime)
_neutron = _neutron_agents.c
# Rule: neutron.agent.common.utils.is_agent_down. OVN's own agents are not in
# this table.
NEUTRON = Table(
    rows=_neutron_agents, binary=_neutron.binary,
    disabled=_neutron.admin_state_up == sqlalchemy.false(),
    heartbeat=_neutron.heartbeat_timestamp, future_is_up=True,
    option='agent_down_time', default=75, report_interval=None)
