# SPDX-License-Identifier: Apache-2.0

"""``healthcheck COMMAND``, for those who look for one program."""

from __future__ import annotations

import importlib
import sys

COMMANDS = {
    'agent': 'probe for a service, in a process of its own',
    'demo': 'a small API with a health check, to try things out',
}


def main() -> None:
    command = sys.argv[1] if len(sys.argv) > 1 else '--help'
    if command in COMMANDS:
        module = importlib.import_module(f'healthcheck.cmd.{command}')
        module.main(sys.argv[2:])
        return
    lines = ['usage: healthcheck COMMAND ...', '',
             *(f'  {name:8}{what}' for name, what in COMMANDS.items()), '',
             'See healthcheck COMMAND --help.']
    if command not in ('-h', '--help'):
        sys.exit('\n'.join([f'healthcheck: {command}: there is no such '
                            f'command', *lines]))
    print('\n'.join(lines))
