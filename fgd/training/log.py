"""What a training run says while it runs: lines to read and lines to parse."""

import logging
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from fgd import progress
from fgd.training import ranks

_LOGGER = logging.getLogger(__name__)


@dataclass
class Log:
    """Logs progress and the mean of every loss term since the last line.

    mmdet reads every loss on every iteration, and each reading makes the host wait for the device;
    here the values leave the device only for a line. They are averaged over iterations and ranks.
    Lines are for people, and as JSON in `log.jsonl`; there a resumed run continues where its state
    was saved.

    Attributes:
        folder: the run's work folder.
        batch_size: images an iteration, over all ranks.
        max_epochs, max_iters: of the training.
    """

    folder: Path
    batch_size: int
    max_epochs: int
    max_iters: int

    def __post_init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: Counter[str] = Counter()  # by term: YOLOX's last epochs have one more
        self._device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"

    def begin(self, done: int) -> None:
        """Drop lines that a killed run wrote after the state it is resumed from."""
        if ranks.rank() == 0:
            progress.drop_after(self.folder, done)
        self._spent = 0.0

    def start_clock(self) -> None:
        """Count the time from here on; not between epochs, where a validation can take its own."""
        self._clock = time.monotonic()

    def stop_clock(self) -> None:
        """Count no more."""
        self._spent += time.monotonic() - self._clock

    def add(self, terms: dict[str, Tensor]) -> None:
        """Count an iteration's terms in; none of a batch that was left out."""
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0) + value
            self._counts[name] += 1

    def write(self, done: int, epoch: int, lr: float) -> dict[str, Any]:
        """Write a line, on all ranks at once.

        Args:
            done: iterations done.
            epoch: of the last one, counted from 1.
            lr: its learning rate.

        Returns:
            The line, and as `time` the seconds an iteration; on the first rank alone, and not if
            every batch since the last line was left out.
        """
        if not self._sums:
            return {}
        means = self._means()
        seconds = (self._spent + time.monotonic() - self._clock) / self._counts["loss"]
        self._sums, self._counts = {}, Counter()
        self._clock, self._spent = time.monotonic(), 0.0
        if ranks.rank() > 0:
            return {}
        entry = {
            "iter": done,
            "max_iters": self.max_iters,
            "epoch": epoch,
            "max_epochs": self.max_epochs,
            "lr": lr,
            "images_per_second": self.batch_size / seconds,
            "eta_seconds": seconds * (self.max_iters - done),
            "processes": ranks.count(),
            "device": self._device,
            **means,
        }
        progress.append(self.folder, entry)
        _LOGGER.info("%s", progress.text(entry))
        return entry | {"time": seconds}

    def _means(self) -> dict[str, float]:
        means = torch.stack([total / self._counts[name] for name, total in self._sums.items()])
        if ranks.count() > 1:
            dist.all_reduce(means)
            means /= ranks.count()
        return dict(zip(self._sums, means.tolist(), strict=True))
