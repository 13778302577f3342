# SPDX-License-Identifier: Apache-2.0

"""How balancers see a node, and whom of those who say so we believe."""

from __future__ import annotations

import functools
import logging
import math
import random as random_module
import re
import sys
import threading

import hypothesis
from hypothesis import given
from hypothesis import strategies as st
import pytest

from healthcheck.answers import access
from healthcheck.answers import balancers
from healthcheck.probing import simulated

# As HAProxy 2.6 has said them, of a server among three of weight 1.
SAID = {
    'UP; address=192.0.2.11; port=8774; name=api/one; node=lb1; weight=1/3; '
    'scur=0/0; qcur=0': (balancers.Statement('UP', 'api/one', 'lb1', 1, 3),
                         False),
    'UP 2/3; address=192.0.2.11; port=8774; name=api/one; node=lb1; '
    'weight=1/1; scur=13/22; qcur=0': (
        balancers.Statement('UP 2/3', 'api/one', 'lb1', 1, 1), True),
    # Out, and one other is usable.
    'DOWN; address=192.0.2.11; port=8774; name=api/one; node=lb1; '
    'weight=1/1; scur=0/0; qcur=0': (
        balancers.Statement('DOWN', 'api/one', 'lb1', 1, 1), False),
    # Out, and so are all others.
    'DOWN 1/2; address=::1; port=8774; name=api/one; node=lb1; weight=1/0; '
    'scur=0/0; qcur=0': (
        balancers.Statement('DOWN 1/2', 'api/one', 'lb1', 1, 0), True),
    # An agent has taken it out.
    'DOWN 4/2; address=192.0.2.11; port=8774; name=api/one; node=lb1; '
    'weight=1/2; scur=0/0; qcur=0': (
        balancers.Statement('DOWN 4/2', 'api/one', 'lb1', 1, 2), False),
    # Two with slowstart have just come up.
    'UP; address=192.0.2.11; port=8774; name=api/one; node=lb1; weight=1/1; '
    'scur=0/0; qcur=0; throttle=3%': (
        balancers.Statement('UP', 'api/one', 'lb1', 1, 1, True), False),
    # An agent says "up 0%".
    'UP; address=192.0.2.11; port=8774; name=api/one; node=lb1; weight=0/2; '
    'scur=0/0; qcur=0': (
        balancers.Statement('UP', 'api/one', 'lb1', 0, 2), False),
    # As it is in HAProxy's manual.
    'UP 2/3; name=bck/srv2; node=lb1; weight=1/2; scur=13/22; qcur=0': (
        balancers.Statement('UP 2/3', 'bck/srv2', 'lb1', 1, 2), False),
}
LAST = 'UP; name=api/one; node=lb1; weight=1/1'


@pytest.mark.parametrize('text', SAID)
def test_what_haproxy_says(text):
    statement, last = SAID[text]
    assert balancers.parse(text) == statement
    assert statement.last is last


@pytest.mark.parametrize('text', [
    '', 'UP', 'MAINT; name=a/b; node=c; weight=1/1',
    'UP; name=ab; node=c; weight=1/1', 'UP; name=a/b; weight=1/1',
    'UP; name=a/b; node=c', 'UP; name=a/b; node=c; weight=1',
    'UP; name=a/b; node=c; weight=-1/1', 'UP; name=a/b; node=c; weight=1/1/1',
    'UP; name=a/b; node=c; weight=1/9999999999',
    'UP 1/; name=a/b; node=c; weight=1/1',
    'UP; name=a/<b>; node=c; weight=1/1',
    'UP; name=a/b; node=c\r\nX: y; weight=1/1',
    f'UP; name=a/b; node={"c" * 65}; weight=1/1',
    # Two headers, as a server joins them.
    f'{LAST},{LAST}',
    LAST + '; scur=0/0' * 100])
def test_what_is_no_statement(text):
    assert balancers.parse(text) is None


_PIECES = st.sampled_from(['UP', 'DOWN 1/2', 'NOLB', '; ', ';', '=', 'name=',
                           'node=', 'weight=', 'a/b', '1/2', 'lb1', '/', '%',
                           'throttle=3%', 'address=', '\n', '\x00', '²', ','])


@given(st.text(st.characters(max_codepoint=255)) | st.lists(
    _PIECES, max_size=20).map(''.join))
