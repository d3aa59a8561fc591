"""The module that is traced: an image's bytes in, boxes, scores, labels and masks out."""

from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models import SingleStageDetector, TwoStageDetector
from torch import Tensor, nn

from fgd.errors import FGDError
from fgd.onnx import dense, regions
from fgd.onnx.decoding import size_of
from fgd.onnx.pipeline import Input


class Graph(nn.Module):
    """A detector from bytes to detections.

    Args:
        detector: a built one- or two-stage detector of mmdet with its weights.
        input_: what its test pipeline does.
        pixels: "uint8", bytes that the graph normalises, or "float32", normalised already.

    Raises:
        FGDError: a part of it has no known way into a graph, or images are not of bytes.
    """

    def __init__(self, detector: Any, input_: Input, pixels: str = "uint8") -> None:
        super().__init__()
        if input_.to_float32 and pixels == "uint8":
            raise FGDError(
                "data.test.pipeline.LoadImageFromFile.to_float32: is True, and what is resized as "
                "float32 does not go into bytes: export with --pixels float32"
            )
        self.detector: Any = detector
        self.input = input_
        self.pixels = pixels
        self.two_stage = isinstance(detector, TwoStageDetector)
        if self.two_stage:
            dense.check_rpn(detector.rpn_head)
            regions.check_regions(detector.roi_head)
        elif isinstance(detector, SingleStageDetector):
            dense.check_head(detector.bbox_head)
        else:
            raise FGDError(f"no way is known to export a {type(detector).__name__}")
        self.with_mask = self.two_stage and detector.roi_head.with_mask
        self.eval()  # itself, too: torch's exporter leaves all of it as it found the whole

    @property
    def outputs(self) -> list[str]:
        """Names of what `forward` returns."""
        return ["boxes", "scores", "labels", *(["masks"] if self.with_mask else [])]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Detect in a batch of images of one size.

        Args:
            images: (N, H, W, 3), RGB.

        Returns:
            Boxes (N, K, 4), x1 y1 x2 y2 in the images' pixels, the best first; scores (N, K), 0
            where there are no more; labels (N, K), classes from 0, -1 where there are no more; of a
            detector with masks, how likely each cell of a box's grid is its object's, (N, K, h, w).
        """
        size = size_of(images)
        features = self.detector.extract_feat(self._prepared(images))
        if self.two_stage:
            proposals = dense.proposals(self.detector.rpn_head, features, size)
            head = self.detector.roi_head
            found = regions.detections(head, features, proposals, size)
        else:
            found = dense.detections(self.detector.bbox_head, features, size)
        labels = (found.labels + 1) * (found.scores > 0) - 1
        result = found.boxes, found.scores, labels
        if self.with_mask:
            return *result, regions.masks(self.detector.roi_head, features, found)
        return result

    def _prepared(self, images: Tensor) -> Tensor:
        """As the detector takes them: (N, 3, H', W'), normalised and padded."""
        pixels = images
        if self.pixels == "uint8":
            mean, std = (pixels.new_tensor(each, dtype=torch.float32)
                         for each in (self.input.mean, self.input.std))  # fmt: skip
            pixels = (pixels.to(torch.float32) - mean) / std
        pixels = pixels.permute(0, 3, 1, 2)
        if not self.input.rgb:
            pixels = pixels.flip(1)
        divisor = self.input.divisor
        down, right = ((divisor - side % divisor) % divisor for side in images.shape[1:3])
        return F.pad(pixels, (0, right, 0, down))
