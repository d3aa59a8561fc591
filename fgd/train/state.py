"""Training state on disk: saved whole, found again, never mixed with another run's."""

import fcntl
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmcv.runner import master_only
from mmcv.runner.hooks import Hook

from fgd.errors import FGDError
from fgd.files import atomic_path
from fgd.weights import load_strictly, read_checkpoint

_NAME = "iter_{:07d}.pth"
_PATTERN = re.compile(r"iter_(\d{7,})\.pth")
_KEPT = 2  # the newest, and the one before in case it turns out to be damaged


class StateHook(Hook):
    """Saves the training state every `interval` iterations and at the end."""

    def __init__(self, folder: Path, interval: int, meta: dict[str, Any]) -> None:
        self._folder = folder
        self._interval = interval
        self._meta = meta

    def after_train_iter(self, runner: Any) -> None:
        """Called by the runner after the optimizer's step."""
        if self.every_n_iters(runner, self._interval) or self.is_last_iter(runner):
            self._save(runner)

    @master_only
    def _save(self, runner: Any) -> None:
        # The hook runs before the runner counts the iteration that it follows.
        done = runner.iter + 1
        state = {
            "state_dict": runner.model.state_dict(),
            "optimizer": runner.optimizer.state_dict(),
            "meta": {**self._meta, "iter": done, "epoch": runner.epoch + 1},
        }
        with atomic_path(self._folder / _NAME.format(done)) as temporary:
            torch.save(state, temporary)
        for old in _states(self._folder)[:-_KEPT]:
            old.unlink()


@contextmanager
def exclusive(folder: Path, rank: int) -> Iterator[None]:
    """Let no second run train in a work folder; the lock ends with the process, killed or not.

    Raises:
        FGDError: another run on this machine, or on its shared file system, trains there.
    """
    path = folder.with_name(f".{folder.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            if rank == 0:  # for the other ranks of the same run, too
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FGDError(
                f"{folder}: another process is training there. Wait for it or stop it; "
                f"`fuser {path}` tells which one it is"
            ) from None
        yield


def find_state(folder: Path, logger: logging.Logger) -> dict[str, Any] | None:
    """The newest training state in `folder` that can be read, or None if there is none.

    Raises:
        FGDError: there are states, and none of them can be read.
    """
    states = _states(folder)
    for path in reversed(states):
        try:
            state = read_checkpoint(path)
        except FGDError as error:
            logger.warning("%s; trying the state before it", error)
            continue
        logger.info("resuming from %s", path)
        return state
    if states:
        raise FGDError(
            f"{folder}: none of its {len(states)} training states can be read. Move the folder "
            "away to start this run from the beginning"
        )
    return None


def restore(state: dict[str, Any], model: torch.nn.Module, optimizer: Any, source: str) -> int:
    """Put a training state into model and optimizer; returns the iterations already done."""
    load_strictly(model, state["state_dict"], source)
    optimizer.load_state_dict(state["optimizer"])
    return state["meta"]["iter"]


def set_aside(folder: Path) -> Path:
    """Rename a work folder that belongs to another recipe; nothing that was there is lost."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.previous{number}")).exists():
        number += 1
    return folder.rename(aside)


def _states(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("iter_*.pth") if _PATTERN.fullmatch(p.name))
