# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

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
             'healthcheck COMMAND --help tells more.']
    if command not in ('-h', '--help'):
        sys.exit('\n'.join([f'healthcheck: {command}: there is no such '
                            f'command', *lines]))
    print('\n'.join(lines))
