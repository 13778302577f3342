# SPDX-License-Identifier: Apache-2.0

"""How targets are probed and judged, and how soon a fault is detected."""

from __future__ import annotations

import dataclasses
import random

UNIFORM = random.SystemRandom().uniform
"""The source of jitter. Not the process's own generator: uWSGI forks workers
without telling Python, so all of them would draw the same numbers."""


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

        A fault can begin just after a probe has checked the faulty part. So
        the whole interval counts, or that probe's timeout if it is longer.
        Then each of ``fall`` probes may need its whole timeout.
        """
        return (max(self.interval * (1 + self.jitter), self.timeout)
                + self.timeout
                + (self.fall - 1) * (self.retry_interval + self.timeout))

    @property
    def recovery(self) -> float:
        """The longest time from the end of a fault to ``pass``, in seconds.

        A probe that fails may have begun just before, and may need its whole
        timeout. Then each of ``rise`` probes may do so. A probe that hangs
        for longer delays recovery by that much.
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
