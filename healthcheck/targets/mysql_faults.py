# SPDX-License-Identifier: Apache-2.0

"""What the error codes of MySQL, MariaDB and their proxies stand for.

Up to 1999, and from 3000 on, they are the server's, from 2000 the client's:
https://mariadb.com/docs/server/reference/error-codes and
https://dev.mysql.com/doc/mysql-errors/en/. ProxySQL's own begin at 9001
(``PROXYSQL_MYSQL_ERR`` in its source).
"""

from __future__ import annotations

import re

from healthcheck.targets import dialects
from healthcheck.targets import failures

CODES = {code: reason for reason, codes in {
    # 1135: the server has no thread for another connection.
    failures.TOO_MANY_CONNECTIONS: (1040, 1135, 1203, 1226),
    # The account: 1045, 1698 wrong password, 1820, 1862 it has expired,
    # 3118, 3955, 4150, 4151 locked. This host: 1042, 1129, 1130. How to log
    # in: 1251, 1275, 1524, 2049, 2059, 2061; 3159 TLS is required.
    failures.LOGIN_REFUSED: (
        1042, 1045, 1129, 1130, 1251, 1275, 1524, 1698, 1820, 1862, 1873,
        2049, 2059, 2061, 3118, 3159, 3955, 4150, 4151),
    failures.PERMISSION_DENIED: (1044, 1142, 1143, 1227, 1370),
    dialects.NO_SUCH_DATABASE: (1049,),
    dialects.NOT_READY: (1047, 3032),
    dialects.READ_ONLY: (1792, 1836, 1874),
    # 4031: idle for too long.
    failures.CONNECTION_LOST: (
        1053, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1927,
        2006, 2013, 2055, 4031),
    # A statement or a lock that takes too long.
    failures.NO_ANSWER: (1205, 1969, 3024),
    failures.UNKNOWN_HOST: (2005,),
    failures.CONNECTION_REFUSED: (2002, 2003),
    # The charset of the URL, which the server or the driver does not have.
    failures.BAD_URL: (1115, 2019),
    # 9001, 9002: none can be connected to; 9004, 9005: the one there was
    # went offline, or lags.
    dialects.NO_SERVER_BEHIND_PROXY: (9001, 9002, 9004, 9005),
}.items() for code in codes}

# Codes that stand for many faults, which their words tell apart; the first
# phrase that is found counts. 1815 is MaxScale's, at the login. 2026 is that
# of TLS, with OpenSSL's words.
_WORDS = {
    1290: {'read-only': dialects.READ_ONLY, 'read_only': dialects.READ_ONLY},
    1815: {'session creation failed': dialects.NO_SERVER_BEHIND_PROXY},
    2026: {'no such file': failures.TLS_NOT_SET_UP,
           'permission denied': failures.TLS_NOT_SET_UP,
           'no certificate or crl': failures.TLS_NOT_SET_UP,
           'no start line': failures.TLS_NOT_SET_UP,
           'pem lib': failures.TLS_NOT_SET_UP,
           'key values mismatch': failures.TLS_NOT_SET_UP,
           # libmariadb with a CA file that holds no certificate.
           'shutdown while in init': failures.TLS_NOT_SET_UP,
           'certificate': failures.CERTIFICATE_REFUSED,
           'unknown ca': failures.CERTIFICATE_REFUSED,
           'signature failure': failures.CERTIFICATE_REFUSED,
           '': failures.TLS_FAILED},
}

# mysqlclient has the operating system's number in words alone, at the end:
# "... (111)", "... (11 "Resource temporarily unavailable")". Not that of 2013,
# "... system error: 110", which is left over from before when the server has
# closed the connection.
_ERRNO = re.compile(r'\((?:errno )?(\d+)(?: "[^"]*")?\)$')
_WITH_ERRNO = (2002, 2003)


def reason(exc: BaseException) -> str | None:
    """The reason, if a code tells."""
    for link in failures.chain(exc):
        code = link.args[0] if link.args else None
        # An OSError's number is the operating system's, or OpenSSL's.
        if not isinstance(code, int) or isinstance(link, OSError):
            continue
        text = str(link.args[1]) if len(link.args) > 1 else ''
        for phrase, meant in _WORDS.get(code, {}).items():
            if phrase in text.lower():
                return meant
        number = _ERRNO.search(text) if code in _WITH_ERRNO else None
        found = failures.os_reason(int(number[1])) if number else None
        found = found or CODES.get(code)
        if found:
            return found
    return None
