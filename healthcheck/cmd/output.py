# SPDX-License-Identifier: Apache-2.0

"""The output of a command: for a terminal, a pipe or Nagios."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
import os
import re
from typing import TextIO

from healthcheck.admin.views import formats
from healthcheck.cmd import main

TABLE, JSON, LINE = FORMATS = ('table', 'json', 'line')

PASS, WARN, FAIL, UNKNOWN = 'pass', 'warn', 'fail', 'unknown'

_EXITS = {PASS: main.PASS, WARN: main.WARN, FAIL: main.FAIL,
          UNKNOWN: main.UNKNOWN}

# The words of monitoring plugins.
_NAGIOS = {PASS: 'OK', WARN: 'WARNING', FAIL: 'CRITICAL',
           UNKNOWN: 'UNKNOWN'}

_COLOURS = {'PASS': '32', 'WARN': '33', 'FAIL': '31', 'UNKNOWN': '35',
            'DISABLED': '2',
            # Of a node of a fleet.
            'IN': '32', 'WARNS': '33', 'HELD': '33', 'OUT': '31',
            'DRAINED': '2'}
# A status is the first or second word of a line.
_STATUS = re.compile(rf'^(\s*|\S+\s+)({"|".join(_COLOURS)})\b',
                     re.MULTILINE)


def format_for(stream: TextIO, wanted: str | None) -> str:
    """The wanted format, or the one that suits the stream."""
    return wanted or (TABLE if stream.isatty() else JSON)


def status_of(words: Iterable[str]) -> str:
    """The worst status, as for monitoring plugins.

    A known fault is worse than an unknown status.
    """
    return min(words, key=formats.WORDS.index, default=PASS)


def exit_status(word: str, warn_ok: bool = False) -> int:
    """The exit status for a status.

    :param warn_ok: whether a warning counts as a pass
    """
    return main.PASS if warn_ok and word == WARN else _EXITS[word]


def painted(text: str, stream: TextIO) -> str:
    """The text, with colours if the stream is a terminal that has them.

    See https://no-color.org for ``NO_COLOR``.
    """
    if (not stream.isatty() or os.environ.get('NO_COLOR')
            or os.environ.get('TERM') == 'dumb'):
        return text
    return _STATUS.sub(
        lambda found: f'{found[1]}\x1b[{_COLOURS[found[2]]}m{found[2]}'
                      f'\x1b[0m', text)


def plugin_line(word: str, text: str, data: Mapping[str, str]) -> str:
    """The line of a monitoring plugin.

    See https://nagios-plugins.org/doc/guidelines.html.

    :param text: what was found
    :param data: value of each measurement with its unit, and perhaps
        thresholds, such as ``0.2s;1;5;0``
    """
    # A bar would end the text.
    line = f'HEALTHCHECK {_NAGIOS[word]} - {text.replace("|", "/")}'
    if not data:
        return line
    return f'{line} | ' + ' '.join(
        f'{_label(name)}={value}' for name, value in data.items())


def _label(name: str) -> str:
    name = name.replace("'", '_').replace('=', '_')
    return f"'{name}'" if re.search(r'[^\w.-]', name) else name
