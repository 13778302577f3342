# SPDX-License-Identifier: Apache-2.0

"""Times, durations and tables for people, in plain text."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence


def printable(lines: Iterable[str]) -> str:
    """The lines of a text, without control characters."""
    return ''.join(
        ''.join(c if c.isprintable() else '\N{REPLACEMENT CHARACTER}'
                for c in line) + '\n' for line in lines)


def clock(timestamp: str, today: str = '') -> str:
    """A time for people, from an RFC 3339 one in UTC.

    :param today: a time of today; a time of the same day needs no date
    """
    date, _, time = timestamp[:19].partition('T')
    return f'{time} UTC' if today.startswith(date) else f'{date} {time} UTC'


def span(seconds: float) -> str:
    """A duration for people, in at most two units.

    >>> span(0.0123), span(3.25), span(10.4), span(250), span(90061)
    ('12.3 ms', '3.2 s', '10 s', '4 min 10 s', '1 d 1 h')
    """
    if seconds < 0.9995:
        return f'{seconds * 1000:.3g} ms'
    if seconds < 9.95:
        return f'{seconds:.2g} s'
    seconds = round(seconds)
    if seconds < 60:
        return f'{seconds} s'
    for unit, size, lower, lower_size in (
            ('d', 86400, 'h', 3600), ('h', 3600, 'min', 60),
            ('min', 60, 's', 1)):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            rest //= lower_size
            return f'{whole:.0f} {unit}' + (
                f' {rest:.0f} {lower}' if rest else '')
    raise AssertionError(seconds)


def ago(seconds: float) -> str:
    """How long ago something was."""
    return 'just now' if seconds < 1 else f'{span(seconds)} ago'


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        yield '  '.join(cell.ljust(width) for cell, width
                        in zip(row, widths)).rstrip()
