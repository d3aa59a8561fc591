"""What is wrong with the segmentation of an annotation, as COCO's format writes it."""

import math
from typing import Any

import numpy as np
from pycocotools import mask


def fault(segmentation: Any, height: int, width: int) -> str | None:
    """Why a segmentation cannot be used; None for a sound one, or none at all.

    Args:
        segmentation: polygons, a list of lists of x, y, x, y ... in pixels, or a run-length code
            with `size` and `counts` (COCO's compressed text, or a list of numbers).
        height, width: of the image.
    """
    if segmentation is None or segmentation == []:
        return None
    if isinstance(segmentation, dict):
        return _rle_fault(segmentation, height, width)
    if not isinstance(segmentation, list):
        return f"segmentation is a {type(segmentation).__name__}: expected polygons or RLE"
    for polygon in segmentation:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            return "a polygon has no three points of x and y"
        try:
            finite = math.isfinite(sum(polygon))  # quicker than one by one, and COCO has millions
        except (TypeError, OverflowError):
            finite = False
        if not finite:
            return "a polygon has coordinates that are not finite numbers"
    return None


def usable(segmentation: Any, height: int, width: int) -> list | dict:
    """What can be used of a segmentation that has a `fault`: its sound polygons, or nothing."""
    if not isinstance(segmentation, list):
        return []
    if all(isinstance(number, int | float) for number in segmentation):
        segmentation = [segmentation]  # a single polygon, not in a list
    return [polygon for polygon in segmentation if fault([polygon], height, width) is None]


def area(segmentation: list | dict, height: int, width: int) -> float:
    """Pixels of a sound segmentation, as far as it lies in the image."""
    if isinstance(segmentation, dict):
        compressed = isinstance(segmentation["counts"], str)
        code = segmentation if compressed else mask.frPyObjects(segmentation, height, width)
        return float(mask.area(code))
    # pycocotools walks along every edge, however far it leads out.
    inside = [
        np.clip(np.reshape(polygon, (-1, 2)), 0, (width, height)).ravel().tolist()
        for polygon in segmentation
    ]
    return float(mask.area(mask.merge(mask.frPyObjects(inside, height, width))))


def _rle_fault(code: dict[str, Any], height: int, width: int) -> str | None:
    if not {"size", "counts"} <= code.keys():
        return "RLE without size or counts"
    if code["size"] != [height, width]:
        return f"RLE of size {code['size']} (height, width) in an image of {[height, width]}"
    counts = code["counts"]
    if isinstance(counts, str):
        counts = _decoded(counts)
    if not isinstance(counts, list) or not all(isinstance(n, int) and n >= 0 for n in counts):
        return "RLE counts that are no run lengths"
    if sum(counts) != height * width:
        return f"RLE of {sum(counts)} pixels in an image of {height * width}"
    return None


def _decoded(text: str) -> list[int] | None:
    """COCO's compressed counts: base 32 with continuation, differences to the count before last."""
    counts: list[int] = []
    position = 0
    while position < len(text):
        value, shift, more = 0, 0, True
        while more:
            if position == len(text):
                return None
            digit = ord(text[position]) - 48
            if not 0 <= digit < 64:
                return None
            value |= (digit & 31) << shift
            more, position, shift = bool(digit & 32), position + 1, shift + 5
            if not more and digit & 16:
                value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    return counts
