"""What a training run says while it runs: lines to read and lines to parse."""

import logging
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmcv.runner.hooks import Hook
from torch import Tensor

from fgd import progress


class LogHook(Hook):
    """Logs progress and the mean of every loss term since the last line.

    mmdet reads every loss on every iteration, and each reading makes the host wait for the device;
    here the values leave the device only for a line. They are averaged over iterations and ranks.
    Lines go to `logger`, and as JSON to `log.jsonl` in `folder`; there a resumed run continues
    where its state was saved. Other hooks find a line in the runner's `log_buffer`, as mmcv's do.

    Args:
        interval: iterations between lines; the last iteration always has one.
        batch_size: images an iteration, over all ranks.
    """

    def __init__(
        self, folder: Path, logger: logging.Logger, interval: int, batch_size: int
    ) -> None:
        self._folder = folder
        self._logger = logger
        self._interval = interval
        self._batch_size = batch_size
        self._sums: dict[str, Tensor] = {}
        self._counts: Counter[str] = Counter()  # by term: YOLOX's last epochs have one more
        self._device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"

    def before_run(self, runner: Any) -> None:
        """Drop lines that a killed run wrote after the state it is resumed from."""
        if runner.rank == 0:
            progress.drop_after(self._folder, runner.iter)
        self._spent = 0.0

    def before_train_epoch(self, runner: Any) -> None:
        """Start the clock; it stands between epochs, where a validation can take its time."""
        self._clock = time.monotonic()

    def after_train_epoch(self, runner: Any) -> None:
        """Stop the clock."""
        self._spent += time.monotonic() - self._clock

    def after_train_iter(self, runner: Any) -> None:
        """Called by the runner, after the optimizer's step."""
        runner.log_buffer.clear_output()
        for name, value in runner.outputs["terms"].items():
            self._sums[name] = self._sums.get(name, 0) + value
            self._counts[name] += 1
        if not self._sums:  # every batch since the last line was left out
            return
        if self.every_n_iters(runner, self._interval) or self.is_last_iter(runner):
            means = self._means(runner.world_size)
            if runner.rank == 0:
                self._write(runner, means)
            self._sums, self._counts = {}, Counter()
            self._clock, self._spent = time.monotonic(), 0.0

    def _means(self, world_size: int) -> dict[str, float]:
        means = torch.stack([total / self._counts[name] for name, total in self._sums.items()])
        if world_size > 1:
            dist.all_reduce(means)
            means /= world_size
        return dict(zip(self._sums, means.tolist(), strict=True))

    def _write(self, runner: Any, means: dict[str, float]) -> None:
        done = runner.iter + 1
        seconds = (self._spent + time.monotonic() - self._clock) / self._counts["loss"]
        entry = {
            "iter": done,
            "max_iters": runner.max_iters,
            "epoch": runner.epoch + 1,
            "max_epochs": runner.max_epochs,
            "lr": runner.current_lr()[0],
            "images_per_second": self._batch_size / seconds,
            "eta_seconds": seconds * (runner.max_iters - done),
            "processes": runner.world_size,
            "device": self._device,
            **means,
        }
        progress.append(self._folder, entry)
        # mmcv's logger hooks take a line with a `time` for one of training.
        runner.log_buffer.output.update(entry, time=seconds)
        runner.log_buffer.ready = True
        self._logger.info("%s", progress.text(entry))
