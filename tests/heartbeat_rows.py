# SPDX-License-Identifier: Apache-2.0

"""The tables that hold heartbeats, as Nova, Cinder and Neutron make them.

The columns that matter, with the types of Nova 34, Cinder and Neutron 29.
"""

from __future__ import annotations

import datetime
from typing import Any

import sqlalchemy

from healthcheck.plugins import heartbeats
from healthcheck.plugins import service_tables

_Column = sqlalchemy.Column
_String = sqlalchemy.String

NOVA = sqlalchemy.Table(
    'services', sqlalchemy.MetaData(),
    _Column('created_at', sqlalchemy.DateTime),
    _Column('updated_at', sqlalchemy.DateTime),
    _Column('deleted_at', sqlalchemy.DateTime),
    _Column('id', sqlalchemy.Integer, primary_key=True, nullable=False),
    _Column('host', _String(255)),
    _Column('binary', _String(255)),
    _Column('topic', _String(255)),
    _Column('report_count', sqlalchemy.Integer, nullable=False, default=0),
    _Column('disabled', sqlalchemy.Boolean),
    _Column('deleted', sqlalchemy.Integer, default=0),
    _Column('disabled_reason', _String(255)),
    _Column('last_seen_up', sqlalchemy.DateTime),
    _Column('forced_down', sqlalchemy.Boolean, default=False),
    _Column('version', sqlalchemy.Integer, default=0),
    _Column('uuid', _String(36)),
    sqlalchemy.Index('services_uuid_idx', 'uuid', unique=True),
    sqlalchemy.UniqueConstraint('host', 'topic', 'deleted'),
    sqlalchemy.UniqueConstraint('host', 'binary', 'deleted'),
    mysql_engine='InnoDB', mysql_charset='utf8')

CINDER = sqlalchemy.Table(
    'services', sqlalchemy.MetaData(),
    _Column('created_at', sqlalchemy.DateTime),
    _Column('updated_at', sqlalchemy.DateTime),
    _Column('deleted_at', sqlalchemy.DateTime),
    _Column('deleted', sqlalchemy.Boolean, default=False),
    _Column('id', sqlalchemy.Integer, primary_key=True, nullable=False),
    _Column('host', _String(255)),
    _Column('binary', _String(255)),
    _Column('topic', _String(255)),
    _Column('report_count', sqlalchemy.Integer, nullable=False, default=0),
    _Column('disabled', sqlalchemy.Boolean),
    _Column('modified_at', sqlalchemy.DateTime),
    mysql_engine='InnoDB', mysql_charset='utf8')

NEUTRON = sqlalchemy.Table(
    'agents', sqlalchemy.MetaData(),
    _Column('id', _String(36), primary_key=True, nullable=False),
    _Column('agent_type', _String(255), nullable=False, default='x'),
    _Column('binary', _String(255), nullable=False),
    _Column('topic', _String(255), nullable=False, default='x'),
    _Column('host', _String(255), nullable=False),
    _Column('admin_state_up', sqlalchemy.Boolean, nullable=False,
            server_default=sqlalchemy.true()),
    _Column('created_at', sqlalchemy.DateTime, nullable=False),
    _Column('started_at', sqlalchemy.DateTime, nullable=False),
    _Column('heartbeat_timestamp', sqlalchemy.DateTime, nullable=False),
    _Column('configurations', _String(4095), nullable=False, default=''),
    sqlalchemy.UniqueConstraint('agent_type', 'host'),
    mysql_engine='InnoDB')

REAL = {'nova': NOVA, 'cinder': CINDER, 'neutron': NEUTRON}
ASKED = {'nova': service_tables.NOVA, 'cinder': service_tables.CINDER,
         'neutron': service_tables.NEUTRON}


def row(name: str, number: int, binary: str | None,
        beat: datetime.datetime | None, *,
        created: datetime.datetime | None = None,
        disabled: bool | None = False, forced_down: bool | None = False,
        deleted: Any = 0) -> dict[str, Any]:
    """One row of a service's table; what it has no column for is lost.

    :param name: nova, cinder or neutron
    :param beat: the last heartbeat, if there was one
    """
    if name == 'neutron':
        return {'id': str(number), 'host': str(number), 'binary': binary,
                'admin_state_up': not disabled, 'created_at': created or beat,
                'started_at': created or beat, 'heartbeat_timestamp': beat}
    values = {'id': number, 'host': str(number), 'topic': binary,
              'binary': binary, 'disabled': disabled, 'created_at': created}
    if name == 'cinder':
        return {**values, 'updated_at': beat,
                'deleted': None if deleted is None else bool(deleted)}
    return {**values, 'last_seen_up': beat, 'forced_down': forced_down,
            'deleted': deleted}


def fill(connection: sqlalchemy.Connection, name: str,
         rows: list[dict[str, Any]]) -> None:
    """Replace a service's table by one with these rows."""
    REAL[name].drop(connection, checkfirst=True)
    REAL[name].create(connection)
    if rows:
        connection.execute(REAL[name].insert(), rows)
    connection.commit()


def judged(name: str, rows: list[dict[str, Any]], now: datetime.datetime,
           down_time: float) -> tuple[heartbeats.Kind, ...]:
    """What to expect: the services' code, row by row.

    After nova.servicegroup.drivers.db.DbDriver.is_up, cinder.api.v3.services
    and neutron.agent.common.utils.is_agent_down.
    """
    kinds: dict[str, dict[str, int]] = {}
    for one in rows:
        if name != 'neutron' and (one['deleted'] is None or one['deleted']):
            continue
        if name == 'nova' and one['binary'] in (
                'nova-osapi_compute', 'nova-metadata'):
            continue
        if name == 'neutron':
            disabled = not one['admin_state_up']
            up = not now - one['heartbeat_timestamp'] > datetime.timedelta(
                seconds=down_time)
        else:
            disabled = one['disabled']
            beat = one['last_seen_up' if name == 'nova' else
                       'updated_at'] or one['created_at']
            up = beat is not None and abs(now - beat) <= datetime.timedelta(
                seconds=down_time)
        state = ('disabled' if disabled else
                 'forced_down' if one.get('forced_down') else
                 'up' if up else 'down')
        counts = kinds.setdefault(one['binary'] or '', {})
        counts[state] = counts.get(state, 0) + 1
    return tuple(heartbeats.Kind(binary, **kinds[binary])
                 for binary in sorted(kinds))
