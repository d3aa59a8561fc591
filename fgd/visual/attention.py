"""FGD's own view of an image: what its loss weights, level by level, before and after distillation.

Before is the student as its training began: the detector is built again from the run's config and
seed, and starts from the same files. After is the run's final state.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmcv import Config
from mmdet.models import build_detector
from torch import Tensor

from fgd.checkpoint import read_checkpoint
from fgd.configs import read_config
from fgd.distiller import FGDDistiller, loss_name
from fgd.errors import FGDError
from fgd.loss import FGDLoss, paper, scale_masks
from fgd.training.sampling import derive_seed, seed_everything
from fgd.visual.images import NetworkInput, Picture, network_input
from fgd.weights import load_strictly


@dataclass(frozen=True)
class Attention:
    """Attention of one detector at one level; both maps have a mean of 1.

    Attributes:
        spatial: A^S of equation 7, (H, W).
        channel: A^C of equation 8, (C,).
    """

    spatial: np.ndarray
    channel: np.ndarray


@dataclass(frozen=True)
class LevelView:
    """What the loss sees of an image at one FPN level.

    Attributes:
        level: index of the FPN output.
        extent: width and height in pixels of the image that the feature map covers; more than the
            image's own where the network's input is padded.
        foreground, background: the scale masks M*S and (1-M)*S of equations 2 to 4, (H, W).
        before, after, teacher: attention of the student at its start and at its end, and of the
            teacher.
    """

    level: int
    extent: tuple[float, float]
    foreground: np.ndarray
    background: np.ndarray
    before: Attention
    after: Attention
    teacher: Attention


def fgd_views(config: Path, trained: Path, pictures: list[Picture]) -> list[list[LevelView]]:
    """FGD's view of every picture, by level.

    Args:
        config: training config of a distillation (`config.py`).
        trained: its final training state (`trained.pth`).
        pictures: images with their ground truth.

    Raises:
        FGDError: the config is not that of a distillation, or a file that it names is missing or
            does not fit.
    """
    cfg = read_config(config)
    if cfg.model.get("type") != "FGDDistiller":
        raise FGDError(
            f"{config}: not the training config of a distillation (its model is "
            f"{cfg.model.get('type')}); give the config.py beside a row's fgd/trained.pth"
        )
    distiller = distiller_at_start(cfg)
    inputs = [network_input(cfg, picture.path) for picture in pictures]
    before = [_attentions(distiller, item.img) for item in inputs]
    load_strictly(distiller, read_checkpoint(trained)["state_dict"], str(trained))
    after = [_attentions(distiller, item.img) for item in inputs]
    return [
        [
            LevelView(
                level,
                item.extent,
                *_masks(picture, item, then[level][1].spatial.shape),
                before=then[level][0],
                after=now[level][0],
                teacher=now[level][1],
            )
            for level in distiller.levels
        ]
        for picture, item, then, now in zip(pictures, inputs, before, after, strict=True)
    ]


def distiller_at_start(cfg: Config) -> FGDDistiller:
    """The distiller of a training config as its run began: of its seed, and of the same files."""
    seed_everything(derive_seed(cfg.seed))
    distiller = build_detector(cfg.model)
    distiller.init_weights()
    return distiller


@torch.no_grad()
def _attentions(distiller: FGDDistiller, img: Tensor) -> dict[int, tuple[Attention, Attention]]:
    """Attention of student and teacher by level."""
    found = {}
    for level, (student, teacher) in distiller.features(img).items():
        loss = distiller.distill_losses[loss_name(level)]
        assert isinstance(loss, FGDLoss)
        found[level] = (
            _attention(loss.aligned(student), loss.temperature),
            _attention(teacher, loss.temperature),
        )
    return found


def _attention(features: Tensor, temperature: float) -> Attention:
    """Of one image's features, (1, C, H, W)."""
    spatial, channel = paper.attention(features, temperature)
    return Attention(spatial[0, 0].numpy(), channel[0, :, 0, 0].numpy())


def _masks(
    picture: Picture, item: NetworkInput, size: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    assert picture.truth is not None  # as `fgd_views` says
    boxes = torch.as_tensor(picture.truth.boxes * item.scale, dtype=torch.float32).view(-1, 4)
    height, width = size
    (masks,) = scale_masks([boxes], [item.shape], [(height, width)])
    foreground, background = masks[0].numpy()
    return foreground, background
