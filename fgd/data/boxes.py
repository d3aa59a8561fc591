"""Boxes that mmdet leaves out, and boxes beyond their image's border."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fgd.errors import FGDError

BORDER_TOLERANCE = 0.01  # pixels: COCO's boxes are rounded to hundredths
# COCO holds a few hundred boxes of 860,000 that mmdet drops. Where many are wrong it is no
# accident: the boxes are in other units, or x1, y1, x2, y2.
MOST_FAULTY = 0.05
LARGER = "area larger than its box"
THIN, OUTSIDE = "less than a pixel wide or high", "outside the image"


def is_number(value: Any) -> bool:
    """Whether it is a finite number that 64 bits can hold; text and true are none."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def is_box(box: Any) -> bool:
    """Whether it is four finite numbers."""
    return isinstance(box, list) and len(box) == 4 and all(map(is_number, box))


def boxes_of(file: Path, annotations: dict[str, list[Any]]) -> np.ndarray:
    """All boxes as (n, 4) float64: x, y, width, height in pixels.

    Raises:
        FGDError: one is not four finite numbers.
    """
    for annotation_id, box in zip(annotations["id"], annotations["bbox"], strict=True):
        if not is_box(box):
            raise FGDError(
                f"{file}: annotation {annotation_id}: bbox is {box!r}, expected four finite "
                "numbers: x, y, width, height in pixels. Correct it, or have it done: "
                "`fgd data clean`"
            )
    return np.array(annotations["bbox"], dtype=np.float64).reshape(-1, 4)


def box_faults(
    images: dict[str, list[Any]], annotations: dict[str, list[Any]], boxes: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Which annotations mmdet leaves out, by reason, and which boxes lie partly beyond the border.

    Args:
        boxes: of the annotations, (n, 4): x, y, width, height in pixels.
    """
    sizes = sizes_of_boxes(images, annotations)
    areas = np.array([a if is_number(a) else 0 for a in annotations["area"]], float)
    return _faults(boxes, sizes, areas), _beyond_border(boxes, sizes)


def sizes_of_boxes(images: dict[str, list[Any]], annotations: dict[str, list[Any]]) -> np.ndarray:
    """Width and height of each annotation's image, (n, 2)."""
    sizes = dict(
        zip(images["id"], zip(images["width"], images["height"], strict=True), strict=True)
    )
    return np.array([sizes[image] for image in annotations["image_id"]], np.float64).reshape(-1, 2)


def _faults(boxes: np.ndarray, sizes: np.ndarray, areas: np.ndarray) -> dict[str, np.ndarray]:
    """Which annotations mmdet 2.28.2's CocoDataset leaves out, by reason; each has one reason."""
    corners = np.clip(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1), 0, None)
    inside = np.minimum(corners[:, 2:], sizes) - corners[:, :2]
    thin = (boxes[:, 2:] < 1).any(1)
    outside = ~thin & (inside <= 0).any(1)
    return {
        THIN: thin,
        OUTSIDE: outside,
        "of zero area": ~thin & ~outside & (areas <= 0),
    }


def _beyond_border(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    low = boxes[:, :2] < -BORDER_TOLERANCE
    high = boxes[:, :2] + boxes[:, 2:] > sizes + BORDER_TOLERANCE
    return (low | high).any(1)


def larger_areas(boxes: np.ndarray, areas: Sequence[Any]) -> np.ndarray:
    """Which areas are larger than what an object in its box can have, (n,).

    Those of before a tool resized the images, and the boxes alone with them: what is a small object
    and what a large one goes by areas.

    Args:
        boxes: (n, 4): x, y, width, height in pixels.
        areas: as the file has them; what is no number is not looked at.
    """
    known = np.array([area if is_number(area) else 0 for area in areas], float)
    # By up to a pixel a mask reaches beyond its box, where that is of whole ones.
    return known > (boxes[:, 2:].clip(min=0) + 1).prod(1)


def are_corners(boxes: np.ndarray, sizes: np.ndarray) -> bool:
    """Whether boxes look like x1, y1, x2, y2: all are boxes in their images as that.

    And too many to be an accident lie beyond the border as x, y, width, height.

    Args:
        boxes: (n, 4), at least one.
        sizes: width and height of each box's image, (n, 2).
    """
    inside = (boxes[:, 2:] <= sizes + BORDER_TOLERANCE).all()
    as_corners = inside and (boxes[:, 2:] > boxes[:, :2]).all() and (boxes[:, :2] >= 0).all()
    return bool(as_corners and _beyond_border(boxes, sizes).mean() > MOST_FAULTY)


def describe(
    images: dict[str, list[Any]], annotations: dict[str, list[Any]], which: np.ndarray, reason: str
) -> str:
    """What is wrong with the first box of `which`, and with how many it is."""
    first = int(np.flatnonzero(which)[0])
    image = images["id"].index(annotations["image_id"][first])
    return (
        f"annotation {annotations['id'][first]} in image {images['file_name'][image]} "
        f"({images['width'][image]} x {images['height'][image]} pixels) has the box "
        f"{annotations['bbox'][first]}, which is {reason} ({int(which.sum())} of {len(which)} "
        "annotations are); expected x, y, width, height in pixels: correct or remove them, or have "
        "it done: `fgd data clean`"
    )
