"""Training state on disk: saved whole, found again, never mixed with another run's."""

import fcntl
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TextIO

import torch
import torch.distributed as dist

from fgd.checkpoint import is_sealed, read_checkpoint, seal
from fgd.errors import FGDError
from fgd.files import atomic_path
from fgd.training import ranks, space
from fgd.training.background import Background, Snapshot
from fgd.training.ema import MovingAverage
from fgd.training.step import Trainable
from fgd.weights import load_strictly

_NAME = "iter_{:07d}.pth"
_PATTERN = re.compile(r"iter_(\d{7,})\.pth")
KEPT = 2  # the newest, and the one before in case it turns out to be damaged


@dataclass(frozen=True, kw_only=True)
class Meta:
    """What a training state says of its run, in its `meta`, by the names that it has there.

    Attributes:
        fingerprint: `fgd.fingerprint.fingerprint` of the run.
        seed: of the run.
        CLASSES: names of the classes, where mmdet looks for them.
        fgd: the recipe, and from what it is made; a plain student keeps it.
        precision: the name of what the run computes in.
        left_out: iterations without a step of the optimizer, counted from 0.
        recent_losses: the last ones, oldest first; a resumed run measures spikes by them.
        iter: iterations done.
        epoch: of the last one, counted from 1.
    """

    fingerprint: str
    seed: int
    CLASSES: list[str] = field(default_factory=list)
    fgd: dict[str, Any] = field(default_factory=dict)
    precision: str | None = None
    left_out: list[int] = field(default_factory=list)
    recent_losses: list[float] = field(default_factory=list)
    iter: int = 0
    epoch: int = 0

    @classmethod
    def of(cls, state: dict[str, Any]) -> "Meta":
        """That of a training state."""
        known = {each.name for each in fields(cls)}
        return cls(**{key: value for key, value in state["meta"].items() if key in known})


@dataclass(frozen=True)
class States:
    """The states of what trains, in the run's work folder; `background` writes them."""

    folder: Path
    model: Trainable
    optimizer: torch.optim.Optimizer
    average: MovingAverage | None
    background: Background

    def save(self, meta: Meta) -> None:
        """Save a state while training goes on, on the first rank."""
        if ranks.rank() > 0:
            return
        average = self.average
        state = {
            "state_dict": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.model.precision.scaler.state_dict(),
            **({} if average is None else {"moving_average": average.state_dict()}),
            "meta": vars(meta),
        }
        snapshot, path = Snapshot(state), self.folder / _NAME.format(meta.iter)
        self.background.start(lambda: write_state(snapshot.content(), path))

    def restore(self, state: dict[str, Any]) -> None:
        """Put a state into what trains.

        Raises:
            FGDError: the state does not fit.
        """
        load_strictly(self.model.module, state["state_dict"], str(self.folder))
        try:
            self.optimizer.load_state_dict(state["optimizer"])
            if self.average is not None:
                self.average.load_state_dict(state["moving_average"])
        except (KeyError, TypeError, ValueError) as error:
            raise FGDError(
                f"{self.folder}: its optimizer state or moving average does not fit the model "
                f"({error})"
            ) from error
        scaler = self.model.precision.scaler
        if scaler.is_enabled():  # of another precision there is none: a run keeps to its own
            scaler.load_state_dict(state["scaler"])


def write_state(state: dict[str, Any], path: Path) -> None:
    """Write a training state, complete or not at all, and drop the oldest beside it.

    What was written is read again and its hash compared before it counts, and before an older
    state goes.

    Raises:
        FGDError: the disk or the quota is full; the states before it are intact.
    """
    older = saved_states(path.parent)
    kept = f"{older[-1].name} is intact, training goes on from it" if older else "Nothing is lost"
    needed = space.content_bytes(state)
    with space.explain_full_disk(path, needed, kept), atomic_path(path) as temporary:
        # Through a file of Python's: torch's own loses the reason when it cannot write.
        with temporary.open("wb") as file:
            torch.save(seal(state), file)
        read_checkpoint(temporary)
    for old in saved_states(path.parent)[:-KEPT]:
        old.unlink()


@contextmanager
def exclusive(folder: Path, rank: int, patience_s: float = 0) -> Iterator[None]:
    """Let no second run train in a work folder; the lock ends with the process, killed or not.

    Args:
        folder: the work folder.
        rank: 0 takes the lock, for the other ranks of the same run, too.
        patience_s: how long to wait for another run to end.

    Raises:
        FGDError: another run on this machine, or on its shared file system, trains there.
    """
    path = folder.with_name(f".{folder.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        end = time.monotonic() + patience_s
        while rank == 0 and not _locked(file):
            if time.monotonic() > end:
                file.seek(0)
                raise FGDError(
                    f"{folder}: another process is training there "
                    f"({file.read() or 'which one is not known'}). Wait for it or stop it"
                )
            time.sleep(1)
        if rank == 0:
            file.truncate(0)
            file.write(_this_process())
            file.flush()
        if dist.is_initialized():
            dist.barrier()  # no rank reads a state that another run is about to replace
        yield


def _this_process() -> str:
    """In words, for who wants to end it from another machine."""
    words = f"process {os.getpid()} on {os.uname().nodename}"
    job = os.environ.get("SLURM_JOB_ID")
    return f"Slurm job {job}, {words}" if job else words


def _locked(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def find_state(folder: Path, logger: logging.Logger) -> dict[str, Any] | None:
    """The newest training state in `folder` that is whole, or None if there is none.

    Raises:
        FGDError: there are states, and none of them is whole.
    """
    states = saved_states(folder)
    for path in reversed(states):
        try:
            state = read_checkpoint(path)
            if not is_sealed(state):
                raise FGDError(f"{path}: has no hash of its content, so it was not written here")
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


def check_agreement(folder: Path, state: dict[str, Any] | None) -> None:
    """Let no processes train together from different states: nothing else would tell.

    A network file system may show one of them a folder as it was a minute ago. When the call
    returns, all processes have read theirs.

    Args:
        folder: the work folder.
        state: what this process found there.

    Raises:
        FGDError: on all processes, if they found different ones.
    """
    found = ranks.of_all("none" if state is None else _described(state["meta"]))
    if len(set(found)) > 1:
        listing = "; ".join(f"process {rank}: {what}" for rank, what in enumerate(found))
        raise FGDError(
            f"{folder}: the processes of the run find different training states there ({listing}). "
            "A network file system can be late on some of its machines: start the run again in "
            "some minutes"
        )


def _described(meta: dict[str, Any]) -> str:
    return f"iteration {meta['iter']}, sha256 {meta['content_sha256'][:8]}"


def tidy(folder: Path, state: dict[str, Any] | None) -> None:
    """Clear a work folder of what a killed run or a bad disk left; for one rank, under the lock.

    States after `state`, the newest whole one, are damaged: renamed, none of them counts as kept.
    """
    for path in folder.glob(".iter_*.part"):
        path.unlink()
    if state is None:
        return
    for path in saved_states(folder):
        if int(path.stem.removeprefix("iter_")) > state["meta"]["iter"]:
            path.rename(path.with_suffix(".damaged"))


def set_aside(folder: Path) -> Path:
    """Rename a work folder that belongs to another recipe; nothing that was there is lost."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.previous{number}")).exists():
        number += 1
    return folder.rename(aside)


def saved_states(folder: Path) -> list[Path]:
    """The training states in `folder`, the newest last."""
    return sorted(p for p in folder.glob("iter_*.pth") if _PATTERN.fullmatch(p.name))
