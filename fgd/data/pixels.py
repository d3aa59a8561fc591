"""Images that leave the loader as bytes: normalised, padded and stacked where the detector is.

A byte has 256 values, so normalising is looking up: the table is what mmcv makes of each, and what
the detector sees is equal to mmdet's own pipeline bit for bit, on any device.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import mmcv
import numpy as np
import torch
from mmcv.parallel import DataContainer
from mmdet.datasets import CocoDataset, MultiImageMixDataset
from mmdet.datasets import pipelines as mmdet
from torch import Tensor
from torch.utils.data import Dataset

# Steps that take images of bytes and give images of bytes.
_OF_BYTES = (
    mmdet.LoadAnnotations, mmdet.Resize, mmdet.RandomFlip, mmdet.RandomCrop, mmdet.Mosaic,
    mmdet.RandomAffine, mmdet.MixUp, mmdet.YOLOXHSVRandomAug, mmdet.FilterAnnotations,
)  # fmt: skip


@dataclass(frozen=True)
class Finish:
    """What is left to do to images of bytes.

    Attributes:
        levels: (3, 256) float32, what becomes of each byte in each channel of the result.
        sources: the channel of the bytes that each channel of the result is of.
        fill: by channel, the value between an image's border and that of its padding.
    """

    levels: Tensor
    sources: tuple[int, int, int]
    fill: tuple[float, float, float]


@dataclass(frozen=True)
class Pixels:
    """An image of bytes.

    Attributes:
        image: (height, width, 3) uint8.
        padded: height and width that it is to be padded to, at the right and the bottom.
        finish: what else is to be done.
    """

    image: Tensor
    padded: tuple[int, int]
    finish: Finish


@dataclass(frozen=True)
class PixelBatch:
    """The images of a batch."""

    images: list[Pixels]

    def pin_memory(self) -> "PixelBatch":
        """Called by torch's loader."""
        return PixelBatch([replace(each, image=each.image.pin_memory()) for each in self.images])

    def on(self, device: torch.device) -> Tensor:
        """As the detector takes them: (n, 3, height, width) float32 on `device`.

        As high and wide as the largest; beyond an image's padding there are zeros.
        """
        height, width = np.max([each.padded for each in self.images], axis=0).tolist()
        batch = torch.empty((len(self.images), 3, height, width), device=device)
        for out, pixels in zip(batch, self.images, strict=True):
            _finish(pixels, out)
        return batch


def _finish(pixels: Pixels, out: Tensor) -> None:
    """Write an image to its place (3, h, w) in a batch."""
    height, width = pixels.image.shape[:2]
    padded_height, padded_width = pixels.padded
    look_up = _look_up_with_opencv if out.device.type == "cpu" else look_up_with_torch
    look_up(pixels, out[:, :height, :width])
    for channel, value in zip(out, pixels.finish.fill, strict=True):
        channel[height:padded_height, :padded_width] = value
        channel[:height, width:padded_width] = value
    out[:, padded_height:] = 0
    out[:, :padded_height, padded_width:] = 0


def _look_up_with_opencv(pixels: Pixels, out: Tensor) -> None:
    """Write to `out` (3, height, width) what becomes of an image's bytes, once and in place."""
    planes, levels = cv2.split(pixels.image.numpy()), pixels.finish.levels.numpy()
    for plane, source, level in zip(out.numpy(), pixels.finish.sources, levels, strict=True):
        cv2.LUT(planes[source], level, plane)


def look_up_with_torch(pixels: Pixels, out: Tensor) -> None:
    """The same on any device."""
    image = pixels.image.to(out.device, non_blocking=True).permute(2, 0, 1)
    positions = image[list(pixels.finish.sources)].flatten(1).long()
    levels = pixels.finish.levels.to(out.device, non_blocking=True)
    out.copy_(levels.gather(1, positions).view_as(out))


def finish_on_device(dataset: Dataset) -> bool:
    """Let a data set's pipeline leave normalising and padding to `PixelBatch`, if it is known.

    Known is: mmdet's steps on bytes, then `Normalize` and `Pad` (or one of them, or none), then
    `DefaultFormatBundle` and `Collect`. Every other pipeline stays as it is.

    Args:
        dataset: mmdet's CocoDataset, or such images mixed.

    Returns:
        Whether it does.
    """
    if isinstance(dataset, MultiImageMixDataset):
        before, steps = dataset.dataset.pipeline.transforms, dataset.pipeline
    elif isinstance(dataset, CocoDataset):
        before, steps = [], dataset.pipeline.transforms
    else:
        return False
    replaced = _replaced([*before, *steps])
    if replaced is None:
        return False
    steps[:] = replaced[len(before) :]
    return True


