# SPDX-License-Identifier: Apache-2.0

"""Servers that clients may talk TLS with, and a balancer in front of one."""

from __future__ import annotations

from tests.functional import servers
from tests.functional.servers import process


def certified(server: process.Server) -> None:
    """Make a certificate, and its key, in the directory of a server."""
    server.run([process.find_binary('openssl', 'openssl'), 'req', '-x509',
                '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1',
                '-nodes', '-days', '7', '-subj', '/CN=127.0.0.1',
                '-addext', 'subjectAltName=IP:127.0.0.1',
                '-keyout', str(server.directory / 'key.pem'),
                '-out', str(server.directory / 'cert.pem')])


class MariaDB(servers.MariaDB):
    """With TLS for those who ask for it."""

    def prepare(self) -> None:
        super().prepare()
        certified(self)

    def command(self) -> list[str]:
        return [*super().command(), f'--ssl-cert={self.directory}/cert.pem',
                f'--ssl-key={self.directory}/key.pem']


class PostgreSQL(servers.PostgreSQL):
    """With TLS for those who ask for it."""

    def prepare(self) -> None:
        super().prepare()
        certified(self)

    def command(self) -> list[str]:
        return [*super().command(), '--ssl=on',
                f'--ssl_cert_file={self.directory}/cert.pem',
                f'--ssl_key_file={self.directory}/key.pem']


class RabbitMQ(servers.RabbitMQ):
    """With TLS, and nothing else, on its port."""

    def prepare(self) -> None:
        super().prepare()
        certified(self)
        path = self.directory / 'rabbitmq.config'
        path.write_text(path.read_text().replace(
            '{rabbit, [{tcp_listeners,',
            '{rabbit, [{tcp_listeners, []}, {num_ssl_acceptors, 2},'
            f' {{ssl_options, [{{certfile, "{self.directory}/cert.pem"}},'
            f' {{keyfile, "{self.directory}/key.pem"}},'
            ' {verify, verify_none}]},'
            ' {ssl_listeners,'))


class Balancer(servers.HAProxy):
    """HAProxy in front of a database, whose bytes it hands on unread.

    :param idle_ms: ``timeout client`` in milliseconds
    """

    def __init__(self, port: int, idle_ms: int = 60000) -> None:
        super().__init__({'db': port})
        self.idle_ms = idle_ms

    def prepare(self) -> None:
        (self.directory / 'haproxy.cfg').write_text('\n'.join([
            'global', f'stats socket {self.stats} level admin',
            'defaults', 'mode tcp', 'timeout connect 5s',
            f'timeout client {self.idle_ms}ms', 'timeout server 60s',
            'frontend front', f'bind {self.host}:{self.port}',
            'default_backend back',
            'backend back', f'server db 127.0.0.1:{self.backends["db"]}', '']))

    def close_sessions(self) -> None:
        """End every connection, as ``timeout client`` does."""
        self.ask('shutdown sessions server back/db')
        servers.wait_until(lambda: self.server('db')['scur'] == '0',
                           'sessions closed')
