# SPDX-License-Identifier: Apache-2.0

"""How targets are probed and judged, and how soon a fault is found."""

from __future__ import annotations

import dataclasses
import random

UNIFORM = random.SystemRandom().uniform
"""Where jitter comes from. Not the generator of the process: uWSGI forks
workers without a word to Python, and all would go on with the same numbers."""


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """How a target is probed and judged. Times are in seconds."""

    interval: float = 10.0
    retry_interval: float = 2.0
    timeout: float = 5.0
    ttl: float = 30.0
    fall: int = 2
    rise: int = 1
    slow_threshold: float = 1.0
    jitter: float = 0.1
    probe_at_least_every: float = 60.0

    @property
    def detection(self) -> float:
        """The longest time from a fault to ``fail``, in seconds.

        A fault can come right after a probe has passed the faulty place, so
        the whole interval counts (or that probe's timeout, if that is
        longer); then each of ``fall`` probes may need its whole timeout.
        """
        return (max(self.interval * (1 + self.jitter), self.timeout)
                + self.timeout
                + (self.fall - 1) * (self.retry_interval + self.timeout))

    @property
    def recovery(self) -> float:
        """The longest time from the end of a fault to ``pass``, in seconds.

        A probe that failed may have begun just before, and takes its whole
        timeout; then each of ``rise`` probes may do so. One that hangs for
        longer delays it by as much.
        """
        return (max(self.interval * (1 + self.jitter),
                    self.timeout + self.retry_interval)
                + self.timeout
                + (self.rise - 1) * (self.retry_interval + self.timeout))

    @property
    def freshness(self) -> float:
        """The longest time between two verdicts of a live prober."""
        return self.timeout + max(self.interval * (1 + self.jitter),
                                  self.retry_interval)