def test_whatever_comes_is_short_and_printable_or_nothing(text):
    said = balancers.parse(text)
    if said is not None:
        assert re.fullmatch(r'[A-Z]{2,4}( [0-9]{1,9}/[0-9]{1,9})?', said.state)
        assert re.fullmatch(r'[A-Za-z0-9_.:/-]{3,129}', said.server)
        assert re.fullmatch(r'[A-Za-z0-9_.:-]{1,64}', said.node)
        assert 0 <= said.weight < 10 ** 9 > said.usable >= 0


_NAMES = st.text('abcXYZ019_.:-', min_size=1, max_size=64)
_NUMBERS = st.integers(0, 10 ** 9 - 1)


@given(st.sampled_from(['UP', 'DOWN', 'NOLB']), _NAMES, _NAMES, _NAMES,
       _NUMBERS, _NUMBERS)
def test_each_name_and_weight_is_read(state, backend, server, node, weight,
                                      usable):
    said = balancers.parse(f'{state} 1/2; address=::1; port=80; '
                           f'name={backend}/{server}; node={node}; '
                           f'weight={weight}/{usable}; scur=0/0; qcur=0')
    assert said == balancers.Statement(
        f'{state} 1/2', f'{backend}/{server}', node, weight, usable)
    assert said.last is (usable == 0 or (
        state == 'UP' and weight == usable))


@pytest.fixture
def clock():
    return simulated.Clock()


@pytest.fixture
def heard(clock):
    return make(clock)


def make(clock, uniform=lambda least, most: most):
    return balancers.Balancers(access.Ranges(access.parse_ranges(
        ['192.0.2.0/24'], [])), clock, uniform)


def poll(heard, text=LAST, reasons='', address='192.0.2.1', **more):
    return heard.take({balancers.HEADER: text, 'REMOTE_ADDR': address,
                       **more}, reasons)


@pytest.mark.parametrize('address, more', [
    ('198.51.100.1', {}), ('', {}), ('192.0.2.1', {
        'HTTP_X_FORWARDED_FOR': '198.51.100.1'}),
    ('192.0.2.1', {'HTTP_VIA': '1.1 proxy'})])
def test_only_balancers_are_believed(heard, address, more):
    assert not poll(heard, address=address, reasons='X', **more)
    assert heard.seen() == [] and not heard.holds()
    assert poll(heard)


def test_what_is_no_statement_changes_nothing(heard):
    poll(heard)
    before = heard.seen()
    assert not poll(heard, 'nonsense')
    assert heard.seen() == before


def test_the_last_statement_on_each_server_is_kept(heard, clock):
    poll(heard)
    poll(heard, LAST.replace('lb1', 'lb2'))
    clock.now += 2
    poll(heard, LAST.replace('1/1', '1/3'))
    assert [(one.statement.node, one.statement.usable, one.at)
            for one in heard.seen()] == [
        ('lb1', 3, clock.now), ('lb2', 1, clock.now - 2)]


def test_what_is_kept_is_bounded(heard, clock):
    for number in range(1000):
        clock.now += 1
        poll(heard, LAST.replace('one', f's{number}'))
    seen = {one.statement.server for one in heard.seen()}
    assert seen == {f'api/s{number}' for number in range(968, 1000)}


