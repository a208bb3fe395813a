#!/bin/sh
# Holds protos/ against the last release, or before the first one against the first protos: tools/breaking.sh BUF.
set -eu
cd "$(dirname "$0")/.."

base=$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null ||
    git log --diff-filter=A --format=%H -- protos/forecast/v1/forecast.proto 2>/dev/null | tail -n 1)
if [ -z "$base" ]; then
    echo "buf breaking needs the repository's history, and there is none here: clone it instead of unpacking it." >&2
    exit 1
fi
git archive "$base" protos | "$1" breaking --against '-#format=tar,strip_components=1'
