#!/bin/sh
# Prints a Python that forecast-grpc runs on: tools/find_python.sh [PYTHON]. With PYTHON, that one or none.
set -eu

fits() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null
}

refuse() {
    echo "$*" >&2
    exit 1
}

advice='choose one with PYTHON=, as in `make setup PYTHON=python3.12`.'

if [ -n "${1:-}" ]; then
    command -v "$1" >/dev/null || refuse "There is no $1 here; forecast-grpc needs Python 3.11, 3.12 or 3.13: $advice"
    fits "$1" || refuse "$1 is $("$1" --version 2>&1), and forecast-grpc needs Python 3.11, 3.12 or 3.13: $advice"
    found=$1
else
    found=
    for candidate in python3 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null && fits "$candidate"; then
            found=$candidate
            break
        fi
    done
    [ -n "$found" ] || refuse "forecast-grpc needs Python 3.11, 3.12 or 3.13, and none is on the PATH: install one, or $advice"
fi

"$found" -c 'import ensurepip, venv' 2>/dev/null ||
    refuse "$found comes without venv and ensurepip: install them (on Debian and Ubuntu, the package python3-venv)."
echo "$found"
