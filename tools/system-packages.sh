#!/bin/bash
#
# Print the versions of the Debian packages in bindep.txt, one to a line, of
# those that are installed:
#
#     tools/system-packages.sh <path of bindep>

set -euo pipefail

bindep=$1
cd "$(dirname "$0")/.."

# dpkg-query fails if it does not know one of them.
packages=$("$bindep" -l newline test benchmark | sort -u)
# shellcheck disable=SC2086  # one word per package
{ dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\n' $packages \
      2> /dev/null || true; } | sed -n 's/^ii *//p'
