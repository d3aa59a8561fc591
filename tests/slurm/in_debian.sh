#!/usr/bin/env bash
# Runs tests/slurm with another Debian's Slurm: in a root that debootstrap makes, with a network,
# processes and mounts of its own, so that neither this machine's Slurm nor its testbed is touched.
#   tests/slurm/in_debian.sh trixie [pytest's arguments]     (root, debootstrap; `make test-slurm`)
# The roots are kept in .debian/: 0.8 GB each.
set -euo pipefail
cd "$(dirname "$0")/../.."
release=$1
shift
root=$PWD/.debian/$release

fail() {
    echo "error: $*" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || fail "Slurm's daemons and debootstrap need root"
command -v debootstrap >/dev/null || fail "debootstrap is missing: apt-get install debootstrap"
python=$(.venv/bin/python -c 'import sys; print(sys.base_prefix)')
# The root has a /usr of its own, with another Python or none.
[ "$python" != /usr ] || fail ".venv is made from the system's Python, which $release has not." \
    "Make it from one elsewhere (pyenv, conda): make setup PYTHON=..."

if [ ! -e "$root/.complete" ]; then
    rm -rf "$root"
    # A debootstrap that is older than the release has no script of its name; it is sid's for all.
    scripts=$(mktemp -d)
    cp -r /usr/share/debootstrap/. "$scripts"
    [ -e "$scripts/scripts/$release" ] || ln -s sid "$scripts/scripts/$release"
    DEBOOTSTRAP_DIR=$scripts \
        debootstrap --variant=minbase --include=ca-certificates,procps "$release" "$root"
    rm -r "$scripts"
    echo "127.0.0.1 localhost" >"$root/etc/hosts"
    # Packages start no services there.
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    # A mirror may lag behind a release that is still being made; what it has is signed all the same.
    echo 'Acquire::Check-Valid-Until "false";' >"$root/etc/apt/apt.conf.d/99mirror"
    packages=$(PYTHONPATH=cluster/testbed .venv/bin/python -c 'import testbed; print(*testbed.PACKAGES)')
    chroot "$root" apt-get update -qq
    # With the libraries that our Python and its packages need.
    packages+=" python3 libgomp1 libstdc++6"
    # Not every release has it. With what mounts an image for a user (test_container.py).
    if chroot "$root" apt-cache show apptainer >/dev/null 2>&1; then
        packages+=" apptainer squashfs-tools squashfuse"
    fi
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive chroot "$root" \
        apt-get install -y -qq --no-install-recommends $packages
    touch "$root/.complete"
fi

seen="$PWD $(realpath .venv) $python"
export root seen
# An address besides 127.0.0.1: with that alone, Slurm 24.11 resolves no name.
exec unshare --net --pid --fork --mount --ipc --kill-child bash -euc '
    ip link set lo up
    ip address add 10.99.0.1/32 dev lo
    mount --bind "$root" "$root"
    mount -t tmpfs tmpfs "$root/tmp"
    for folder in $seen; do
        mkdir -p "$root$folder"
        mount --bind "$folder" "$root$folder"
    done
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount --rbind /sys "$root/sys"
    export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
    folder=$PWD
    # Not by chroot, within which Apptainer starts nothing.
    mkdir -p "$root/.before"
    cd "$root"
    pivot_root . .before
    umount --lazy /.before
    cd "$folder"
    # Not by exec: this shell is process 1, and reaps what daemons leave.
    .venv/bin/pytest -p no:cacheprovider "$@" || exit $?
' bash "${@:-tests/slurm}"
