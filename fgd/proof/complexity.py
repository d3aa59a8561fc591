"""How large a detector is: its parameters, and the arithmetic of one image."""

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.models import BaseDetector, SparseRCNN
from mmdet.models.dense_heads import CascadeRPNHead
from mmdet.models.dense_heads.yolact_head import YOLACTProtonet
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fgd.recipe.building import build

# An image of 1333x800 as the pipelines pad it, to multiples of 32.
IMAGE = (800, 1344)
_PROPOSALS = 1000


@dataclass(frozen=True)
class Complexity:
    """Attributes:
    parameters: of the whole detector, in millions.
    gflops: of its forward pass on one image, in 10^9 multiply-adds of convolutions and matrix
        products; mmdet's own tables count the same way (and a percent for norms and such).
    """

    parameters: float
    gflops: float


@torch.no_grad()
def complexity(model: dict, image: tuple[int, int] = IMAGE) -> Complexity:
    """Measure a detector on an image of (height, width).

    Two-stage detectors count 1,000 proposals and 100 masks, as mmdet's tool does. Detections are
    not selected.
    """
    # The counter looks for the history of what asks for gradients, which nothing has here.
    detector = build("the detector", model).eval().requires_grad_(False)
    pixels = torch.zeros(1, 3, *image)
    with FlopCounterMode(display=False) as counter:
        _predict(detector, pixels)
    return Complexity(
        parameters=round(sum(p.numel() for p in detector.parameters()) / 1e6, 2),
        # The counter has a multiplication and an addition as two.
        gflops=round(counter.get_total_flops() / 2e9, 1),
    )


def _image_metas(head: nn.Module, pixels: Tensor) -> list[list[dict[str, Any]]]:
    """What a transformer's head wants to know of the image beside its features; or nothing."""
    if "img_metas" not in inspect.signature(head.forward).parameters:
        return []
    size = tuple(pixels.shape[2:])
    return [[{"batch_input_shape": size, "img_shape": (*size, 3)}]]


def _predict(detector: BaseDetector, pixels: Tensor) -> None:
    """Everything up to the heads' outputs."""
    if isinstance(detector, SparseRCNN):
        detector.rpn_head.init_weights()  # its proposals are parameters: whole images at first
        detector.forward_dummy(pixels)
        return
    features = detector.extract_feat(pixels)
    for name in ("rpn_head", "bbox_head", "mask_head"):
        head = getattr(detector, name, None)
        if isinstance(head, YOLACTProtonet):  # what follows selects boxes
            head.protonet(features[0])
        elif isinstance(head, CascadeRPNHead):  # each stage looks where the one before found boxes
            shape = (*pixels.shape[2:], 3)
            meta = {"img_shape": shape, "pad_shape": shape, "scale_factor": 1.0}
            head.simple_test_rpn(features, [meta])
        elif head is not None:
            head(features, *_image_metas(head, pixels))
    if hasattr(detector, "roi_head"):
        # mmdet's tool draws boxes at random, and mmcv refuses those of negative size on a CPU.
        proposals = torch.tensor([[0.0, 0.0, 64.0, 64.0]]).repeat(_PROPOSALS, 1)
        detector.roi_head.forward_dummy(features, proposals)
