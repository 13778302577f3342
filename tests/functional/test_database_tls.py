# SPDX-License-Identifier: Apache-2.0

"""A database over TLS, and what can be wrong with that, for each driver."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
import contextlib
import datetime
import pathlib
import shutil

import pytest

from healthcheck.reports import report
from healthcheck.targets import database_target
from healthcheck.targets import dialects
from tests.functional import databases
from tests.functional import servers
from tests.functional.servers import certificates

# The options of a driver: CA, certificate, key, and what makes it verify.
OPTIONS = {'mysql+pymysql': ('ssl_ca', 'ssl_cert', 'ssl_key', ''),
           'mysql+mysqldb': ('ssl_ca', 'ssl_cert', 'ssl_key',
                             '&ssl_mode=VERIFY_CA'),
           'postgresql+psycopg2': ('sslrootcert', 'sslcert', 'sslkey',
                                   '&sslmode=verify-full'),
           'postgresql+psycopg': ('sslrootcert', 'sslcert', 'sslkey',
                                  '&sslmode=verify-full')}


def _own(server: servers.MariaDB | servers.PostgreSQL,
         files: tuple[pathlib.Path, pathlib.Path],
         ) -> tuple[pathlib.Path, pathlib.Path]:
    """Leave a certificate and a key with a server that is to have them."""
    certificate, key = (server.directory / f'tls.{kind}'
                        for kind in ('pem', 'key'))
    shutil.copy(files[0], certificate)
    shutil.copy(files[1], key)
    certificate.chmod(0o644)
    owner = server.directory.stat()
    shutil.chown(key, owner.st_uid, owner.st_gid)
    key.chmod(0o600)
    return certificate, key


class MariaDB(servers.MariaDB):

    def command(self) -> list[str]:
        return [*super().command(), f'--ssl-cert={self.directory}/tls.pem',
                f'--ssl-key={self.directory}/tls.key',
                f'--ssl-ca={self.directory}/ca.pem',
                # In 1.3 a client learns that it was refused after its
                # handshake, and may see no more than a reset.
                '--tls-version=TLSv1.2']


class PostgreSQL(servers.PostgreSQL):

    def command(self) -> list[str]:
        return [*super().command(), '--ssl=on',
                f'--ssl_cert_file={self.directory}/tls.pem',
                f'--ssl_key_file={self.directory}/tls.key',
                f'--ssl_ca_file={self.directory}/ca.pem']


@pytest.fixture(scope='module')
def authority(tmp_path_factory: pytest.TempPathFactory,
              ) -> certificates.Authority:
    return certificates.Authority(tmp_path_factory.mktemp('ca'))


@pytest.fixture(scope='module', params=[MariaDB, PostgreSQL])
def server(request: pytest.FixtureRequest, authority: certificates.Authority,
           ) -> Iterator[servers.MariaDB | servers.PostgreSQL]:
    made = request.param()
    with contextlib.closing(made):
        (made.directory / 'ca.pem').write_bytes(authority.ca.read_bytes())
        _own(made, authority.issue('server'))
        made.start()
        yield made


@pytest.fixture(params=[0, 1])
def database(request: pytest.FixtureRequest,
             server: servers.MariaDB | servers.PostgreSQL,
             ) -> Iterator[databases.Database]:
    drivers = [driver for driver in databases.DRIVERS
               if driver.startswith({'mariadb': 'mysql'}.get(
                   server.name, server.name))]
    with databases.on(server, drivers[request.param]) as made:
        yield made


def probed(database: databases.Database, *, ca: object,
           certificate: object = None, key: object = None) -> report.Result:
    of_ca, of_certificate, of_key, verify = OPTIONS[database.driver]
    query = f'{of_ca}={ca}{verify}'
    for option, value in ((of_certificate, certificate), (of_key, key)):
        if value is not None:
            query += f'&{option}={value}'
    target = database_target.DatabaseTarget(
        f'{database.url()}?{query}', option='o', bound=3.0,
        tolerance=dialects.Tolerance())
    # libmariadb leaves errors in OpenSSL's queue, which each thread has of
    # its own; the bench would be told of them.
    with contextlib.closing(target), futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(target.probe).result().result


def test_works(database: databases.Database,
               authority: certificates.Authority) -> None:
    result = probed(database, ca=authority.ca)
    assert result.reason == 'OK', result.detail


@pytest.mark.parametrize('fault', ['missing', 'no certificate'])
def test_ca_of_this_host(database: databases.Database, fault: str,
                         tmp_path: pathlib.Path) -> None:
    path = tmp_path / 'zca7.pem'
    if fault == 'no certificate':
        path.write_text('no certificate\n')
    result = probed(database, ca=path)
    assert result.reason == 'TLS NOT SET UP', result.detail


def test_key_of_this_host_that_does_not_fit(
        database: databases.Database,
        authority: certificates.Authority) -> None:
    certificate, _ = authority.issue('one')
    _, key = authority.issue('another')
    key.chmod(0o600)
    result = probed(database, ca=authority.ca, certificate=certificate,
                    key=key)
    assert result.reason == 'TLS NOT SET UP', result.detail


@pytest.mark.parametrize('name', ['ca', 'foreign'])
def test_signed_by_another(database: databases.Database, name: str,
                           tmp_path: pathlib.Path) -> None:
    # One that was made again has the name of the one before.
    result = probed(database, ca=certificates.Authority(tmp_path, name).ca)
    assert result.reason == 'CERTIFICATE REFUSED', result.detail


def test_our_certificate_is_signed_by_another(
        database: databases.Database, authority: certificates.Authority,
        tmp_path: pathlib.Path) -> None:
    certificate, key = certificates.Authority(
        tmp_path, 'foreign').issue('client')
    key.chmod(0o600)
    result = probed(database, ca=authority.ca, certificate=certificate,
                    key=key)
    assert result.reason == 'CERTIFICATE REFUSED', result.detail


def test_expired(database: databases.Database,
                 authority: certificates.Authority) -> None:
    server = database.server
    expired = authority.issue('expired', ends_in=-datetime.timedelta(days=1))
    reload = ('FLUSH SSL' if isinstance(server, MariaDB)
              else 'SELECT pg_reload_conf()')
    _own(server, expired)
    server.sql(reload)
    try:
        servers.wait_until(
            lambda: probed(database, ca=authority.ca).reason
            == 'CERTIFICATE REFUSED', 'the certificate has expired')
    finally:
        _own(server, authority.issue('server'))
        server.sql(reload)


@pytest.mark.parametrize('driver', databases.DRIVERS)
def test_server_without_tls(request: pytest.FixtureRequest, driver: str,
                            authority: certificates.Authority) -> None:
    name = driver.partition('+')[0]
    plain = request.getfixturevalue({'mysql': 'mariadb'}.get(name, name))
    with databases.on(plain, driver) as database:
        result = probed(database, ca=authority.ca)
        assert result.reason == 'TLS HANDSHAKE FAILED', result.detail
