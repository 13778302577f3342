# SPDX-License-Identifier: Apache-2.0

"""A caller that says and hears every byte, on a fresh connection each time."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import socket


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """By name in lower case."""
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def pid(self) -> int:
        """The process that answered; see ``tests.functional.bench``."""
        return int(self.headers['x-pid'])


def ask(port: int, path: str = '/healthcheck', method: str = 'GET',
        body: bytes = b'', *, version: str = '1.1', timeout: float = 30.0,
        source: str = '', **headers: str) -> Answer:
    """Ask, and wait for the server to end the connection.

    :param timeout: how long to wait for more, in seconds
    :param source: the address to ask from
    :raises OSError: if the connection ends without an answer
    """
    lines = [f'{method} {path} HTTP/{version}']
    if version != '1.0':
        lines += [f'Host: 127.0.0.1:{port}', 'Connection: close']
    lines += [f'{name.replace("_", "-")}: {value}'
              for name, value in headers.items()]
    if body:
        lines.append(f'Content-Length: {len(body)}')
    data = b''
    with socket.create_connection(
            ('127.0.0.1', port), timeout,
            (source, 0) if source else None) as server:
        server.sendall('\r\n'.join([*lines, '', '']).encode() + body)
        while more := server.recv(65536):
            data += more
    head, _, body = data.partition(b'\r\n\r\n')
    if not head:
        raise ConnectionResetError('closed without an answer')
    status, *lines = head.decode().split('\r\n')
    pairs = [line.split(':', 1) for line in lines]
    return Answer(int(status.split()[1]), {
        name.lower(): value.strip() for name, value in pairs}, body)
