"""Where the configs and schemas lie: the tool is run from a clone of its repository."""

from pathlib import Path


def root() -> Path:
    """The folder of the checkout: the parent of the package."""
    return Path(__file__).resolve().parent.parent
