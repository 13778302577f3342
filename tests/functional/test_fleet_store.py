# SPDX-License-Identifier: Apache-2.0

"""The store goes at bad moments: nobody waits, and each node judges alone."""

from __future__ import annotations

from collections.abc import Callable
import time
from typing import Any

import pytest

from tests.functional import joined

BACK = 20.0
"""Seconds in which a node tries again after some minutes."""

AWAY: dict[str, Callable[[Any], object]] = {
    'killed': lambda store: store.kill(),
    'frozen': lambda store: store.freeze()}


def leaves_and_returns(fleet: joined.Fleet, polls: joined.Polls) -> None:
    """A node loses the database alone, and finds it again."""
    began = time.monotonic()
    one = fleet.nodes['one']
    one.way.cut()
    polls.wait_for(503, '', one.api.bound + 2, ['one'])
    one.way.heal()
    polls.wait_for(200, 'OK', fleet.bound, ['one'])
    assert polls.statuses(began, names=['two', 'three']) == {200}


def all_are_held(fleet: joined.Fleet, polls: joined.Polls) -> None:
    fleet.mariadb.kill()
    polls.wait_for(200, joined.note(3), fleet.bound)


def lose_the_hold(polls: joined.Polls, names: list[str],
                  since: float) -> None:
    """See that these judge alone once their last view is old.

    :param since: when it was the last one
    """
    polls.wait_for(503, '', joined.TTL + 1, names)
    # It is good for a while.
    assert polls.statuses(since, since + joined.TTL / 2, names) == {200}


def few_threads(fleet: joined.Fleet, before: list[int]) -> None:
    """See that no more threads wait for the store than before, or hardly.

    A server starts some only when there are more requests at a time.
    """
    after = fleet.threads()
    assert all(now <= then + 3 for now, then in zip(after, before)), (
        before, after)


@pytest.mark.parametrize('fault', AWAY)
def test_the_store_is_away(fleet: joined.Fleet, fault: str) -> None:
    threads = fleet.threads()
    with fleet.polls() as polls:
        AWAY[fault](fleet.store)
        leaves_and_returns(fleet, polls)
        fleet.store.heal()
        fleet.wait_for_records()
        all_are_held(fleet, polls)
        assert polls.statuses(names=['two', 'three']) == {200}
        gone = time.monotonic()
        AWAY[fault](fleet.store)
        lose_the_hold(polls, list(joined.NAMES), gone)
        few_threads(fleet, threads)
        fleet.store.heal()
        polls.wait_for(200, joined.note(3), BACK)
        healed = time.monotonic()
        fleet.mariadb.heal()
        polls.wait_for(200, 'OK', fleet.bound)
        AWAY[fault](fleet.store)
        leaves_and_returns(fleet, polls)
        assert polls.statuses(healed, names=['two', 'three']) == {200}
        few_threads(fleet, threads)
    polls.never_waited()


def test_a_slow_store(fleet: joined.Fleet) -> None:
    for node in fleet.nodes.values():
        node.store_way.delay(0.05)
    with fleet.polls() as polls:
        leaves_and_returns(fleet, polls)
        all_are_held(fleet, polls)
        held = time.monotonic()
        fleet.mariadb.heal()
        polls.wait_for(200, 'OK', fleet.bound)
        assert polls.statuses(held) == {200}
    polls.never_waited()


def test_one_is_cut_off_from_the_store(fleet: joined.Fleet) -> None:
    others = ['two', 'three']
    with fleet.polls() as polls:
        all_are_held(fleet, polls)
        gone = time.monotonic()
        fleet.nodes['one'].store_way.silence()
        lose_the_hold(polls, ['one'], gone)
        # Not only once the store has forgotten the other one.
        polls.wait_for(200, joined.note(2), 4, others)
        fleet.nodes['one'].store_way.heal()
        polls.wait_for(200, joined.note(3), BACK)
        assert polls.statuses(names=others) == {200}
    polls.never_waited()


def test_the_store_loses_all_it_has(fleet: joined.Fleet) -> None:
    with fleet.polls() as polls:
        fleet.store.restart_empty()
        fleet.wait_for_records()
        all_are_held(fleet, polls)
        fleet.store.restart_empty()
        fleet.wait_for_records()
        fleet.mariadb.heal()
        polls.wait_for(200, 'OK', fleet.bound)
        fleet.store.restart_empty()
        leaves_and_returns(fleet, polls)
        assert polls.statuses(names=['two', 'three']) == {200}
    polls.never_waited()
