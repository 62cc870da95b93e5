#!/bin/sh
# Makes the environment in the folder named by $1, with uv in it, from whatever Python the machine has.
# An environment that works stays as it is. PYTHON names the interpreter to use instead of searching.
set -eu

venv=$1
new_enough='import sys; sys.exit(sys.version_info < (3, 11))'

say() { printf '%s\n' "$*" >&2; }

usable() { command -v "$1" >/dev/null 2>&1 && "$1" -c "$new_enough" 2>/dev/null; }

find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14 python}; do
        if usable "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    say "Headwater needs Python 3.11 or newer; none of these is one: ${PYTHON:-python3, python3.11 to python3.14}."
    say "Install one with the system's package manager (Debian, Ubuntu: apt-get install python3 python3-venv),"
    say "or name one that is elsewhere: make PYTHON=/path/to/python3 ..."
    exit 1
}

# Debian and Ubuntu ship Python without the part that puts pip into an environment.
add_ensurepip() {
    package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
        say "Installing $package, which this Python lacks ..."
        log=$(mktemp)
        if (apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y "$package") >"$log" 2>&1; then
            rm -f "$log"
            return
        fi
        tail -n 5 "$log" >&2
        rm -f "$log"
    fi
    say "$1 cannot make an environment: its module ensurepip is missing."
    say "Install it and run make again (Debian, Ubuntu: sudo apt-get install $package)."
    exit 1
}

# In the order of what asks least of the machine. Without ensurepip, the machine's own pip will do.
make_environment() {
    if command -v uv >/dev/null 2>&1 && uv venv --quiet --clear --python "$1" "$venv"; then
        return
    elif "$1" -c 'import ensurepip, venv' 2>/dev/null; then
        "$1" -m venv --clear "$venv"
    elif "$1" -c 'import pip, venv' 2>/dev/null; then
        "$1" -m venv --clear --without-pip "$venv"
        install_setup "$1" -m pip --python "$venv/bin/python" install --disable-pip-version-check
    else
        add_ensurepip "$1"
        "$1" -m venv --clear "$venv"
    fi
}

install_setup() { "$@" --quiet --require-hashes -r requirements-setup.lock; }

# Scripts and the editable install hold the path: after a move of the checkout they point elsewhere.
works() {
    [ -x "$venv/bin/python" ] && "$venv/bin/python" -c "$new_enough" 2>/dev/null &&
        grep -qF "$(pwd)/$venv" "$venv/bin/activate" 2>/dev/null
}

if ! works; then
    python=$(find_python)
    say "Making the environment in $venv with $python ..."
    make_environment "$python"
fi

if "$venv/bin/uv" --version >/dev/null 2>&1; then
    install_setup "$venv/bin/uv" pip install --python "$venv/bin/python"
elif command -v uv >/dev/null 2>&1; then
    install_setup uv pip install --python "$venv/bin/python"
else
    install_setup "$venv/bin/python" -m pip install --disable-pip-version-check
fi
