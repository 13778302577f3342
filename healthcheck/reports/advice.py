# SPDX-License-Identifier: Apache-2.0

"""What each reason means, and what to look at.

The text is in ``reasons.csv``, from which the documentation makes its table.
"""

from __future__ import annotations

import csv
import functools
import pathlib
import re

_FILE = pathlib.Path(__file__).with_name('reasons.csv')

_PAGE = re.compile(r':doc:`([^`]*)`')


def of(reason: str) -> str:
    """The advice for a reason, as plain text; empty if there is none.

    :param reason: perhaps with a label in front, as in ``DATABASE: SLOW``
    """
    return _table().get(reason.rpartition(': ')[2], '')


@functools.cache
def _table() -> dict[str, str]:
    with _FILE.open(newline='', encoding='utf-8') as lines:
        return {_plain(reason): _plain(text)
                for reason, _, text in csv.reader(lines)}


def _plain(markup: str) -> str:
    text = _PAGE.sub(r'"\1" in the documentation', markup)
    return ' '.join(text.replace('``', '').split())
