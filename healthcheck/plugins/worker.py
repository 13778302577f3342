# SPDX-License-Identifier: Apache-2.0

"""Plugin ``worker``: does this process run out of resources?"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import time

from healthcheck.plugins import base
from healthcheck.plugins import resources

DESCRIPTORS_LOW = 'DESCRIPTORS LOW'
MEMORY_LOW = 'MEMORY LOW'
TASKS_LOW = 'TASKS LOW'
TOO_MANY_THREADS = 'TOO MANY THREADS'
POOL_EXHAUSTED = 'POOL EXHAUSTED'
ALL_WORKERS_BUSY = 'ALL WORKERS BUSY'

_MIB = 1 << 20

# How many times one probe asks for the server's workers, and the seconds in
# between. It is normal that all are busy at one moment. So a probe asks
# several times, and "fall" demands several such probes in a row.
_LOOKS = 5
_PAUSE = 0.1


class Worker(base.ProbePlugin):
    """Checks the resources of its own process.

    :ivar process: the kernel's readings
    :ivar exhausted_pools: finds SQLAlchemy's exhausted pools
    :ivar busy_workers: counts the server's busy workers
    :ivar sleep: waits between two such counts, in seconds
    """

    name = 'worker'
    per_worker = True

    def set_up(self) -> None:
        self.process = resources.Process()
        self.exhausted_pools = resources.exhausted_pools
        self.busy_workers = resources.busy_workers
        self.sleep: Callable[[float], None] = time.sleep
        resources.watch_pools()

    def probe(self) -> base.Result:
        found = list(self._look())
        reasons = [reason for reason, _ in found if reason]
        details = '; '.join(detail for _, detail in found)
        if reasons:
            return base.Result.failed(reasons[0], details)
        return base.Result(base.Status.PASS, detail=details)

    def _look(self) -> Iterator[tuple[str, str]]:
        """(reason, empty if enough is left; figures) of each resource."""
        settings, process = self.view.settings, self.process
        use = process.descriptors()
        if use is not None:
            yield self._judge(use, settings.worker_max_descriptors,
                              DESCRIPTORS_LOW), f'descriptors {use}'
        use = process.memory()
        if use is not None:
            yield self._judge(use, settings.worker_max_memory, MEMORY_LOW), (
                f'memory {use.used // _MIB} of {use.limit // _MIB} MiB')
        use = process.tasks()
        if use is not None:
            yield self._judge(use, settings.worker_max_tasks,
                              TASKS_LOW), f'tasks {use}'
        threads, most = process.threads(), settings.worker_max_threads
        yield (TOO_MANY_THREADS if 0 < most < threads else '',
               f'threads {threads}' + (f' of {most}' if most else ''))
        for database, use in self.exhausted_pools():
            yield POOL_EXHAUSTED, f'connections to {database} {use}'
        use = self._lasting_use()
        if use is not None:
            yield (ALL_WORKERS_BUSY if use.used >= use.limit else '',
                   f'busy workers {use}')

    @staticmethod
    def _judge(use: resources.Use, most: float, reason: str) -> str:
        return reason if use.part > most else ''

    def _lasting_use(self) -> resources.Use | None:
        """The first look that finds an idle worker; else the last look."""
        last: resources.Use | None = None
        for left in reversed(range(_LOOKS)):
            use = self.busy_workers()
            if use is None or use.used < use.limit:
                return use
            last = use
            if left:
                self.sleep(_PAUSE)
        return last
