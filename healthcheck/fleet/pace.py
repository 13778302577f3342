# SPDX-License-Identifier: Apache-2.0

"""How often a node uses the store, by the size of its fleet.

All nodes read all records. So the store's work grows with the square of their
number, unless each of them reads less often.
"""

from __future__ import annotations

from healthcheck.probing import policy as policy_module

Policy = policy_module.Policy

LOOK = 1.0
"""Seconds between two reads of a small fleet, at most."""

BEAT = 2.0
"""Seconds between two records of a node in a small fleet, at most."""

READS = 10_000
"""Records that all nodes of a fleet together read in a second, at most. etcd
3.4 takes 1 ms of a processor for a read and 25 µs for each record in it, so
this is less than half of a core; Redis takes 2 µs. See
``benchmarks/stores.py``. Up to 100 nodes can look each second. In larger
fleets some nodes go out for some seconds when all fail, see
``benchmarks/fleet.py``: a first failure is confirmed after two seconds, and by
then not all others have looked."""

WRITES = 50
"""Records that they write in a second, unless something changes. Each takes
etcd 2.6 ms, because tooz asks first whether there is one; Redis 0.1 ms. tooz
reads Redis from the start again if a record was written meanwhile."""

JOINS = 100
"""Nodes that join in a second, after the store was away."""

SHOWN = 100
"""Records that a node publishes in a second, at most, for the pages of its
own workers. Each takes about 20 µs."""

SHOWN_WITHIN = 5.0
"""Seconds between two views, at most. A page takes a view that is older than
``ttl`` for one of a dead prober, and a node may read the store only every half
of that."""


def look(nodes: int, policy: Policy) -> float:
    """Seconds between two reads of the store."""
    # A failure is confirmed retry_interval after it is found, at the earliest.
    # By then the others must have read of it, failed, and been read.
    return min(policy.ttl / 2, max(
        min(LOOK, policy.retry_interval / 4), nodes ** 2 / READS))


def beat(nodes: int, policy: Policy) -> float:
    """Seconds between two records of a node."""
    return min(policy.ttl / 3, max(
        min(BEAT, policy.ttl / 6), nodes / WRITES))


def rejoin(nodes: int) -> float:
    """Seconds over which nodes spread their return to a store."""
    return nodes / JOINS


def show(nodes: int) -> float:
    """Seconds between two views of the whole fleet, for pages."""
    return min(SHOWN_WITHIN, nodes / SHOWN)
