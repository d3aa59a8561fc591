"""How good a detector is while it is trained: COCO figures after every few epochs.

Nothing of the training depends on them: a run with them ends bit for bit as one without.
"""

import logging
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch.distributed as dist
from mmcv import Config
from mmcv.runner.hooks import Hook
from torch.utils.data import DataLoader, Dataset

from fgd import progress
from fgd.errors import FGDError
from fgd.evaluation.scores import coco_figures, detect, test_data
from fgd.heads import heads
from fgd.suite.settings import Collapse
from fgd.train import ranks

_LEAST = 0.01  # AP, as a fraction; what has not been above it cannot collapse


class ValidationHook(Hook):
    """Evaluates after every few epochs, and after the last; each process its share of the images.

    A line for each goes to `progress.VALIDATION` in the work folder, as exact as the log's: a
    resumed run has every line up to its state, and none after.

    Args:
        cfg: of the training.
        folder: the run's work folder.
        every: epochs between two evaluations.
        epoch_length: iterations of an epoch.
        policy: what to do about a collapse.
    """

    def __init__(
        self,
        cfg: Config,
        folder: Path,
        every: int,
        epoch_length: int,
        policy: Collapse,
        logger: logging.Logger,
    ) -> None:
        self._cfg = cfg
        self._folder = folder
        self._every = every
        self._epoch_length = epoch_length
        self._policy = policy
        self._logger = logger
        self._data: tuple[Dataset, DataLoader] | None = None

    def before_run(self, runner: Any) -> None:
        """Drop what a killed run wrote after its state; make up for what it did not come to."""
        if runner.rank == 0:
            progress.drop_after(self._folder, runner.iter, progress.VALIDATION)
        entries = progress.read(self._folder, progress.VALIDATION) if runner.rank == 0 else []
        there = ranks.from_first(bool(entries) and entries[-1]["iter"] == runner.iter)
        at_end = runner.iter % self._epoch_length == 0
        if there or (at_end and self._validate(runner, runner.epoch)):
            self._judge(runner)

    def after_train_epoch(self, runner: Any) -> None:
        """Called by the runner, which counts the epoch afterwards.

        Raises:
            FGDError: the AP has collapsed, and the policy is to stop.
        """
        if self._validate(runner, runner.epoch + 1):
            self._judge(runner)

    def _validate(self, runner: Any, done: int) -> bool:
        """Evaluate, if it is due after `done` epochs; whether it was."""
        if done == 0 or (done % self._every and done != runner.max_epochs):
            return False
        started = time.monotonic()
        model = runner.model
        if self._data is None:
            self._data = test_data(self._cfg, rank=runner.rank, world_size=runner.world_size)
        dataset, loader = self._data
        model.module.eval()
        with model.precision.autocast(), _averaged(runner):
            # The statistics that a process has averaged since its last step, or in its moving
            # average, are its own: the first one's count.
            for buffer in model.module.buffers() if dist.is_initialized() else ():
                dist.broadcast(buffer, 0)
            results = detect(model.module, loader, model.device)
        shares = ranks.at_first(results)
        model.train()
        if shares is not None:
            self._write(runner, done, dataset, _together(shares), started)
        return True

    def _write(
        self, runner: Any, done: int, dataset: Dataset, results: list, started: float
    ) -> None:
        detector = self._cfg.model.get("student", self._cfg.model)
        figures = coco_figures(dataset, results, pycocotools=False)
        entry = {
            "iter": done * self._epoch_length,
            "epoch": done,
            "seconds": round(time.monotonic() - started, 2),
            **{kind: figures[kind] for kind in heads(detector)},
        }
        progress.append(self._folder, entry, progress.VALIDATION)
        self._tell(runner, entry, len(dataset))

    def _tell(self, runner: Any, entry: dict[str, Any], images: int) -> None:
        points = progress.points_of(entry)
        words = ", ".join(f"{kind} AP {ap:.1f}" for kind, ap in points.items())
        self._logger.info(
            "epoch %d/%d validated: %s (%d images, %.0f s)",
            entry["epoch"], runner.max_epochs, words, images, entry["seconds"],
        )  # fmt: skip
        # mmcv's logger hooks take a line without a `time` for one of validation.
        runner.log_buffer.clear_output()
        runner.log_buffer.output.update({f"{kind}_AP": ap for kind, ap in points.items()})
        runner.log_buffer.ready = True

    def _judge(self, runner: Any) -> None:
        """Compare the last AP with the best one before it."""
        fallen = ranks.from_first(self._collapse() if runner.rank == 0 else None)
        if fallen is None:
            return
        if self._policy.action == "stop":
            raise FGDError(
                f"{fallen}. The run's last states are kept in {self._folder}. Find out why "
                "(learning rate, data, precision), or set the suite's validation.collapse to "
                "report"
            )
        self._logger.warning("%s. Training goes on (validation.collapse)", fallen)

    def _collapse(self) -> str | None:
        """An AP that has collapsed, in words."""
        *earlier, last = progress.read(self._folder, progress.VALIDATION) or [None]
        if not earlier:
            return None
        kind = next(iter(progress.points_of(last)))
        best = max(earlier, key=lambda entry: entry[kind]["AP"])
        before, now = best[kind]["AP"], last[kind]["AP"]
        if before < _LEAST or now >= self._policy.below * before:
            return None
        return (
            f"epoch {last['epoch']}: {kind} AP has collapsed to {100 * now:.1f}, after "
            f"{100 * before:.1f} in epoch {best['epoch']}"
        )


def _averaged(runner: Any) -> AbstractContextManager:
    return nullcontext() if runner.average is None else runner.average.in_place()


def _together(shares: list[list]) -> list:
    """The results of all processes in the data set's order."""
    count = sum(map(len, shares))
    return [shares[index % len(shares)][index // len(shares)] for index in range(count)]
