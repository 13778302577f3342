# SPDX-License-Identifier: Apache-2.0

"""A private certificate authority."""

from __future__ import annotations

import datetime
import ipaddress
import pathlib

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography import x509
from cryptography.x509 import oid

DAY = datetime.timedelta(days=1)


class Authority:
    """Signs certificates, and leaves them in a directory.

    :param directory: where the files go
    :param name: of the authority, and of its file
    :ivar ca: the file with its own certificate
    """

    def __init__(self, directory: pathlib.Path, name: str = 'ca') -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        self.ca = directory / f'{name}.pem'
        self._write(self.ca, self._sign(
            self._name, self._key, 30 * DAY,
            x509.BasicConstraints(ca=True, path_length=None)))

    def issue(self, name: str, address: str = '127.0.0.1', *,
              ends_in: datetime.timedelta = 30 * DAY,
              ) -> tuple[pathlib.Path, pathlib.Path]:
        """(certificate, key) for an address; both are files.

        :param ends_in: from now; a negative one has expired
        """
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._directory / f'{name}.pem'
        self._write(certificate, self._sign(
            _named(name), key, ends_in,
            x509.SubjectAlternativeName([
                x509.IPAddress(ipaddress.ip_address(address))])))
        private = self._directory / f'{name}.key'
        private.write_bytes(key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption()))
        private.chmod(0o644)  # the server has an account of its own
        return certificate, private

    def _sign(self, name: x509.Name, key: ec.EllipticCurvePrivateKey,
              ends_in: datetime.timedelta,
              extension: x509.ExtensionType) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        return (x509.CertificateBuilder()
                .subject_name(name).issuer_name(self._name)
                .public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - 60 * DAY).not_valid_after(
                    now + ends_in)
                .add_extension(extension, critical=False)
                .sign(self._key, hashes.SHA256()))

    @staticmethod
    def _write(path: pathlib.Path, certificate: x509.Certificate) -> None:
        path.write_bytes(certificate.public_bytes(
            serialization.Encoding.PEM))


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, name)])
