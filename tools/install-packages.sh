#!/bin/bash
#
# Install the system packages of bindep.txt that are missing:
#
#     tools/install-packages.sh <path of bindep> <profile>
#
# No service that comes with a package is started: the tests run private
# servers, and a machine that runs the tests should not end up with daemons.
#
# Then name those whose version is not the one in system-packages.txt. That is
# no failure: Debian keeps no old versions that one could install instead.

set -euo pipefail

bindep=$1
profile=$2
cd "$(dirname "$0")/.."

compare() {
    local differ
    differ=$(tools/system-packages.sh "$bindep" |
        awk 'NR == FNR { tested[$1] = $2; next }
             $1 in tested && tested[$1] != $2 {
                 printf " %s %s (%s)", $1, $2, tested[$1] }' \
            system-packages.txt -)
    if [ -n "$differ" ]; then
        echo "not the versions that were tested:$differ" >&2
    fi
}

# bindep exits with 1 if something is missing, and lists it.
missing=$("$bindep" -b "$profile") && { compare; exit 0; }
if ! command -v apt-get > /dev/null; then
    echo "please install: $missing" >&2
    exit 1
fi

sudo=
if [ "$(id -u)" -ne 0 ]; then
    sudo=sudo
fi

# Debian asks this program before it starts a service; 101 says no.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '$sudo rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" > /dev/null
    $sudo chmod 755 "$policy"
fi

echo "installing:" $missing
$sudo apt-get update -qq
# shellcheck disable=SC2086  # one word per package
$sudo env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends $missing < /dev/null
"$bindep" -b "$profile"
compare
