"""A training's log as data, and as lines to read. Without torch: a launcher reads it, too."""

import json
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO

from fgd.files import write_text

FILE = "log.jsonl"
VALIDATION = "validation.jsonl"  # metrics by epoch, see fgd/training/validation.py
# What an entry holds beside the loss and its terms.
_SETTINGS = (
    "iter", "max_iters", "epoch", "max_epochs", "lr", "images_per_second", "eta_seconds",
    "processes", "device", "time",
)  # fmt: skip


def read(work_dir: Path, name: str = FILE) -> list[dict[str, Any]]:
    """The entries of a training's log, oldest first; a last line cut short is left out."""
    file = work_dir / name
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").splitlines()
    return [entry for entry in map(_parse, lines) if entry is not None]


def append(work_dir: Path, entry: dict[str, Any], name: str = FILE) -> None:
    """Add an entry."""
    with (work_dir / name).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def drop_after(work_dir: Path, iteration: int, name: str = FILE) -> None:
    """Drop what a killed run logged after the state that it is resumed from."""
    if (work_dir / name).exists():
        kept = [entry for entry in read(work_dir, name) if entry["iter"] <= iteration]
        text = "".join(json.dumps(entry) + "\n" for entry in kept)
        write_text(work_dir / name, text)


def text(entry: dict[str, Any], *, terms: bool = True) -> str:
    """An entry as a line, with or without the terms of the loss."""
    eta = timedelta(seconds=round(entry["eta_seconds"]))
    line = (
        f"epoch {entry['epoch']}/{entry['max_epochs']}  iter {entry['iter']}/{entry['max_iters']}  "
        f"loss {entry['loss']:.4f}  lr {entry['lr']:.3g}  "
        f"{entry['images_per_second']:.1f} img/s  eta {eta}"
    )
    if not terms:
        return line
    return f"{line}  |  " + "  ".join(f"{name} {entry[name]:.4g}" for name in terms_of(entry))


def terms_of(entry: dict[str, Any]) -> list[str]:
    """The names of an entry's loss terms, and of what else was averaged with them."""
    return [name for name in entry if name not in (*_SETTINGS, "loss")]


def points_of(entry: dict[str, Any]) -> dict[str, float]:
    """AP x 100 by kind, "box" and "mask", of an entry of VALIDATION."""
    return {kind: 100 * entry[kind]["AP"] for kind in ("box", "mask") if kind in entry}


def log_to(stream: TextIO) -> None:
    """Let the package's loggers write to a stream."""
    # A handler of our own: mmcv silences those of the root logger.
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", datefmt="%H:%M:%S"))
    logger = logging.getLogger("fgd")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _parse(line: str) -> dict[str, Any] | None:
    # A kill can cut the last line short; it then belongs after any saved state.
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        return None
    return entry if "iter" in entry else None
