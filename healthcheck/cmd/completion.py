# SPDX-License-Identifier: Apache-2.0

"""Print the script that completes commands and options in your shell.

This needs shtab: pip install 'openstack-healthcheck[completion]'. The script
itself needs nothing and does not run this program.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from collections.abc import Sequence
import importlib
import sys
from typing import Any

from healthcheck.cmd import arguments
from healthcheck.cmd import main as main_module

_SHELLS = ('bash', 'zsh', 'fish')

_EXAMPLES = '''\
  bash:  healthcheck completion bash \\
             > ~/.local/share/bash-completion/completions/healthcheck
  zsh:   healthcheck completion zsh > ~/.zfunc/_healthcheck
         (with ~/.zfunc in fpath)
  fish:  healthcheck completion fish \\
             > ~/.config/fish/completions/healthcheck.fish
'''


def main(argv: Sequence[str] | None = None) -> int:
    args = main_parser().parse_args(argv)
    try:
        import shtab
    except ImportError:
        print('healthcheck completion: shtab is missing; install '
              'openstack-healthcheck[completion]', file=sys.stderr)
        return main_module.UNKNOWN
    print(shtab.complete(_whole({
        'FILE': shtab.FILE, 'DIRECTORY': shtab.DIRECTORY}), args.shell))
    return main_module.PASS


def main_parser() -> argparse.ArgumentParser:
    parser = arguments.parser('healthcheck completion', __doc__, _EXAMPLES)
    parser.add_argument('shell', choices=_SHELLS)
    return parser


def _whole(paths: Mapping[str, Any]) -> argparse.ArgumentParser:
    """A parser that contains the parsers of all commands.

    :param paths: how shtab completes arguments, by their name in the help
    """
    whole = argparse.ArgumentParser(prog=main_module.PROG)
    whole.add_argument('--version', action='version')
    commands = whole.add_subparsers()
    for name, command in main_module.COMMANDS.items():
        module = importlib.import_module(f'healthcheck.cmd.{command.module}')
        parser = getattr(module, f'{command.function}_parser')()
        _complete_paths(parser, paths)
        commands.add_parser(name, help=command.help, add_help=False,
                            parents=[parser])
    return whole


def _complete_paths(parser: argparse.ArgumentParser,
                    paths: Mapping[str, Any]) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                _complete_paths(below, paths)
        elif action.metavar in paths:
            vars(action)['complete'] = paths[str(action.metavar)]
