# SPDX-License-Identifier: Apache-2.0

"""A private Redis, which keeps nothing on its disk."""

from __future__ import annotations

from urllib import parse

import redis

from tests.functional.servers import process


class Redis(process.Server):
    """A Redis without data.

    :param password: that clients have to give; empty for none
    """

    name = 'redis'

    def __init__(self, password: str = '') -> None:
        super().__init__()
        self.password = password

    def prepare(self) -> None:
        # Not on the command line, which others can read.
        lines = [f'bind {self.host}', f'port {self.port}',
                 f'dir {self.directory}', 'save ""', 'appendonly no']
        if self.password:
            lines.append(f'requirepass "{self.password}"')
        (self.directory / 'redis.conf').write_text('\n'.join(lines) + '\n')

    def command(self) -> list[str]:
        program = process.find_binary('redis-server', 'redis-server')
        return [program, str(self.directory / 'redis.conf')]

    def ready(self) -> bool:
        with redis.Redis(self.host, self.port, socket_timeout=2,
                         password=self.password or None) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def restart_empty(self) -> None:
        """Lose all data."""
        self.kill()
        self.start()

    def url(self, port: int | None = None,
            password: str | None = None) -> str:
        """Return a URL for tooz of this server, or of a relay's port."""
        password = self.password if password is None else password
        user = f':{parse.quote(password, safe="")}@' if password else ''
        return f'redis://{user}{self.host}:{port or self.port}'
