# SPDX-License-Identifier: Apache-2.0

"""A private etcd, of one member."""

from __future__ import annotations

import base64
import shutil

import requests

from tests.functional.servers import process


class Etcd(process.Server):
    """An etcd with an empty data directory."""

    name = 'etcd'

    def __init__(self) -> None:
        super().__init__()
        self.data = self.directory / 'data'
        self._peers = f'http://{self.host}:{process.free_port()}'
        self._root = f'http://{self.host}:{self.port}'

    def command(self) -> list[str]:
        program = process.find_binary('etcd', 'etcd-server')
        return [program, '--name', 'one', '--data-dir', str(self.data),
                '--listen-client-urls', self._root,
                '--advertise-client-urls', self._root,
                '--listen-peer-urls', self._peers,
                '--initial-advertise-peer-urls', self._peers,
                '--initial-cluster', f'one={self._peers}',
                '--logger', 'zap', '--log-level', 'error']

    def ready(self) -> bool:
        try:
            answer = requests.get(f'{self._root}/health', timeout=2)
        except requests.RequestException:
            return False
        # It has a leader: itself.
        return answer.ok and answer.json()['health'] == 'true'

    def restart_empty(self) -> None:
        """Lose all data, as a store in memory does."""
        self.kill()
        shutil.rmtree(self.data)
        self.start()

    def spoil(self, group: str) -> None:
        """Put what is no member's record into a group of tooz."""
        key = base64.b64encode(f'tooz/groups/{group}/spoiled'.encode())
        requests.post(f'{self._root}/v3/kv/put', timeout=5, json={
            'key': key.decode(),
            'value': base64.b64encode(b'\xc1').decode()}).raise_for_status()

    def url(self, port: int | None = None) -> str:
        """Return a URL for tooz of this server, or of a relay's port."""
        return f'etcd3+http://{self.host}:{port or self.port}'
