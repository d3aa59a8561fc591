"""How good a detector is while it is trained: COCO metrics after every few epochs.

Nothing of the training depends on them: a run with them ends bit for bit as one without.
"""

import logging
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch.distributed as dist
from mmcv import Config
from mmdet.datasets import CocoDataset
from torch.utils.data import DataLoader

from fgd import progress
from fgd.errors import FGDError
from fgd.evaluation.scores import coco_metrics, detect, test_data
from fgd.heads import heads
from fgd.suite.settings import Collapse
from fgd.training import ranks
from fgd.training.ema import MovingAverage
from fgd.training.step import Trainable

_LOGGER = logging.getLogger(__name__)
_LEAST = 0.01  # AP, as a fraction; what has not been above it cannot collapse


@dataclass
class Validation:
    """Evaluates after every few epochs, and after the last; each process its share of the images.

    A line for each goes to `progress.VALIDATION` in the work folder, as exact as the log's: a
    resumed run has every line up to its state, and none after.

    Attributes:
        cfg: of the training.
        model: what is trained.
        average: of the weights that the detector is evaluated with, or None.
        folder: the run's work folder.
        every: epochs between two evaluations.
        epoch_length: iterations of an epoch.
        policy: what to do about a collapse.
    """

    cfg: Config
    model: Trainable
    average: MovingAverage | None
    folder: Path
    every: int
    epoch_length: int
    policy: Collapse

    def __post_init__(self) -> None:
        self._data: tuple[CocoDataset, DataLoader] | None = None

    def catch_up(self, iteration: int) -> dict[str, float]:
        """Drop what a killed run wrote after its state; make up for what it did not come to.

        Args:
            iteration: iterations done. What is returned and raised is that of `after_epoch`.
        """
        first = ranks.rank() == 0
        if first:
            progress.drop_after(self.folder, iteration, progress.VALIDATION)
        entries = progress.read(self.folder, progress.VALIDATION) if first else []
        if ranks.from_first(bool(entries) and entries[-1]["iter"] == iteration):
            self._judge()
            return {}
        epochs, begun = divmod(iteration, self.epoch_length)
        return {} if begun else self.after_epoch(epochs)

    def after_epoch(self, done: int) -> dict[str, float]:
        """Evaluate, if it is due after `done` epochs.

        Returns:
            AP x 100, as `box_AP` and `mask_AP`, on the first rank; nothing where it was not due.

        Raises:
            FGDError: the AP has collapsed, and the policy is to stop.
        """
        if done == 0 or (done % self.every and done != self.cfg.runner.max_epochs):
            return {}
        points = self._validate(done)
        self._judge()
        return {f"{kind}_AP": ap for kind, ap in points.items()}

    def _validate(self, done: int) -> dict[str, float]:
        """AP x 100 by kind, on the first rank."""
        started = time.monotonic()
        model = self.model
        if self._data is None:
            self._data = test_data(self.cfg, rank=ranks.rank(), world_size=ranks.count())
        dataset, loader = self._data
        model.module.eval()
        averaged = nullcontext() if self.average is None else self.average.in_place()
        with model.precision.autocast(), averaged:
            # The statistics that a process has averaged since its last step, or in its moving
            # average, are its own: the first one's count.
            for buffer in model.module.buffers() if dist.is_initialized() else ():
                dist.broadcast(buffer, 0)
            results = detect(model.module, loader, model.device)
        shares = ranks.at_first(results)
        model.train()
        return {} if shares is None else self._write(done, dataset, _together(shares), started)

    def _write(
        self, done: int, dataset: CocoDataset, results: list, started: float
    ) -> dict[str, float]:
        detector = self.cfg.model.get("student", self.cfg.model)
        metrics = coco_metrics(dataset, results, pycocotools=False)
        entry = {
            "iter": done * self.epoch_length,
            "epoch": done,
            "seconds": round(time.monotonic() - started, 2),
            **{kind: metrics[kind] for kind in heads(detector)},
        }
        progress.append(self.folder, entry, progress.VALIDATION)
        points = progress.points_of(entry)
        words = ", ".join(f"{kind} AP {ap:.1f}" for kind, ap in points.items())
        _LOGGER.info(
            "epoch %d/%d validated: %s (%d images, %.0f s)",
            done, self.cfg.runner.max_epochs, words, len(dataset), entry["seconds"],
        )  # fmt: skip
        return points

    def _judge(self) -> None:
        """Compare the last AP with the best one before it."""
        fallen = ranks.from_first(self._collapse() if ranks.rank() == 0 else None)
        if fallen is None:
            return
        if self.policy.action == "stop":
            raise FGDError(
                f"{fallen}. The run's last states are kept in {self.folder}. Find out why "
                "(learning rate, data, precision), or set the suite's validation.collapse to "
                "report"
            )
        _LOGGER.warning("%s. Training goes on (validation.collapse)", fallen)

    def _collapse(self) -> str | None:
        """An AP that has collapsed, in words."""
        entries = progress.read(self.folder, progress.VALIDATION)
        if len(entries) < 2:
            return None
        *earlier, last = entries
        kind = next(iter(progress.points_of(last)))
        best = max(earlier, key=lambda entry: entry[kind]["AP"])
        before, now = best[kind]["AP"], last[kind]["AP"]
        if before < _LEAST or now >= self.policy.below * before:
            return None
        return (
            f"epoch {last['epoch']}: {kind} AP has collapsed to {100 * now:.1f}, after "
            f"{100 * before:.1f} in epoch {best['epoch']}"
        )


def _together(shares: list[list]) -> list:
    """The results of all processes in the data set's order."""
    count = sum(map(len, shares))
    return [shares[index % len(shares)][index // len(shares)] for index in range(count)]
