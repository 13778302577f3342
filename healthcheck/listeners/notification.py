# SPDX-License-Identifier: Apache-2.0

"""Listener ``notification``: emits an oslo.messaging notification.

It goes where the service's own notifications go, by
``[oslo_messaging_notifications]``.
"""

from __future__ import annotations

import socket
from typing import Any

import oslo_messaging

from healthcheck.answers import render
from healthcheck.config import messaging
from healthcheck.config import views
from healthcheck import exceptions
from healthcheck.reports import changes
from healthcheck.reports import report

EVENT_TYPE = 'healthcheck.state.change'

_RABBIT = ('rabbit', 'kombu')
# For our own connections: options of that driver, any other refuses them.
_HASTE = {
    # It would sleep that many seconds before it tries the next host.
    'kombu_reconnect_delay': '0',
    # It reads for that many seconds before it gives up.
    'heartbeat_timeout_threshold': '10'}

_GROUP = 'oslo_messaging_notifications'
_LEVELS = {report.Status.PASS: 'info', report.Status.WARN: 'warn',
           report.Status.FAIL: 'error'}


class Notification:
    """Emits one notification for each change.

    Changes are rare, so each opens its own connection and nothing is held in
    between. If a broker does not answer, the driver's connection time-out
    finds that out: 5 seconds for each host. If it stops later, the missing
    heartbeats do: 10 seconds for each of up to three steps, where the driver's
    own settings would take minutes, or for ever without heartbeats. A broker
    that has blocked the connection sends heartbeats, and is waited for.

    :param view: the configuration
    :raises healthcheck.exceptions.ConfigError: if nothing would be sent
    """

    def __init__(self, view: views.View) -> None:
        self._conf = view.private
        messaging.note(view)
        drivers = views.service_option(view, _GROUP, 'driver', multi=True)
        if not drivers:
            raise exceptions.ConfigError([
                f'listeners = notification: [{_GROUP}]driver is not set, and '
                f'nothing would be sent (allowed: messagingv2, or another '
                f'driver of oslo.messaging)'])
        self._url = self._find_url(view, needed='messaging' in str(drivers))

    def changed(self, change: changes.StateChange) -> None:
        retry = 0
        if self._url is not None:
            # Each retry uses the next host: each is tried exactly once.
            retry = max(1, len(self._url.hosts)) - 1
        transport = oslo_messaging.get_notification_transport(
            self._conf, url=self._url)
        try:
            notifier = oslo_messaging.Notifier(
                transport, f'healthcheck.{_host(change)}', retry=retry)
            getattr(notifier, _LEVELS[change.after])(
                {}, EVENT_TYPE, payload(change))
        finally:
            # The fake driver's cleanup would empty the service's own
            # exchanges.
            if self._url is None or self._url.transport != 'fake':
                transport.cleanup()

    def _find_url(self, view: views.View, needed: bool,
                  ) -> oslo_messaging.TransportURL | None:
        """The URL, in a form the driver can use; None if none is set.

        :raises exceptions.ConfigError: without the URL, which is a secret
        """
        for group, name in ((_GROUP, 'transport_url'),
                            (None, 'transport_url')):
            text = views.service_option(view, group, name)
            if text and text != 'rabbit://':  # oslo.messaging's default
                view.note('notification', text)
                return self._parse(text, f'[{group or "DEFAULT"}]{name}')
        if needed:
            raise exceptions.ConfigError([
                f'listeners = notification: there is no message queue to '
                f'send it to; set transport_url in [{_GROUP}] or '
                f'[DEFAULT]'])
        return None

    def _parse(self, text: str, option: str) -> oslo_messaging.TransportURL:
        try:
            url = oslo_messaging.TransportURL.parse(self._conf, text)
        except (oslo_messaging.InvalidTransportURL, ValueError):
            raise exceptions.ConfigError([
                f'{option}: not a transport URL (allowed: '
                f'rabbit://user:password@host:port/vhost)']) from None
        if any('/' in (host.password or '') for host in url.hosts):
            # The driver gets it unencoded, and its error shows part of it.
            raise exceptions.ConfigError([
                f'{option}: oslo.messaging cannot use a password with a '
                f'slash in it (allowed: any other character)'])
        if url.transport.partition('+')[0] in _RABBIT:
            for name, value in _HASTE.items():
                url.query.setdefault(name, value)
        return url


def payload(change: changes.StateChange) -> dict[str, Any]:
    """The payload for a change, with its time as in RFC 3339."""
    return {**change.fields(), 'time': render.timestamp(change.time),
            'host': _host(change),
            'program': change.prober.program if change.prober else None,
            'pid': change.prober.pid if change.prober else None}


def _host(change: changes.StateChange) -> str:
    return change.prober.host if change.prober else socket.gethostname()
