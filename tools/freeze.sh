#!/bin/bash
#
# Write the releases in a virtual environment to a constraints file:
#
#     tools/freeze.sh <virtual environment> <file>

set -euo pipefail

python=$1/bin/python
file=$2

"$python" -m pip check
{
    "$python" -c 'import sys
print("# Made by \"make constraints\" with Python %d.%d: what the tests are run"
      % sys.version_info[:2])
print("# with. Users are bound by requirements.txt alone. For another Python\n"
      "# than this: make PINNED= PYTHON=python3.x ...")'
    "$python" -m pip freeze --all --exclude-editable
} > "$file.new"
# A release from a file or an address is nobody else's to install.
if grep ' @ ' "$file.new"; then
    echo "$file: not from a registry, see above" >&2
    exit 1
fi
mv "$file.new" "$file"
