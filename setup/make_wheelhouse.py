"""Fill a wheelhouse: gather all that set-up installs, for machines without a network.

    python setup/make_wheelhouse.py --out wheelhouse [--python 3.12] [--torch-is-there]

`make wheelhouse` calls it. It needs pip, packaging, setuptools and wheel, as the lock has them, and
the network. With --torch-is-there torch and NVIDIA's libraries, gigabytes, are left out.
"""

import argparse
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename
from wheelhouse import (
    GLIBC,
    LOCK,
    MANIFEST,
    MMCV,
    Manifest,
    WheelhouseError,
    lock_hash,
    sha256,
    this_platform,
)

PYTHONS = ("3.11", "3.12", "3.13", "3.14")  # as setup/install.sh has them
TORCH = re.compile(r"torch|torchvision|triton|nvidia-.*|cuda-.*")


def gather(
    out: Path, python: str, without: Collection[str] = (), only: Collection[str] = ()
) -> None:
    """Make a folder a wheelhouse of the locked packages' wheels and mmcv's source.

    Args:
        out: made where it is missing; what is there already is not fetched again.
        python: version that the wheels are for, "3.12".
        without: patterns (regular expressions) of packages that the other machine has.
        only: names of packages, with what they need; by default all of the lock.

    Raises:
        WheelhouseError: a package cannot be had for that Python.
    """
    out.mkdir(parents=True, exist_ok=True)
    wanted = [
        requirement
        for requirement in (_closure(only, python) if only else locked(python))
        if not any(re.fullmatch(pattern, requirement.name) for pattern in without)
    ]
    known = _verified(out)
    # No wheelhouse until it is whole again.
    (out / MANIFEST).unlink(missing_ok=True)
    _fetch(out, python, wanted)
    files = _wheels(out, wanted, supported(python)) | {"mmcv-full": _mmcv(out)}
    digests = {file.name: known.get(file.name) or sha256(file) for file in files.values()}
    for name in set(known) - set(digests):  # of an older lock or another Python
        (out / name).unlink()
    Manifest(
        python=python,
        platform=this_platform(),
        lock=lock_hash(),
        packages=sorted(map(str, wanted)),
        files=dict(sorted(digests.items())),
    ).write(out)


def locked(python: str) -> Iterator[Requirement]:
    """The lock's packages for Linux and a Python, their markers answered."""
    environment = default_environment()
    environment |= {"python_version": python, "python_full_version": f"{python}.0"}
    environment |= {"sys_platform": "linux", "platform_system": "Linux"}
    for line in LOCK.read_text().splitlines():
        if line and not line.startswith((" ", "#")):
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate(environment):
                requirement.marker = None
                yield requirement


def platforms() -> list[str]:
    """Tags of the wheels that glibc takes, newest first."""
    machine = platform.machine()
    names = [f"manylinux_{GLIBC[0]}_{minor}_{machine}" for minor in range(GLIBC[1], 4, -1)]
    return names + [f"manylinux{year}_{machine}" for year in ("2014", "2010", "1")]


def supported(python: str) -> set[Tag]:
    """Tags of the wheels that a Python takes, also those that were compiled on a machine."""
    version = [int(part) for part in python.split(".")]
    names = [*platforms(), f"linux_{platform.machine()}"]
    interpreter = "cp" + "".join(python.split("."))
    return {
        *cpython_tags(version, platforms=names),
        *compatible_tags(version, interpreter, platforms=names),
    }


def _closure(names: Collection[str], python: str) -> Iterator[Requirement]:
    """Packages of the lock with all that they need."""
    known = {requirement.name for requirement in locked(python)}
    if unknown := sorted(set(names) - known):
        raise WheelhouseError(f"{unknown[0]} is not in {LOCK}")
    with tempfile.NamedTemporaryFile("w", suffix=".in") as wanted:
        wanted.write("\n".join(names))
        wanted.flush()
        uv = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header"]
        uv += ["--python-version", python, "--constraint", LOCK, wanted.name]
        done = subprocess.run(uv, capture_output=True, text=True)
    if done.returncode:
        raise WheelhouseError(f"uv could not tell what {', '.join(names)} need: {done.stderr}")
    for line in done.stdout.splitlines():
        if line and not line.startswith((" ", "#")):
            yield Requirement(line)


