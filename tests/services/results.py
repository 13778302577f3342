# SPDX-License-Identifier: Apache-2.0

"""What was seen, as the table that the documentation includes."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import csv
import pathlib

from tests.functional.servers import wsgi
from tests.services import catalogue
from tests.services import deployed

TABLE = wsgi.ROOT / 'doc' / 'source' / 'services.csv'

COLUMNS = ['Service', 'Release', 'Mounted', 'At start', 'Database killed',
           'Database frozen', 'Queue frozen', 'After each',
           'Started without database']

NOT_SEEN = 'not seen'
NONE = 'none'  # the service has no queue

Row = dict[str, str]


@contextlib.contextmanager
def row(service: catalogue.Service, way: catalogue.Way,
        *columns: str) -> Iterator[Row]:
    """What a test is to fill in; it is written even if the test fails.

    What was not run stays as it is, so one service can be run alone.
    """
    seen = dict.fromkeys(columns, NOT_SEEN)
    try:
        yield seen
    finally:
        _put({'Service': service.title,
              'Release': deployed.release(service.package),
              'Mounted': way.how, **seen})


def read(path: pathlib.Path = TABLE) -> list[Row]:
    if not path.exists():
        return []
    with path.open(newline='') as file:
        return list(csv.DictReader(file))


def _put(new: Row) -> None:
    rows = {_key(old): old for old in read()}
    rows[_key(new)] = rows.get(_key(new), {}) | new
    order = [(service.title, way.how) for service in catalogue.SERVICES
             for way in service.ways]
    with TABLE.open('w', newline='') as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows[key] for key in order if key in rows)


def _key(row: Row) -> tuple[str, str]:
    return row['Service'], row['Mounted']
