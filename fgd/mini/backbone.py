"""Trains a narrow ResNet as a classifier of digit crops: the mini suite's ImageNet weights.

A detector of the zoo starts from a backbone that was trained to classify ImageNet. Nobody publishes
such weights for a ResNet of 16 channels, so the mini suite makes its own: the same backbone class,
a linear classifier on its last stage, and crops of the mini set's training digits drawn by the mini
set's own renderer. Only the backbone is kept.
"""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.models.backbones import ResNet
from torch import nn

from fgd.errors import FGDError
from fgd.files import atomic_path
from fgd.mini.scene import CLASSES, draw_crop, load_source

SIDE = 48  # pixels of a crop
BATCH = 64
TRAIN_CROPS = 4000
TEST_CROPS = 1000
LEARNING_RATE = 1e-2
WEIGHT_DECAY = 0.05
# The zoo's detectors normalise their input so, in RGB.
IMAGENET_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
IMAGENET_STD = np.array([58.395, 57.12, 57.375], np.float32)


@dataclass(frozen=True)
class Crops:
    """Crops (n, 3, side, side) float32, normalised as ImageNet's are, and classes (n,) int64."""

    images: torch.Tensor
    labels: torch.Tensor


def train_backbone(
    name: str, out: str | os.PathLike, iterations: int = 150, seed: int = 0
) -> dict[str, float]:
    """Train the backbone `name` and write its weights to `out`.

    Args:
        name: resnet<depth>x<base channels>, for example resnet18x16.
        out: {"state_dict": the backbone's own keys, "meta": ..}, what mmdet's `Pretrained`
            initialisation takes. The same arguments give the same bytes on the same machine.
        iterations: batches of 64 crops.
        seed: of the crops and the first weights.

    Returns:
        {"accuracy": on crops of the validation half's digits, in 0..1, "seconds": of training}

    Raises:
        FGDError: `name` is no such name.
    """
    start = time.perf_counter()
    torch.manual_seed(seed)
    backbone = build_backbone(name)
    model = nn.Sequential(backbone, _StageClassifiers(backbone.feat_dim))
    crops = draw_crops("train", TRAIN_CROPS, seed)
    _fit(model, crops, iterations)
    seconds = time.perf_counter() - start
    accuracy = _accuracy(model, draw_crops("val", TEST_CROPS, seed))
    meta = {"name": name, "iterations": iterations, "seed": seed, "accuracy": accuracy}
    # A file object and not a path: torch.save writes a path's name into the file, and the
    # temporary one is random.
    with atomic_path(out) as temporary, temporary.open("wb") as file:
        torch.save({"state_dict": backbone.state_dict(), "meta": meta}, file)
    return {"accuracy": accuracy, "seconds": seconds}


def build_backbone(name: str) -> ResNet:
    """The mmdet ResNet that `name` stands for; batch norm learns."""
    match = re.fullmatch(r"resnet(\d+)x(\d+)", name)
    depths = sorted(ResNet.arch_settings)
    if not match or int(match[1]) not in depths or int(match[2]) == 0:
        raise FGDError(
            f"unknown backbone {name!r}: expected resnet<depth>x<base channels>, for example "
            f"resnet18x16, with a depth of {', '.join(map(str, depths))}"
        )
    return ResNet(depth=int(match[1]), base_channels=int(match[2]), norm_eval=False)


def draw_crops(split: str, count: int, seed: int) -> Crops:
    """Draw `count` crops of the digits and photographs of `split`."""
    source = load_source(split)
    rng = np.random.default_rng([seed, count])
    drawn = [draw_crop(source, rng, SIDE) for _ in range(count)]
    images = np.stack([image for image, _ in drawn]).astype(np.float32)
    images = (images - IMAGENET_MEAN) / IMAGENET_STD
    return Crops(
        torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(),
        torch.tensor([label for _, label in drawn]),
    )


class _StageClassifiers(nn.Module):
    """A classifier on each of the stages that an FPN takes, not the last one alone.

    ImageNet's weeks give every stage features that tell classes apart. In seconds only deep
    supervision does (arXiv 1409.5185), and dense heads need it: they classify on stride 8.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(channels // 2**k, len(CLASSES)) for k in (2, 1, 0))

    def forward(self, stages: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Stages (N, C_i, H_i, W_i) to logits (3, N, classes), the last stage's last."""
        pooled = (stage.mean(dim=(2, 3)) for stage in stages[1:])
        return torch.stack([head(x) for head, x in zip(self.heads, pooled, strict=True)])


def _fit(model: nn.Module, crops: Crops, iterations: int) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, iterations)
    model.train()
    for chosen in _batches(len(crops.labels), iterations):
        logits = model(crops.images[chosen])
        labels = crops.labels[chosen].expand(len(logits), -1)
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def _batches(count: int, iterations: int) -> Iterator[torch.Tensor]:
    """Indices of `iterations` batches: one random order of the crops after another."""
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(iterations):
        while len(order) < BATCH:
            order = torch.cat([order, torch.randperm(count)])
        yield order[:BATCH]
        order = order[BATCH:]


@torch.no_grad()
def _accuracy(model: nn.Module, crops: Crops) -> float:
    model.eval()
    guesses = torch.cat([model(images)[-1].argmax(1) for images in crops.images.split(BATCH)])
    return (guesses == crops.labels).double().mean().item()
