"""Where the configs and schemas lie: the tool is run from a clone of its repository."""

import shlex
from pathlib import Path


def root() -> Path:
    """The folder of the checkout: the parent of the package."""
    return Path(__file__).resolve().parent.parent


def workflow_command(suite: str) -> str:
    """The command that runs a suite, by its name or path, in the checkout on this machine."""
    chosen = shlex.quote(f"suite={suite}")
    return f".venv/bin/snakemake --profile cluster/profiles/local --config {chosen}"
