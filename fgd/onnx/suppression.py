"""Non-maximum suppression of batches, as the standard operator that every runtime has."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import nms

from fgd.errors import FGDError


class Boxes(NamedTuple):
    """Boxes of a batch.

    Attributes:
        boxes: (N, K, 4), x1 y1 x2 y2 in pixels.
        scores: (N, K); 0 for what is none.
        labels: (N, K), classes from 0.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor

    def take(self, positions: Tensor) -> "Boxes":
        """Those at positions (N, k)."""
        corners = positions.unsqueeze(2).expand(-1, -1, 4)
        return Boxes(
            self.boxes.gather(1, corners),
            self.scores.gather(1, positions),
            self.labels.gather(1, positions),
        )


def best(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest of (N, M) scores and their positions, the largest first.

    Where M is less, 0 fills them up; a graph does not know M when it is made.
    """
    padded = F.pad(scores, (0, count))
    values, positions = padded.topk(count, dim=1)
    # As a tensor: a number would be that of the traced image for ever.
    return values, torch.minimum(positions, torch._shape_as_tensor(scores)[1] - 1)


def suppress(found: Boxes, settings: dict[str, Any], count: int) -> Boxes:
    """The `count` boxes with the highest scores that overlap with no better one of their class.

    Args:
        settings: mmdet's `nms`.
    """
    there = (found.scores > 0).unsqueeze(2)
    # As mmcv's batched_nms: classes are moved apart, so that only boxes of one class overlap.
    corners = found.boxes * there
    moved = corners
    if not settings.get("class_agnostic", False):
        distance = corners.amax(dim=(1, 2)) + 1
        moved = corners + (found.labels * distance.unsqueeze(1)).unsqueeze(2)
    kept = _Suppression.apply(moved, found.scores.unsqueeze(1), count, _overlap(settings))
    mask = found.scores.flatten() * 0
    position = kept[:, 0] * found.scores.shape[1] + kept[:, 2]
    mask = mask.index_put((position,), (position * 0 + 1).to(mask.dtype))
    scores, positions = best(found.scores * mask.view_as(found.scores), count)
    chosen = found.take(positions)
    return Boxes(chosen.boxes * (scores > 0).unsqueeze(2), scores, chosen.labels)


# Of mmcv's settings, beside `split_thr`, which is how many boxes it suppresses at a time.
_OVERLAP = ("iou_threshold", "iou_thr")  # today's name, and an older one that mmcv takes
_DONE = ("type", *_OVERLAP, "class_agnostic", "split_thr")
_WITHOUT_EFFECT = {"offset": 0, "max_num": -1, "score_threshold": 0}


def check_suppression(test_cfg: Any) -> None:
    """Refuse settings of a head under which boxes are kept that no suppression chose.

    Args:
        test_cfg: mmdet's, with `nms` and `max_per_img`.
    """
    if test_cfg.get("nms") is None:
        raise FGDError(
            "its test_cfg has no nms, without which boxes that overlap stay; set it, as with "
            "nms = dict(type='nms', iou_threshold=0.5), and evaluate the student with it"
        )
    check_nms(test_cfg.nms)
    count = test_cfg.get("max_per_img")
    if count is None or count < 1:
        raise FGDError(
            f"its test_cfg has max_per_img {count}, and the exported graph has a fixed number of "
            "boxes; set it, as with 100, and evaluate the student with it"
        )


def check_nms(settings: dict[str, Any]) -> None:
    """Refuse what the operator cannot do."""
    if (kind := settings.get("type", "nms")) != "nms":
        raise FGDError(f"its nms is {kind}, for which ONNX has no operator; with nms it has")
    for key, value in settings.items():
        if key not in _DONE and value != _WITHOUT_EFFECT.get(key):
            raise FGDError(
                f"its nms has {key} {value}, which ONNX's operator does not know; leave it out of "
                "the config's test_cfg, and evaluate the student without it"
            )
    if len([key for key in _OVERLAP if key in settings]) != 1:
        raise FGDError("its nms says no iou_threshold, or two; give one, as 0.5")


def _overlap(settings: dict[str, Any]) -> float:
    return next(settings[key] for key in _OVERLAP if key in settings)


class _Suppression(torch.autograd.Function):
    """NonMaxSuppression of boxes (N, K, 4) with scores (N, 1, K): image, 0 and box of each kept."""

    @staticmethod
    def forward(ctx: Any, boxes: Tensor, scores: Tensor, count: int, overlap: float) -> Tensor:
        rows = []
        for image, (each, (score,)) in enumerate(zip(boxes, scores, strict=True)):
            there = (score > 0).nonzero()[:, 0]
            kept = there[nms(each[there], score[there], overlap)[:count]]
            rows.append(torch.stack([torch.full_like(kept, image), 0 * kept, kept], dim=1))
        return torch.cat(rows)

    @staticmethod
    def symbolic(g: Any, boxes: Any, scores: Any, count: int, overlap: float) -> Any:
        def constant(value: Tensor) -> Any:
            return g.op("Constant", value_t=value)

        return g.op(
            "NonMaxSuppression",
            boxes,
            scores,
            constant(torch.tensor([count], dtype=torch.int64)),
            constant(torch.tensor([overlap], dtype=torch.float32)),
            constant(torch.tensor([0.0], dtype=torch.float32)),
        )
