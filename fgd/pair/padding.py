"""Which sizes the images have that a pipeline hands to a detector: mmdet's `Pad` and `Resize`."""

from math import gcd
from typing import Any

from fgd.pair.steps import steps

_ABOUT = (320, 416)  # of which 64 and 128 do not divide both
_USUAL = 32  # a divisor for pipelines that say nothing
_COARSEST = 128  # a divisor that no level of the zoo's is coarser than


def an_image(data: dict) -> tuple[int, int]:
    """Height and width of a small image as a data set's pipeline gives it.

    Its sides are divided by what the pipeline pads to, and where that allows it by no more.

    Args:
        data: a split of an mmdet config's `data`.
    """
    divisor = next(filter(None, map(_divisor, steps(data, "Pad"))), 0)
    if not divisor:
        for step in steps(data, "Resize"):
            scale = step.get("img_scale")
            if not step.get("keep_ratio", True) and isinstance(scale, tuple) and _is_one(scale):
                return scale[1], scale[0]
    divisor = divisor or _USUAL
    height, width = (-(-side // divisor) * divisor for side in _ABOUT)
    return height, width


def _divisor(pad: dict[str, Any]) -> int:
    """What `Pad` makes sides multiples of; of a fixed size the power of 2 in it; 0 for neither."""
    if size := pad.get("size"):
        common = gcd(*size)
        return min(common & -common, _COARSEST)
    return pad.get("size_divisor") or 0


def _is_one(scale: tuple) -> bool:
    """Whether it is a size, not several to draw from."""
    return all(isinstance(side, int) for side in scale)
