# SPDX-License-Identifier: Apache-2.0

"""A private Galera cluster: one MariaDB node, and at times an arbitrator."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import pathlib

from tests.functional.servers import mariadb
from tests.functional.servers import process

# Where distributions put Galera's shared library.
LIBRARIES = ('/usr/lib/galera/libgalera_smm.so',
             '/usr/lib64/galera-4/libgalera_smm.so',
             '/usr/lib/libgalera_smm.so')


class GaleraNode(mariadb.MariaDB):
    """The only data node of a Galera cluster."""

    name = 'galera'

    def __init__(self, max_connections: int = 100) -> None:
        super().__init__(max_connections)
        self.group = f'bench-{self.port}'
        self.group_port = process.free_port()
        self.transfer_port = process.free_port()

    def command(self) -> list[str]:
        library = next((path for path in LIBRARIES
                        if pathlib.Path(path).exists()), None)
        if library is None:
            raise process.ServerError('libgalera_smm.so was not found: install'
                                      ' the Debian package galera-4')
        listen = f'tcp://{self.host}:{self.group_port}'
        options = {'gmcast.listen_addr': listen,
                   'ist.recv_addr': f'{self.host}:{self.transfer_port}',
                   'gcache.size': '1M',
                   'pc.recovery': 'false',
                   # How soon a silent peer counts as dead: 5 s and more if
                   # not told otherwise.
                   'evs.keepalive_period': 'PT0.1S',
                   'evs.inactive_check_period': 'PT0.1S',
                   'evs.suspect_timeout': 'PT1S',
                   'evs.inactive_timeout': 'PT2S',
                   'evs.install_timeout': 'PT1S'}
        provider = ';'.join(f'{key}={value}' for key, value in options.items())
        return [*super().command(),
                '--wsrep-on=ON', f'--wsrep-provider={library}',
                # No address: this node starts a new cluster.
                '--wsrep-cluster-address=gcomm://',
                f'--wsrep-cluster-name={self.group}',
                f'--wsrep-node-address={self.host}:{self.group_port}',
                f'--wsrep-provider-options={provider}',
                '--wsrep-sst-method=skip',
                '--binlog-format=ROW', '--innodb-autoinc-lock-mode=2']

    def start(self) -> None:
        state = self.data / 'grastate.dat'
        if not self.running and state.exists():
            # The last member to leave may start the cluster again. This node
            # is always the one to do so, even after it lost quorum.
            state.write_text(state.read_text().replace(
                'safe_to_bootstrap: 0', 'safe_to_bootstrap: 1'))
        super().start()

    def ready(self) -> bool:
        return super().ready() and self.synced

    @property
    def synced(self) -> bool:
        return (self.status_text('wsrep_ready') == 'ON'
                and self.status('wsrep_local_state') == 4)

    def desync(self) -> None:
        """Take the node out of flow control, as a donor or a backup does."""
        self.sql('SET GLOBAL wsrep_desync = ON')
        process.wait_until(lambda: self.status('wsrep_local_state') == 2,
                           'node desynced')

    def resync(self) -> None:
        # Galera counts how often it was told: never tell it once too often.
        if self.sql('SELECT @@wsrep_desync') == [(1,)]:
            self.sql('SET GLOBAL wsrep_desync = OFF')
            process.wait_until(lambda: self.synced, 'node synced')

    @contextlib.contextmanager
    def arbitrator(self) -> Iterator[Arbitrator]:
        """A second member, which has joined.

        If it crashes, the node is one of two and cannot know that it is not
        the one that was cut off: it has lost quorum.
        """
        arbitrator = Arbitrator(self)
        try:
            arbitrator.start()
            yield arbitrator
        finally:
            arbitrator.close()

    def lose_quorum(self) -> None:
        """Leave the node in a non-primary component, its clients connected."""
        with self.arbitrator() as arbitrator:
            arbitrator.kill()
            process.wait_until(
                lambda: self.status_text('wsrep_ready') == 'OFF',
                'quorum lost')

    def regain_quorum(self) -> None:
        """Declare the node the primary component, as an operator would."""
        self.sql("SET GLOBAL wsrep_provider_options = 'pc.bootstrap=true'")
        process.wait_until(lambda: self.synced, 'quorum regained')


class Arbitrator(process.Server):
    """A member of a Galera cluster that has a vote but no data."""

    name = 'garbd'

    def __init__(self, node: GaleraNode) -> None:
        super().__init__()
        self.node = node

    def command(self) -> list[str]:
        program = process.find_binary('garbd', 'galera-arbitrator-4')
        return [program, f'--group={self.node.group}',
                f'--address=gcomm://{self.node.host}:{self.node.group_port}',
                f'--options=gmcast.listen_addr=tcp://{self.host}:{self.port}']

    def ready(self) -> bool:
        # The node is its donor first, though there is nothing to give. It
        # says that it is synced again, and so it is a moment later.
        return (self.log.read_text().count('synced with group') >= 2
                and self.node.synced)
