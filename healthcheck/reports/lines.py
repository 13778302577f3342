# SPDX-License-Identifier: Apache-2.0

"""Text from elsewhere, as one line for the log and for pages.

A database, a driver or a plugin may put anything into its text. A line break
would forge a line of the log. A control character, of the terminal or of the
writing direction, would hide one. A lone surrogate cannot be sent at all.
"""

from __future__ import annotations

import unicodedata

_CUT = '…'

# Characters of the name of a type.
_KIND = 100


def one(text: str, most: int) -> str:
    """``text`` with unprintable characters escaped, as in ``repr``.

    :param most: characters; longer text is cut
    """
    # For a sub-class: its content, not what its __str__ returns.
    line = str.__str__(text)[:most + 1]
    if not line.isprintable():
        line = ''.join(char if char.isprintable() else _escape(char)
                       for char in line)
    return line if len(line) <= most else line[:most - 1] + _CUT


def text_of(value: object) -> str:
    """``str(value)``, or the name of its type if there is no such text."""
    try:
        return str(value)
    except BaseException:
        return kind_of(value)


def kind_of(value: object) -> str:
    """The name of its type, for the log; raises nothing."""
    kind = type(value)
    try:
        return one(f'{kind.__module__}.{kind.__qualname__}', _KIND)
    except BaseException:
        return 'something that has no name'


def _escape(char: str) -> str:
    if unicodedata.category(char) == 'Zs':  # a space of another width
        return ' '
    return char.encode('unicode_escape').decode()
