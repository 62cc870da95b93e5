#!/bin/sh
# Installs the servers that the tests start themselves, Redis, PostgreSQL and Prometheus, and tesseract, from the
# system's packages.
# Without the right to do so it says what to run; the tests that need them then say why they are skipped.
set -eu

say() { printf '%s\n' "$*" >&2; }

has_postgres() { command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; }

wanted=
command -v redis-server >/dev/null 2>&1 || wanted="$wanted redis-server"
has_postgres || wanted="$wanted postgresql"
command -v prometheus >/dev/null 2>&1 || wanted="$wanted prometheus"
command -v tesseract >/dev/null 2>&1 || wanted="$wanted tesseract-ocr"
[ -n "$wanted" ] || exit 0

if command -v apt-get >/dev/null 2>&1; then
    by_hand="sudo sh tests/servers/packages.sh"  # which keeps apt-get from starting them
elif command -v dnf >/dev/null 2>&1; then
    by_hand="sudo dnf install -y redis postgresql-server golang-github-prometheus tesseract"
elif command -v brew >/dev/null 2>&1; then
    by_hand="brew install redis postgresql prometheus tesseract"
else
    by_hand="install redis-server, PostgreSQL, Prometheus and tesseract with the system's package manager"
fi

# Packages start what they bring, on the usual ports. The tests want the programs only.
without_starting() {
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    "$@"
}

install_packages() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get update
    # shellcheck disable=SC2086 # a list of names
    apt-get install -y --no-install-recommends $wanted
}

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "Installing$wanted for the tests ..."
    log=$(mktemp)
    if without_starting install_packages >"$log" 2>&1; then
        rm -f "$log"
        exit 0
    fi
    tail -n 5 "$log" >&2
    rm -f "$log"
fi
say "The tests of the production stack, its alerts and scanned documents need$wanted. Run this once: $by_hand"
say "(or point the tests at running servers: HEADWATER_TEST_REDIS_URL, HEADWATER_TEST_POSTGRES_URL)"
