"""Distillers with random weights and batches of noise: a step costs the same with them."""

import dataclasses
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmcv.utils import get_logger
from mmdet.models import build_detector
from torch import nn

import fgd.distiller  # registers FGDDistiller with mmdet
from fgd import recipe
from fgd.checkout import root
from fgd.suite import Suite, load_suite

# (height, width) of a batch's images: the mini set's, and COCO's as most rows train on it.
SIZES = {"mini": (128, 128), "coco": (800, 1344)}


@contextmanager
def suite_of(name: str) -> Iterator[Suite]:
    """A suite whose results lie in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        yield dataclasses.replace(
            load_suite(root() / "configs" / "suites" / f"{name}.yaml"), results=folder
        )


def distiller(suite: Suite, row: str, device: torch.device) -> fgd.distiller.FGDDistiller:
    """A row's distiller in training mode."""
    torch.manual_seed(0)
    get_logger("mmcv").setLevel("ERROR")
    loaded = recipe.load_row(row)
    config = recipe.compose(suite, loaded, "fgd").training
    model = config.model
    model.student.backbone.init_cfg = None
    path = Path(model.teacher_checkpoint)
    if not path.exists():
        path.parent.mkdir(parents=True)
        torch.save({"state_dict": build_detector(model.teacher).state_dict()}, path)
    built = build_detector(model)
    built.init_weights()
    return built.to(device).train()


def unfolded_teacher(suite: Suite, row: str, device: torch.device) -> nn.Module:
    """A row's teacher as its config describes it, in eval mode."""
    config = recipe.compose(suite, recipe.load_row(row), "fgd").training.model
    teacher = build_detector(config.teacher).to(device).requires_grad_(False)
    teacher.eval()
    return teacher


def batch_of(
    images: int, size: tuple[int, int], classes: int, device: torch.device, boxes: int = 7
) -> dict:
    """What a detector takes: images of noise, `boxes` objects each, with masks."""
    from mmdet.core import BitmapMasks

    warnings.filterwarnings("ignore", message="torch.meshgrid")
    height, width = size
    generator = torch.Generator().manual_seed(0)
    corner, extent = torch.rand(2, images, boxes, 2, generator=generator)
    image = torch.tensor([width, height])
    start = corner * image * 0.7
    found = torch.cat([start, start + (0.05 + 0.25 * extent) * image], dim=2).to(device)
    meta = dict(
        img_shape=(height, width, 3),
        pad_shape=(height, width, 3),
        ori_shape=(height, width, 3),
        scale_factor=1.0,
    )
    return dict(
        img=torch.randn(images, 3, height, width, generator=generator).to(device),
        img_metas=[dict(meta) for _ in range(images)],
        gt_bboxes=list(found),
        gt_labels=[torch.arange(boxes, device=device) % classes for _ in range(images)],
        gt_masks=[
            BitmapMasks(torch.ones(boxes, height, width, dtype=torch.uint8).numpy(), height, width)
            for _ in range(images)
        ],
    )


def for_detector(batch: dict, detector: nn.Module) -> dict:
    """Without the masks, if the detector takes none."""
    student = getattr(detector, "student", detector)
    if getattr(student, "with_mask", False):
        return batch
    return {key: value for key, value in batch.items() if key != "gt_masks"}