def _verified(out: Path) -> dict[str, str]:
    """Hashes of the files that an earlier call gathered; those that are damaged are removed."""
    try:
        manifest = Manifest.read(out)
    except (OSError, ValueError):
        return {}
    damaged = set(manifest.damaged(out))
    for name in damaged:
        (out / name).unlink(missing_ok=True)
    return {name: digest for name, digest in manifest.files.items() if name not in damaged}


def _wheels(out: Path, wanted: Collection[Requirement], tags: set[Tag]) -> dict[str, Path]:
    """Of the wanted packages those that are there, by name."""
    versions = {canonicalize_name(each.name): each.specifier for each in wanted}
    found = {}
    for file in sorted(out.glob("*.whl")):
        name, version, _, of_file = parse_wheel_filename(file.name)
        if name in versions and version in versions[name] and of_file & tags:
            found[name] = file
    return found


def _fetch(out: Path, python: str, wanted: Collection[Requirement]) -> None:
    """Download the wheels that are not there; what is a source alone becomes one."""
    tags = supported(python)
    there = _wheels(out, wanted, tags)
    missing = [each for each in wanted if canonicalize_name(each.name) not in there]
    if not missing:
        return
    print(f"Downloading {len(missing)} packages for Python {python} ...", flush=True)
    target = ["--python-version", python, "--implementation", "cp"]
    target += [word for name in platforms() for word in ("--platform", name)]
    # Beside their place, so that a download that is cut off leaves no half files there.
    with tempfile.TemporaryDirectory(prefix="part-", dir=out) as part:
        _pip("download", "--dest", part, *target, *map(str, missing))
        for source in [file for file in Path(part).iterdir() if file.suffix != ".whl"]:
            _pip("wheel", "--wheel-dir", part, source)
        for file in Path(part).glob("*.whl"):
            file.rename(out / file.name)
    there = _wheels(out, wanted, tags)
    for each in missing:
        if canonicalize_name(each.name) not in there:
            raise WheelhouseError(
                f"{each} comes as source alone, and this Python compiles no wheel of it for "
                f"{python}: gather with that one, `make wheelhouse PYTHON=python{python}`"
            )


def _mmcv(out: Path) -> Path:
    """mmcv's source, which is downloaded if it is not there; pip compares its hash."""
    version = re.match(r"mmcv-full==(\S+)", MMCV.read_text())[1]
    file = out / f"mmcv-full-{version}.tar.gz"
    if not file.is_file():
        with tempfile.TemporaryDirectory(prefix="part-", dir=out) as part:
            source = ["--no-binary", ":all:", "--no-build-isolation", "--requirement", MMCV]
            _pip("download", "--dest", part, *source)
            (Path(part) / file.name).rename(file)
    return file


def _pip(command: str, *words: object) -> None:
    """Run pip, which says itself what it misses."""
    pip = [sys.executable, "-m", "pip", command, "--quiet", "--no-deps", *map(str, words)]
    if subprocess.run(pip, stdout=sys.stderr).returncode:
        raise WheelhouseError(
            "not all packages could be had (pip's words are above): is there a network here, or a "
            "package mirror (`pip config set global.index-url ...`)?"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    default = f"{sys.version_info.major}.{sys.version_info.minor}"
    parser.add_argument("--python", default=default, help=f"by default {default}")
    parser.add_argument("--torch-is-there", action="store_true")
    arguments = parser.parse_args()
    out, python = arguments.out, arguments.python
    try:
        if python not in PYTHONS:
            raise WheelhouseError(
                f"there are packages for Python {' and '.join(PYTHONS)}, and not for {python}: "
                f"name one, `make wheelhouse PYTHON_VERSION={PYTHONS[-1]}`"
            )
        gather(out, python, [TORCH.pattern] * arguments.torch_is_there)
    except (WheelhouseError, OSError) as error:
        sys.exit(f"error: {error}")
    size = sum(file.stat().st_size for file in out.iterdir())
    print(f"{out}: {size / 2**20:.0f} MiB. On the other machine: make setup WHEELS={out}")


if __name__ == "__main__":
    main()
