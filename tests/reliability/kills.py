"""Runs that are killed again and again, and end as the undisturbed one does, to the last bit."""

import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch


def count(folder: Path, suite: Any, wanted: int, seed: int = 0) -> dict[str, int]:
    """Kill mini runs until `wanted` kills have hit; half of them while a state is being written.

    Args:
        folder: for the runs.
        suite: a tiny suite with its data in place.

    Returns:
        "kills", "while writing" among them, "runs" that ended, "different" from the undisturbed.
    """
    from detectors import training_config

    import fgd.training  # noqa: F401  before the fork: a run then starts at once

    torch.set_num_threads(1)
    config = folder / "config.py"
    training_config(suite, "retinanet_r50", "fgd").dump(str(config))
    started = time.monotonic()
    assert _wait(_train(config, folder / "whole")) == 0
    usual = time.monotonic() - started
    chance = random.Random(seed)
    kills = dict.fromkeys(("kills", "while writing", "runs", "different"), 0)
    while kills["kills"] < wanted:
        run = folder / f"run{kills['runs']}"
        while True:
            child = _train(config, run)
            writing = chance.random() < 0.5
            hit = _kill(child, run, writing, chance.uniform(0, usual))
            if hit is None:
                break
            kills["kills"] += 1
            kills["while writing"] += hit
            if kills["kills"] >= wanted:
                assert _wait(_train(config, run)) == 0
                break
        kills["runs"] += 1
        kills["different"] += not _same(folder / "whole", run)
    return kills


def _train(config: Path, run: Path) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        log = os.open(run.with_suffix(".log"), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        from fgd.training import train

        train(config, run, run.with_suffix(".pth"))
        status = 0
    finally:
        sys.stdout.flush()
        os._exit(status)


def _kill(child: int, run: Path, writing: bool, after: float) -> bool | None:
    """Kill a run; whether it was writing a state, None if it had ended."""
    end = time.monotonic() + after
    earlier = _writes(run)  # what an earlier kill left, until the run clears it
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0, run.with_suffix(".log").read_text()[-2000:]
            return None
        if time.monotonic() > end and (not writing or _writes(run) - earlier):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return bool(_writes(run) - earlier)
        time.sleep(0 if writing else 0.001)


def _writes(run: Path) -> set[Path]:
    return set(run.glob(".iter_*.part"))


def _wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _same(whole: Path, run: Path) -> bool:
    from fgd.checkpoint import content_hash, read_checkpoint

    ends = [read_checkpoint(path.with_suffix(".pth")) for path in (whole, run)]
    return content_hash(ends[0]) == content_hash(ends[1]) and _told(whole) == _told(run)


def _told(run: Path) -> list[dict[str, Any]]:
    """The log and the validations of a run, without what time does to them."""
    from fgd import progress

    entries = progress.read(run) + progress.read(run, progress.VALIDATION)
    times = ("images_per_second", "eta_seconds", "seconds")
    return [{k: v for k, v in entry.items() if k not in times} for entry in entries]
