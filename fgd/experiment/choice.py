"""Which suite `snakemake --config suite=...` names, and where the files of all suites are."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fgd.errors import FGDError


def chosen_suite(config: Mapping[str, Any]) -> str:
    """The suite's name, or the path of its file as it is seen from the working folder.

    Args:
        config: what `--config` says.

    Raises:
        FGDError: it says something else, or no suite.
    """
    for key in config:
        if key != "suite":
            raise FGDError(
                f"--config {key}=...: the workflow has no such key. It has `suite`; "
                "everything else stands in the suite's file"
            )
    # A suite may be called 2024, which Snakemake reads as a number; nothing it reads as None.
    chosen = str(config.get("suite", "coco") or "")
    if not chosen:
        raise FGDError("--config suite=: name a suite, or the path of its file")
    # One spelling of a path: files are compared by it with those of the last run.
    return os.path.relpath(chosen) if chosen.endswith(".yaml") else chosen


def suite_files(chosen: str, folder: Path) -> dict[str, Path]:
    """The file of every suite by its name: those of a folder, and the chosen one.

    Args:
        chosen: as `chosen_suite` has it.
    """
    known = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return known if chosen in known else known | {Path(chosen).stem: Path(chosen)}
