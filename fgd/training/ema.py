"""The exponential moving average of a detector's weights, which YOLOX is evaluated with."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """Averages of all floating-point weights and statistics of a detector, on its device.

    The average moves by `momentum` a step, and by more in the beginning (mmdet's
    ExpMomentumEMAHook): after step i by (1 - momentum) exp(-(1 + i) / total_iter) + momentum.

    Args:
        detector: its average starts with the weights that it has.
        momentum: how far the average moves towards the weights, in the end.
        total_iter: steps in which the early, faster moves fade by a factor of e.
    """

    def __init__(
        self, detector: nn.Module, momentum: float = 0.0002, total_iter: float = 2000
    ) -> None:
        self._detector = detector
        self._momentum = momentum
        self._total_iter = total_iter
        self._averages = {name: tensor.clone() for name, tensor in self._current().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average after a step, counted from 0."""
        faster = (1 - self._momentum) * math.exp(-(1 + step) / self._total_iter)
        torch._foreach_lerp_(
            list(self._averages.values()),
            list(self._current().values()),
            faster + self._momentum,
        )

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within it, the detector has its averages for weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, Tensor]:
        """The averages by the names of the detector's tensors."""
        return self._averages

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up saved averages.

        Raises:
            KeyError: one is missing.
        """
        for name, tensor in self._averages.items():
            tensor.copy_(state[name])

    def _current(self) -> dict[str, Tensor]:
        state = self._detector.state_dict()
        return {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}

    @torch.no_grad()
    def _swap(self) -> None:
        for name, tensor in self._current().items():
            kept = tensor.clone()
            tensor.copy_(self._averages[name])
            self._averages[name].copy_(kept)
