# SPDX-License-Identifier: Apache-2.0

"""``healthcheck COMMAND``: finds the command and runs it.

Only the module of that command is imported. It has ``main(argv)``, which
returns the exit status, and ``main_parser()``, which shell completion reads;
a second command of a module has functions of its own name in place of "main".
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
"""Exit statuses, those of monitoring plugins."""

_INTERRUPTED = 130


class Command(NamedTuple):
    """Where a command is, below ``healthcheck.cmd``."""

    module: str
    help: str
    function: str = 'main'


COMMANDS = {
    'probe': Command('probe', "run a service's checks from here, now"),
    'status': Command('status', 'read what nodes say of themselves'),
    'config': Command('config', 'check and explain a configuration'),
    'drain': Command('drain', 'take a service or this host out of the '
                              'balancer'),
    'resume': Command('drain', 'end a drain', 'resume'),
    'agent': Command('agent', 'probe for a service, in a process of its own'),
    'demo': Command('demo', 'a small API with a health check, to try things '
                            'out'),
    'completion': Command('completion', 'let your shell complete commands and '
                                        'options'),
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
        from importlib import metadata  # which takes a while
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
    """Commands return a status; they exit when they cannot run at all.

    argparse does so with 2, which would mean that a backend has failed, and a
    message with 1.
    """
    if isinstance(exc.code, str):
        print(exc.code, file=sys.stderr)
    return UNKNOWN if exc.code else PASS


def _unexpected(exc: Exception) -> int:
    """A fault of ours. Its text may hold a URL, so it is not shown."""
    text = f': {exc}' if isinstance(exc, OSError) else ''
    print(*traceback.format_tb(exc.__traceback__), f'{PROG}: '
          f'{type(exc).__name__}{text}', sep='', file=sys.stderr)
    return UNKNOWN


if __name__ == '__main__':
    sys.exit(main())
