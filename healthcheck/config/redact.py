# SPDX-License-Identifier: Apache-2.0

"""Removes secrets from a text before anybody sees it.

Drivers put URLs, and parts of them, into their exceptions. Known secrets are
removed by value, in every spelling that a URL allows. Text that merely looks
like credentials in a URL is removed by its shape.
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

# Characters. A secret this short is part of many words.
_SHORT = 2


def secrets_of(url: str) -> frozenset[str]:
    """The secrets in a URL, in every spelling.

    It also works on a URL that does not parse: a password that somebody
    forgot to percent-encode must not leak because of that. Everything between
    the scheme and the last ``@`` is read as ``user:password`` of each host.
    Commas separate hosts (oslo.messaging's form of a URL with several hosts).
    """
    found: set[str] = set()
    authority, at, _ = url.partition('://')[2].rpartition('@')
    if at:
        found.add(authority.partition(':')[2])
        *hosts, last = authority.split(',')
        # All but the last one still end in "@host:port". A piece without a
        # colon is the rest of a password that contains a comma.
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
        # A parser that splits a URL at each slash may show a part of one.
        spellings.update(parse.quote(plain).split('/'))
    return frozenset(s for s in spellings if s)


def _pattern(secret: str) -> str:
    """The pattern that finds a secret.

    A short secret only counts where it stands alone, such as between ``:``
    and ``@`` of a URL, in quotes or after ``password=``; not inside words,
    numbers, addresses and host names.
    """
    pattern = re.escape(secret)
    if len(secret) > _SHORT:
        return pattern
    return rf'(?<!\w)(?<!\w[.-]){pattern}(?!\w)(?![.-]\w)'


class Redactor:
    """Redacts the secrets of the given URLs, and text that looks like some."""

    def __init__(self, *urls: str) -> None:
        # Longest first: a short secret may be part of a longer one.
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
