"""What YOLOX changes while it trains, as a pure function of seed and iteration.

mmdet's own hook and detector count iterations from the start of the process, so that a resumed run
would see other sizes and, resumed in the last epochs, mosaics to its end.
"""

import sys
from typing import Any

import numpy as np
from mmcv.runner.hooks import Hook
from mmdet.models.detectors import YOLOX
from torch import nn

from fgd.data.mixing import MIXING
from fgd.training.runner import Runner


def yolox_hooks(detector: nn.Module, seed: int, last_epochs: int | None) -> list[Hook]:
    """The hooks that a distiller of YOLOX or a YOLOX needs, and whoever learns as one.

    Args:
        last_epochs: epochs at the end without mosaics, and with an L1 loss; None for no such end.
    """
    student = getattr(detector, "student", detector)
    sizes: list[Hook] = [InputSizeHook(student, seed)] if isinstance(student, YOLOX) else []
    return sizes if last_epochs is None else [*sizes, LastEpochsHook(student, last_epochs)]


class InputSizeHook(Hook):
    """Draws the size that YOLOX gives its batches anew every few iterations, from the seed."""

    def __init__(self, student: YOLOX, seed: int) -> None:
        self._student = student
        self._seed = seed
        self._interval = student._random_size_interval
        student._random_size_interval = sys.maxsize  # it draws none itself

    def before_train_iter(self, runner: Runner) -> None:
        """Called by the runner."""
        student = self._student
        height, width = student._default_input_size
        draw = runner.iter // self._interval
        if draw == 0:
            student._input_size = (height, width)
            return
        low, high = student._random_size_range
        size = int(np.random.default_rng([self._seed, draw]).integers(low, high, endpoint=True))
        unit = student._size_multiplier
        student._input_size = (unit * size, unit * int(size * width / height))


class LastEpochsHook(Hook):
    """Ends a training on plain images, YOLOX's with an L1 loss for the boxes."""

    def __init__(self, student: nn.Module, last_epochs: int) -> None:
        self._student: Any = student
        self._last_epochs = last_epochs

    def before_train_epoch(self, runner: Runner) -> None:
        """Called by the runner, before the workers of an epoch start."""
        # As mmdet counts them: the epoch before the last ones is one of them.
        if runner.epoch + 1 >= runner.max_epochs - self._last_epochs:
            seeded: Any = runner.data_loader.dataset  # a SeededDataset
            if hasattr(seeded.dataset, "update_skip_type_keys"):  # it mixes images
                seeded.dataset.update_skip_type_keys(MIXING)
            if hasattr(self._student.bbox_head, "use_l1"):
                self._student.bbox_head.use_l1 = True
