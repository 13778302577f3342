# SPDX-License-Identifier: Apache-2.0

"""A second hold on a connection's socket, to cut it from outside."""

from __future__ import annotations

import os
import socket
import threading


class Wire:
    """Ends a read that a driver does not bound.

    The descriptor is a duplicate, so what is cut is that very socket,
    whatever the driver has closed, and somebody else has opened, since.
    """

    def __init__(self) -> None:
        # Held for a moment by two threads, and never during I/O.
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def follow(self, descriptor: int | None) -> None:
        """Hold the socket of ``descriptor`` in place of the last one."""
        follows = None if descriptor is None else socket.socket(
            fileno=os.dup(descriptor))
        with self._lock:
            before, self._socket = self._socket, follows
        if before is not None:
            before.close()

    def cut(self) -> None:
        """End what the socket is waited for; whoever reads gets an error."""
        with self._lock:
            if self._socket is not None:
                try:
                    self._socket.shutdown(socket.SHUT_RDWR)
                except OSError:  # it is gone already
                    pass
