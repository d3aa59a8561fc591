"""Where the configs and schemas lie: in a clone of the repository, or in the installed package."""

import hashlib
import shlex
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_SHIPPED = _PACKAGE / "shipped"  # what pyproject.toml puts into a wheel


def root() -> Path:
    """The folder of `configs/`: the checkout, or of an installed package the copy in it."""
    return _SHIPPED if _SHIPPED.is_dir() else _PACKAGE.parent


def is_checkout() -> bool:
    """Whether this is a clone of the repository, and no installed package."""
    return not _SHIPPED.is_dir()


@cache
def source_hash() -> str:
    """A hash of our own code."""
    digest = hashlib.sha256()
    for path in sorted((root() / "fgd").rglob("*.py")):
        digest.update(str(path).encode() + path.read_bytes())
    return digest.hexdigest()


def workflow_command(suite: str) -> str:
    """The command that runs a suite, by its name or path, in the checkout on this machine."""
    chosen = shlex.quote(f"suite={suite}")
    return f".venv/bin/snakemake --profile cluster/profiles/local --config {chosen}"
