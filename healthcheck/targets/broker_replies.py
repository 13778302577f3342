# SPDX-License-Identifier: Apache-2.0

"""Translates a broker's reply into a fixed reason.

AMQP 0-9-1 gives a reply code, the method that failed, and a text. RabbitMQ
uses some codes for several faults, and only then does the text count: vhosts,
users and exchanges can have any words as names.
"""

from __future__ import annotations

import re

from healthcheck.targets import failures

BROKER_ERROR = 'BROKER ERROR'
EXCHANGE_DIFFERS = 'EXCHANGE DIFFERS'
NO_SUCH_EXCHANGE = 'NO SUCH EXCHANGE'
NO_SUCH_VHOST = 'NO SUCH VHOST'
VHOST_DOWN = 'VHOST DOWN'

# The constants of AMQP 0-9-1 (section 1.2), by the names with which RabbitMQ
# begins its text.
_CODES = {
    'CONNECTION_FORCED': 320, 'INVALID_PATH': 402, 'ACCESS_REFUSED': 403,
    'NOT_FOUND': 404, 'RESOURCE_LOCKED': 405, 'PRECONDITION_FAILED': 406,
    'FRAME_ERROR': 501, 'SYNTAX_ERROR': 502, 'COMMAND_INVALID': 503,
    'CHANNEL_ERROR': 504, 'UNEXPECTED_FRAME': 505, 'RESOURCE_ERROR': 506,
    'NOT_ALLOWED': 530, 'NOT_IMPLEMENTED': 540, 'INTERNAL_ERROR': 541}

_IN_WORDS = re.compile(
    rf'(?:(?P<method>\w+\.\w+): \(\d+\) )?'
    rf'\b(?P<name>{"|".join(_CODES)}) - (?P<text>.*)', re.DOTALL)

# The words stand at the end. Names, which can be anything, come before them.
_VHOST_DOWN = re.compile(r'\bvhost .* is down$', re.DOTALL)
_VHOST_GONE = re.compile(r'\bvhost .* (not found|is deleted)$', re.DOTALL)
_LIMIT = re.compile(r'\b(limit|limit of|channel_max) \(\d+\)( is reached)?$')


def reason(exc: BaseException) -> str | None:
    """The reason, if the broker has replied; None if it has not."""
    for link in failures.chain(exc):
        code = getattr(link, 'reply_code', None)
        if isinstance(code, int) and code:
            return _reason(code, getattr(link, 'method_name', None) or '',
                           getattr(link, 'reply_text', None) or '')
    # An exception without the one that caused it.
    for link in failures.chain(exc):
        found = _IN_WORDS.search(str(link))
        if found:
            return _reason(_CODES[found['name']], found['method'] or '',
                           found['text'])
    return None


def _reason(code: int, method: str, text: str) -> str | None:
    """:param method: its name, such as ``Exchange.declare``, or ''"""
    kind = method.partition('.')[0]
    if code in (320, 530, 541):
        if _VHOST_DOWN.search(text):
            return VHOST_DOWN
        if _VHOST_GONE.search(text):
            return NO_SUCH_VHOST
        if _LIMIT.search(text):
            return failures.TOO_MANY_CONNECTIONS
    if code == 402 and kind == 'Connection':
        return NO_SUCH_VHOST
    if code == 403:
        # Without a method, no vhost is open yet: this was the login.
        return (failures.PERMISSION_DENIED if method and kind != 'Connection'
                else failures.LOGIN_REFUSED)
    if code == 404 and kind in ('Exchange', 'Basic'):
        return NO_SUCH_EXCHANGE
    if code == 406 and method == 'Exchange.declare':
        return EXCHANGE_DIFFERS
    if code == 530 and method in ('Connection.open', ''):
        return failures.PERMISSION_DENIED
    if code in (320, 501, 504, 505):
        # The last three: the two sides disagree about what was said earlier
        # on this connection.
        return failures.CONNECTION_LOST
    if code in (506, 541):
        return BROKER_ERROR
    return failures.FAILED
