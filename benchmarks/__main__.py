# SPDX-License-Identifier: Apache-2.0

"""Run every benchmark and print tables for the README.

Or compare what cells cost with another revision, see ``against.py``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import metadata
import os
import pathlib
import platform
import statistics
import tempfile

from benchmarks import against
from benchmarks import cells
from benchmarks import evidence
from benchmarks import fleet
from benchmarks import inprocess
from benchmarks import scans
from benchmarks import stores
from benchmarks import uwsgi

TITLES = {'bare': inprocess.BARE.title, 'ours': inprocess.OURS.title,
          'ours_shared': inprocess.OURS_SHARED.title,
          'oslo': inprocess.OSLO.title}


def main() -> None:
    parser = argparse.ArgumentParser(prog='benchmarks')
    parser.add_argument('--against', metavar='REVISION')
    parser.add_argument('--cells', type=int, default=max(cells.SIZES))
    parser.add_argument('--turns', type=int, default=3)
    asked = parser.parse_args()
    if asked.against:
        _compare(asked.against, asked.cells, asked.turns)
    else:
        _measure()


def _compare(revision: str, number: int, turns: int) -> None:
    with tempfile.TemporaryDirectory(prefix='healthcheck-') as name:
        figures = against.measure(pathlib.Path(name), revision, number, turns)
    print(f'{number:,} cells, medians of {turns} turns\n')
    _print_table(*against.table(figures, revision))


def _measure() -> None:
    with tempfile.TemporaryDirectory(prefix='healthcheck-') as name:
        directory = pathlib.Path(name)
        times = inprocess.measure(directory)
        throughputs = {use: uwsgi.measure(directory, use)
                       for use in (uwsgi.EACH, uwsgi.KEPT, uwsgi.SHARED)}
        costs = cells.measure(directory)
        heard = evidence.measure(directory)
    scanned = [scans.measure(*size) for size in scans.SIZES]
    fleets = [fleet.measure(nodes) for nodes in fleet.SIZES]
    loads = list(stores.measure())
    print(f'{len(os.sched_getaffinity(0))} processors, Python '
          f'{platform.python_version()}, '
          + ', '.join(f'{package} {metadata.version(package)}'
                      for package in ('oslo.middleware', 'oslo.messaging',
                                      'PyMySQL', 'uWSGI')) + '\n')
    bare = times[inprocess.BARE]
    _print_table(
        ('Request, in process', 'µs', 'µs more than bare', 'times bare'),
        [(case.title, f'{time * 1e6:.2f}', f'{(time - bare) * 1e6:.2f}',
          f'{time / bare:.1f}') for case, time in times.items()])
    for use, seen in throughputs.items():
        _print_table(
            (f'Under uWSGI, {use.title}', 'requests/s', 'of bare',
             'processor µs', 'busy'),
            [(TITLES[app], f'{one.rate:.0f}', f'{one.ratio:.3f}',
              f'{one.cost * 1e6:.0f}', f'{one.busy:.0%}')
             for app, one in seen.items()])
    _print_table(
        ('Cells', 'known after', 'round', 'of a core', 'threads',
         'connections', 'MiB', 'request'),
        [(f'{one.cells:,}', f'{one.first:.1f} s', f'{one.round:.2f} s',
          f'{one.processor:.1%}', str(one.threads), f'{one.connections:,}',
          f'{one.memory / 2**20:.0f}', f'{one.request:.2f}')
         for one in costs])
    _print_table(
        ('What evidence costs', 'µs', 'of a request'),
        [('A statement', f'{heard.statement * 1e6:.2f}', ''),
         ('… and the checkout of its connection',
          f'{heard.checkout * 1e6:.2f}', ''),
         ('A request that reads or writes, processor',
          f'{heard.overhead.more * 1e6:.1f}',
          f'{heard.overhead.share:.2%}'),
         ('… all of it, under uWSGI, without evidence',
          f'{heard.overhead.request * 1e6:.0f}', '')])
    _print_table(
        ('50 requests/s, 4 workers', 'probe statements/min',
         'killed: 503 after', 'frozen: 503 after'),
        [(title, f'{found.statements:.0f}', _range(found.killed),
          _range(found.frozen))
         for title, found in (('With evidence', heard.found[True]),
                              ('Without', heard.found[False]))])
    _print_table(
        ('Hosts', 'cells', 'counts an interval', 'of one host', 'oldest',
         'largest record'),
        [(str(one.hosts), str(one.cells), f'{one.statements:.0f}',
          f'{one.ratio:.2f}', f'{one.oldest:.1f} s', f'{one.largest:,} bytes')
         for one in scanned])
    _print_table(
        ('Nodes', 'reads/s', 'records/s', 'writes/s', 'one alone: out after',
         'all fail: out', 'for', 'processor a second'),
        [(f'{one.nodes:,}', f'{one.steady.reads:.0f}',
          f'{one.steady.records:,.0f}', f'{one.steady.writes:.0f}',
          f'{one.alone.first:.1f} s', str(one.refused.nodes),
          f'{one.refused.longest:.1f} s', f'{one.steady.processor:.2f} s')
         for one in fleets])
    _print_table(
        ('Store', 'nodes', 'a read, store', 'client', 'a write, store',
         'client', 'retries', 'store', 'node'),
        [(one.store, str(one.nodes),
          *(f'{cost * 1e3:.2f} ms' for calls in (one.reads, one.writes)
            for cost in (calls.server, calls.client)),
          f'{one.retries:.2f}', f'{one.server:.0%}', f'{one.node:.2%}')
         for one in loads])
    few, many = costs[0], costs[-1]
    answer = (times[inprocess.OURS] - bare) * 1e6
    passed_on = (times[inprocess.PASSED_ON] - bare) * 1e6
    apart = times[inprocess.OURS_IN_FLEET] / times[inprocess.OURS_SHARED]
    unheard = (times[inprocess.PASSED_ON_UNHEARD] - bare) * 1e6
    ratio = throughputs[uwsgi.EACH]['ours'].ratio
    shared = throughputs[uwsgi.SHARED]['ours_shared'].ratio_to_ours
    killed = statistics.median(heard.found[True].killed)
    targets = [
        ('Text answer at most 3 µs more than bare', f'{answer:.2f} µs',
         answer <= 3),
        ('Passing on adds at most 1 µs', f'{passed_on:.2f} µs',
         passed_on <= 1),
        ('… and at most 0.3 µs without evidence', f'{unheard:.2f} µs',
         unheard <= 0.3),
        ('fleet_url costs a request nothing: at most 1.05 times',
         f'{apart:.2f}', apart <= 1.05),
        (f'Under uWSGI, {uwsgi.EACH.title}, at least 0.95 of bare',
         f'{ratio:.3f}', ratio >= 0.95),
        (f'{uwsgi.SHARED.title}, sharing a prober, at least 0.95 of one each',
         f'{shared:.3f}', shared >= 0.95),
        (f'A round of {many.cells:,} cells in half of the interval',
         f'{many.round:.2f} s', many.round <= cells.INTERVAL / 2),
        ('A request costs what it costs with one cell, or 1.1 times that',
         f'{many.request / few.request:.2f}',
         many.request / few.request <= 1.1),
        ('Evidence costs at most 1 µs a statement',
         f'{heard.statement * 1e6:.2f} µs', heard.statement <= 1e-6),
        ('… and less than 1 % of a request', f'{heard.overhead.share:.2%}',
         heard.overhead.share < 0.01),
        ('… and saves 80 % of the prober\'s statements',
         f'{heard.saved:.0%}', heard.saved >= 0.8),
        ('A database that is killed under load is 503 in 2 s',
         f'{killed:.1f} s', killed < 2),
        (f'{scanned[-1].hosts} hosts count at most 2.5 times as much as one',
         f'{scanned[-1].ratio:.2f}', scanned[-1].ratio <= 2.5)]
    _print_table(('Target', 'measured', 'result'),
                 [(name, value, 'met' if met else 'missed')
                  for name, value, met in targets])


def _range(seconds: Sequence[float]) -> str:
    return f'{min(seconds):.1f} to {max(seconds):.1f} s'


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    rule = '  '.join('=' * width for width in widths)
    lines = ['  '.join(map(str.ljust, row, widths)).rstrip()
             for row in (head, *rows)]
    print('\n'.join([rule, lines[0], rule, *lines[1:], rule]) + '\n')


if __name__ == '__main__':
    main()
