"""The second stage: features of proposals, their classes and boxes, and the masks of those kept."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.roi_heads import ConvFCBBoxHead, FCNMaskHead, StandardRoIHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from torch import Tensor
from torchvision.ops import roi_align

from fgd.errors import FGDError
from fgd.onnx.decoding import check_coder, decoded
from fgd.onnx.suppression import Boxes, check_suppression, suppress


def check_regions(head: Any) -> None:
    """Refuse a second stage of another kind than Faster and Mask R-CNN's.

    Raises:
        FGDError: it is one, by its name.
    """
    parts: list[tuple[Any, type]] = [
        (head, StandardRoIHead),
        (head.bbox_roi_extractor, SingleRoIExtractor),
    ]
    if head.with_mask:
        parts += [(head.mask_roi_extractor, SingleRoIExtractor), (head.mask_head, FCNMaskHead)]
    for part, known in parts:
        if type(part) is not known:
            raise FGDError(
                f"no way is known to export a {type(part).__name__}, only a {known.__name__}"
            )
        if known is SingleRoIExtractor:
            _check_pooling(part)
    if not isinstance(head.bbox_head, ConvFCBBoxHead) or head.bbox_head.custom_cls_channels:
        raise FGDError(f"no way is known to export a {type(head.bbox_head).__name__}")
    check_coder(head.bbox_head.bbox_coder)
    check_suppression(head.test_cfg)


def detections(head: Any, features: Sequence[Tensor], found: Boxes, size: Tensor) -> Boxes:
    """What the second stage makes of proposals: `max_per_img` boxes of each image."""
    images, count = found.scores.shape
    there = (found.scores.flatten() > 0).nonzero()[:, 0]
    regions = _regions(found.boxes)[there]
    classes, predicted = head.bbox_head(_pooled(head.bbox_roi_extractor, features, regions))
    chances = classes.softmax(dim=-1)[:, :-1]
    width = chances.shape[1]
    if head.bbox_head.reg_class_agnostic:
        predicted = predicted.unsqueeze(1).expand(-1, width, -1)
    predicted = predicted.reshape(-1, width, 4)
    anchors = regions[:, None, 1:].expand(-1, width, -1)
    corners = decoded(head.bbox_head.bbox_coder, anchors, predicted, size)
    chances = chances * (chances > head.test_cfg.score_thr)
    labels = torch.arange(width, device=chances.device).expand(images, count, -1).flatten(1)
    every = Boxes(
        _spread(corners, there, found.scores).view(images, -1, 4),
        _spread(chances, there, found.scores).view(images, -1),
        labels,
    )
    return suppress(every, head.test_cfg.nms, head.test_cfg.max_per_img)


def masks(head: Any, features: Sequence[Tensor], found: Boxes) -> Tensor:
    """How likely each of a box's cells is its object's, (N, K, 28, 28) for mmdet's usual head."""
    there = (found.scores.flatten() > 0).nonzero()[:, 0]
    regions, labels = _regions(found.boxes)[there], found.labels.flatten()[there]
    likely = head.mask_head(_pooled(head.mask_roi_extractor, features, regions))
    if not head.mask_head.class_agnostic:
        own = labels.view(-1, 1, 1, 1).expand(-1, 1, *likely.shape[2:])
        likely = likely.gather(1, own)
    spread = _spread(likely[:, 0].sigmoid(), there, found.scores)
    return spread.reshape(-1, found.scores.shape[1], *spread.shape[1:])


def _regions(boxes: Tensor) -> Tensor:
    """Boxes (N, K, 4) as mmdet's regions (N * K, 5), the image first."""
    image = torch.arange(boxes.shape[0], device=boxes.device, dtype=boxes.dtype)
    image = image.view(-1, 1, 1).expand(-1, boxes.shape[1], 1)
    return torch.cat([image, boxes], dim=2).flatten(0, 1)


def _spread(values: Tensor, positions: Tensor, like: Tensor) -> Tensor:
    """Values (R, ...) at their positions among all N * K, with zeros between."""
    everywhere = like.flatten() * 0
    everywhere = everywhere.view(-1, *[1] * (values.dim() - 1)).expand(-1, *values.shape[1:])
    return everywhere.index_put((positions,), values)


def _pooled(extractor: Any, features: Sequence[Tensor], regions: Tensor) -> Tensor:
    """Features (R, C, h, w) of regions (R, 5), each from the level of its size."""
    levels = features[: extractor.num_inputs]
    of = extractor.map_roi_levels(regions, len(levels))
    order, pooled = [], []
    for number, (level, layer) in enumerate(zip(levels, extractor.roi_layers, strict=True)):
        here = (of == number).nonzero()[:, 0]
        order.append(here)
        pooled.append(
            roi_align(
                level,
                regions[here],
                layer.output_size,
                layer.spatial_scale,
                layer.sampling_ratio,
                layer.aligned,
            )
        )
    return torch.cat(pooled)[torch.cat(order).argsort()]


def _check_pooling(extractor: Any) -> None:
    """Refuse a pooling other than RoIAlign's average."""
    for layer in extractor.roi_layers:
        if type(layer).__name__ != "RoIAlign" or layer.pool_mode != "avg":
            raise FGDError(
                f"no way is known to export a {type(layer).__name__}, only a RoIAlign that averages"
            )
