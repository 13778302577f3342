# SPDX-License-Identifier: Apache-2.0

"""Connections of a release of oslo.messaging that is built otherwise."""

import threading
import types

from oslo_messaging._drivers import impl_rabbit
from oslo_messaging import exceptions as messaging_exceptions
import pytest

from healthcheck.targets import held
from healthcheck.targets import wire

METHODS = ('_on_connection_blocked', '_on_connection_unblocked',
           '_heartbeat_start', '_heartbeat_stop',
           'set_transport_socket_timeout', 'topic_send')


def refuse(self, *args, **kwargs):
    raise messaging_exceptions.MessageUndeliverable(
        None, 'openstack', 'nobody', 'message')


def connection_cls(without=None, **attributes):
    """A class like oslo.messaging's, with or without a name."""
    members = {name: lambda self, *args, **kwargs: None for name in METHODS}
    members |= {'topic_send': refuse,
                '__init__': lambda self: vars(self).update(attributes)}
    members.pop(without, None)
    return type('Connection', (), members)


def taken(made, hold=None):
    """What the pool of a transport makes once it is held."""
    pool = types.SimpleNamespace(connection_cls=made)
    (hold or held.Hold(wire.Wire())).take(types.SimpleNamespace(
        _driver=types.SimpleNamespace(_connection_pool=pool)))
    return pool.connection_cls


@pytest.mark.parametrize('name', METHODS)
def test_left_as_they_are_without_a_method_that_is_used(name):
    made = connection_cls(without=name)
    assert taken(made) is made
    assert hasattr(impl_rabbit.Connection, name)


@pytest.mark.parametrize('transport', [
    types.SimpleNamespace(),
    types.SimpleNamespace(_driver=object()),
    types.SimpleNamespace(_driver=types.SimpleNamespace(
        _connection_pool=object()))])
def test_left_as_they_are_without_a_pool(transport):
    held.Hold(wire.Wire()).take(transport)


def test_left_as_they_are_when_a_function_makes_them():
    def made():
        """Has every name, and is no class."""
    vars(made).update(dict.fromkeys(METHODS))
    assert taken(made) is made


class TestHeld:

    @staticmethod
    def channel(waited):
        return types.SimpleNamespace(
            wait=lambda *args, **kwargs: waited.append(args))

    def test_reads_what_the_broker_confirms_under_the_lock(self):
        waited, lock = [], threading.Lock()
        made = taken(connection_cls(
            _connection_lock=lock, channel=self.channel(waited)))()
        with pytest.raises(messaging_exceptions.MessageUndeliverable):
            made.topic_send()
        assert len(waited) == 1 and not lock.locked()

    @pytest.mark.parametrize('name', ['_connection_lock', 'channel'])
    def test_does_without_an_attribute_that_is_gone(self, name):
        waited = []
        attributes = {'_connection_lock': threading.Lock(),
                      'channel': self.channel(waited)}
        del attributes[name]
        made = taken(connection_cls(**attributes))()
        made.set_transport_socket_timeout()
        with pytest.raises(messaging_exceptions.MessageUndeliverable):
            made.topic_send()
        assert not waited

    @pytest.mark.parametrize('returned', [True, False])
    def test_the_message_is_published_again(self, returned):
        """To what the first one named; then both replies are read."""
        published, waited = [], []

        def publish(*args, **kwargs):
            published.append((args, kwargs))
            if returned:
                refuse(None)
        channel = self.channel(waited)
        channel.basic_publish = publish
        channel.prepare_message = lambda body: f'<{body.decode()}>'
        hold = held.Hold(wire.Wire())
        made = taken(connection_cls(_connection_lock=threading.Lock(),
                                    channel=channel), hold)()
        assert hold.repeat is None
        with pytest.raises(messaging_exceptions.MessageUndeliverable):
            made.topic_send()
        assert not published
        hold.repeat()
        assert published == [(('<>',), {
            'exchange': 'openstack', 'routing_key': 'nobody',
            'mandatory': True})]
        assert len(waited) == 1 + returned

    @pytest.mark.parametrize('attribute', [
        'channel', 'basic_publish', 'prepare_message'])
    def test_nothing_is_published_again_without(self, attribute):
        channel = self.channel([])
        vars(channel).update(basic_publish=refuse, prepare_message=str)
        vars(channel).pop(attribute, None)
        channel = None if attribute == 'channel' else channel
        hold = held.Hold(wire.Wire())
        made = taken(connection_cls(_connection_lock=threading.Lock(),
                                    channel=channel), hold)()
        with pytest.raises(messaging_exceptions.MessageUndeliverable):
            made.topic_send()
        assert hold.repeat is None

    def test_starts_no_thread_and_stops_none(self):
        started = []
        made = connection_cls()
        made._heartbeat_start = made._heartbeat_stop = started.append
        connection = taken(made)()
        connection._heartbeat_start()
        connection._heartbeat_stop()
        assert not started
