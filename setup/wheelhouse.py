"""Gather what set-up needs into a folder, for a machine without a network.

    python setup/wheelhouse.py --out wheels [--python 3.12] [--torch-is-there]

A machine of the same kind (Linux, x86-64) then needs no index: make setup WHEELS=wheels. With
--torch-is-there torch and NVIDIA's libraries, several gigabytes, are left out.
"""

import argparse
import json
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement

HERE = Path(__file__).parent
MANIFEST = "wheelhouse.json"
# Newest first: what pip takes for a platform's own.
_GLIBC = ("2_34", "2_31", "2_28", "2_27", "2_24", "2_17", "2_12", "2_5")
_TORCH = re.compile(r"torch|torchvision|triton|nvidia-.*|cuda-.*")


class WheelhouseError(Exception):
    """Something that the user can put right; the text says how."""


def gather(
    out: Path, python: str, without: Collection[str] = (), only: Collection[str] = ()
) -> None:
    """Download the locked packages' wheels and mmcv's source.

    Args:
        out: a folder, made where it is missing; what is there already is not fetched again.
        python: version that the wheels are for, "3.12".
        without: patterns (regular expressions) of packages that are there already.
        only: names of packages, with what they need; by default all of the lock.

    Raises:
        WheelhouseError: a package cannot be had for that Python.
    """
    out.mkdir(parents=True, exist_ok=True)
    wanted = [
        requirement
        for requirement in (_closure(only, python) if only else _locked(python))
        if not any(re.fullmatch(pattern, requirement.name) for pattern in without)
    ]
    manifest = {
        "python": python,
        "platform": f"{platform.system()} {platform.machine()}",
        "without": sorted(without),
        "packages": sorted(str(each) for each in wanted),
    }
    file = out / MANIFEST
    if file.is_file() and json.loads(file.read_text()) == manifest:
        return
    file.unlink(missing_ok=True)  # until the folder is whole again
    platforms = [f"manylinux_{each}_{platform.machine()}" for each in _GLIBC]
    platforms += [f"manylinux{each}_{platform.machine()}" for each in ("2014", "2010", "1")]
    options = ["--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
    options += [word for each in platforms for word in ("--platform", each)]
    failed = [str(each) for each in wanted if not _download(out, options, [str(each)])]
    for each in failed:  # a source distribution alone: pure Python, or pip says what is missing
        if not _pip("wheel", "--no-deps", "--wheel-dir", out, each):
            raise WheelhouseError(f"{each} has no wheel for Python {python}, nor becomes one")
    if not _download(out, ["--no-binary", ":all:", "--no-build-isolation"], ["-r", _MMCV]):
        raise WheelhouseError("mmcv-full's source could not be downloaded")
    file.write_text(json.dumps(manifest, indent=1) + "\n")


_MMCV = str(HERE / "mmcv.txt")


def check(folder: Path) -> None:
    """Refuse a wheelhouse that is for another Python or platform than this one.

    Raises:
        WheelhouseError: with the command that makes the right one.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    right = f"make wheelhouse PYTHON_VERSION={python}"
    file = folder / MANIFEST
    if not file.is_file():
        raise WheelhouseError(f"{folder} has no {MANIFEST}: make one with `{right}`")
    manifest = json.loads(file.read_text())
    ours = {"python": python, "platform": f"{platform.system()} {platform.machine()}"}
    for key, value in ours.items():
        if manifest[key] != value:
            raise WheelhouseError(
                f"{folder} is for {key} {manifest[key]}, and this is {value}: make one with "
                f"`{right}` on a {ours['platform']} machine that has a network"
            )


def _locked(python: str) -> Iterator[Requirement]:
    """The lock's packages, for Linux and a Python."""
    environment = default_environment()
    environment |= {"python_version": python, "python_full_version": f"{python}.0"}
    for line in (HERE / "requirements.txt").read_text().splitlines():
        if line and not line.startswith((" ", "#")):
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate(environment):
                requirement.marker = None
                yield requirement


def _closure(names: Collection[str], python: str) -> Iterator[Requirement]:
    """Packages of the lock with all that they need."""
    locked = {requirement.name: requirement for requirement in _locked(python)}
    if unknown := sorted(set(names) - set(locked)):
        raise WheelhouseError(f"{unknown[0]} is not in setup/requirements.txt")
    with tempfile.NamedTemporaryFile("w", suffix=".in") as wanted:
        wanted.write("\n".join(names))
        wanted.flush()
        uv = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header"]
        uv += ["--python-version", python, "--constraint", HERE / "requirements.txt", wanted.name]
        done = subprocess.run(uv, capture_output=True, text=True)
    if done.returncode:
        raise WheelhouseError(f"uv could not tell what {', '.join(names)} need: {done.stderr}")
    for line in done.stdout.splitlines():
        if line and not line.startswith((" ", "#")):
            yield Requirement(line)


def _download(out: Path, options: list[str], what: list[str]) -> bool:
    return _pip("download", "--no-deps", "--dest", out, *options, *what)


def _pip(*words: object) -> bool:
    command = [sys.executable, "-m", "pip", *map(str, words), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    default = f"{sys.version_info.major}.{sys.version_info.minor}"
    parser.add_argument("--python", default=default, help=f"by default {default}")
    parser.add_argument("--torch-is-there", action="store_true")
    arguments = parser.parse_args()
    try:
        gather(arguments.out, arguments.python, [_TORCH.pattern] * arguments.torch_is_there)
    except WheelhouseError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
