"""Candidate boxes of heads that predict at every pixel of every level: one-stage heads and RPNs."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import RepPointsHead, RPNHead
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from torch import Tensor

from fgd.errors import FGDError
from fgd.onnx.decoding import check_coder, clipped, decoded
from fgd.onnx.suppression import Boxes, best, check_suppression, suppress

_POST = ("get_bboxes", "_get_bboxes_single", "_bbox_post_process")


def check_head(head: Any) -> None:
    """Refuse a one-stage head that makes boxes in a way of its own.

    Raises:
        FGDError: it does, by its name.
    """
    own = any(getattr(type(head), name) is not getattr(BaseDenseHead, name) for name in _POST)
    if not isinstance(head, BaseDenseHead) or (own and type(head) is not RepPointsHead):
        raise FGDError(
            f"no way is known to export a {type(head).__name__}: it makes its boxes in a way of "
            "its own. Known are RepPointsHead and all that use mmdet's common way, as RetinaHead, "
            "FCOSHead and ATSSHead do"
        )
    if type(head) is not RepPointsHead:
        check_coder(head.bbox_coder)
    _check_settings(head)


def detections(head: Any, features: Sequence[Tensor], size: Tensor) -> Boxes:
    """The boxes of a one-stage head, `max_per_img` of each image."""
    cfg = head.test_cfg
    classes, boxes, *factors = head(features)
    found = []
    for level, (scores, raw, priors) in enumerate(
        zip(classes, boxes, _priors(head, classes), strict=True)
    ):
        chances = _chances(head, _rows(scores, head.cls_out_channels))
        chances = chances * (chances > cfg.score_thr)
        top, positions = best(chances.flatten(1), cfg.nms_pre)
        place, labels = positions // chances.shape[2], positions % chances.shape[2]
        predicted = _rows(raw, 4).gather(1, place.unsqueeze(2).expand(-1, -1, 4))
        if type(head) is RepPointsHead:
            centre = priors[place][..., :2]
            spread = predicted * head.point_strides[level]
            corners = clipped(torch.cat([centre, centre], dim=-1) + spread, size)
        else:
            corners = decoded(head.bbox_coder, priors[place], predicted, size)
        # RepPoints' third output are its first points, which only its training looks at.
        if factors and type(head) is not RepPointsHead:
            top = top * _rows(factors[0][level], 1).squeeze(2).sigmoid().gather(1, place)
        found.append(Boxes(corners, top, labels))
    return suppress(_joined(found), cfg.nms, cfg.max_per_img)


def check_rpn(head: Any) -> None:
    """Refuse an RPN of another kind than mmdet's own."""
    if type(head) is not RPNHead:
        raise FGDError(f"no way is known to export a {type(head).__name__}, only an RPNHead")
    check_coder(head.bbox_coder)
    _check_settings(head)


def proposals(head: Any, features: Sequence[Tensor], size: Tensor) -> Boxes:
    """An RPN's boxes, `max_per_img` of each image; labels are their levels."""
    cfg = head.test_cfg
    classes, boxes = head(features)
    found = []
    for level, (scores, raw, priors) in enumerate(
        zip(classes, boxes, _priors(head, classes), strict=True)
    ):
        chances = _chances(head, _rows(scores, head.cls_out_channels))[..., 0]
        top, place = best(chances, cfg.nms_pre)
        predicted = _rows(raw, 4).gather(1, place.unsqueeze(2).expand(-1, -1, 4))
        corners = decoded(head.bbox_coder, priors[place], predicted, size)
        sides = corners[..., 2:] - corners[..., :2]
        if cfg.min_bbox_size >= 0:
            top = top * (sides > cfg.min_bbox_size).all(dim=2)
        found.append(Boxes(corners, top, place * 0 + level))
    return suppress(_joined(found), cfg.nms, cfg.max_per_img)


def _check_settings(head: Any) -> None:
    check_suppression(head.test_cfg)
    if head.test_cfg.get("nms_pre", -1) < 1:
        raise FGDError("its test_cfg keeps all boxes before nms; set nms_pre, as with 1000")


def _chances(head: Any, scores: Tensor) -> Tensor:
    """Of each class without the background, (N, P, classes)."""
    return scores.sigmoid() if head.use_sigmoid_cls else scores.softmax(dim=-1)[..., :-1]


def _rows(predicted: Tensor, width: int) -> Tensor:
    """(N, A * width, H, W) as (N, H * W * A, width)."""
    # Not unflatten, which would keep the traced image's number of pixels.
    return predicted.permute(0, 2, 3, 1).reshape(predicted.shape[0], -1, width)


def _priors(head: Any, predicted: Sequence[Tensor]) -> list[Tensor]:
    """Anchors or points of every level, in the order of `_rows`."""
    sizes = [each.shape[-2:] for each in predicted]
    like = predicted[0]
    return head.prior_generator.grid_priors(sizes, dtype=like.dtype, device=like.device)


def _joined(levels: Sequence[Boxes]) -> Boxes:
    boxes, scores, labels = (torch.cat(each, dim=1) for each in zip(*levels, strict=True))
    return Boxes(boxes, scores, labels)
