#!/bin/sh
# Makes a virtual environment hold the locked dependencies and this package: tools/setup.sh VENV [PYTHON].
# Does nothing where it does already. It goes by content, not by time: a checkout changes the times of files.
set -eu
cd "$(dirname "$0")/.."
venv=$1
chosen=${2:-}

version_of() {
    "$1" -c 'import sys; print(sys.version_info[:2])' 2>/dev/null || true
}

# Without a PYTHON of the caller's, an environment that works is as good as one from the Python found first.
if [ -n "$chosen" ] || ! tools/find_python.sh "$venv/bin/python" >/dev/null 2>&1; then
    python=$(tools/find_python.sh "$chosen")
    [ "$(version_of "$venv/bin/python")" = "$(version_of "$python")" ] || "$python" -m venv --clear "$venv"
fi
wanted=$(cat requirements.txt pyproject.toml tools/setup.sh | cksum)
[ "$(cat "$venv/.setup-done" 2>/dev/null)" != "$wanted" ] || exit 0

echo "Installing $(grep -c '^[a-z].*==' requirements.txt) locked packages into $venv (a minute or two the first time) ..."
rm -f "$venv/.setup-done"
pip="$venv/bin/python -m pip --quiet --disable-pip-version-check --no-input install"
# The lock is complete and hashed, so that nothing is resolved anew; setuptools comes with it, so that the package
# itself needs no second download for its build.
$pip --require-hashes --no-deps -r requirements.txt
$pip --no-deps --no-build-isolation --editable .
# mypy's cache remembers which packages had no types.
rm -rf .mypy_cache
echo "$wanted" >"$venv/.setup-done"
