# SPDX-License-Identifier: Apache-2.0

"""A Nova of several cells, made by nova-manage on the servers of the bench.

The API database and the cells' databases are schemas of one MariaDB, the
cells' queues are virtual hosts of one RabbitMQ. The service comes to each
through a relay of its own, so that each can have its own fault; nova-manage
and conductors go there directly.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import pathlib
from typing import Any

from tests.functional import brokers
from tests.functional import cells as cells_module
from tests.functional import databases
from tests.functional import servers
from tests.functional.servers import nova
from tests.functional import service as service_module

# What conductors report by. The first report comes after five seconds.
REPORT_INTERVAL = 1
SERVICE_DOWN_TIME = 15

Cell, Node = cells_module.Cell, cells_module.Node


class Cloud:
    """cell0, cell1 and so on, and the API database that lists them.

    :param count: how many cells there are besides cell0
    """

    def __init__(self, mariadb: servers.MariaDB, rabbitmq: servers.RabbitMQ,
                 count: int = 2) -> None:
        self.mariadb = mariadb
        self.rabbitmq = rabbitmq
        self.stored = databases.Database(mariadb, cells_module.DRIVER,
                                         'zuser-api', name='zschema-api')
        self.api = self.stored.relay()
        self.cells = [Cell('zcell-0', mariadb, None)]
        for number in range(1, count + 1):
            name = f'zcell-{number}'
            self.cells.append(Cell(name, mariadb, brokers.Broker(
                rabbitmq, f'zuser-{name}', vhost=f'zvhost-{name}')))
        self.manage = nova.Manage({
            'api_database': {'connection': self.stored.url()},
            'database': {'connection': self.cells[0].stored.url()}})
        self._rows: list[tuple[Any, ...]] = []

    def __enter__(self) -> Cloud:
        try:
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def _make(self) -> None:
        self.manage.start()
        self.stored.drop()
        self.stored.create()
        cell0, *others = self.cells
        cell0.create(None)
        self.manage('api_db', 'sync')
        self.manage('db', 'sync', '--local_cell')
        self.manage('cell_v2', 'map_cell0', '--database_connection',
                    cell0.database_url)
        for cell in others:
            cell.create(cell0)
            assert cell.broker is not None
            self.rabbitmq.add_user(cell.broker.user, cell.broker.password)
            cell.broker.create_vhost()
            self.map(cell)
        self._rows = self.mappings()
        self._uuids = [cell.uuid for cell in self.cells]

    def close(self) -> None:
        """Schemas and virtual hosts are left to go with the servers."""
        self.manage.close()
        self.api.close()
        for cell in self.cells:
            cell.close()

    def heal(self) -> None:
        """Undo whatever a test has done to it; the servers are well."""
        self.api.heal()
        for cell, uuid in zip(self.cells, self._uuids):
            cell.heal()
            cell.uuid = uuid  # which was another one while it was removed
        if self.mappings() != self._rows:
            self._sql('DELETE FROM {}')
            marks = ', '.join(['%s'] * len(self._rows[0]))
            for row in self._rows:
                self._sql(f'INSERT INTO {{}} VALUES ({marks})', *row)

    def map(self, cell: Cell, *, enabled: bool = True) -> None:
        cell.uuid = self.manage(
            'cell_v2', 'create_cell', '--name', cell.name, '--verbose',
            *([] if enabled else ['--disabled']),
            '--database_connection', cell.database_url,
            '--transport-url', cell.transport_url).split()[-1]

    def unmap(self, cell: Cell) -> None:
        self.manage('cell_v2', 'delete_cell', '--cell_uuid', cell.uuid)

    def enable(self, cell: Cell, enabled: bool = True) -> None:
        # nova-manage wants both URLs, or takes them from its own file.
        self.manage('cell_v2', 'update_cell', '--cell_uuid', cell.uuid,
                    '--enable' if enabled else '--disable',
                    '--database_connection', cell.database_url,
                    '--transport-url', cell.transport_url)

    def template(self, cell: Cell, database: str, transport: str,
                 sections: Mapping[str, Mapping[str, Any]]) -> None:
        """Have templates for its URLs.

        :param sections: what they are filled from, as nova-manage tries it
        """
        config = self.manage.directory / 'templates.conf'
        nova.write(config, sections)
        self.manage('cell_v2', 'update_cell', '--cell_uuid', cell.uuid,
                    '--database_connection', database,
                    '--transport-url', transport, config=config)
        # It ends well, too, when it has left a URL as it was.
        assert self._sql('SELECT database_connection, transport_url FROM {}'
                         ' WHERE uuid = %s', cell.uuid) == [
                             (database, transport)]

    def rewrite(self, cell: Cell, **columns: str) -> None:
        """Put into a mapping what nova-manage would not."""
        for name, value in columns.items():
            self._sql(f'UPDATE {{}} SET `{name}` = %s WHERE uuid = %s',
                      value, cell.uuid)

    def mappings(self) -> list[tuple[Any, ...]]:
        return self._sql('SELECT * FROM {} ORDER BY id')

    @contextlib.contextmanager
    def also(self, cells: Iterable[Cell]) -> Iterator[list[Cell]]:
        """Have more cells, and no more in them than what is probed.

        Their mappings are written by statements: nova-manage takes a tenth
        of a second for each, and refuses a queue that another one has.
        """
        more = []
        try:
            for cell in cells:
                more.append(cell)
                cell.uuid = f'{len(more):08}-0000-4000-8000-000000000000'
                cell.create(self.cells[0], 'services')
                self._sql('INSERT INTO {} (uuid, name, database_connection,'
                          ' transport_url, disabled)'
                          ' VALUES (%s, %s, %s, %s, 0)', cell.uuid,
                          cell.name, cell.database_url, cell.transport_url)
            yield more
        finally:
            for cell in more:
                self._sql('DELETE FROM {} WHERE uuid = %s', cell.uuid)
                cell.close()
                if cell.stored.server.running:
                    cell.stored.server.thaw()
                    cell.stored.drop()

    def sections(self) -> dict[str, dict[str, object]]:
        """What ``nova.conf`` of an API node says of its backends."""
        return {'DEFAULT': {'transport_url': self.cells[1].transport_url,
                            'service_down_time': SERVICE_DOWN_TIME},
                'api_database': {'connection': self.stored.url(
                    self.api.port)},
                'database': {'connection': self.cells[0].database_url}}

    def service(self, path: pathlib.Path, *backends: str,
                sections: Mapping[str, Mapping[str, Any]] | None = None,
                **options: Any) -> Node:
        """An API node.

        :param path: a directory for its configuration
        :param sections: what that says, in place of :meth:`sections`
        """
        settings = {**cells_module.PACE, **options}
        conf = service_module.configured(
            path / 'nova.conf', self.sections() | dict(sections or {}),
            backends, **settings)
        return Node(*backends, conf=conf, **settings)

    def conductor(self, cell: Cell) -> nova.Conductor:
        """A real one, of this cell; not yet started."""
        assert cell.broker is not None
        host = f'conductor-of-{cell.name}'
        return nova.Conductor(host, {
            'DEFAULT': {'transport_url': cell.broker.url(),
                        'report_interval': REPORT_INTERVAL,
                        'service_down_time': SERVICE_DOWN_TIME},
            'api_database': {'connection': self.stored.url()},
            'database': {'connection': cell.stored.url()},
            'conductor': {'workers': 1},
            # It looks for it once, and goes on without.
            'placement': {'auth_type': 'none',
                          'endpoint_override': 'http://127.0.0.1:9'},
        }, lambda: bool(cell.services(host, 'nova-conductor')))

    def _sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Execute a statement on the table of mappings, ``{}``."""
        return list(self.mariadb.sql(
            statement.format(f'`{self.stored.name}`.cell_mappings'), *values))
