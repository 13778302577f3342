# SPDX-License-Identifier: Apache-2.0

"""A second descriptor of a connection's socket, to cut it from outside."""

from __future__ import annotations

import os
import socket
import threading


class Wire:
    """Ends a read that a driver does not bound.

    The descriptor is a duplicate, so it always cuts that very socket, even if
    the driver has closed its own and something else has that number now.
    """

    def __init__(self) -> None:
        # Held briefly by two threads, and never during I/O.
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
        """Cut the socket. A thread that reads from it gets an error."""
        with self._lock:
            if self._socket is not None:
                try:
                    self._socket.shutdown(socket.SHUT_RDWR)
                except OSError:  # it is gone already
                    pass
