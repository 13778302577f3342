# SPDX-License-Identifier: Apache-2.0

"""A private Redis, which keeps nothing on its disk."""

from __future__ import annotations

from urllib import parse

import redis
from redis import backoff
from redis import retry

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
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def restart_empty(self) -> None:
        """Lose all data."""
        self.kill()
        self.start()

    def spoil(self, group: str) -> None:
        """Put what is no member's record into a group of tooz."""
        with self.client() as client:
            client.hset(f'_tooz_group:{group}', 'spoiled', b'\xc1')
            client.set('_tooz_beats:spoiled', 'Not dead!')

    def url(self, port: int | None = None,
            password: str | None = None) -> str:
        """Return a URL for tooz of this server, or of a relay's port."""
        password = self.password if password is None else password
        user = f':{parse.quote(password, safe="")}@' if password else ''
        return f'redis://{user}{self.host}:{port or self.port}'

    def client(self, password: str | None = None) -> redis.Redis:
        """A client, with the right password unless one is given."""
        password = self.password if password is None else password
        # It would try eleven times.
        return redis.Redis(self.host, self.port, socket_timeout=2,
                           password=password or None,
                           retry=retry.Retry(backoff.NoBackoff(), 0))
