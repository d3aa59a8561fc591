"""From a training checkpoint to a plain mmdet one."""

import hashlib
import io
import os
import re
from pathlib import Path
from typing import Any

import torch

from fgd.checkpoint import read_checkpoint
from fgd.classes import checkpoint_classes
from fgd.errors import FGDError
from fgd.files import atomic_path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_KEPT_META = ("CLASSES", "PALETTE", "fgd")


def transfer(
    checkpoint: str | Path, out: str | Path, name: str, *, keep: str | None = None
) -> Path:
    """Write the detector in `checkpoint` as a plain mmdet checkpoint.

    Of a distillation checkpoint, ours or the published code's (`teacher.*`, `student.*`,
    `distill_losses.*`), only the student is kept; of any other, its whole state dict. Optimizer and
    training state are dropped.

    Args:
        out: becomes a relative symbolic link to the checkpoint, a name that rules and people know;
            only another link may be there.
        name: the checkpoint is `<name>-<first 8 hex digits of its sha256>.pth` beside `out`, the
            model zoo's convention.
        keep: as `plain_checkpoint` has it.

    Returns:
        The path of the checkpoint.
    """
    out = Path(out)
    check_name(name)
    _check_link(out)
    plain = plain_checkpoint(checkpoint, keep)
    if not any(key.startswith("backbone.") for key in plain["state_dict"]):
        raise FGDError(
            f"{checkpoint}: holds no detector: neither student.* nor backbone.* tensors among its "
            f"{len(plain['state_dict'])}. Give a checkpoint of a distillation or of a detector's "
            "training"
        )
    written = write_hashed(plain, out.parent, name)
    link(out, written.name)
    return written


def plain_checkpoint(checkpoint: str | Path, keep: str | None = None) -> dict[str, Any]:
    """Weights and metadata of a training checkpoint; of a distillation, those of the student.

    Args:
        keep: "student" or "teacher", of a checkpoint of both.

    Raises:
        FGDError: it does not hold that one, or it holds both of something else than a distillation
            and none is named.
    """
    training = read_checkpoint(checkpoint)
    state = training["state_dict"]
    prefix = f"{keep or _kept(state, checkpoint)}."
    kept = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    if keep is not None and not kept:
        raise FGDError(f"{checkpoint}: holds no {prefix}* tensors; leave --keep {keep} out")
    # The moving average, where a training has one, is what its detector is evaluated with.
    weights = (kept or state) | training.get("moving_average", {})
    meta = training["meta"]
    classes = checkpoint_classes(meta, str(checkpoint))
    if classes is not None and not isinstance(meta.get("CLASSES"), list | tuple):
        meta = meta | {"CLASSES": classes}  # mmdet 3 keeps them elsewhere
    return {
        "state_dict": weights,
        "meta": {key: meta[key] for key in _KEPT_META if key in meta},
    }


def _kept(state: dict[str, Any], checkpoint: str | Path) -> str:
    """Of a distillation the student; of another checkpoint of two detectors it has to be said."""
    held = {name.partition(".")[0] for name in state}
    if {"student", "teacher"} <= held and "distill_losses" not in held:
        raise FGDError(
            f"{checkpoint}: holds student.* and teacher.*, and no distill_losses.* as a "
            "distillation's does. Semi-supervised trainings (Soft Teacher) have these two and "
            "detect with the teacher, the average of the student. Say which is meant: `fgd "
            "transfer --keep teacher` (or student) writes it as a checkpoint of its own"
        )
    return "student"


def check_name(name: str) -> None:
    """Whether a model's name can be that of a file."""
    if not _NAME.fullmatch(name):
        raise FGDError(
            f"the name {name!r} is part of a file's name: it may hold letters, digits and . _ + - "
            "alone, and begins with a letter or a digit"
        )


def write_hashed(checkpoint: dict[str, Any], folder: Path, name: str) -> Path:
    """Save `checkpoint` as `<name>-<hash>.pth` in `folder`; equal contents get equal names."""
    # torch.save stores a path's stem in the archive; a buffer has none, so that the bytes depend on
    # the content alone.
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    digest = hashlib.sha256(buffer.getbuffer()).hexdigest()
    target = folder / f"{name}-{digest[:8]}.pth"
    with atomic_path(target) as temporary:
        temporary.write_bytes(buffer.getbuffer())
    return target


def _check_link(path: Path) -> None:
    if path.exists() and not path.is_symlink():
        raise FGDError(
            f"{path}: is there already and no link, as this command makes it; give another --out, "
            "or move it"
        )


def link(path: Path, target: str) -> None:
    """Make `path` a symbolic link to `target`, in one step where another link stood there."""
    beside = path.with_name(f".{path.name}.link")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    os.replace(beside, path)
