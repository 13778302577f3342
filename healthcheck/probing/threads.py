# SPDX-License-Identifier: Apache-2.0

"""Whether the server lets the threads of a process run."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
import os
import time

from oslo_log import log as logging

from healthcheck.probing import prober as prober_module

LOG = logging.getLogger(__name__)

STALLED = 5.0
"""Seconds without running after which a thread counts as stalled."""


class Threads:
    """Watches a process's threads; logs a stall once.

    :param probers: those that have a thread
    :param clock: monotonic seconds
    :ivar run_always: whether threads also run between requests
    """

    def __init__(self, probers: Sequence[prober_module.Prober],
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._probers = probers
        self._clock = clock
        self._complained = False
        self.run_always = _run_always()

    def stalled(self) -> bool:
        """Whether threads do not run."""
        if not self.run_always:
            self._complain('uWSGI does not let threads run between requests')
            return True
        quiet = self._clock() - max(
            (prober.alive_at for prober in self._probers),
            default=self._clock())
        if quiet < STALLED:
            return False
        self._complain(f'its thread has not run for {quiet:.0f} s')
        return True

    def _complain(self, why: str) -> None:
        if self._complained:
            return
        self._complained = True
        LOG.error('Healthcheck: process %(pid)s cannot probe: %(why)s. The '
                  'server has to let threads run, as uWSGI does with '
                  '"enable-threads = true"; or let "healthcheck-agent" '
                  'probe for it.', {'pid': os.getpid(), 'why': why})


def _run_always() -> bool:
    """Whether threads run between requests.

    uWSGI before 2.0.27 does not let them, unless it is configured to.
    ``has_threads`` is the only way to tell. During a request, waiting
    threads run first, so a heartbeat looks fresh and backends look slow.
    Measured with 2.0.21 and 2.0.31; ``uwsgi.opt`` does not tell either.
    """
    try:
        import uwsgi  # exists only in a process of uWSGI
    except ImportError:
        return True
    return bool(getattr(uwsgi, 'has_threads', True))
