"""One training step: from a batch to the losses of the detector."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_, get_total_norm

from fgd.precision import Precision


class TrainStep(nn.Module):
    """Calls a detector's losses through `forward`, where DistributedDataParallel can see it.

    mmcv's MMDistributedDataParallel does this inside `train_step`, with attributes of torch's
    reducer that torch 2.0 removed; here the detector goes inside the wrapped module instead.
    """

    def __init__(self, detector: nn.Module, precision: Precision) -> None:
        super().__init__()
        self.detector = detector
        self._precision = precision

    def forward(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The total loss and its terms, detached."""
        with self._precision.autocast():
            losses = self.detector(**batch)
        terms = {name: _total(value) for name, value in losses.items()}
        loss = torch.stack([value for name, value in terms.items() if "loss" in name]).sum()
        logged = {name: value.detach() for name, value in terms.items()}
        return loss, {**logged, "loss": loss.detach()}


class Trainable:
    """What mmcv's runner takes for a model: the detector, alone or on every rank.

    Args:
        detector: the detector, on its device.
        device: where batches go.
        distributed: average gradients over all ranks.
        precision: what the detector computes in; float32 if None.
        unused: some parameters may get no gradient.
    """

    def __init__(
        self,
        detector: nn.Module,
        device: torch.device,
        *,
        distributed: bool,
        precision: Precision | None = None,
        unused: bool = False,
    ) -> None:
        self.module = detector
        self.device = device
        self.precision = precision or Precision("fp32", device)
        self.precision.prepare(detector)
        step = TrainStep(detector, self.precision)
        self._step = (
            DistributedDataParallel(
                step,
                device_ids=[device] if device.type == "cuda" else None,
                gradient_as_bucket_view=True,
                find_unused_parameters=unused,
            )
            if distributed
            else step
        )

    def train_step(self, batch: dict[str, Any], optimizer: object, **_: Any) -> dict[str, Any]:
        """mmcv's interface. `terms` are tensors: nothing waits for the device here."""
        loss, terms = self._step(batch)
        return {"loss": loss, "terms": terms}

    def train(self) -> None:
        """Training mode."""
        self._step.train()

    def parameters(self) -> Iterator[nn.Parameter]:
        """The detector's parameters, for gradient clipping."""
        return self.module.parameters()

    def state_dict(self) -> dict[str, Any]:
        """The detector's own state, without any wrapper's prefix."""
        return self.module.state_dict()


def update(
    model: Trainable,
    optimizer: torch.optim.Optimizer,
    batch: dict[str, Any],
    grad_clip: dict[str, Any] | None,
) -> dict[str, Tensor]:
    """Forward and backward pass, gradient clipping and the optimizer's step.

    mmcv's hook reads the gradient norm on every iteration, which makes the host wait for the
    device; here it is one more term of the log.

    Args:
        grad_clip: `max_norm` and `norm_type` for torch's `clip_grad_norm_`, or None.

    Returns:
        The terms of the loss, and `grad_norm`, that of before clipping; scalars on the device.
    """
    outputs = model.train_step(batch, optimizer)
    loss, terms = outputs["loss"], outputs["terms"]
    scaler = model.precision.scaler
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    if grad_clip:
        terms["grad_norm"] = clip_grad_norm_(model.parameters(), **grad_clip)
    else:  # to see whether it is finite: a step on one that is not leaves nothing of the weights
        terms["grad_norm"] = get_total_norm(
            [each.grad for each in model.parameters() if each.grad is not None]
        )
    scaler.step(optimizer)
    scaler.update()
    return terms


def _total(value: Tensor | list[Tensor]) -> Tensor:
    # mmdet's convention: a loss is a tensor or one tensor a level.
    if isinstance(value, Tensor):
        return value.mean()
    return torch.stack([item.mean() for item in value]).sum()
