# SPDX-License-Identifier: Apache-2.0

"""What a fleet does when it is large, in simulated time.

The nodes are the product's own, with the default options: schedulers, members
and their records. Only the time, the database and the store are played. What
real stores cost is in ``stores.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
import dataclasses
import logging
import math
import statistics
import sys
import time

from benchmarks import stores
from healthcheck.fleet import members
from healthcheck.fleet import pace
from healthcheck.probing import policy as policy_module
from healthcheck.reports import report
from tests.unit import fleets

SIZES = (3, 10, 100, 1000)
POLICY = policy_module.Policy()

SETTLED = 60.0
"""Seconds until each node has seen every other one's record change."""

WATCHED = 60.0
"""Seconds for which each fault lasts, and in which a fleet is watched."""

BEFORE = 1000.0


@dataclasses.dataclass(frozen=True)
class Traffic:
    """What the store has to do for the whole fleet in a second.

    :param largest: bytes of the records that one read returns
    :param processor: seconds that a simulated second took
    """

    reads: float
    records: float
    writes: float
    largest: int
    processor: float


@dataclasses.dataclass(frozen=True)
class Out:
    """Nodes that left when something failed.

    :param nodes: how many did
    :param first: seconds until the first one did
    :param typical: seconds for which one was out: the median
    :param longest: the same of the one that was out for longest
    """

    nodes: int
    first: float = math.nan
    typical: float = 0.0
    longest: float = 0.0


@dataclasses.dataclass(frozen=True)
class Large:
    """A fleet of some size.

    :param alone: when one node alone loses the database
    :param refused: when all lose it
    :param emptied: when the store is restarted empty meanwhile
    :param rejoined: seconds until all records are in the store again
    :param peak: reads in the busiest second of that
    :param cut: when half of the nodes are cut off the store, and then all
        lose the database: of those that are cut off
    :param others: of the others
    """

    nodes: int
    quorum: str
    steady: Traffic
    alone: Out
    refused: Out
    emptied: Out
    rejoined: float
    peak: int
    cut: Out
    others: Out


def measure(nodes: int, quorum: str = '100%') -> Large:
    logging.disable(logging.WARNING)  # each node says that it stays in
    made = fleets.Fleet(nodes, POLICY, quorum=quorum)
    made.go_on(SETTLED)
    steady = _traffic(made)
    alone = _alone(made)
    refused = _all_fail(made, made.nodes)
    began = made.now
    rejoined, peak = _emptied(made)
    made.go_on(max(0.0, began + WATCHED - made.now))
    emptied = _out(made.nodes, began, made.now)
    _recover(made)
    half = made.nodes[::2]
    for node in half:
        node.store.cut = True
    # Its records are soon too old for the others.
    made.go_on(WATCHED)
    began = made.now
    others = [node for node in made.nodes if not node.store.cut]
    made.database(fleets.REFUSED)
    made.go_on(WATCHED)
    return Large(nodes, quorum, steady, alone, refused, emptied, rejoined,
                 peak, _out(half, began, made.now),
                 _out(others, began, made.now))


def taking_part(nodes: int) -> float:
    """The part of a core that a node takes, without its calls to the store."""
    made = fleets.Fleet(1, POLICY)
    node, = made.nodes
    step, spent = node.member.step, 0.0

    def timed(own: report.Report) -> float:
        nonlocal spent
        began = time.process_time()
        try:
            return step(own)
        finally:
            spent += time.process_time() - began
    node.member.step = timed  # type: ignore[method-assign]
    beat = pace.beat(nodes, POLICY)
    for second in range(int(2 * WATCHED)):
        if second == WATCHED:
            spent = 0.0
        for number in range(1, nodes):
            # Some in each second; no two of them in the same.
            if int((second - 1) / beat + number / nodes) != int(
                    second / beat + number / nodes):
                made.records.write(f'n{number}', members.dump(
                    stores.record_of(f'n{number}', second)))
            elif second:
                made.records.beat(f'n{number}')
        made.run(made.now + 1)  # each record is really read
    return spent / WATCHED


def _traffic(made: fleets.Fleet) -> Traffic:
    records = made.records
    before = records.reads, records.records_read, records.writes
    began = time.process_time()
    made.go_on(WATCHED)
    processor = (time.process_time() - began) / WATCHED
    reads, read, writes = (
        (now - then) / WATCHED for now, then in zip(
            (records.reads, records.records_read, records.writes), before))
    return Traffic(reads, read, writes,
                   sum(map(len, records.read().values())), processor)


def _alone(made: fleets.Fleet) -> Out:
    """One of them after the other, as far as time allows."""
    found = []
    for node in made.nodes[:3]:
        began = made.now
        node.database.state = fleets.REFUSED
        made.go_on(POLICY.detection)
        found.append(_out([node], began, made.now))
        node.database.state = fleets.UP
        made.go_on(POLICY.recovery)
    return Out(min(one.nodes for one in found),
               max(one.first for one in found))


def _all_fail(made: fleets.Fleet, nodes: Iterable[fleets.Node]) -> Out:
    began = made.now
    made.database(fleets.REFUSED)
    made.go_on(WATCHED)
    return _out(nodes, began, made.now)


def _recover(made: fleets.Fleet) -> None:
    made.database(fleets.UP)
    made.go_on(WATCHED)
    if any(node.out(made.now) for node in made.nodes):
        raise RuntimeError('a node is out although all is well')


def _emptied(made: fleets.Fleet) -> tuple[float, int]:
    """Restart the store empty: gone for a second, and back without data."""
    records = made.records
    records.away = True
    made.go_on(1.0)
    records.empty()
    records.away = False
    began, peak, before = made.now, 0, records.reads
    while len(records.keys) < len(made.nodes):
        if made.now > began + WATCHED:
            return math.inf, peak
        made.go_on(1.0)
        peak, before = max(peak, records.reads - before), records.reads
    return made.now - began, peak


def _out(nodes: Iterable[fleets.Node], since: float, until: float) -> Out:
    """Who was out in that time, and for how long."""
    firsts, times = [], []
    for node in nodes:
        spans = node.out_spans(since, until)
        if spans:
            firsts.append(spans[0][0] - since)
            times.append(sum(end - begin for begin, end in spans))
    return Out(len(times), min(firsts), statistics.median(times),
               max(times)) if times else Out(0)


if __name__ == '__main__':
    for size in (3, 30, 100, 300, 1000):
        print(f'{size:5} nodes: {taking_part(size):.3%} of a core',
              flush=True)
    for size in list(map(int, sys.argv[1:])) or SIZES:
        for needed in ('100%', '50%'):
            print(measure(size, needed), flush=True)
