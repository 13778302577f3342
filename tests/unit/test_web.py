# SPDX-License-Identifier: Apache-2.0

"""Which connections the agent's web server keeps, and which it closes."""

from __future__ import annotations

import errno
import os
import resource
import socket
import types

import pytest

from healthcheck.serving import web
from tests.unit import wsgi


class Caller:
    """A connection, as far as it is asked when room is made."""

    def __init__(self, channels, source, since, works=False):
        self.source, self.since, self.works = source, since, works
        self.channels = channels
        self.closed = False
        channels[id(self)] = self

    def handle_close(self):
        self.closed = True
        del self.channels[id(self)]


@pytest.fixture
def server():
    with socket.create_server(('127.0.0.1', 0)) as listening:
        made = web.make_server(listening, wsgi.below)
        yield made
        made.task_dispatcher.shutdown()
        made.active_channels.clear()
        made.close()


@pytest.fixture
def callers(server):
    server.most, server.per_source = 8, 4

    def add(source, *since, **more):
        return [Caller(server.active_channels, source, one, **more)
                for one in since]
    return add


def closed(made):
    return [one.closed for one in made]


def test_as_many_as_are_allowed_are_kept(server, callers):
    made = [*callers('a', 1, 2, 3, 4), *callers('b', 1, 2, 3, 4)]
    server._make_room()
    assert not any(closed(made))


def test_a_source_with_too_many_loses_those_that_waited_longest(
        server, callers):
    made, others = callers('a', 3, 1, 5, 2, 4, 6), callers('b', 0)
    server._make_room()
    assert closed(made) == [False, True, False, True, False, False]
    assert closed(others) == [False]


def test_room_is_kept_for_a_source_that_has_few(server, callers):
    crowds = [callers(f'crowd {n}', 1, 2) for n in range(4)]
    one = callers('one', 0)
    server._make_room()
    assert closed(one) == [False]
    assert sorted(sum(closed(each)) for each in crowds) == [0, 0, 0, 1]


def test_a_request_that_is_being_answered_is_not_cut_off(server, callers):
    made = callers('a', 1, 2, 3, 4, works=True)
    new, = callers('a', 9)
    server._make_room()
    assert not any(closed(made)) and new.closed


def test_the_limit_in_all_holds_when_a_crowd_is_being_answered(
        server, callers):
    made = [*callers('a', 1, 2, 3, works=True),
            *callers('b', 1, 2, 3, works=True),
            *callers('c', 1, 2, works=True)]
    new = callers('d', 8, 9)
    server._make_room()
    assert not any(closed(made)) and all(closed(new))


def test_a_crowd_is_logged_once(server, callers, caplog):
    for _ in range(3):
        callers('192.0.2.1', *range(9))
        server._make_room()
    line, = caplog.messages
    assert 'more than 4 connections come from 192.0.2.1, or 8 in all' in line


@pytest.mark.parametrize('descriptors, most', [
    (64, 16), (256, 32), (1024, 128), (2048, 256), (10 ** 6, 256),
    (resource.RLIM_INFINITY, 256)])
def test_most_descriptors_are_left_to_others(descriptors, most):
    assert web.most_connections(descriptors) == most


@pytest.mark.parametrize('address, source', [
    ('192.0.2.1', '192.0.2.1'), ('::ffff:192.0.2.1', '192.0.2.1'),
    ('2001:db8:0:7:1::2', '2001:db8:0:7::/64'),
    ('fe80::1%eth0', 'fe80::/64'), ('::1', '::/64')])
def test_sources(address, source):
    sock = types.SimpleNamespace(family=socket.AF_INET6)
    assert web.source_of(sock, (address, 40000, 0, 0)) == source


def test_source_of_a_unix_socket_is_a_user():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert web.source_of(ours, ('localhost', None)) == (
            f'user {os.geteuid()}')


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(web.time, 'monotonic', made)
    return made


@pytest.fixture
def connection(server, clock):
    """A connection of the server, whose other end is nobody's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server.add_task = lambda task: None
        made = web.Channel(server, ours, ('x', 1), server.adj, map={})
        yield made
        made.handle_close()


def is_late_after(connection, clock, seconds):
    clock.now += seconds
    return connection.is_late(clock.now)


def test_who_sends_nothing_is_late(connection, clock):
    assert not is_late_after(connection, clock, 10)
    assert is_late_after(connection, clock, 0.1)


@pytest.mark.parametrize('data', [b'x', b'x: y\r\n'])
def test_bytes_put_off_no_deadline(connection, clock, data):
    connection.received(b'GET / HTTP/1.1\r\n')
    for _ in range(10):
        assert not is_late_after(connection, clock, 1)
        connection.received(data)
    assert is_late_after(connection, clock, 0.1)


def answer(connection, request=b'GET / HTTP/1.1\r\n\r\n'):
    connection.received(request)
    assert connection.works
    connection.service()
    assert not connection.works


def test_a_body_that_does_not_come_is_late(connection, clock):
    connection.received(b'POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n1')
    assert not connection.works
    assert is_late_after(connection, clock, 10.1)


def test_a_connection_is_kept_open_for_a_while(connection, clock):
    clock.now += 9
    answer(connection)
    assert not is_late_after(connection, clock, 30)
    answer(connection)
    assert not is_late_after(connection, clock, 30)
    assert is_late_after(connection, clock, 0.1)


@pytest.mark.parametrize('data', [b'x', b'\r\n\r\n'])
def test_bytes_between_requests_put_off_no_deadline(connection, clock,
                                                    data):
    answer(connection)
    clock.now += 20
    for _ in range(10):
        connection.received(data)
        assert not is_late_after(connection, clock, 1)
    assert is_late_after(connection, clock, 0.1)


def test_who_does_not_take_his_answer_is_late(connection, clock):
    answer(connection)
    connection.total_outbufs_len = 1
    assert not is_late_after(connection, clock, 10)
    assert is_late_after(connection, clock, 0.1)


def test_a_long_answer_is_waited_for(connection, clock):
    connection.received(b'GET / HTTP/1.1\r\n\r\n')
    for _ in range(100):
        assert not is_late_after(connection, clock, 1)
    connection.service()
    assert not connection.is_late(clock.now)


def test_who_is_late_is_closed(server, connection, clock):
    server.maintenance(0)
    assert connection.connected
    clock.now += 11
    server.maintenance(0)
    assert not connection.connected and not server.active_channels


def test_no_descriptor_is_left(server, monkeypatch, caplog):
    """It must not be tried again and again, with a line in the log."""
    def accept(self):
        raise OSError(errno.EMFILE, 'Too many open files')
    monkeypatch.setattr(web.server.wasyncore.dispatcher, 'accept', accept)
    server.readable()
    for _ in range(3):
        assert server.readable()
        server.handle_accept()
        assert not server.readable()
        server.maintenance(0)
    line, = caplog.messages
    assert 'Too many open files' in line
