"""The loss as the paper writes it, one equation after the other: read this before `terms`.

It takes several times the time and the memory, and nothing trains with it. `terms` and its kernels
are compared with it, in tests and in benchmarks, and pictures of the attention are drawn with it.
"""

from collections.abc import Sequence
from math import ceil, floor

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgd.loss.terms import FGDLoss, FGDParts


def parts(
    loss: FGDLoss,
    student: Tensor,
    teacher: Tensor,
    gt_bboxes: Sequence[Tensor],
    img_shapes: Sequence[tuple[int, int]],
) -> FGDParts:
    """The four terms without their weights; arguments as of `FGDLoss.parts`, which equals this."""
    student = loss.aligned(student)
    images = len(student)
    foreground, background = scale_masks(gt_bboxes, img_shapes, student)
    spatial_s, channel_s = attention(student, loss.temperature)
    spatial_t, channel_t = attention(teacher, loss.temperature)
    relation_s = relation(student, loss.conv_mask_s, loss.channel_add_conv_s)
    relation_t = relation(teacher, loss.conv_mask_t, loss.channel_add_conv_t)

    # Equation 9.
    difference = spatial_t * channel_t * (teacher - student) ** 2
    # Equation 10.
    attention_ = (spatial_t - spatial_s).abs().sum() + (channel_t - channel_s).abs().sum()
    # Equation 12.
    global_ = ((relation_t - relation_s) ** 2).sum()
    return FGDParts(
        foreground=(foreground * difference).sum() / images,
        background=(background * difference).sum() / images,
        attention=attention_ / images,
        global_=global_ / images,
    )


def scale_masks(
    gt_bboxes: Sequence[Tensor], img_shapes: Sequence[tuple[int, int]], features: Tensor
) -> tuple[Tensor, Tensor]:
    """M S and (1 - M) S of equations 2 to 4 for features (N, C, H, W); each (N, 1, H, W)."""
    foreground = torch.zeros_like(features[:, :1])
    height, width = features.shape[2:]
    for mask, boxes, (image_height, image_width) in zip(
        foreground[:, 0], gt_bboxes, img_shapes, strict=True
    ):
        for x1, y1, x2, y2 in boxes.tolist():
            left, right = floor(x1 / image_width * width), ceil(x2 / image_width * width)
            top, bottom = floor(y1 / image_height * height), ceil(y2 / image_height * height)
            rows = slice(max(top, 0), max(bottom + 1, 0))
            columns = slice(max(left, 0), max(right + 1, 0))
            area = (bottom + 1 - top) * (right + 1 - left)
            mask[rows, columns] = mask[rows, columns].clamp(min=1 / area)
    outside = (foreground == 0).to(features.dtype)
    return foreground, outside / outside.sum(dim=(2, 3), keepdim=True).clamp(min=1)


def attention(features: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """A^S (N, 1, H, W) and A^C (N, C, 1, 1) of features (N, C, H, W): equations 5 to 8."""
    images, channels, height, width = features.shape
    magnitude = features.abs()
    spatial = F.softmax(magnitude.mean(dim=1).flatten(1) / temperature, dim=1)
    channel = F.softmax(magnitude.mean(dim=(2, 3)) / temperature, dim=1)
    return (
        height * width * spatial.view(images, 1, height, width),
        channels * channel.view(images, channels, 1, 1),
    )


def relation(features: Tensor, mask: nn.Conv2d, transform: nn.Sequential) -> Tensor:
    """R of equation 12, (N, C, H, W)."""
    weights = F.softmax(mask(features).flatten(2), dim=2)
    context = (features.flatten(2) * weights).sum(dim=2)
    return features + transform(context[..., None, None])
