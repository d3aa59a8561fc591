"""What heads predict of a box, as boxes, clipped to an image whose size a graph learns late."""

from typing import Any

import numpy as np
import torch
from mmdet.core.bbox.coder import DeltaXYWHBBoxCoder, DistancePointBBoxCoder
from torch import Tensor

from fgd.errors import FGDError

CODERS = (DeltaXYWHBBoxCoder, DistancePointBBoxCoder)
_NARROWEST = 16 / 1000  # by which factor mmdet lets a side shrink or grow


def size_of(images: Tensor) -> Tensor:
    """Height and width (2,), float, of images (N, H, W, 3), however large they will be."""
    return torch._shape_as_tensor(images)[1:3].to(torch.float32)


def clipped(boxes: Tensor, size: Tensor) -> Tensor:
    """Boxes (..., 4) within an image of (height, width)."""
    limits = torch.stack([size[1], size[0], size[1], size[0]]).to(boxes.device)
    return torch.minimum(boxes.clamp(min=0), limits)


def decoded(coder: Any, priors: Tensor, predicted: Tensor, size: Tensor) -> Tensor:
    """Boxes (..., 4) of predictions (..., 4) for anchors (..., 4) or points (..., 2)."""
    if type(coder) is DeltaXYWHBBoxCoder:
        boxes = _from_deltas(coder, priors, predicted)
    else:
        boxes = torch.cat([priors - predicted[..., :2], priors + predicted[..., 2:]], dim=-1)
    return clipped(boxes, size) if coder.clip_border else boxes


def check_coder(coder: Any) -> None:
    """Refuse what `decoded` does not know."""
    if type(coder) not in CODERS or getattr(coder, "add_ctr_clamp", False):
        known = " and ".join(each.__name__ for each in CODERS)
        raise FGDError(f"its boxes are coded by {type(coder).__name__}; known are {known}")


def _from_deltas(coder: Any, anchors: Tensor, predicted: Tensor) -> Tensor:
    deltas = predicted * predicted.new_tensor(coder.stds) + predicted.new_tensor(coder.means)
    limit = float(np.abs(np.log(_NARROWEST)))
    sides = anchors[..., 2:] - anchors[..., :2]
    centre = (anchors[..., :2] + anchors[..., 2:]) * 0.5 + sides * deltas[..., :2]
    half = sides * deltas[..., 2:].clamp(-limit, limit).exp() * 0.5
    return torch.cat([centre - half, centre + half], dim=-1)
