#!/bin/sh
# Makes requirements.txt from the loose ranges in pyproject.toml with uv, for every Python and
# system at once. A version that is pinned there already stays as long as the ranges admit it;
# arguments go to uv: --upgrade takes the newest of all, --upgrade-package NAME that of one.
set -eu

uv=.lock-tool/bin/uv
new=$(mktemp)
trap 'rm -f "$new"' EXIT

# uv keeps the versions that it finds in the file it writes. 3.11 is the oldest Python, with its
# first patch release (Debian 12 has 3.11.2), and "fewest" one version for all.
cp requirements.txt "$new"
"$uv" pip compile --quiet pyproject.toml --all-extras --group dev \
    --universal --python-version 3.11 --fork-strategy fewest \
    --no-header --annotation-style line --output-file "$new" "$@"

{
    cat <<'HEADER'
# Made by `make lock` from the loose ranges in pyproject.toml: change those, never this file.
# The one place of pins: `make setup` installs them, environment.yml points here. They serve Python
# 3.11 to 3.13 on Linux and macOS (Windows, too); a marker says where a package is needed at all.
# Not pinned, but left to pip: what PyTorch brings along for CUDA on Linux (nvidia-*, cuda-*,
# triton). It hangs on torch's own pin, and README says how to do without it.
HEADER
    grep -v -E '^(nvidia-|cuda-|triton==)' "$new"
} >requirements.txt
