# SPDX-License-Identifier: Apache-2.0

"""What an exception of the operating system, the resolver or TLS means."""

import errno
import os
import socket
import ssl

import pytest

from healthcheck.targets import failures


def handshake(reason, number=ssl.SSL_ERROR_SSL, library='SSL'):
    exc = ssl.SSLError(number, f'[{library}: {reason}] (_ssl.c:1006)')
    exc.reason, exc.library = reason, library
    return exc


class TestNumbersAreThoseOfTheirOwner:

    @pytest.mark.parametrize('number', [
        errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN])
    def test_the_operating_systems(self, number):
        assert failures.network_reason(
            OSError(number, 'x')) == failures.UNREACHABLE

    @pytest.mark.parametrize('number', [
        errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, 116, 136])
    def test_openssls(self, number):
        # 112 is X509: UNKNOWN_PURPOSE_ID, 116 KEY_VALUES_MISMATCH.
        assert failures.network_reason(handshake(
            'ANY', number, 'X509')) == failures.TLS_NOT_SET_UP


class TestTLS:

    @pytest.mark.parametrize('exc, reason', [
        (ssl.SSLCertVerificationError(1, 'certificate has expired'),
         failures.CERTIFICATE_REFUSED),
        (handshake('SSLV3_ALERT_BAD_CERTIFICATE'),
         failures.CERTIFICATE_REFUSED),
        (handshake('SSLV3_ALERT_CERTIFICATE_EXPIRED'),
         failures.CERTIFICATE_REFUSED),
        (handshake('TLSV13_ALERT_CERTIFICATE_REQUIRED'),
         failures.CERTIFICATE_REFUSED),
        (handshake('TLSV1_ALERT_UNKNOWN_CA'), failures.CERTIFICATE_REFUSED),
        (handshake('WRONG_VERSION_NUMBER'), failures.TLS_FAILED),
        (handshake('SSLV3_ALERT_HANDSHAKE_FAILURE'), failures.TLS_FAILED),
        (handshake('PEM_LIB', 524297), failures.TLS_NOT_SET_UP),
        (ssl.SSLError('No cipher can be selected.'),
         failures.TLS_NOT_SET_UP),
        (ssl.SSLEOFError(8, 'EOF occurred in violation of protocol'),
         failures.CONNECTION_LOST),
        (ssl.SSLZeroReturnError(6, 'TLS/SSL connection has been closed'),
         failures.CONNECTION_LOST),
        (ssl.SSLSyscallError(5, 'Some I/O error occurred'),
         failures.CONNECTION_LOST)])
    def test_what_the_exception_says(self, exc, reason):
        assert failures.network_reason(exc) == reason
        wrapped = RuntimeError('of a driver')
        wrapped.__cause__ = exc
        assert failures.network_reason(wrapped) == reason

    @pytest.mark.parametrize('spoil', [
        lambda path: path.write_text('no certificate\n'),
        lambda path: path.write_text('')])
    @pytest.mark.parametrize('load', [
        lambda context, path: context.load_verify_locations(path),
        lambda context, path: context.load_cert_chain(path)])
    def test_a_file_that_is_no_certificate(self, tmp_path, spoil, load):
        path = tmp_path / 'pem'
        spoil(path)
        with pytest.raises(ssl.SSLError) as caught:
            load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), path)
        assert failures.network_reason(
            caught.value) == failures.TLS_NOT_SET_UP

    @pytest.mark.parametrize('name', ['missing', 'file/below', '.'])
    def test_a_file_that_cannot_be_read(self, tmp_path, name):
        (tmp_path / 'file').touch()
        path = tmp_path / name
        with pytest.raises(OSError) as caught:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(
                path)
        assert failures.network_reason(
            caught.value, [None, path]) == failures.TLS_NOT_SET_UP

    @pytest.mark.parametrize('exc', [
        FileNotFoundError(errno.ENOENT, 'No such file or directory'),
        PermissionError(errno.EACCES, 'Permission denied')])
    def test_a_file_is_at_fault_only_if_it_cannot_be_read(
            self, tmp_path, exc):
        path = tmp_path / 'ca.pem'
        assert failures.tls_reason(exc, [path]) == failures.TLS_NOT_SET_UP
        path.touch()
        assert failures.tls_reason(exc, [path]) is None
        assert failures.tls_reason(exc) is None

    def test_a_missing_socket_is_a_server_that_is_down(self):
        with socket.socket(socket.AF_UNIX) as client:
            with pytest.raises(FileNotFoundError) as caught:
                client.connect('/nonexistent')
        assert failures.network_reason(
            caught.value) == failures.CONNECTION_REFUSED


class TestUnreadable:

    def test_names_the_first_and_why(self, tmp_path):
        there, gone = tmp_path / 'there', tmp_path / 'gone'
        there.touch()
        assert failures.unreadable([None, there]) is None
        assert failures.unreadable([there, gone]) == (
            f'{gone}: No such file or directory')
        assert failures.unreadable(['a\0b']) == 'a\0b: embedded null byte'

    def test_does_not_wait_for_a_pipe(self, tmp_path):
        os.mkfifo(tmp_path / 'pipe')
        assert failures.unreadable([tmp_path / 'pipe']) is None


class TestUnknownHost:

    @pytest.mark.parametrize('host', ['a..b', 'a' * 64, 'a.' + 'b' * 64])
    def test_a_label_that_is_empty_or_too_long(self, host):
        with pytest.raises(UnicodeError) as caught:
            socket.getaddrinfo(host, 1)
        assert failures.network_reason(
            caught.value) == failures.UNKNOWN_HOST

    @pytest.mark.parametrize('exc', [
        UnicodeEncodeError('latin-1', 'ł', 0, 1, 'ordinal not in range'),
        ValueError('label')])
    def test_no_other_value_error(self, exc):
        assert failures.network_reason(exc) is None
