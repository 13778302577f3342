# SPDX-License-Identifier: Apache-2.0

"""A virtual host, and an account for it, on the RabbitMQ of the bench."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
from typing import Any

from oslo_config import cfg

from healthcheck.targets import queue_target
from tests.functional import servers
from tests.functional import service

# As for databases, but without a slash: oslo.messaging hands it on to its
# driver as it is, and no such password works.
PASSWORD = 'Zq1x@Xv2k%41Jb4h:Hn5t#Yt6z,Rd7w;Mc8p?Lf9s&Gp2v=Dj7q Wb3m$Vk5n'


@dataclasses.dataclass(frozen=True)
class Broker:
    """Where a service sends its messages."""

    server: servers.RabbitMQ
    user: str = 'zuser7'
    password: str = PASSWORD
    vhost: str = 'zvhost7'

    def url(self, *ports: int, host: str = '127.0.0.1') -> str:
        return self.server.url(
            self.user, self.password, self.vhost,
            [(host, port) for port in ports or (self.server.port,)])

    def service(self, *ports: int, host: str = '127.0.0.1',
                **options: Any) -> service.Service:
        """A service that uses this broker, perhaps through relays."""
        return service.Service(
            'message_queue',
            message_queue_transport_url=self.url(*ports, host=host),
            **options)

    def target(self, *ports: int,
               query: str = '') -> queue_target.QueueTarget:
        """This broker alone, to be probed when a test says so."""
        return queue_target.QueueTarget(
            cfg.CONF, self.url(*ports) + query, option='transport_url',
            bound=10.0)

    def relay(self) -> servers.Relay:
        return servers.Relay(self.server.host, self.server.port)

    def queues(self) -> Sequence[str]:
        return self.server.queues(self.vhost)

    def exchanges(self) -> Sequence[str]:
        return self.server.exchanges(self.vhost)

    def create(self) -> None:
        self.server.add_user(self.user, self.password)
        self.create_vhost()

    def drop(self) -> None:
        """Remove both, where a fault has not removed them already."""
        for remove, name in ((self.server.delete_user, self.user),
                             (self.server.delete_vhost, self.vhost)):
            with contextlib.suppress(servers.ServerError):
                remove(name)

    def create_vhost(self) -> None:
        self.server.add_vhost(self.vhost)
        self.server.set_permissions(self.user, self.vhost)


@contextlib.contextmanager
def on(server: servers.RabbitMQ) -> Iterator[Broker]:
    """A virtual host that is there for the time of a test."""
    broker = Broker(server)
    # A test whose server did not come back leaves both behind.
    broker.drop()
    broker.create()
    try:
        yield broker
    finally:
        server.heal()
        broker.drop()
