"""A wheelhouse: a folder that holds all that set-up installs, for machines without a network.

    python3 setup/wheelhouse.py FOLDER

checks that this Python on this machine can be set up from FOLDER, and prints the packages that are
to be installed from it. setup/make_wheelhouse.py fills one. Nothing is imported here that a bare
Python lacks.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from which_lock import named

HERE = Path(__file__).parent
MANIFEST = "wheelhouse.json"
TORCH_IS = os.environ.get("TORCH")  # as set-up is given it
LOCK = named(TORCH_IS).path
MMCV = HERE / "mmcv.txt"
# torch's wheels ask for this one. A wheelhouse serves every Linux that has it or a newer one.
GLIBC = (2, 28)
# What a machine has where the wheelhouse leaves torch out.
TORCH = ("torch", "torchvision")


class WheelhouseError(Exception):
    """Something that the user can put right; the text says how."""


@dataclass(frozen=True)
class Manifest:
    """What a wheelhouse is for and what it holds.

    Attributes:
        python: version, "3.12".
        platform: "Linux x86_64".
        lock: hash of the lock that its packages come from.
        packages: "name==version" of each.
        files: SHA-256 by file name.
    """

    python: str
    platform: str
    lock: str
    packages: list[str]
    files: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """A wheelhouse's own.

        Raises:
            OSError: it has none.
            ValueError: it is damaged.
        """
        try:
            return cls(**json.loads((folder / MANIFEST).read_bytes()))
        except TypeError:
            raise ValueError(f"{MANIFEST} is of another version") from None

    def write(self, folder: Path) -> None:
        (folder / MANIFEST).write_text(json.dumps(asdict(self), indent=1) + "\n")

    def damaged(self, folder: Path) -> Iterator[str]:
        """Names of the files that are missing or not what was downloaded."""
        for name, digest in self.files.items():
            if not (folder / name).is_file() or sha256(folder / name) != digest:
                yield name

    @property
    def has_torch(self) -> bool:
        """Or leaves it to the machine."""
        return any(each.startswith("torch==") for each in self.packages)


def sha256(file: Path) -> str:
    """Of a file's content, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def lock_hash() -> str:
    """Of what this checkout installs."""
    return hashlib.sha256(LOCK.read_bytes() + MMCV.read_bytes()).hexdigest()


def this_platform() -> str:
    """For example "Linux x86_64"."""
    return f"{platform.system()} {platform.machine()}"


def check(folder: Path) -> Manifest:
    """Refuse a wheelhouse that this Python on this machine cannot be set up from.

    Raises:
        WheelhouseError: with the command that makes the right one.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    right = f"make wheelhouse PYTHON_VERSION={python}{f' TORCH={TORCH_IS}' if TORCH_IS else ''}"
    try:
        manifest = Manifest.read(folder)
    except (OSError, ValueError):
        raise WheelhouseError(
            f"{folder} is no wheelhouse, or not a whole one: its {MANIFEST} cannot be read. Make "
            f"one with `{right}` where there is a network"
        ) from None
    again = right if manifest.has_torch else f"{right} TORCH_IS_THERE=1"
    for kind, theirs, ours in (
        ("Python", manifest.python, python),
        ("the platform", manifest.platform, this_platform()),
    ):
        if theirs != ours:
            raise WheelhouseError(
                f"{folder} is for {kind} {theirs}, and this is {ours}: make one with `{again}` on "
                f"a {this_platform()} machine that has a network"
            )
    _check_glibc(folder)
    if manifest.lock != lock_hash():
        raise WheelhouseError(
            f"{folder} was made for another version of setup/{LOCK.name}: make it anew with "
            f"`{again}` in this version"
        )
    if damaged := next(manifest.damaged(folder), None):
        raise WheelhouseError(
            f"{folder}/{damaged} is missing or damaged: copy it again, or repair the wheelhouse "
            f"with `{again}` where there is a network"
        )
    if not manifest.has_torch:
        _check_torch(folder, right)
    return manifest


def _check_glibc(folder: Path) -> None:
    name, version = platform.libc_ver()
    if name != "glibc" or tuple(map(int, version.split(".")[:2])) < GLIBC:
        raise WheelhouseError(
            f"{folder} is for glibc {'.'.join(map(str, GLIBC))} or newer, as torch is, and this "
            f"machine has {f'{name} {version}'.strip() or 'another C library'}"
        )


def _check_torch(folder: Path, with_torch: str) -> None:
    """Refuse a machine whose Python has not the lock's torch."""
    if sys.prefix != sys.base_prefix:
        raise WheelhouseError(
            f"{folder} leaves torch to the machine, and {sys.prefix} is a virtual environment, "
            f"whose packages .venv does not see: name the machine's own Python with PYTHON=, or "
            f"make a wheelhouse that has torch with `{with_torch}`"
        )
    for name in TORCH:
        wanted = re.search(rf"^{name}==(\S+)", LOCK.read_text(), re.MULTILINE)[1]
        try:
            there = metadata.version(name)
        except metadata.PackageNotFoundError:
            there = None
        if there is None or there.split("+")[0] != wanted:  # +cu130: what it was compiled for
            raise WheelhouseError(
                f"{folder} leaves torch to the machine, and {sys.executable} has "
                f"{f'{name} {there}' if there else f'no {name}'} where {wanted} is needed: make a "
                f"wheelhouse that has it with `{with_torch}`"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    try:
        print("\n".join(check(parser.parse_args().folder).packages))
    except WheelhouseError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
