"""Which sizes the images have that a pipeline hands to a detector: mmdet's `Pad` and `Resize`."""

from fgd.pair.steps import steps

_ABOUT = (320, 416)  # of which 64 and 128 do not divide both
_USUAL = 32  # a divisor for pipelines that say nothing


def an_image(data: dict) -> tuple[int, int]:
    """Height and width of a small image as a data set's pipeline gives it.

    Its sides are divided by what the pipeline pads to, and where that allows it by no more.

    Args:
        data: a split of an mmdet config's `data`.
    """
    divisor = next((s["size_divisor"] for s in steps(data, "Pad") if s.get("size_divisor")), 0)
    if not divisor:
        for step in steps(data, "Resize"):
            scale = step.get("img_scale")
            if not step.get("keep_ratio", True) and isinstance(scale, tuple) and _is_one(scale):
                return scale[1], scale[0]
    divisor = divisor or _USUAL
    height, width = (-(-side // divisor) * divisor for side in _ABOUT)
    return height, width


def _is_one(scale: tuple) -> bool:
    """Whether it is a size, not several to draw from."""
    return all(isinstance(side, int) for side in scale)
