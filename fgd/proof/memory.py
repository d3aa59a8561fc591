"""How much memory of a GPU a row's training needs, from what one step keeps on a CPU.

Counted are the weights of student and teacher, gradients, the optimizer's state, and what the
student's forward pass keeps for the backward one, at two sizes of image: that grows with an image's
area. The teacher runs before, and keeps its features alone. They and the loss (a hundredth of the
student's, docs/performance.md), cuDNN's workspaces and what the allocator holds in reserve are the
margin; the driver's own share is added.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from mmcv.parallel import DataContainer, collate
from mmdet.datasets import build_dataset
from torch import Tensor, nn

from fgd import recipe
from fgd.proof.complexity import IMAGE
from fgd.proof.data import IMAGES, rehearsal_suite
from fgd.recipe.building import build
from fgd.suite import Suite

GB = 1e9
MARGIN = 0.3
DRIVER_GB = 0.6  # of a CUDA context with the libraries that training loads
_SIZES = (256, 512)


@dataclass(frozen=True)
class Memory:
    """What a process of a training needs of its GPU, in GB (10^9 bytes), in float32.

    Attributes:
        fixed: weights of student and teacher, gradients, the optimizer's state, and what the step
            keeps whatever the images.
        image: what the step keeps for each image of 1333x800.
    """

    fixed: float
    image: float

    def of(self, images: int) -> float:
        """With so many images a process, the margin and the driver's share included."""
        return (self.fixed + images * self.image) * (1 + MARGIN) + DRIVER_GB


def memory(suite: Suite, name: str) -> Memory:
    """Count a row's memory at full size. It takes some seconds and GB.

    Raises:
        FGDError: the row is wrong.
    """
    row = recipe.load_row(name, suite)
    kept = []
    for size in _SIZES:
        with tempfile.TemporaryDirectory(prefix="fgd-memory-") as folder:
            rehearsal = rehearsal_suite(suite, row, Path(folder), size)
            config = recipe.compose(rehearsal, row, "fgd").training
            if not kept:
                student = build("the student", config.model.student).train()
                weights = _bytes(student) + _bytes(build("the teacher", config.model.teacher))
            kept.append(_kept(student, _batch(config)))
    small, large = (IMAGES * size * size for size in _SIZES)
    pixel = (kept[1] - kept[0]) / (large - small)
    constant = max(0.0, kept[0] - pixel * small)
    trained = sum(p.numel() * p.element_size() for p in student.parameters() if p.requires_grad)
    states = 2 if "Adam" in config.optimizer.type else 1
    fixed = weights + trained * (1 + states) + constant
    return Memory(round(fixed / GB, 2), round(pixel * IMAGE[0] * IMAGE[1] / GB, 2))


def _batch(config: dict) -> dict:
    """The rehearsal's images as a step gets them."""
    dataset = build_dataset(config.data.train)
    batch = collate([dataset[index] for index in range(IMAGES)], IMAGES)
    return {key: _content(value) for key, value in batch.items()}


def _content(value: object) -> object:
    return value.data[0] if isinstance(value, DataContainer) else value


def _kept(student: nn.Module, batch: dict) -> int:
    """Bytes that a forward pass keeps for the backward one, beside weights."""
    weights = {p.untyped_storage().data_ptr() for p in student.parameters()}
    seen: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        losses = student.forward_train(**batch)  # holds what was kept: no address is used again
    del losses
    return sum(seen.values())


def _bytes(module: nn.Module) -> int:
    tensors = [*module.parameters(), *module.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
