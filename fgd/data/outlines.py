"""Whether outlines lie where their boxes do: of masks that lie elsewhere nothing else would tell.

Fractions of an image, outlines of the image before it was resized, and y before x are sound lists
of numbers. Detectors of masks learn them, and of those that find the objects the mask AP is 0
beside a box AP of 1.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from pycocotools import mask

from fgd.data.boxes import is_box
from fgd.data.segmentation import fault
from fgd.errors import FGDError

ELSEWHERE = "outline elsewhere than its box"
_MOST = 0.5  # of all outlines: fewer can be slips, more are in other units
_INSIDE = 0.5  # of an outline's extent; an amodal or a hand-drawn box and its outline share more
_PIXEL = 1.0  # that a box may be smaller on each side: many are of whole pixels


def check_outlines(file: Path, content: dict[str, Any], categories: Collection[int]) -> int:
    """How many outlines lie elsewhere than their boxes.

    Args:
        content: of an annotation file that is whole in itself.
        categories: ids of those that count.

    Raises:
        FGDError: most do.
    """
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    outlined, wrong = 0, []
    for annotation in content["annotations"]:
        if annotation["category_id"] not in categories or not is_box(annotation["bbox"]):
            continue
        size = sizes[annotation["image_id"]]
        extent = _extent(annotation.get("segmentation"), *size)
        if extent is not None:
            outlined += 1
            if _inside(extent, annotation["bbox"]) < _INSIDE:
                wrong.append((annotation, extent))
    if len(wrong) > _MOST * outlined:
        first, (x1, y1, x2, y2) = wrong[0]
        raise FGDError(
            f"{file}: annotation {first['id']} has the box {first['bbox']} (x, y, width, height), "
            f"and its outline reaches from {x1:g}, {y1:g} to {x2:g}, {y2:g} ({len(wrong)} of "
            f"{outlined} outlines lie elsewhere than their boxes): they are in other units, of "
            "the image in another size, or have y before x. Write them in pixels of the image, x "
            "before y, or train and measure a detector of boxes"
        )
    return len(wrong)


def _extent(outline: Any, height: int, width: int) -> list[float] | None:
    """x1, y1, x2, y2 of a sound segmentation in its image; None where there is none.

    Some tools draw outlines beyond the border and cut boxes off there, where masks end, too.
    """
    if not outline or fault(outline, height, width):
        return None
    if isinstance(outline, list):
        xs = [value for polygon in outline for value in polygon[::2]]
        ys = [value for polygon in outline for value in polygon[1::2]]
        ends = (min(xs), width), (min(ys), height), (max(xs), width), (max(ys), height)
        return [min(max(end, 0), side) for end, side in ends]
    compressed = isinstance(outline["counts"], str)
    code = outline if compressed else mask.frPyObjects(outline, height, width)
    x, y, across, down = mask.toBbox(code).tolist()
    return [x, y, x + across, y + down] if across and down else None


def _inside(extent: list[float], box: list[float]) -> float:
    """The part of an outline's extent that lies in a box."""
    x1, y1, x2, y2 = extent
    x, y, across, down = box
    share = 1.0
    for low, high, start, side in ((x1, x2, x, across), (y1, y2, y, down)):
        inside = min(high, start + side + _PIXEL) - max(low, start - _PIXEL)
        length = max(high - low, 1e-9)  # of a line that stands or lies, a hair
        share *= min(max(inside, 0.0) / length, 1.0)
    return share
