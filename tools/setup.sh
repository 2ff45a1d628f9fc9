#!/bin/sh
# Brings .venv up to the pins, and does nothing when it already stands on them.
# PYTHON chooses the interpreter; without it the first suitable one on the PATH is taken. CPU=1 takes
# PyTorch's build for the CPU, which the pin alone does not on Linux.
set -eu

venv=.venv
stamp=$venv/.rlhf-setup
cpu_builds=https://download.pytorch.org/whl/cpu

version() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

supported() {
    case "$(version "$1")" in 3.11 | 3.12 | 3.13) return 0 ;; *) return 1 ;; esac
}

fail() {
    echo "$1" >&2
    exit 1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        found=$(version "$PYTHON") || fail "PYTHON=$PYTHON does not run. $needed"
        supported "$PYTHON" || fail "PYTHON=$PYTHON is Python $found. $needed"
        python=$PYTHON
        return
    fi
    for python in python3 python3.13 python3.12 python3.11; do
        supported "$python" && return
    done
    found=$(version python3) || fail "No Python found. $needed"
    fail "python3 is Python $found. $needed"
}
needed="Python 3.11, 3.12 or 3.13 is needed: install one, or name one with 'make PYTHON=...'."

# Contents, not times, so that switching branches there and back costs nothing. The folder is in
# it because a moved checkout leaves its venv behind with the old path inside.
wanted="$(cksum requirements.txt pyproject.toml) $(pwd)"

usable=no
if "$venv/bin/python" -c "import pip" 2>/dev/null && supported "$venv/bin/python"; then
    usable=yes
fi
if [ $usable = yes ] && [ -n "${PYTHON:-}" ]; then
    find_python
    [ "$(version "$python")" = "$(version "$venv/bin/python")" ] || usable=no
fi
# The stamp says what was asked for; that it is still there, a quick look says.
if [ $usable = yes ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] &&
    "$venv/bin/python" -I tools/installed.py requirements.txt; then
    exit 0
fi

# From here until the last line an interrupted run must leave no stamp.
rm -f "$stamp"
if [ $usable = no ]; then
    find_python
    "$python" -c 'import ensurepip, venv' 2>/dev/null || fail \
        "$python cannot create environments: install its venv module (Debian, Ubuntu: apt install python3-venv)."
    echo "Creating $venv with Python $(version "$python")."
    "$python" -m venv --clear "$venv"
fi
echo "Installing the pinned packages into $venv: the first time about 2 to 4 minutes and 2 GB."
[ -z "${CPU:-}" ] || "$venv/bin/python" -m pip install --disable-pip-version-check \
    --index-url "$cpu_builds" "$(grep -o '^torch==[^ ]*' requirements.txt)"
"$venv/bin/python" -m pip install --disable-pip-version-check -r requirements.txt
# What pip takes for installed though its files are gone is put there anew.
damaged=$("$venv/bin/python" -I tools/installed.py --damaged requirements.txt)
[ -z "$damaged" ] || "$venv/bin/python" -m pip install --disable-pip-version-check \
    --force-reinstall --no-deps $damaged
"$venv/bin/python" -m pip install --disable-pip-version-check --quiet \
    --no-deps --no-build-isolation -e .
echo "$wanted" >"$stamp"
echo "Set-up done."
