"""How much memory of a GPU a row's training needs, from what one step keeps on a CPU.

Counted are the weights of student and teacher, gradients, the optimizer's state, and what the
student's forward pass keeps for the backward one. The teacher runs before, and keeps its features
alone. They and the loss (a hundredth of the student's, docs/performance.md), masks of more objects
than the images here have, cuDNN's workspaces and what the allocator holds in reserve are the
margin; the driver's own share is added.
"""

import tempfile
from pathlib import Path
from typing import Any

import torch
from mmcv import Config
from mmcv.parallel import DataContainer, collate
from mmdet.datasets import build_dataset
from mmdet.models import BaseDetector
from torch import Tensor, nn

from fgd import recipe
from fgd.doctor.memory import Memory
from fgd.proof.complexity import IMAGE
from fgd.proof.data import IMAGES, rehearsal_suite
from fgd.recipe.building import build
from fgd.suite import Suite

_GB = 1e9
_SIZE = 1024  # nearly as many pixels as an image of 1333x800 has


def memory(suite: Suite, name: str) -> Memory:
    """Count a row's memory at full size. It takes half a minute and up to 6 GB.

    Raises:
        FGDError: the row is wrong.
    """
    row = recipe.load_row(name, suite)
    with tempfile.TemporaryDirectory(prefix="fgd-memory-") as folder:
        rehearsal = rehearsal_suite(suite, row, Path(folder), _SIZE)
        config = recipe.compose(rehearsal, row, "fgd").training
        student = build("the student", config.model.student).train()
        kept = _kept(student, _batch(config)) / IMAGES
    weights = _bytes(student) + _bytes(build("the teacher", config.model.teacher))
    trained = sum(p.numel() * p.element_size() for p in student.parameters() if p.requires_grad)
    states = 2 if "Adam" in config.optimizer.type else 1
    fixed = weights + trained * (1 + states)
    image = kept * IMAGE[0] * IMAGE[1] / _SIZE**2
    return Memory(round(fixed / _GB, 2), round(image / _GB, 2))


def _batch(config: Config) -> dict[str, Any]:
    """The rehearsal's images as a step gets them."""
    dataset = build_dataset(config.data.train)
    batch = collate([dataset[index] for index in range(IMAGES)], IMAGES)
    return {key: _content(value) for key, value in batch.items()}


def _content(value: object) -> object:
    return value.data[0] if isinstance(value, DataContainer) else value


def _kept(student: BaseDetector, batch: dict[str, Any]) -> int:
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
