# SPDX-License-Identifier: Apache-2.0

"""Judges the services of a table by their numbers."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import itertools

from healthcheck.plugins import heartbeats

NO_CONDUCTOR_UP = 'NO CONDUCTOR UP'
NO_SCHEDULER_UP = 'NO SCHEDULER UP'
ALL_OF_A_KIND_DOWN = 'ALL OF A KIND DOWN'
CLOCK_SKEW = 'CLOCK SKEW'


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    :param reason: short and fixed, safe for anonymous callers
    :param detail: for admins and logs
    """

    reason: str
    detail: str


def judge_nova(found: heartbeats.Found, *, cell0: bool) -> list[Problem]:
    """What is wrong with one cell, the worst first.

    A cell cannot work without a conductor, even if none is registered. cell0
    needs none, because nothing runs there. A scheduler is needed only where
    one is registered, in most deployments in cell0. Computes are only
    counted: some of thousands are always down, which is no reason to take an
    API node out. Unknown binaries are only counted too: a release may leave
    rows behind, as nova-consoleauth did.
    """
    problems = []
    conductors = found.kind('nova-conductor')
    if not conductors.up and (conductors.enabled or not cell0):
        problems.append(Problem(NO_CONDUCTOR_UP, describe_kind(conductors)))
    schedulers = found.kind('nova-scheduler')
    if not schedulers.up and schedulers.enabled:
        problems.append(Problem(NO_SCHEDULER_UP, describe_kind(schedulers)))
    return problems + _judge_clocks(found)


def judge_others(found: heartbeats.Found) -> list[Problem]:
    """What is wrong with Cinder's services or Neutron's agents.

    It is not known which of them a deployment needs. So each binary needs at
    least one service that is up, if any is registered and not disabled.
    """
    down = [describe_kind(kind) for kind in found.kinds
            if kind.enabled and not kind.up]
    problems = [Problem(ALL_OF_A_KIND_DOWN, '; '.join(down))] if down else []
    return problems + _judge_clocks(found)


def describe(found: heartbeats.Found) -> str:
    """One line for admins; the numbers of a binary add up to the total."""
    return '; '.join(map(describe_kind, found.kinds)) or 'none registered'


def describe_kind(kind: heartbeats.Kind) -> str:
    if not kind.total:
        return f'{kind.binary} none registered'
    if kind.up == kind.total:
        return f'{kind.binary} {kind.up} up'
    others = ((kind.down, 'down'), (kind.disabled, 'disabled'),
              (kind.forced_down, 'forced down'))
    return ', '.join([f'{kind.binary} {kind.up} of {kind.total} up',
                      *(f'{number} {what}' for number, what in others
                        if number)])


def _judge_clocks(found: heartbeats.Found) -> list[Problem]:
    if not found.skewed:
        return []
    side = 'ahead of' if found.skew > 0 else 'behind'
    clock = "this host's" if found.by_host else "the database's"
    return [Problem(CLOCK_SKEW, (
        f"the database's clock is {abs(found.skew):.1f} s {side} this "
        f"host's; services are judged by {clock}"))]


def total(found: Sequence[heartbeats.Found]) -> heartbeats.Found:
    """The sum over all cells, for a description."""
    kinds: dict[str, heartbeats.Kind] = {}
    for kind in itertools.chain.from_iterable(one.kinds for one in found):
        sum_ = kinds.get(kind.binary, heartbeats.Kind(kind.binary))
        kinds[kind.binary] = heartbeats.Kind(
            kind.binary, sum_.up + kind.up, sum_.down + kind.down,
            sum_.disabled + kind.disabled,
            sum_.forced_down + kind.forced_down)
    return heartbeats.Found(tuple(kinds[name] for name in sorted(kinds)))
