# SPDX-License-Identifier: Apache-2.0

"""The values of group ``[healthcheck]``, typed."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """A value for each option of ``healthcheck.config.opts``, by its name.

    So a misspelt option fails type checking. What an option means, its unit
    and its default stand there; a test compares names and types.
    """

    # oslo.middleware's
    detailed: bool
    backends: Sequence[str]
    allowed_source_ranges: Sequence[str]
    ignore_proxied_requests: bool
    disable_by_file_path: str | None
    disable_by_file_paths: Sequence[str]
    enable_by_file_paths: Sequence[str]

    path: str
    interval: float
    retry_interval: float
    timeout: float
    ttl: float
    fall: int
    rise: int
    slow_threshold: float
    jitter: float
    evidence: bool
    probe_at_least_every: float
    startup_wait: float
    noncritical: Sequence[str]

    sharing: str
    state_path: str | None

    drain_path: str
    drain_delay: float

    database_connection: str | None = dataclasses.field(repr=False)
    database_read_only_ok: bool
    database_galera_donor_ok: bool

    message_queue_transport_url: str | None = dataclasses.field(repr=False)

    cells_api_connection: str | None = dataclasses.field(repr=False)
    cells_min_up: str
    cells_critical: Sequence[str]
    cells_workers: int

    services_of: str | None

    detail_source_ranges: Sequence[str]
    metrics_source_ranges: Sequence[str]

    balancer_source_ranges: Sequence[str]
    shared_failure: str

    fleet_url: str | None = dataclasses.field(repr=False)
    fleet_name: str | None
    fleet_node: str | None
    fleet_quorum: str

    listeners: Sequence[str]

    worker_max_descriptors: float
    worker_max_memory: float
    worker_max_tasks: float
    worker_max_threads: int

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Settings:
        """Those of ``values``, which may hold plugins' options too."""
        return cls(**{field.name: values[field.name]
                      for field in dataclasses.fields(cls)})
