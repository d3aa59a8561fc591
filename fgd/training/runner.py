"""What mmcv's and mmdet's hooks take for their runner; `fgd.training.loop` trains."""

import logging
from pathlib import Path

import torch
from mmcv.runner import EpochBasedRunner
from torch.utils.data import DataLoader

from fgd.training.step import Trainable


class Runner(EpochBasedRunner):
    """Where a training is, from any iteration on, and the hooks that go with it.

    Args:
        done: iterations already done.
        folder: the run's work folder.
    """

    def __init__(
        self,
        model: Trainable,
        optimizer: torch.optim.Optimizer,
        loader: DataLoader,
        *,
        max_epochs: int,
        done: int,
        folder: Path,
    ) -> None:
        settings = dict(work_dir=str(folder), logger=logging.getLogger(__name__))
        super().__init__(model, optimizer=optimizer, max_epochs=max_epochs, **settings)
        self.mode = "train"
        self.data_loader = loader
        self._max_iters = max_epochs * len(loader)
        self._iter = done
        self._epoch = done // len(loader)

    @property
    def inner_iter(self) -> int:
        """Iterations done in the current epoch."""
        return self._iter - self._epoch * len(self.data_loader)

    def end_iteration(self) -> None:
        """Count an iteration."""
        self._iter += 1

    def end_epoch(self) -> None:
        """Count an epoch."""
        self._epoch += 1

    def show(self, values: dict[str, float]) -> None:
        """Let hooks that log see these values: a line of the log if they have a `time`, else AP."""
        self.log_buffer.clear_output()
        self.log_buffer.output.update(values)
        self.log_buffer.ready = bool(values)