@pytest.fixture
def restless():
    """Threads take turns as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def test_threads_share_it_without_a_lock(heard, restless):
    wrong = []

    def run(first):
        try:
            for number in range(500):
                poll(heard, LAST.replace('one', f's{first}-{number}'))
                heard.seen()
        except Exception as exc:  # any, to be shown below
            wrong.append(exc)
    threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    # Each of four may have added one before any was taken out.
    assert len(heard.seen()) <= 32 + 4


def test_a_statement_is_believed_for_a_while(heard, clock):
    assert not heard.checks('192.0.2.1')
    assert poll(heard, reasons='DATABASE: NO ANSWER')
    clock.now += balancers.BELIEVED - 0.1
    assert heard.holds() and heard.checks('192.0.2.1')
    assert not heard.checks('192.0.2.2')
    clock.now += 0.1
    assert not heard.holds() and not heard.checks('192.0.2.1')


def test_a_node_that_is_well_is_not_held(heard):
    assert poll(heard)
    assert not heard.holds()


def test_a_hold_is_logged_once(heard, caplog):
    caplog.set_level(logging.INFO)
    for _ in range(3):
        poll(heard, LAST.replace('1/1', '1/2'), 'DATABASE: NO ANSWER')
    assert not caplog.messages
    for _ in range(3):
        poll(heard, reasons='DATABASE: NO ANSWER')
        poll(heard, LAST.replace('1/1', '1/2'), 'DATABASE: NO ANSWER')
    for _ in range(3):
        poll(heard)
    assert caplog.messages == [
        'Healthcheck stays in although it fails (DATABASE: NO ANSWER): lb1 '
        'has no other usable server than api/one',
        'Healthcheck no longer needs to stay in although it fails']


def test_another_goes_on_with_it(heard, clock, caplog):
    poll(heard, reasons='X')
    other = make(clock)
    other.inherit(heard)
    assert other.holds() and other.seen() == heard.seen()
    poll(other, reasons='X')
    assert len(caplog.messages) == 1


OUT = 'DOWN; name=api/one; node=lb1; weight=1/0'
BESIDE = LAST.replace('1/1', '1/2')


def test_who_was_never_out_leaves_when_others_are_well(heard):
    assert poll(heard, reasons='X')
    assert not poll(heard, BESIDE, 'X')


def test_who_comes_back_from_nothing_stays_for_a_while(heard, clock):
    """Others may come back with it, and would all leave together."""
    assert poll(heard, OUT, 'X')
    for _ in range(2):
        clock.now += balancers.COME_BACK[1] / 2 - 0.1
        assert poll(heard, BESIDE, 'X') and heard.holds()
    clock.now += 0.3
    assert not poll(heard, BESIDE, 'X')
    assert not heard.holds()


def test_who_comes_back_well_does_not(heard):
    poll(heard, OUT)
    assert not poll(heard, BESIDE, 'X')


@pytest.mark.parametrize('text', [
    LAST,  # alone: nobody else would leave with it
    OUT.replace('1/0', '1/1')])  # another one was faster
def test_that_ends_early(heard, text):
    poll(heard, OUT, 'X')
    poll(heard, text, 'X')
    assert not poll(heard, BESIDE, 'X')


class Balancer:
    """HAProxy before nodes that all fail, by a clock of its own.

    :param late: seconds from a poll to its answer, for each node
    :param begin: when each is polled first
    """

    inter, fall, rise = 2.0, 3, 2

    def __init__(self, late, begin, random):
        self.timeline = simulated.Timeline(simulated.Clock(0.0))
        self.clock = self.timeline.clock
        self.health = [self.fall + self.rise - 1] * len(late)
        self.none_at = 0.0
        for number, at in enumerate(begin):
            node = make(self.clock, random.uniform)
            self.timeline.at(at, functools.partial(
                self.ask, number, node, late[number]))

    def up(self):
        return [each for each, health in enumerate(self.health)
                if health >= self.rise]

    def ask(self, number, node, late):
        up = self.up()
        state = 'UP' if number in up else 'DOWN'
        stays = poll(node, f'{state}; name=api/{number}; node=lb1; '
                     f'weight=1/{len(up)}', 'DATABASE: NO ANSWER')
        now = self.clock.now
        self.timeline.at(now + late, lambda: self.answered(number, stays))
        self.timeline.at(now + late + self.inter, functools.partial(
            self.ask, number, node, late))

    def answered(self, number, stays):
        health, was_up = self.health[number], number in self.up()
        if stays:
            health = min(health + 1, self.fall + self.rise - 1)
            if not was_up and health >= self.rise:
                health = self.fall + self.rise - 1
        else:
            health -= 1
            if health < self.rise:
                health = 0
        self.health[number] = health
        if not self.up():
            self.none_at = self.clock.now


@hypothesis.settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 2)), min_size=1,
                max_size=6) | st.integers(1, 6).map(
                    lambda number: [(1.0, 0.0)] * number), st.randoms())
def test_one_is_left_however_polls_overlap(nodes, random):
    """Even if all are asked at once, and answer at once."""
    balancer = Balancer([late for late, _ in nodes],
                        [begin for _, begin in nodes],
                        random_module.Random(random.random()))
    balancer.timeline.run(lambda: math.inf, 600.0)
    assert len(balancer.up()) == 1
    assert balancer.none_at < 500
