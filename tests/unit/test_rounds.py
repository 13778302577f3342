# SPDX-License-Identifier: Apache-2.0

"""A round on demand: everybody shares it, and a hang does not hold it."""

import pytest

from healthcheck.probing import policy
from healthcheck.reports import report
from tests.unit import cloud
from tests.unit import world


class Refreshed:
    """Backends that are probed rarely, and rounds that are asked for."""

    def __init__(self, **behaviours):
        self.backends = {name: world.Backend(name, behaviour)
                         for name, behaviour in behaviours.items()}
        self.world = world.World(
            list(self.backends.values()),
            policy.Policy(interval=1000, ttl=3000, jitter=0.0))

    def ask(self, *times):
        for time in times:
            self.world.at(time, self.world.scheduler.refresh)

    def rounds(self):
        """(when it was published, when it began) of each."""
        seen = {}
        for time, published in self.world.reports:
            if published.refreshed_at is not None:
                seen.setdefault(published.refreshed_at, time)
        return [(time, began) for began, time in seen.items()]


def answers(after):
    return lambda now: (world.OK, after)


def test_everything_is_probed_once():
    here = Refreshed(database=answers(0.1), message_queue=answers(0.2))
    here.ask(50)
    here.world.run(100)
    assert here.backends['database'].started == [0, 50]
    assert here.backends['message_queue'].started == [0, 50]
    (published, began), = here.rounds()
    assert (published, began) == (pytest.approx(50.2), 50)


def test_who_asks_at_the_same_time_shares_it():
    here = Refreshed(database=answers(0.1))
    here.ask(*[50 + n / 1000 for n in range(200)])
    here.world.run(100)
    assert here.backends['database'].started == [0, 50]


def test_there_is_one_a_second_at_most():
    here = Refreshed(database=answers(0.01))
    here.ask(*[50 + n / 10 for n in range(50)])
    here.world.run(100)
    started = here.backends['database'].started[1:]
    assert len(started) == 5
    assert all(b - a >= 1 for a, b in zip(started, started[1:]))


def test_a_probe_that_runs_already_is_followed_by_another_one():
    """It may have passed the place that was mended since."""
    here = Refreshed(database=lambda now: (world.OK, 4.0 if not now else 0.1))
    here.ask(2)
    here.world.run(10)
    assert here.backends['database'].started == [0, 4.0]
    (published, began), = here.rounds()
    assert (published, began) == (pytest.approx(4.1), 2)


def test_a_hang_does_not_hold_it():
    here = Refreshed(
        database=lambda now: (world.OK, 0.1 if not now else None),
        message_queue=answers(0.1))
    here.ask(50)
    here.world.run(100)
    (published, began), = here.rounds()
    assert (published, began) == (50 + policy.Policy().timeout, 50)


def test_a_hang_from_before_does_not_hold_it_and_is_not_joined():
    here = Refreshed(
        database=lambda now: (world.OK, 0.1 if not now else None),
        message_queue=answers(0.1))
    here.ask(50, 60)
    here.world.run(100)
    assert here.backends['database'].started == [0, 50]
    assert [began for _, began in here.rounds()] == [50, 60]
    assert here.rounds()[1][0] == 65


def test_the_schedule_goes_on_from_there():
    here = Refreshed(database=answers(0.0))
    here.ask(900)
    here.world.run(2000)
    assert here.backends['database'].started == [0, 900, 1900]


def test_nothing_is_published_before_all_is_settled():
    here = Refreshed(database=lambda now: (world.REFUSED, 0.0))
    here.ask(0.5)
    here.world.run(0.5)
    assert [c.status for _, r in here.world.reports for c in r.checks] == [
        report.Status.FAIL] * len(here.world.reports)


def test_what_sums_up_others_is_judged_by_what_the_round_has_found():
    here = cloud.Cloud([cloud.row(1)], policy=policy.Policy(
        interval=1000, ttl=3000, jitter=0.0))
    here.run(1050)
    judged = len(here.judged)
    here.at(1050.5, here.scheduler.refresh)
    here.run(1060)
    found, = [one for _, one in here.reports if one.refreshed_at][:1]
    assert len(here.judged) > judged
    assert found.checks[0].judged_at > found.refreshed_at
