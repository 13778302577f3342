# SPDX-License-Identifier: Apache-2.0

"""What all command lines share."""

from __future__ import annotations

import argparse
import re
from typing import Any

from healthcheck.cmd import output

_UNITS = {'ms': 0.001, 's': 1.0, 'm': 60.0, 'h': 3600.0}
_DURATION = re.compile(r'([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)')


def parser(prog: str, description: str | None,
           examples: str) -> argparse.ArgumentParser:
    """A parser whose help ends with examples."""
    return argparse.ArgumentParser(
        prog=prog, description=description,
        epilog=f'examples:\n{examples}', allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter)


def add_files(to: argparse._ArgumentGroup) -> None:
    """Add how to find a service's configuration: ``sources``, ``project``."""
    to.add_argument('--config-file', action=_Source, dest='sources',
                    default=[], metavar='FILE', help="the service's "
                    'configuration; can be repeated, in the same order as '
                    'for the service')
    to.add_argument('--config-dir', action=_Source, dest='sources',
                    default=[], metavar='DIRECTORY', help='more files; can '
                    'be repeated; a later file or directory wins')
    to.add_argument('--project', metavar='NAME',
                    help='find the files as oslo.config does, for example '
                    'those of nova in /etc/nova')


class _Source(argparse.Action):
    """Collects ``--config-file`` and ``--config-dir`` in their order.

    oslo.config gets them in that order; the later one wins.
    """

    def __call__(self, parser: argparse.ArgumentParser,
                 namespace: argparse.Namespace, values: Any,
                 option_string: str | None = None) -> None:
        namespace.sources = [*namespace.sources,
                             f'{self.option_strings[0]}={values}']


def add_output(to: argparse.ArgumentParser) -> None:
    """Add the options for the format and for warnings."""
    group = to.add_argument_group('how to answer')
    group.add_argument('--format', choices=output.FORMATS,
                       help='line is the output of a monitoring plugin, such '
                       'as for Nagios (default: table on a terminal, else '
                       'json)')
    group.add_argument('--warn-ok', action='store_true',
                       help='exit with 0 for a warning, too: for containers '
                       'and systemd, which know only 0 and not 0')


def seconds(text: str) -> float:
    """A positive number of seconds."""
    value = float(text)
    if not 0 < value < float('inf'):
        raise argparse.ArgumentTypeError(
            f'{text}: not a number of seconds above 0')
    return value


def duration(text: str) -> float:
    """A duration with its unit, as in a balancer's configuration; in seconds.

    A unit is required: without one, HAProxy means milliseconds and others
    mean seconds.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f'{text}: not a duration (allowed: a number and a unit, such as '
            f'2s, 500ms or 1m)')
    return float(match[1]) * _UNITS[match[2]]


def count(text: str) -> int:
    """A number of times."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'{text}: less than 1')
    return value
