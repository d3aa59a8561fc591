#!/usr/bin/env bash
# Makes or repairs .venv, with everything that the project needs. `make setup` calls it.
#   setup/install.sh [auto | cpu | cuda]     which of mmcv's operators to compile
#   PYTHON=python3.11 setup/install.sh       with another interpreter than python3
#   WHEELS=folder setup/install.sh           from a wheelhouse (setup/make_wheelhouse.py), offline
#   TORCH=cu13 setup/install.sh              with the other torch (setup/which_lock.py)
#   GPU=v100 DRIVER=535 setup/install.sh     on a login node, which has neither: what the nodes have
#   VENV=/scratch/me/fgd setup/install.sh    .venv becomes a link to a folder there
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
wheels=${WHEELS:-}

fail() {
    echo "error: $*" >&2
    exit 1
}

# --- what has to be on the machine -----------------------------------------------------------

# The locked numpy and torch have wheels for these versions.
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null || fail \
    "Python 3.11 to 3.14 is needed, and $python is" \
    "$("$python" --version 2>/dev/null || echo "not there"). Name one: make setup PYTHON=python3.11"

missing=()
read -ra compiler <<<"${CXX:-c++}"
command -v "${compiler[0]}" >/dev/null || missing+=(g++)
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
[ -e "$headers/Python.h" ] || missing+=(python3-dev)
if [ ${#missing[@]} -gt 0 ]; then
    if [ -z "$wheels" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "${missing[@]}"
    else
        fail "missing: ${missing[*]} (Debian's names). Install them, or load modules that bring them" \
            "(gcc, python), and try again."
    fi
fi

# torch's headers want C++17 as GCC 9 has it; found out now, not after gigabytes of download.
macros=$("${compiler[@]}" -dM -E -x c++ - </dev/null) || fail "the compiler ${compiler[*]} does not work"
version=$("${compiler[@]}" -dumpversion)
if [[ $macros != *__clang__* && ${version%%.*} -lt 9 ]]; then
    fail "${compiler[*]} is GCC $version; 9 or newer is needed. On a cluster \`module load gcc\`" \
        "(or gcc-toolset), or name another: CXX=/path/to/g++ make setup"
fi

# --- Which torch -----------------------------------------------------------------------------

# Without a word, the one that is there.
TORCH=${TORCH:-$(cat .venv/.torch 2>/dev/null || true)}
export TORCH
lock=$("$python" setup/which_lock.py --torch "$TORCH" --operators "${1:-auto}" \
    --gpu "${GPU:-}" --driver "${DRIVER:-}") || exit 1

# --- Where -----------------------------------------------------------------------------------

if [ -n "${VENV:-}" ]; then
    [[ $VENV = /* ]] || fail "VENV=$VENV: give a whole path, from / on"
    if [ -e .venv ] && [ "$(realpath .venv)" != "$(realpath -m "$VENV")" ]; then
        fail ".venv is there, and is not $VENV: remove it, and run this again"
    fi
    [ -e .venv ] || rm -f .venv # a link to nowhere
    mkdir -p "$VENV" || fail "VENV=$VENV: this folder cannot be made"
    [ -L .venv ] || ln -s "$VENV" .venv
fi

# --- Python packages -------------------------------------------------------------------------

requirements=$(<"$lock")
source=() # uv's options: where packages come from
venv=()
if [ -n "$wheels" ]; then
    echo "Checking the wheelhouse $wheels ..."
    requirements=$("$python" setup/wheelhouse.py "$wheels") || exit 1
    grep -q '^torch==' <<<"$requirements" || venv=(--system-site-packages)
    # A .venv that is there has to be of the same kind.
    version='import sys; print(*sys.version_info[:2])'
    if [ -x .venv/bin/python ]; then
        [ "$(.venv/bin/python -c "$version")" = "$("$python" -c "$version")" ] || fail \
            ".venv is of another Python than $python: remove .venv, and run this again."
        [ ${#venv[@]} = 0 ] || grep -q 'site-packages = true' .venv/pyvenv.cfg || fail \
            ".venv does not see this machine's torch: remove .venv, and run this again."
    fi
    source=(--offline --no-index --find-links "$wheels")
    # For pip, here and in build_mmcv.py. A URL, for spaces would separate several folders.
    PIP_FIND_LINKS=$("$python" -c \
        'import pathlib, sys; print(pathlib.Path(sys.argv[1]).resolve().as_uri())' "$wheels")
    export PIP_FIND_LINKS PIP_NO_INDEX=1 PIP_CONFIG_FILE=/dev/null
fi

if [ ! -x .venv/bin/uv ]; then
    echo "Making .venv ..."
    "$python" -m venv "${venv[@]}" "$(realpath -m .venv)" # which may be a link
    .venv/bin/pip install --quiet "$(grep '^uv==' "$lock")" || fail \
        "pip could not install uv. Offline? Set a mirror: pip config set global.index-url ..."
fi

# uv does not read pip's configuration, where a site's package mirror stands.
mirror=$(.venv/bin/pip config get global.index-url 2>/dev/null || true)
mirror=${PIP_INDEX_URL:-$mirror}
if [ -n "$mirror" ] && [ -z "${UV_DEFAULT_INDEX:-}" ]; then
    export UV_DEFAULT_INDEX=$mirror
fi

install() {
    .venv/bin/uv pip install --quiet --python .venv/bin/python "${source[@]}" "$@" || fail \
        "the packages could not be installed (uv's words are above). Run it again to go on."
}

# Nothing is resolved here: the lock has named everything.
echo "Installing the packages of $lock ..."
install --no-deps --requirement - <<<"$requirements"
[ -z "$TORCH" ] || echo "$TORCH" >.venv/.torch
wheel=$(.venv/bin/python setup/build_mmcv.py "${1:-auto}")
# The project itself is installed as a link to the checkout.
install --no-deps --no-build-isolation "$wheel" --editable .
# Quietly, but for errors: mmcv greets every import with a page of warnings. Python keeps what it
# compiles here, also where PYTHONDONTWRITEBYTECODE would make every later start compile it again:
# only what commands and plans import, for all of it would be 11,000 files more.
unset PYTHONDONTWRITEBYTECODE
used="fgd.training, fgd.evaluation.evaluate, fgd.mini.backbone, submitit, smart_open, \
    snakemake.cli, snakemake.report.html_reporter, snakemake.utils"
.venv/bin/python -m compileall -q fgd cluster >/dev/null || true # the checkout may be read-only
words=$(.venv/bin/python -c "import $used" 2>&1) ||
    fail "the set-up does not work: $words"
echo "Set-up is complete."
