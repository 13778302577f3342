# SPDX-License-Identifier: Apache-2.0

"""What this process holds, to find out what is left behind in it."""

from __future__ import annotations

import collections
import gc
import os
import re
import threading


class Held:
    """The threads of this process, by name, and its descriptors.

    Two of them are not compared for being equal: something may be on its way
    at the moment of either, as a connection that is about to be closed. So do
    what may leave something behind often enough in between for that to be
    more.
    """

    def __init__(self) -> None:
        gc.collect()
        # Those of a pool end and are started as there is work, and count on.
        self._threads = collections.Counter(
            re.sub(r'^healthcheck-\d+$', 'healthcheck-N', one.name)
            for one in threading.enumerate())
        self._descriptors = {}
        for name in os.listdir('/proc/self/fd'):
            try:
                self._descriptors[name] = os.readlink(f'/proc/self/fd/{name}')
            except FileNotFoundError:
                pass  # closed in the meantime, or the one of the listing

    def __str__(self) -> str:
        return f'{dict(self._threads)}, {self._descriptors}'

    def is_within(self, before: Held) -> bool:
        """Whether there is no more than there was."""
        return (self._threads <= before._threads
                and len(self._descriptors) <= len(before._descriptors))
