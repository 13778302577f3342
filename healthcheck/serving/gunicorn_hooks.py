# SPDX-License-Identifier: Apache-2.0

"""For gunicorn.conf.py: a node leaves the balancer before it stops.

    from healthcheck.serving.gunicorn_hooks import when_ready

On SIGTERM gunicorn's master closes its sockets and tells the workers to end.
With this hook, readiness is 503 STOPPING for ``drain_delay`` seconds before
that. The master reads the delay that its workers have been configured with.
"""

from __future__ import annotations

from collections.abc import Callable
import signal
from typing import Any

# Light: the master may not have loaded the application, and gevent patches
# modules that it must find unused.
from healthcheck.host import lameduck


def when_ready(server: Any) -> None:
    """Handle SIGTERM in the master; a second one stops it at once."""
    duck = lameduck.OURS
    before = signal.getsignal(signal.SIGTERM)
    assert callable(before), 'gunicorn sets it before it calls this hook'
    stop: Callable[[int, Any], Any] = before

    def begin(signum: int, frame: Any) -> None:
        if duck.begun or duck.delay <= 0:
            signal.setitimer(signal.ITIMER_REAL, 0)
            stop(signum, frame)
            return
        duck.begin()
        # The master goes on managing its workers meanwhile.
        signal.setitimer(signal.ITIMER_REAL, duck.delay)
    signal.signal(signal.SIGALRM,
                  lambda signum, frame: stop(signal.SIGTERM, frame))
    signal.signal(signal.SIGTERM, begin)
