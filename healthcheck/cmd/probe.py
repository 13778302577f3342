# SPDX-License-Identifier: Apache-2.0

"""Run a service's checks from here, now, and advise on faults.

It uses the checks and backends of the service's configuration. So you can
try a configuration before you restart anything, or make a container or
systemd wait for the backends. Run it as the service's user, on its host.

A single failure counts: "fall" and "rise" do not apply. No state directory
is read or written. File switches are shown but do not count.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import json
import logging
import sys
import textwrap
import time
from typing import Any

from healthcheck.admin.views import detail
from healthcheck.admin.views import formats
from healthcheck.admin.views import plain
from healthcheck.admin.views import timeline
from healthcheck.cmd import arguments
from healthcheck.cmd import main as main_module
from healthcheck.cmd import output
from healthcheck.cmd import sources
from healthcheck.cmd import trial
from healthcheck import exceptions
from healthcheck.reports import advice
from healthcheck.reports import report

PROG = 'healthcheck probe'

_EXAMPLES = '''\
  healthcheck probe --project nova
  healthcheck probe --config-file /etc/cinder/cinder.conf
  healthcheck probe --config-file new/nova.conf database message_queue
  healthcheck probe --project nova --repeat 10 message_queue
  healthcheck probe --project nova --prog nova-api \\
      --paste /etc/nova/api-paste.ini --section filter:healthcheck

  for systemd:
  ExecStartPre=/usr/bin/healthcheck probe --project nova --wait 60 --warn-ok
'''

# With fewer probes, the result comes before progress could be read.
_MANY = 5

_WIDTH = 78


def main(argv: Sequence[str] | None = None) -> int:
    parser = main_parser()
    args = parser.parse_args(argv)
    sources.check_arguments(parser, args)
    if args.debug:
        sources.set_up_logging(PROG, True)
    else:
        # Results are shown below; a log would repeat them.
        logging.getLogger().addHandler(logging.NullHandler())
    try:
        sources.read_files(args)
        running = _make(args)
    except sources.ERRORS as exc:
        print(f'{PROG}: {sources.explained(exc)}', file=sys.stderr)
        return main_module.UNKNOWN
    tell = _Progress()
    found = (running.run(args.repeat, tell) if args.wait is None
             else running.wait(args.wait, tell))
    tell.end()
    document = _document(found, running, args.repeat)
    print(output.painted(
        _shown(document, output.format_for(sys.stdout, args.format),
               running), sys.stdout), flush=True)
    running.close()
    return output.exit_status(document['status'], args.warn_ok)


def main_parser() -> argparse.ArgumentParser:
    parser = arguments.parser(PROG, __doc__, _EXAMPLES)
    parser.add_argument('names', nargs='*', metavar='NAME',
                        help='the checks to run (default: those in '
                        '[healthcheck]backends)')
    sources.add_arguments(parser)
    how = parser.add_argument_group('how to probe')
    how.add_argument('--timeout', type=arguments.seconds, metavar='SECONDS',
                     help='how long each probe may take (default: '
                     '[healthcheck]timeout)')
    often = how.add_mutually_exclusive_group()
    often.add_argument('--repeat', type=arguments.count, default=1,
                       metavar='N', help='probe N times, a second apart; the '
                       'worst result of each check counts')
    often.add_argument('--wait', type=arguments.seconds, metavar='SECONDS',
                       help='probe again until no critical check fails, for '
                       'at most this time; the last result counts')
    arguments.add_output(parser)
    parser.add_argument('--debug', action='store_true',
                        help='log everything')
    return parser


def _make(args: argparse.Namespace) -> trial.Trial:
    """:raises exceptions.ConfigError: with every mistake"""
    # Everything that the service would load, so it can be restarted safely.
    door = sources.door(args)
    if not (args.names or door.view.settings.backends):
        raise exceptions.ConfigError([
            '[healthcheck]backends is empty, so nothing would be probed: set '
            'it, or name the checks to run, such as: database message_queue'])
    made = trial.Trial(door.view, args.names, args.timeout)
    if not made.names:
        names = args.names or door.view.settings.backends
        raise exceptions.ConfigError([
            f'{", ".join(names)}: nothing to probe from here (workers check '
            f'themselves, and only requests read file switches)'
        ])
    return made


class _Progress:
    """Shows progress on a terminal, if there are many probes."""

    def __init__(self) -> None:
        self._shown = ''

    def __call__(self, known: int, total: int) -> None:
        text = f'{known} of {total} probed'
        if total > _MANY and text != self._shown and sys.stderr.isatty():
            self._shown = text
            print(f'\r{text}\x1b[K', end='', file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._shown:
            print('\r\x1b[K', end='', file=sys.stderr, flush=True)


def _document(found: trial.Outcome, running: trial.Trial,
              rounds: int) -> dict[str, Any]:
    """The result, for all formats."""
    whole = detail.document(
        detail.Known(report.Report(found.checks), {}, '', {}),
        running.policy, {}, timeline.Moment(time.monotonic(), time.time()))
    checks = [{key: check[key] for key in (
        'name', 'status', 'reason', 'detail', 'critical', 'latency_seconds',
        'components')} | {'failed_rounds': found.failed[check['name']]}
        for check in whole['checks']]
    # A hang is a failure; these probes never began.
    words, reason = [whole['status']], whole['reason']
    if found.missing:
        words.append(output.UNKNOWN)
        reason += f'; not probed: {", ".join(found.missing)}'
    switches = running.switches
    said = {each['reason'] for check in checks
            for each in (check, *check['components'])
            if each['status'] != output.PASS}
    return {
        'status': output.status_of(words), 'reason': reason,
        'rounds': rounds, 'checks': checks,
        'not_known': list(found.missing), 'not_run': running.left_out,
        'switches': {name: verdict.reason for name, verdict
                     in switches.verdicts(switches.state({})).items()},
        'advice': _advice(said)}


def _advice(reasons: set[str]) -> Mapping[str, str]:
    known = {reason.rpartition(': ')[2]: advice.of(reason)
             for reason in sorted(reasons)}
    return {reason: text for reason, text in known.items() if text}


def _shown(document: Mapping[str, Any], wanted: str,
           running: trial.Trial) -> str:
    if wanted == output.JSON:
        return json.dumps(document, indent=2)
    if wanted == output.LINE:
        policy = running.policy
        return output.plugin_line(
            document['status'], document['reason'],
            {check['name']: f'{check["latency_seconds"]:.4f}s;'
                            f'{policy.slow_threshold:g};{policy.timeout:g};0'
             for check in document['checks']
             if check['latency_seconds'] is not None})
    return '\n'.join(_lines(document))


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    rounds = document['rounds']
    yield from plain.table([
        ('CHECK', 'STATUS', 'LATENCY', 'REASON'),
        *(_row(check, rounds) for check in document['checks']),
        *((name, 'UNKNOWN', '-', 'not probed: too many others hang')
          for name in document['not_known'])])
    for check in document['checks']:
        about = list(formats.parts(check['components']))
        if check['detail']:
            about.insert(0, check['detail'])
        if about:
            yield from ('', check['name'])
            yield from (f'  {line}' for line in about)
    if document['advice']:
        yield from ('', 'What to check')
    for reason, text in document['advice'].items():
        yield from textwrap.wrap(
            f'{reason}: {text}', _WIDTH, initial_indent='  ',
            subsequent_indent='    ', break_on_hyphens=False)
    notes = [f'{name} only runs in a worker: ask the service'
             for name in document['not_run']]
    notes += [f'{name} says {reason}, which does not count here' for
              name, reason in document['switches'].items() if reason != 'OK']
    if notes:
        yield from ('', *notes)


def _row(check: Mapping[str, Any], rounds: int) -> tuple[str, ...]:
    latency = check['latency_seconds']
    notes = [] if check['critical'] else ['not critical']
    if rounds > 1:
        notes.append(f'{check["failed_rounds"]} of {rounds} failed')
    return (check['name'], check['status'].upper(),
            '-' if latency is None else plain.span(latency),
            check['reason'] + (f' ({", ".join(notes)})' if notes else ''))
