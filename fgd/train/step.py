"""One training step: a batch onto the device, losses out of the detector."""

from collections import OrderedDict
from typing import Any

import torch
from mmcv.parallel import DataContainer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class TrainStep(nn.Module):
    """Calls a detector's losses through `forward`, where DistributedDataParallel can see it.

    mmcv's MMDistributedDataParallel does this inside `train_step`, with attributes of torch's
    reducer that torch 2.0 removed; here the detector goes inside the wrapped module instead.
    """

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The total loss and its terms, detached."""
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
    """

    def __init__(self, detector: nn.Module, device: torch.device, distributed: bool) -> None:
        self.module = detector
        self.device = device
        step = TrainStep(detector)
        self._step = (
            DistributedDataParallel(
                step,
                device_ids=[device] if device.type == "cuda" else None,
                gradient_as_bucket_view=True,
            )
            if distributed
            else step
        )

    def train_step(self, batch: dict[str, Any], optimizer: object, **_: Any) -> dict[str, Any]:
        """mmcv's interface. `terms` are tensors: nothing waits for the device here."""
        loss, terms = self._step(to_device(batch, self.device))
        return {"loss": loss, "terms": terms}

    def train(self) -> None:
        """Training mode."""
        self._step.train()

    def parameters(self):
        """The detector's parameters, for gradient clipping."""
        return self.module.parameters()

    def state_dict(self) -> OrderedDict:
        """The detector's own state, without any wrapper's prefix."""
        return self.module.state_dict()


def to_device(value: Any, device: torch.device) -> Any:
    """Unpack mmcv's DataContainers of one process's batch and move tensors to `device`."""
    if isinstance(value, DataContainer):
        # One entry a GPU of the process; a process has one.
        content = value.data[0] if isinstance(value.data, list) else value.data
        return content if value.cpu_only else to_device(content, device)
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {key: to_device(item, device) for key, item in value.items()}
    if isinstance(value, list):
        return [to_device(item, device) for item in value]
    return value


def _total(value: Tensor | list[Tensor]) -> Tensor:
    # mmdet's convention: a loss is a tensor or one tensor a level.
    if isinstance(value, Tensor):
        return value.mean()
    return torch.stack([item.mean() for item in value]).sum()
