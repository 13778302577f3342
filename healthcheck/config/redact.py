# SPDX-License-Identifier: Apache-2.0

"""Take secrets out of a text before anybody sees it.

Drivers put URLs, and what they made of them, into their exceptions. What we
know to be secret is taken out by value, in every spelling a URL can give it;
what merely looks like credentials in a URL is taken out by shape.
"""

from __future__ import annotations

import re
from urllib import parse

from oslo_utils import strutils

from healthcheck.reports import lines

MASK = '***'
MAX_LENGTH = 300

_USERINFO = re.compile(r'(?<=//)[^\s/@]*:[^\s]*@')
_QUERY_SECRET = re.compile(r'[?&;]([^=&]*(?:pass|secret|key)[^=&]*)='
                           r'([^&\s]+)', re.IGNORECASE)

# The options that name a file: sslkey, ssl_key_file, passfile.
_OF_A_FILE = re.compile(r'(ssl_?key|file|path)$', re.IGNORECASE)

# Letters. A secret this short is in every other word.
_SHORT = 2


def secrets_of(url: str) -> frozenset[str]:
    """The secrets in a URL, in every spelling.

    It does not need a URL that parses: a password that somebody forgot to
    percent-encode must not leak because of that. Everything between the
    scheme and the last ``@`` is read as ``user:password`` of each host,
    hosts being separated by commas (oslo.messaging's form of a URL with
    several hosts).
    """
    found: set[str] = set()
    authority, at, _ = url.partition('://')[2].rpartition('@')
    if at:
        found.add(authority.partition(':')[2])
        *hosts, last = authority.split(',')
        # All but the last one still carry "@host:port"; a piece with no
        # colon is the rest of a password that holds a comma.
        for credentials in (*(h.rpartition('@')[0] or h for h in hosts),
                            last):
            user, colon, password = credentials.partition(':')
            if colon or hosts:
                found.add(password if colon else user)
    found.update(value for name, value in _QUERY_SECRET.findall(url)
                 if not _OF_A_FILE.search(name))
    spellings = set()
    for secret in found:
        plain = parse.unquote(secret)
        spellings |= {secret, plain, parse.unquote_plus(secret),
                      parse.quote(plain), parse.quote(plain, safe=''),
                      parse.quote_plus(plain), repr(plain)[1:-1]}
        # Who splits a URL at each slash shows what is left of one.
        spellings.update(parse.quote(plain).split('/'))
    return frozenset(s for s in spellings if s)


def _pattern(secret: str) -> str:
    """Where a secret is taken out.

    A short one only where it stands alone, as it does between the ``:`` and
    the ``@`` of a URL, in quotes or behind ``password=``: not in words,
    numbers, addresses and names of hosts.
    """
    pattern = re.escape(secret)
    if len(secret) > _SHORT:
        return pattern
    return rf'(?<!\w)(?<!\w[.-]){pattern}(?!\w)(?![.-]\w)'


class Redactor:
    """Redacts the secrets of the given URLs, and what looks like some."""

    def __init__(self, *urls: str) -> None:
        # Longest first: a short secret may be a part of a longer one.
        secrets = sorted(
            frozenset().union(*(secrets_of(url) for url in urls)),
            key=len, reverse=True)
        self._secrets = re.compile('|'.join(map(_pattern, secrets)) or '(?!)')

    def __repr__(self) -> str:
        return f'<{type(self).__name__}>'

    def __call__(self, text: object) -> str:
        """``text`` as one line of at most MAX_LENGTH characters."""
        line = self._secrets.sub(MASK, lines.text_of(text))
        line = ' '.join(line.split())
        line = _USERINFO.sub(f'{MASK}@', line)
        line = strutils.mask_password(line, MASK)
        return lines.one(line, MAX_LENGTH)
