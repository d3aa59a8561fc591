"""Room on disk for training states: asked for before a run starts, and told of when it ends."""

import errno
import math
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fgd.errors import FGDError
from fgd.training.ema import MovingAverage

FULL = (errno.ENOSPC, errno.EDQUOT)


def state_bytes(
    model: nn.Module, optimizer: torch.optim.Optimizer, average: MovingAverage | None = None
) -> int:
    """About how large a training state is, also before the optimizer's first step."""
    weights = _bytes(model.state_dict().values())
    if average is not None:
        weights += _bytes(average.state_dict().values())
    moments = 0
    for group in optimizer.param_groups:
        # Adam's kind keeps two averages a parameter, SGD one if it has momentum.
        averages = 2 if "betas" in group else 1 if group.get("momentum") else 0
        moments += averages * _bytes(group["params"])
    return weights + moments


def content_bytes(value: Any) -> int:
    """Bytes of all tensors nested in dictionaries and lists."""
    if isinstance(value, torch.Tensor):
        return _bytes([value])
    if isinstance(value, dict):
        return sum(map(content_bytes, value.values()))
    return sum(map(content_bytes, value)) if isinstance(value, list | tuple) else 0


def check_space(folder: Path, state: int, kept: int) -> None:
    """Refuse a run whose states will not fit on the disk. A user's quota is not seen here.

    Args:
        folder: of the states; those that are there count as free, they will be replaced.
        state: bytes of one.
        kept: how many are there at the same time, the one being written among them.

    Raises:
        FGDError: says how much is needed and how much is there.
    """
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    there = sum(path.stat().st_size for path in folder.glob("iter_*.pth"))
    free = shutil.disk_usage(existing).free + there
    if free < state * kept:
        raise FGDError(
            f"{folder}: {kept} training states of about {readable(state)} need "
            f"{readable(state * kept)}, and its disk has {readable(free)} free. Make room, or "
            "let the results lie on another disk"
        )


@contextmanager
def explain_full_disk(path: Path, needed: int, kept: str) -> Iterator[None]:
    """A full disk or a used-up quota becomes an error that says what is intact and what to do.

    Args:
        path: what is being written.
        needed: its bytes.
        kept: what the run can go on from, in words.

    Raises:
        FGDError: the disk or the quota is full.
    """
    try:
        yield
    except Exception as error:
        full = _full(error)
        if full is None:
            raise
        what = "the quota is used up" if full.errno == errno.EDQUOT else "the disk is full"
        free = shutil.disk_usage(path.parent).free
        raise FGDError(
            f"{path}: {what}: it needs {readable(needed)}, and {readable(free)} are free on the "
            f"disk. {kept}. Make room and run the same again"
        ) from error


def readable(size: float) -> str:
    """A number of bytes for people: 1.5 GB."""
    if size < 1000:
        return f"{size:.0f} bytes"
    power = min(int(math.log(size, 1000)), 4)
    return f"{size / 1000**power:.1f} {('kB', 'MB', 'GB', 'TB')[power - 1]}"


def _full(error: BaseException | None) -> OSError | None:
    # torch's writer turns an error of its file into a RuntimeError, whose context it stays.
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return error
        error = error.__cause__ or error.__context__
    return None


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
