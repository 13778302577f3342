# SPDX-License-Identifier: Apache-2.0

"""A cell, and an API node that looks at it."""

from __future__ import annotations

from collections.abc import Mapping
import datetime
import json
import time
from typing import Any

from tests.functional import brokers
from tests.functional import databases
from tests.functional import servers
from tests.functional import service as service_module

# On top of what the formula promises: a whole cloud runs on the machine too.
ALLOWANCE = 20.0

CELL0 = '00000000-0000-0000-0000-000000000000'
DRIVER = databases.DRIVERS[0]

PACE = {'interval': 1.0, 'retry_interval': 0.3, 'timeout': 3.0,
        'slow_threshold': 1.5, 'detail_source_ranges': '192.0.2.1/32'}


class Node(service_module.Service):
    """An API node, asked in process."""

    @property
    def bound(self) -> float:
        return self.policy.detection + ALLOWANCE

    def parts(self, check: str = 'cells') -> dict[str, dict[str, Any]]:
        """What admins are told of each cell, by its name."""
        told = json.loads(self.request('/healthcheck/detail').text)
        return {part['name']: part for found in told['checks']
                if found['name'] == check for part in found['components']}

    def comes_to(self, states: Mapping[str, tuple[str | None, str]],
                 check: str = 'cells') -> None:
        """Wait until each cell has its status and reason, and no other is."""
        def told() -> dict[str, tuple[str | None, str]]:
            return {name: (part['status'], part['reason'])
                    for name, part in self.parts(check).items()}
        deadline = time.monotonic() + self.bound
        while told() != states:
            if time.monotonic() > deadline:
                raise AssertionError(f'wanted {states}, told {told()}')
            time.sleep(0.05)


class Cell:
    """A cell, with accounts of its own.

    :param server: the MariaDB that it is on
    :param broker: None for cell0, which has no queue
    :param relayed: whether it is gone to through relays
    """

    def __init__(self, name: str, server: servers.MariaDB,
                 broker: brokers.Broker | None, *,
                 relayed: bool = True) -> None:
        self.name = name
        self.uuid = CELL0
        self.stored = databases.Database(server, DRIVER, f'zuser-{name}',
                                         name=f'zschema-{name}')
        self.broker = broker
        self._database = self.stored.relay() if relayed else None
        self._queue = (self.broker.relay() if relayed and self.broker
                       else None)

    @property
    def database(self) -> servers.Relay:
        assert self._database is not None
        return self._database

    @property
    def queue(self) -> servers.Relay:
        assert self._queue is not None
        return self._queue

    @property
    def relays(self) -> list[servers.Relay]:
        return [each for each in (self._database, self._queue) if each]

    @property
    def database_url(self) -> str:
        return self.stored.url(self._database and self._database.port)

    @property
    def transport_url(self) -> str:
        if self.broker is None:
            return 'none:///'
        return self.broker.url(*([self._queue.port] if self._queue else []))

    def table(self, name: str) -> str:
        return f'`{self.stored.name}`.`{name}`'

    def go_down(self) -> None:
        """Have its database refuse, as one does that was stopped."""
        self.database.refuse()
        self.database.cut()

    def come_back(self) -> None:
        for relay in self.relays:
            relay.heal()

    def register(self, host: str, binary: str, age: float = 0.0, *,
                 disabled: bool = False, forced_down: bool = False) -> None:
        """Register a service whose last sign is so many seconds old.

        By the clock of this host, as it is a conductor's that writes it. Of
        a version that no conductor finds too old.
        """
        seen = (datetime.datetime.now(datetime.timezone.utc)
                - datetime.timedelta(seconds=age)).replace(tzinfo=None)
        self.stored.server.sql(
            f'REPLACE INTO {self.table("services")} (host, `binary`, topic,'
            ' report_count, disabled, forced_down, deleted, version,'
            ' created_at, last_seen_up)'
            ' VALUES (%s, %s, %s, 1, %s, %s, 0, 1000, %s, %s)',
            host, binary, binary.removeprefix('nova-'), disabled, forced_down,
            seen, seen)

    def services(self, host: str, binary: str) -> list[tuple[Any, ...]]:
        """(number of reports, last sign) of a service, if it is there."""
        return list(self.stored.server.sql(
            'SELECT report_count, last_seen_up'
            f' FROM {self.table("services")}'
            ' WHERE host = %s AND `binary` = %s AND deleted = 0',
            host, binary))

    def create(self, like: Cell | None, *tables: str) -> None:
        """Make its schema, and the account for it.

        :param like: whose tables are copied; None: there will be a real sync.
            That takes a second and a half, a copy a tenth of it.
        :param tables: copy these alone
        """
        self.stored.drop()
        self.stored.create()
        if like is None:
            return
        sql = self.stored.server.sql
        source = like.stored.server
        # For what refers to tables that come later.
        sql('SET foreign_key_checks = 0')
        for table in tables or [name for name, in source.sql(
                f'SHOW TABLES FROM `{like.stored.name}`')]:
            # From where it is made, which may be another server.
            (_, text), = source.sql(f'SHOW CREATE TABLE {like.table(table)}')
            sql(text.replace(f'`{table}`', self.table(table), 1))
        sql('SET foreign_key_checks = 1')

    def close(self) -> None:
        for relay in self.relays:
            relay.close()

    def heal(self) -> None:
        self.come_back()
        self.stored.server.set_password(self.stored.user,
                                        self.stored.password)
        self.stored.server.sql(f'DELETE FROM {self.table("services")}')
        if self.broker is not None:
            self.broker.create_vhost()
            self.broker.server.set_password(self.broker.user,
                                            self.broker.password)
