# SPDX-License-Identifier: Apache-2.0

"""One message queue, and the transport that probes it.

The probe is an RPC cast, with ``mandatory`` set, to a topic without a
consumer. The broker accepts it, finds no queue for it, returns it and confirms
it. That proves that the broker accepts, routes and answers. Nothing is left
behind: it costs about a millisecond and no queue. Over a connection that
worked, an empty message is sent straight through the driver.
"""

from __future__ import annotations

from collections.abc import Hashable
from collections.abc import Sequence
from typing import Any

from oslo_config import cfg
import oslo_messaging

from healthcheck.config import redact
from healthcheck import exceptions
from healthcheck.reports import report
from healthcheck.targets import broker_replies
from healthcheck.targets import connected
from healthcheck.targets import failures
from healthcheck.targets import held
from healthcheck.targets import transport_url

BLOCKED = 'BLOCKED BY BROKER'

TOPIC = 'healthcheck.nobody'

_PROVABLE = ('rabbit', 'kombu', 'kombu+memory', 'fake')

# The words of py-amqp, which has no code for these.
_PHRASES = {
    'socket closed': failures.CONNECTION_LOST,
    'already closed': failures.CONNECTION_LOST,
    'server unexpectedly closed': failures.CONNECTION_LOST,
    'timed out': failures.NO_ANSWER,
    # oslo.messaging's, of options that do not fit.
    'configuration error: ': failures.MISCONFIGURED,
    'invalid ssl version': failures.MISCONFIGURED,
}

# The broker's last words on a connection, closed between two probes.
_LAST_WORDS = (broker_replies.VHOST_DOWN, broker_replies.NO_SUCH_VHOST)


