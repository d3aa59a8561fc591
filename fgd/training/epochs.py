"""Tells a detector in which epoch it is, if it changes as it trains: TOOD's assigner does."""

from typing import Any

from mmcv.runner.hooks import Hook
from torch import nn

from fgd.training.runner import Runner


def epoch_hooks(detector: nn.Module) -> list[Hook]:
    """The hook that a distiller of such a detector, or one alone, needs; none for any other."""
    student = getattr(detector, "student", detector)
    return [EpochHook(student)] if hasattr(student, "set_epoch") else []


class EpochHook(Hook):
    """What mmdet's SetEpochInfoHook does, of the student of a distillation, too."""

    def __init__(self, student: nn.Module) -> None:
        self._student: Any = student

    def before_train_epoch(self, runner: Runner) -> None:
        """Called by the runner, also when it goes on in the middle of an epoch."""
        self._student.set_epoch(runner.epoch)
