# SPDX-License-Identifier: Apache-2.0

"""Threads that take none of the signals that are meant for the process.

The system gives a signal to whichever thread takes it first, and uWSGI's
handlers end the worker from there. Python cannot end in another thread than
the main one: the worker hung until uWSGI killed it, after 61 s. A reload waits
for that, too, and nobody answers meanwhile. It was one stop in eight with 24
workers on a busy machine.
"""

from __future__ import annotations

from collections.abc import Callable
import signal
import threading

# By which servers are stopped, reloaded and told things. Not faults, which
# their own thread has to report, nor SIGCHLD, which children would inherit.
SIGNALS = frozenset((
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM,
    signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGURG,
    signal.SIGWINCH, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU))


def start(run: Callable[..., object], name: str, *args: object,
          ) -> threading.Thread:
    """Run a function in a daemon thread, and return that.

    :raises RuntimeError: if the process can start no thread
    """
    thread = threading.Thread(target=run, args=args, daemon=True, name=name)
    # The new thread inherits what is blocked here, so it never takes a signal.
    # This is read in a call of its own, because a handler that raises may do
    # so in the one that blocks.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        thread.start()
    finally:
        # Not SIG_SETMASK: of two greenlets that are here at the same time,
        # the last one would set what the first one has blocked.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS - before)
    return thread