class QueueTarget(connected.Connected):
    """Probes a message queue over one transport of its own.

    It uses the service's own settings, so TLS, durability and the control
    exchange are the service's.

    :param service: the service's configuration
    :param url_text: the URL, as for oslo.messaging
    :param option: the URL's option, for an error
    :param bound: seconds after which a fault counts as no answer
    :raises exceptions.ConfigError: without the URL, which is secret
    """

    def __init__(self, service: cfg.ConfigOpts, url_text: str, *,
                 option: str, bound: float) -> None:
        super().__init__(bound)
        self.name = option
        self._service = service
        self._redact = redact.Redactor(url_text)
        self._url = _parse(service, option, url_text)
        self.hosts = frozenset(host.hostname for host in self._url.hosts
                               if host.hostname)
        self.place = transport_url.place_of(self._url)
        self._slash = transport_url.slash(self._url)
        self._hosts = max(1, len(self._url.hosts))
        self._client: Any = None
        self._files: Sequence[str | None] = ()
        self._hold = held.Hold(self.wire)

    @property
    def key(self) -> Hashable:
        return 'message queue', str(self._url)

    @property
    def connected(self) -> bool:
        return self._client is not None

    def lost(self, exc: BaseException) -> bool:
        # The vhost may be back, but only a new connection notices.
        return self.reason(exc) in _LAST_WORDS or super().lost(exc)

    def ask(self) -> report.Result:
        self._hold.blocked.clear()
        if self._repeated():
            return report.Result.ok()
        if self._client is None:
            self._client = self._connect()
        try:
            self._client.cast({}, 'healthcheck')
        except oslo_messaging.MessageUndeliverable:
            pass  # returned and confirmed, as it should be
        return report.Result.ok()

    def overdue(self) -> tuple[str, str]:
        if self._hold.blocked.is_set():
            # Not cut: the broker does not read from a connection that it has
            # blocked. It would not notice, and keep it beside the next one.
            # The cast returns when the alarm is over.
            return BLOCKED, 'the broker has blocked the connection, see its ' \
                            'resource alarms'
        return super().overdue()

    def drop(self) -> None:
        """Drop the transport of a connection that failed.

        oslo.messaging does not always repair one: after a time-out it kept
        failing with "connection already closed". The connection is cut first,
        so the close does not wait for a silent broker.
        """
        self.wire.cut()
        try:
            self.close()
        except Exception:  # it is dropped because it is broken
            pass

    def close(self) -> None:
        client, self._client = self._client, None
        self._hold.forget()
        try:
            # The fake driver's cleanup would empty the service's own
            # exchanges.
            if client is not None and self._url.transport != 'fake':
                client.transport.cleanup()
        finally:
            self.wire.follow(None)

    def reason(self, exc: BaseException) -> str:
        if isinstance(exc, (cfg.Error, oslo_messaging.DriverLoadFailure)):
            return failures.MISCONFIGURED  # by an option of the service's own
        network = failures.network_reason(exc, self._files)
        if self._slash and (network == failures.UNKNOWN_HOST
                            or network is None
                            and isinstance(exc, ValueError)):
            return failures.BAD_URL
        return (network or broker_replies.reason(exc)
                or failures.text_reason(exc, _PHRASES)
                or (failures.BAD_URL if isinstance(exc, ValueError)
                    else failures.FAILED))

    def describe(self, exc: BaseException) -> str:
        where = ','.join(f'{host.hostname}:{host.port or 5672}'
                         for host in self._url.hosts)
        reason = self.reason(exc)
        if reason == failures.BAD_URL:
            # kombu's text contains part of the password.
            return f'{where}: oslo.messaging gives its driver the URL ' \
                   f'with the slash in {self._slash} not encoded' if (
                       self._slash) else f'{where}: {type(exc).__name__}'
        if reason == failures.TLS_NOT_SET_UP:
            unreadable = failures.unreadable(self._files)
            if unreadable:
                return self._redact(f'{where}: {unreadable}')
        return self._redact(f'{where}: {type(exc).__name__}: {exc}')

    def _repeated(self) -> bool:
        """Whether the last message could be sent again.

        :raises Exception: what the driver raises; if the connection is lost,
            it is dropped instead
        """
        # None meanwhile: what breaks it off may leave replies unread.
        repeat, self._hold.repeat = self._hold.repeat, None
        if repeat is None:
            return False
        try:
            repeat()
        except Exception as exc:
            if not self.lost(exc):
                raise
            # As oslo.messaging would do within a cast.
            self.drop()
            return False
        self._hold.repeat = repeat
        return True

    def _connect(self) -> Any:
        """Make the transport, in the process that uses it.

        oslo.messaging must not be carried over a fork once it is connected.
        """
        transport = oslo_messaging.get_rpc_transport(
            self._service, url=self._url)
        # The driver continues with the service's configuration. The client
        # reads groups for metrics and tracing, which oslo.messaging 18 only
        # registers on the global one.
        transport.conf = cfg.CONF
        self._files = self._tls_files()
        self._hold.take(transport)
        return oslo_messaging.get_rpc_client(
            transport,
            # The fake driver keeps a topic's messages for good. Only a fanout
            # without a consumer keeps nothing.
            oslo_messaging.Target(topic=TOPIC,
                                  fanout=self._url.transport == 'fake'),
            # Each retry uses the next host: each is tried exactly once.
            retry=self._hosts - 1,
            transport_options=oslo_messaging.TransportOptions(
                at_least_once=True))

    def _tls_files(self) -> Sequence[str | None]:
        """The files that a connection reads, if they are set.

        oslo.messaging has registered the options with the service's
        configuration by now, and lets the URL override them.
        """
        group = getattr(self._service, 'oslo_messaging_rabbit', None)
        return [self._url.query.get(name, getattr(group, name, None)) or None
                for name in ('ssl_ca_file', 'ssl_cert_file', 'ssl_key_file')]


def _parse(service: cfg.ConfigOpts, option: str,
           text: str) -> oslo_messaging.TransportURL:
    """:raises exceptions.ConfigError: without the URL, which is secret."""
    try:
        url = oslo_messaging.TransportURL.parse(service, text)
    except (oslo_messaging.InvalidTransportURL, ValueError):
        raise exceptions.ConfigError([
            f'{option}: not a transport URL (allowed: '
            f'rabbit://user:password@host:port/vhost; characters other '
            f'than letters and digits in the password percent-encoded): '
            f'{transport_url.fault_of_text(text)}',
        ]) from None
    if url.transport not in _PROVABLE:
        raise exceptions.ConfigError([
            f'{option}: there is no proof that {url.transport}:// works '
            f'(allowed: {", ".join(_PROVABLE)}); remove the check that probes '
            f'it from backends'])
    fault = transport_url.fault(url)
    if fault is not None:
        raise exceptions.ConfigError([
            f'{option}: {fault} (correct that part of the URL)'])
    # oslo.messaging sleeps that long, with the lock held, before it tries the
    # next host. This is for our own connection only.
    url.query.setdefault('kombu_reconnect_delay', '0')
    return url
