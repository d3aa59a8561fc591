"""Which cells of a feature map belong to objects, and how much each counts: equations 2 to 4."""

from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

# Boxes an image that are painted at once, each into a map of its own: a bound on that memory.
_BOXES = 32


def scale_masks(
    gt_bboxes: Sequence[Tensor],
    img_shapes: Sequence[tuple[int, int]],
    sizes: Sequence[Sequence[int]],
) -> list[Tensor]:
    """Foreground and background scale masks M*S and (1-M)*S of feature maps of several sizes.

    A box covers the cells from floor(x1) to ceil(x2), both included, and likewise in y, where the
    image is stretched over the whole feature map. Where boxes overlap the smallest counts; its
    area is that of the whole box, also of the part beyond the border.

    No value is read back from the device.

    Args:
        gt_bboxes: N tensors (k, 4), x1 y1 x2 y2 in pixels of the network's input; k may be 0.
        img_shapes: N pairs (height, width) of the network's input before padding, in pixels.
        sizes: (H, W) of each map.

    Returns:
        For each size a tensor (N, 2, H, W), the foreground first. An image without background has
        a background mask of zeros.

    Raises:
        ValueError: the boxes or shapes are not as above.
    """
    _check(gt_bboxes, img_shapes)
    first, last = _covered(gt_bboxes, img_shapes, sizes)
    scale = 1 / (last + 1 - first).prod(dim=-1)  # (N, L, K)
    cells = torch.arange(max(max(size) for size in sizes), device=scale.device)
    inside = (cells >= first[..., None]) & (cells <= last[..., None])  # (N, L, K, 2, cells)
    columns = inside[..., 0, :]
    scaled_rows = torch.where(inside[..., 1, :], scale[..., None], 0)

    masks = []
    for level, (height, width) in enumerate(sizes):
        rows = scaled_rows[:, level, :, :height]
        foreground = _painted(rows, columns[:, level, :, :width])
        outside = (foreground == 0).to(foreground.dtype)
        background = outside / outside.sum(dim=(1, 2), keepdim=True).clamp(min=1)
        masks.append(torch.stack([foreground, background], dim=1))
    return masks


def _covered(
    gt_bboxes: Sequence[Tensor],
    img_shapes: Sequence[tuple[int, int]],
    sizes: Sequence[Sequence[int]],
) -> tuple[Tensor, Tensor]:
    """The first and last cell of each box in x and y, both (N, L, K, 2) for L sizes."""
    # No comparison with NaN is true, so the boxes that fill up the shorter lists cover no cell. One
    # such box in front gives amax something to reduce where no image has boxes.
    boxes = pad_sequence(list(gt_bboxes), batch_first=True, padding_value=torch.nan)
    corners = F.pad(boxes, (0, 0, 1, 0), value=torch.nan).unflatten(2, (2, 2))  # (N, K, 2, xy)
    images = on_device([shape[::-1] for shape in img_shapes], boxes)  # (N, xy)
    maps = on_device([size[::-1] for size in sizes], boxes)  # (L, xy)
    corners = corners / images[:, None, None]
    first, last = (corners[:, None] * maps[:, None, None]).unbind(3)
    return first.floor(), last.ceil()


def _painted(rows: Tensor, columns: Tensor) -> Tensor:
    """The largest value at each cell, (N, H, W): rows (N, K, H) of values, columns (N, K, W)."""
    some_at_once = zip(rows.split(_BOXES, dim=1), columns.split(_BOXES, dim=1), strict=True)
    return reduce(
        torch.maximum,
        ((some[..., None] * others[:, :, None]).amax(dim=1) for some, others in some_at_once),
    )


def on_device(values: Sequence, like: Tensor) -> Tensor:
    """A small tensor, of the type and on the device of another, without waiting for the device."""
    tensor = torch.tensor(values, dtype=like.dtype)
    if like.is_cuda:
        tensor = tensor.pin_memory()
    return tensor.to(like.device, non_blocking=True)


def _check(gt_bboxes: Sequence[Tensor], img_shapes: Sequence[tuple[int, int]]) -> None:
    if len(gt_bboxes) != len(img_shapes):
        raise ValueError(
            "a batch needs as many gt_bboxes as img_shapes, "
            f"got {len(gt_bboxes)} and {len(img_shapes)}"
        )
    for index, boxes in enumerate(gt_bboxes):
        if boxes.dim() != 2 or boxes.shape[1] != 4 or not boxes.is_floating_point():
            raise ValueError(
                f"gt_bboxes[{index}] must be (k, 4) and floating-point, "
                f"got {tuple(boxes.shape)} {boxes.dtype}"
            )
    for index, shape in enumerate(img_shapes):
        if len(shape) != 2:
            raise ValueError(f"img_shapes[{index}] must be (height, width), got {shape}")
