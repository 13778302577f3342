# SPDX-License-Identifier: Apache-2.0

"""Check and explain a service's health-check configuration.

It shows what would be loaded and from where, all mistakes at once, and how
soon a fault is reported. With your balancer's settings, it also shows how
soon the balancer acts. It connects to no backend. Passwords are masked.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import json
import logging
import sys
from typing import Any

from healthcheck.admin.views import plain
from healthcheck.cmd import arguments
from healthcheck.cmd import explain
from healthcheck.cmd import output
from healthcheck.cmd import sources
from healthcheck import exceptions
from healthcheck.serving import door as door_module

PROG = 'healthcheck config'

_EXAMPLES = '''\
  healthcheck config check --project nova
  healthcheck config check --config-file nova.conf --config-file cells.conf
  healthcheck config check --project nova --inter 2s --fall 3 --rise 2
'''

# HAProxy's defaults, for any of --inter, --fall and --rise that is missing.
_HAPROXY = explain.Balancer(2.0, 3, 2)


def main(argv: Sequence[str] | None = None) -> int:
    parser = main_parser()
    args = parser.parse_args(argv)
    sources.check_arguments(parser, args)
    document = _document(args)
    print(output.painted(_shown(document, output.format_for(
        sys.stdout, args.format)), sys.stdout))
    return output.exit_status(document['status'], args.warn_ok)


def main_parser() -> argparse.ArgumentParser:
    parser = arguments.parser(PROG, __doc__, _EXAMPLES)
    check = parser.add_subparsers(metavar='check', required=True).add_parser(
        'check', help='explain it, or list mistakes', description=__doc__,
        epilog=f'examples:\n{_EXAMPLES}', allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    sources.add_arguments(check)
    balancer = check.add_argument_group(
        "the balancer's settings", "if one is given, HAProxy's defaults "
        'apply to the others')
    balancer.add_argument('--inter', type=arguments.duration,
                          metavar='DURATION', help='time between two polls, '
                          'such as 2s or 500ms')
    balancer.add_argument('--fall', type=arguments.count, metavar='N',
                          help='failed polls in a row that take a node out')
    balancer.add_argument('--rise', type=arguments.count, metavar='N',
                          help='good polls in a row that take it back')
    arguments.add_output(check)
    return parser


class _Warnings(logging.Handler):
    """Collects the warnings that loading a configuration logs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _document(args: argparse.Namespace) -> dict[str, Any]:
    """The result, for all formats."""
    logged = _Warnings()
    logger = logging.getLogger('healthcheck')
    logger.addHandler(logged)
    try:
        sources.read_files(args)
        door = sources.door(args)
    except exceptions.ConfigError as exc:
        return {'status': output.FAIL, 'mistakes': list(exc.problems)}
    except sources.ERRORS as exc:
        return {'status': output.FAIL, 'mistakes': [sources.explained(exc)]}
    finally:
        logger.removeHandler(logged)
    balancer = _balancer(args)
    warnings = logged.lines
    if balancer is not None:
        warnings += balancer.warnings(door.policy)
    return {'status': output.WARN if warnings else output.PASS,
            **_found(args, door, balancer), 'warnings': warnings}


def _found(args: argparse.Namespace, door: door_module.Door,
           balancer: explain.Balancer | None) -> dict[str, Any]:
    view = door.view
    shared = explain.shared(door)
    return {
        'files': explain.files(door),
        'shares': shared and shared._asdict(),
        'checks': [name.strip() for name in view.settings.backends],
        'options': [one._asdict() for one in explain.options(
            view, f'{args.paste} [{args.section}]')],
        'of_the_service': [one._asdict()
                           for one in explain.of_the_service(view)],
        'seconds': explain.timing(door.policy, balancer)}


def _balancer(args: argparse.Namespace) -> explain.Balancer | None:
    given = {name: getattr(args, name) for name in _HAPROXY._fields
             if getattr(args, name) is not None}
    return _HAPROXY._replace(**given) if given else None


def _shown(document: Mapping[str, Any], wanted: str) -> str:
    if wanted == output.JSON:
        return json.dumps(document, indent=2)
    if wanted == output.LINE:
        found = document.get('mistakes') or document['warnings'] or [
            f'{", ".join(document["checks"]) or "no checks"}; a fault is '
            f'reported within {document["seconds"]["reported_within"]:g} s']
        return output.plugin_line(document['status'], '; '.join(found), {})
    return '\n'.join(_lines(document))


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    mistakes = document.get('mistakes', ())
    if mistakes:
        yield f'FAIL  {len(mistakes)} to correct'
        yield from (f'  - {line}' for line in mistakes)
        return
    yield f'files: {" ".join(document["files"])}'
    if document['shares']:
        yield 'shares in {directory}: {name}'.format(**document['shares'])
    yield f'checks: {", ".join(document["checks"]) or "none"}'
    for title, kind in (('Options that are set', 'options'),
                        ("The service's own options that the checks use",
                         'of_the_service')):
        if document[kind]:
            yield from ('', title)
            yield from (f'  {line}' for line in plain.table([
                (one['option'], one['value'], one['place'])
                for one in document[kind]]))
    seconds = document['seconds']
    yield from ('', 'Longest times',
                f'  a fault is reported within '
                f'{seconds["reported_within"]:g} s = {seconds["formula"]}',
                f'  its end is reported within '
                f'{seconds["recovered_within"]:g} s')
    if 'out_within' in seconds:
        yield (f'  the balancer takes the node out within '
               f'{seconds["out_within"]:g} s')
        yield (f'  the balancer takes it back within '
               f'{seconds["back_within"]:g} s')
    yield ''
    yield from (f'WARN  {line}' for line in document['warnings'])
    if not document['warnings']:
        yield 'PASS'
