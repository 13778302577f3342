# SPDX-License-Identifier: Apache-2.0

"""What a service reports to systemd about itself, see sd_notify(3)."""

from __future__ import annotations

from collections.abc import Mapping
import os
import socket
import time

from oslo_log import log as logging

LOG = logging.getLogger(__name__)

# Seconds that a message may wait for room in systemd's socket.
_PATIENCE = 1.0

# Seconds for the end itself.
_GRACE = 10.0


class Notifier:
    """Sends datagrams to systemd. Without systemd it does nothing.

    :param environ: where systemd says what it expects
    :ivar enabled: whether systemd listens
    :ivar watchdog: seconds of silence after which systemd ends the process,
        or None
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        name = environ.get('NOTIFY_SOCKET', '')
        # An abstract name is written with an @ for the 0 byte.
        self._address = '\0' + name[1:] if name.startswith('@') else name
        self.enabled = name.startswith(('@', '/'))
        self.watchdog: float | None = None
        if self.enabled and environ.get('WATCHDOG_PID') in (
                None, str(os.getpid())):
            usec = environ.get('WATCHDOG_USEC', '')
            if usec.isdecimal() and int(usec):
                self.watchdog = int(usec) / 1e6

    def ready(self) -> None:
        self._send('READY=1')

    def reloading(self) -> None:
        """Report a reload; :meth:`ready` ends it."""
        self._send('RELOADING=1\nMONOTONIC_USEC='
                   f'{time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}')

    def stopping(self, seconds: float = 0.0) -> None:
        """Report the end.

        :param seconds: that are needed before it; systemd waits for these in
            addition to ``TimeoutStopSec=``
        """
        self._send('STOPPING=1' + (
            f'\nEXTEND_TIMEOUT_USEC={int((seconds + _GRACE) * 1e6)}'
            if seconds else ''))

    def alive(self) -> None:
        self._send('WATCHDOG=1')

    def status(self, text: str) -> None:
        """Show a line in ``systemctl status``."""
        self._send('STATUS=' + ' '.join(text.split()))

    def _send(self, message: str) -> None:
        if not self.enabled:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(_PATIENCE)
                sender.sendto(message.encode(), self._address)
        except OSError as exc:
            LOG.debug('systemd cannot be told %s: %s', message, exc)
