# SPDX-License-Identifier: Apache-2.0

"""``healthcheck COMMAND``: finds the command and runs it.

Only the module of that command is imported. It has ``main(argv)``, which
returns the exit status, and ``main_parser()``, which shell completion reads.
For a second command in a module, its name replaces "main" in both.
"""

from __future__ import annotations

from collections.abc import Sequence
import contextlib
import importlib
import os
import sys
import traceback
from typing import NamedTuple

PROG = 'healthcheck'

PASS, WARN, FAIL, UNKNOWN = range(4)
"""Exit statuses, as for monitoring plugins."""

_INTERRUPTED = 130


class Command(NamedTuple):
    """Where a command is, below ``healthcheck.cmd``."""

    module: str
    help: str
    function: str = 'main'


COMMANDS = {
    'probe': Command('probe', "run a service's checks from here, now"),
    'status': Command('status', "read nodes' own health checks"),
    'config': Command('config', 'check and explain a configuration'),
    'drain': Command('drain', 'take a service or this host out of the '
                              'balancer'),
    'resume': Command('drain', 'end a drain', 'resume'),
    'agent': Command('agent', 'probe for a service, in a process of its own'),
    'demo': Command('demo', 'a small API with a health check, for '
                            'experiments'),
    'completion': Command('completion', 'complete commands and options in '
                                        'your shell'),
}

_EXAMPLES = '''\
examples:
  healthcheck probe --project nova
  healthcheck status http://node1:8774/healthcheck
  healthcheck config check --project nova --inter 2s --fall 3
  healthcheck drain --for 30m --reason "kernel upgrade"

"healthcheck COMMAND --help" has more.

Exit status, as for monitoring plugins: 0 pass, 1 warn, 2 fail, 3 unknown,
which also means wrong usage.'''


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or ['--help']
    if name in ('-h', '--help', 'help'):
        print(usage())
        return PASS
    if name == '--version':
        from importlib import metadata  # slow to import
        print(PROG, metadata.version('openstack-healthcheck'))
        return PASS
    if name not in COMMANDS:
        print(f'{PROG}: {name}: there is no such command\n\n{usage()}',
              file=sys.stderr)
        return UNKNOWN
    command = COMMANDS[name]
    try:
        module = importlib.import_module(f'healthcheck.cmd.{command.module}')
        status: int | None = getattr(module, command.function)(rest)
        sys.stdout.flush()
        return status or PASS
    except SystemExit as exc:
        return _status_of(exc)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # "| head" has seen enough
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNKNOWN
    except Exception as exc:
        return _unexpected(exc)


def usage() -> str:
    width = max(map(len, COMMANDS))
    return '\n'.join([
        f'usage: {PROG} COMMAND ...', '',
        *(f'  {name:{width}}  {command.help}'
          for name, command in COMMANDS.items()), '', _EXAMPLES])


def _status_of(exc: SystemExit) -> int:
    """The status of a command that could not run at all.

    argparse exits with 2, which would mean that a backend has failed, and
    sys.exit with a message exits with 1.
    """
    if isinstance(exc.code, str):
        print(exc.code, file=sys.stderr)
    return UNKNOWN if exc.code else PASS


def _unexpected(exc: Exception) -> int:
    """Report a fault of ours without its text, which may hold a URL."""
    text = f': {exc}' if isinstance(exc, OSError) else ''
    print(*traceback.format_tb(exc.__traceback__), f'{PROG}: '
          f'{type(exc).__name__}{text}', sep='', file=sys.stderr)
    return UNKNOWN


if __name__ == '__main__':
    sys.exit(main())
