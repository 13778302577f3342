# SPDX-License-Identifier: Apache-2.0

"""Who stays in when a shared target fails: whole fleets in simulated time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import pytest

from healthcheck.probing import policy as policy_module
from healthcheck.reports import report
from tests.unit import fleets

Status = report.Status
POLICY = policy_module.Policy()

# Until every node has seen each other node's record change.
SETTLED = 40.0


def settled(nodes, seed=0, policy=POLICY, quorum='100%'):
    made = fleets.Fleet(nodes, policy, seed=seed, quorum=quorum)
    made.go_on(SETTLED)
    assert [node.status for node in made.nodes] == [Status.PASS] * nodes
    return made


@settings(max_examples=60, deadline=None)
@given(nodes=st.integers(2, 7), seed=st.integers(0, 10 ** 6),
       fault=st.sampled_from([fleets.REFUSED, fleets.HANGS]),
       wait=st.floats(0, 12))
def test_all_stay_when_all_fail(nodes, seed, fault, wait):
    made = settled(nodes, seed)
    made.go_on(wait)
    begun = made.now
    made.database(fault)
    made.go_on(120)
    assert [node.name for node in made.nodes if node.out(begun)] == []
    for node in made.nodes:
        assert node.lines[0].endswith(f', ON {nodes} OF {nodes} NODES)')
    made.database(fleets.UP)
    made.go_on(POLICY.recovery)
    assert {node.status for node in made.nodes} == {Status.PASS}
    assert not any(node.held for node in made.nodes)
