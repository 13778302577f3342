# SPDX-License-Identifier: Apache-2.0

"""Who can write to the store takes no node out that is well."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import time

import pytest

from healthcheck.fleet import members
from healthcheck.reports import fleet as records
from healthcheck.reports import status
from tests.functional import joined
from tests.functional import servers

SECONDS = joined.FALL * joined.RETRY + 1
"""Long enough for a record to count, and for a fault to take a node out."""

Found = dict[str, records.NodeRecord]


def claim(found: Found, fails: bool) -> Iterator[tuple[str, bytes]]:
    """(key, record): that everybody fails, or passes."""
    for name, one in found.items():
        checks = tuple(dataclasses.replace(
            check, status=status.Status.FAIL if fails else status.Status.PASS,
            reason='DATABASE: FORGED' if fails else 'OK', failing=fails,
            down=('everything',) if fails else ()) for check in one.checks)
        forged = dataclasses.replace(
            one, sequence=time.monotonic_ns(), checks=checks,
            state=records.OUT if fails else records.IN, reason='FORGED')
        # In the node's place, and as one more node.
        yield f'{name}.forged', members.dump(forged)
        yield f'four.{name}', members.dump(
            dataclasses.replace(forged, node=f'not-{name}'))


CLAIMS: dict[str, Callable[[Found], Iterator[tuple[str, bytes]]]] = {
    'all-fail': lambda found: claim(found, True),
    'all-pass': lambda found: claim(found, False),
    'garbage': lambda found: iter([('one.garbage', b'{"node": "one"'),
                                   ('four.garbage', b'\0\n<script>')]),
    'large': lambda found: iter([('four.large', b'[' * 300_000)])}


@pytest.mark.parametrize('what', CLAIMS)
def test_what_is_forged_takes_no_node_out(
        fleet: joined.Fleet, what: str) -> None:
    found = fleet.written()
    assert set(found) == set(joined.NAMES)
    forgers = {key: fleet.another(key) for key, _ in CLAIMS[what](found)}
    with fleet.polls() as polls:
        began = time.monotonic()
        while time.monotonic() < began + SECONDS:
            for key, record in CLAIMS[what](found):
                forgers[key].write(record)
            time.sleep(0.1)
        # It was there all the time, and read.
        assert forgers.keys() <= fleet.read().keys()
    assert {(one.status, one.text) for told in polls.answers.values()
            for one in told} == {(200, 'OK')}
    polls.never_waited()


def test_who_passes_is_not_held_by_a_forger(fleet: joined.Fleet) -> None:
    """Nor is a node that fails alone, as long as one that is well is there."""
    forger = fleet.another('four.forged')
    with fleet.polls() as polls:
        fleet.nodes['one'].way.cut()

        def is_out() -> bool:
            forger.write(dict(claim(fleet.written(), True))['four.two'])
            return 503 in polls.statuses(names=['one'])
        servers.wait_until(is_out, 'it is out', fleet.bound, interval=0.1)
        polls.wait_for(503, names=['one'])
    assert polls.statuses(names=['two', 'three']) == {200}


def test_the_store_is_spoiled(fleet: joined.Fleet) -> None:
    """Something is in the group that tooz did not write."""
    with fleet.polls() as polls:
        fleet.store.spoil(f'healthcheck.{fleet.group}')
        one = fleet.nodes['one']
        one.way.cut()
        polls.wait_for(503, '', one.api.bound + 2, ['one'])
        one.way.heal()
        polls.wait_for(200, 'OK', fleet.bound, ['one'])
        assert polls.statuses(names=['two', 'three']) == {200}
    polls.never_waited()
    fleet.store.restart_empty()
