# SPDX-License-Identifier: Apache-2.0

"""Plugin ``message_queue``: over TLS, and what can be wrong with that."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import pathlib
from typing import Any

import pytest

from tests.functional import brokers
from tests.functional import servers
from tests.functional.servers import certificates


@pytest.fixture
def authority(tmp_path: pathlib.Path) -> certificates.Authority:
    return certificates.Authority(tmp_path)


@pytest.fixture
def broker(rabbitmq: servers.RabbitMQ) -> Iterator[brokers.Broker]:
    with brokers.on(rabbitmq) as broker:
        yield broker


@contextlib.contextmanager
def probed(broker: brokers.Broker, authority: certificates.Authority,
           served: tuple[pathlib.Path, pathlib.Path] | None = None, *,
           port: int | None = None, clients: bool = False,
           **options: Any) -> Iterator[Any]:
    """A target, and the port of a TLS listener that it is for.

    :param served: certificate and key of the broker
    :param port: of another listener
    :param clients: whether the broker wants a certificate of its clients
    :param options: of ``[oslo_messaging_rabbit]``, by URL
    """
    certificate, key = served or authority.issue('broker')
    query = '&'.join(f'{name}={value}' for name, value in
                     {'ssl': 1, 'ssl_ca_file': authority.ca,
                      **options}.items())
    with broker.server.tls(certificate, key, authority.ca,
                           clients=clients) as tls_port:
        target = broker.target(port or tls_port, query=f'?{query}')
        try:
            yield target
        finally:
            target.close()


def test_works(broker: brokers.Broker,
               authority: certificates.Authority) -> None:
    with probed(broker, authority) as target:
        assert target.probe().result.reason == 'OK'


def test_closed_in_between(broker: brokers.Broker,
                           authority: certificates.Authority) -> None:
    with probed(broker, authority) as target:
        for _ in range(3):
            result = target.probe().result
            assert result.reason == 'OK', result.detail
            broker.server.close_connections()


@pytest.mark.parametrize('option', ['ssl_ca_file', 'ssl_cert_file',
                                    'ssl_key_file'])
@pytest.mark.parametrize('fault', ['missing', 'directory', 'no certificate'])
def test_file_of_this_host(broker: brokers.Broker, option: str, fault: str,
                           authority: certificates.Authority,
                           tmp_path: pathlib.Path) -> None:
    path = tmp_path / 'zfile7'
    if fault == 'directory':
        path.mkdir()
    elif fault == 'no certificate':
        path.write_text('nothing\n')
    certificate, key = authority.issue('client')
    options = {'ssl_cert_file': certificate, 'ssl_key_file': key,
               option: path}
    with probed(broker, authority, **options) as target:
        result = target.probe().result
        assert result.reason == 'TLS NOT SET UP'
        # OpenSSL does not say which of the files that it opened is none.
        assert fault != 'missing' or str(path) in result.detail
        # The server is up; when it is not, that is the fault.
    with servers.RefusedPort() as refused, probed(
            broker, authority, port=refused.port, **options) as target:
        assert target.probe().result.reason == 'CONNECTION REFUSED'


SERVED: dict[str, Callable[..., tuple[pathlib.Path, pathlib.Path]]] = {
    'expired': lambda authority, path: authority.issue(
        'broker', ends_in=-certificates.DAY),
    'other authority': lambda authority, path: certificates.Authority(
        path, 'other').issue('broker'),
    'other host': lambda authority, path: authority.issue(
        'broker', '192.0.2.1')}


@pytest.mark.parametrize('fault', SERVED)
def test_certificate_of_the_broker(broker: brokers.Broker, fault: str,
                                   authority: certificates.Authority,
                                   tmp_path: pathlib.Path) -> None:
    with probed(broker, authority, SERVED[fault](authority, tmp_path),
                ) as target:
        result = target.probe().result
        assert result.reason == 'CERTIFICATE REFUSED'
        assert 'certificate' in result.detail


def test_certificate_of_the_client(
        broker: brokers.Broker, authority: certificates.Authority,
        tmp_path: pathlib.Path) -> None:
    for signed_by, reason in [
            (authority, 'OK'),
            (certificates.Authority(tmp_path, 'other'),
             'CERTIFICATE REFUSED')]:
        certificate, key = signed_by.issue('client')
        with probed(broker, authority, clients=True,
                    ssl_cert_file=certificate, ssl_key_file=key) as target:
            result = target.probe().result
            assert result.reason == reason, result.detail


def test_without_tls_on_either_side(
        broker: brokers.Broker, authority: certificates.Authority) -> None:
    with probed(broker, authority, ssl=0) as target:
        assert target.probe().result.reason == 'CONNECTION LOST'
    with probed(broker, authority, port=broker.server.port) as target:
        assert target.probe().result.reason == 'TLS HANDSHAKE FAILED'