def _replaced(steps: Sequence[Any]) -> list[Any] | None:
    """The steps of a pipeline with those that are left for later; None if it is not known."""
    *steps, bundle, collect = steps
    if type(bundle) is not mmdet.DefaultFormatBundle or type(collect) is not mmdet.Collect:
        return None
    if not bundle.img_to_float or bundle.pad_val["img"] != 0 or not _reads_bytes(steps[0]):
        return None
    late: list[Any] = [steps[0]]
    normalize, pad = None, None
    for step in steps[1:]:
        if type(step) is mmdet.Normalize and normalize is None and pad is None:
            normalize = step
            step = _Normalize(step.mean, step.std, step.to_rgb)
        elif type(step) is mmdet.Pad and pad is None:
            pad = step
            step = _Pad(step.size, step.size_divisor, step.pad_to_square, step.pad_val)
        elif type(step) not in _OF_BYTES or (
            (normalize or pad) and type(step) is not mmdet.FilterAnnotations
        ):
            return None
        late.append(step)
    fill = _fill(pad)
    if fill is None:
        return None
    finish = _finish_of(normalize, fill)
    return [*late, _Bundle(bundle.pad_val, finish, pads=pad is not None), collect]


def _reads_bytes(step: Any) -> bool:
    known = type(step) is mmdet.LoadImageFromFile
    return known and not step.to_float32 and step.color_type == "color"


def _fill(pad: mmdet.Pad | None) -> tuple[float, float, float] | None:
    """What `Pad` fills each channel with; None where that is not known."""
    value = 0 if pad is None else pad.pad_val.get("img", 0)
    # OpenCV, which pads, takes a number alone for the first channel.
    values = tuple(value) if isinstance(value, list | tuple) else (value, 0, 0)
    whole = all(float(each).is_integer() and 0 <= each <= 255 for each in values)
    if not whole or len(values) != 3:
        return None
    first, second, third = map(float, values)
    return first, second, third


def _finish_of(normalize: mmdet.Normalize | None, fill: tuple[float, float, float]) -> Finish:
    every_byte = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
    if normalize is None:
        table, reverse = every_byte.astype(np.float32), False
    else:
        reverse = normalize.to_rgb
        table = mmcv.imnormalize(every_byte, normalize.mean, normalize.std, reverse)
    levels = torch.from_numpy(np.ascontiguousarray(table[:, 0].T))
    return Finish(levels, (2, 1, 0) if reverse else (0, 1, 2), fill)


class _Normalize(mmdet.Normalize):
    """Says what is to be done to an image."""

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        results["img_norm_cfg"] = dict(mean=self.mean, std=self.std, to_rgb=self.to_rgb)
        return results


class _Pad(mmdet.Pad):
    """Pads masks, and says how large the image is to be."""

    def _pad_img(self, results: dict[str, Any]) -> None:
        height, width, channels = results["img"].shape
        if self.pad_to_square:
            self.size = (max(height, width),) * 2
        if self.size is not None:
            height, width = max(height, self.size[0]), max(width, self.size[1])
        else:
            unit = self.size_divisor
            height, width = -(-height // unit) * unit, -(-width // unit) * unit
        results["pad_shape"] = (height, width, channels)
        results["pad_fixed_size"] = self.size
        results["pad_size_divisor"] = self.size_divisor


class _Bundle(mmdet.DefaultFormatBundle):
    """Formats all but the image, which becomes `Pixels`.

    Args:
        pads: whether a step has padded the image; `pad_shape` is also there without one: `Resize`
            sets it, and a crop after that leaves it as it was.
    """

    def __init__(self, pad_val: dict[str, Any], finish: Finish, *, pads: bool) -> None:
        super().__init__(pad_val=pad_val)
        self._finish = finish
        self._pads = pads

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        results = self._add_default_meta_keys(results)
        image = torch.from_numpy(_contiguous(results.pop("img")))
        results = super().__call__(results)
        height, width = results["pad_shape"][:2] if self._pads else image.shape[:2]
        results["img"] = DataContainer(Pixels(image, (height, width), self._finish))
        return results


def _contiguous(image: np.ndarray) -> np.ndarray:
    """The same pixels, one after the other in memory.

    A mirrored image is a view that is read backwards. NumPy copies it pixel by pixel, which takes
    ten times as long as OpenCV.
    """
    backwards = [axis for axis in (0, 1) if image.strides[axis] < 0]
    if not backwards:
        return np.ascontiguousarray(image)
    code = {(0,): 0, (1,): 1, (0, 1): -1}[tuple(backwards)]
    return cv2.flip(np.ascontiguousarray(np.flip(image, backwards)), code)
