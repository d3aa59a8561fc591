"""A contact sheet of a COCO-format data set: the first images with boxes, outlines and classes."""

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from fgd.files import atomic_path

COLUMNS = 6
ROWS = {"train": 4, "val": 2}
TILE = 256  # pixels, the longer side of an image on the sheet
GAP = 8
HEADING = 44
FONT = cv2.FONT_HERSHEY_SIMPLEX
PAPER = (255, 255, 255)
INK = (30, 30, 30)

# RGB, one a class, bright enough to be seen on a photograph.
COLOURS = (
    (255, 82, 82),
    (255, 171, 64),
    (255, 235, 59),
    (178, 255, 89),
    (0, 230, 118),
    (29, 233, 230),
    (64, 156, 255),
    (140, 120, 255),
    (224, 64, 251),
    (255, 128, 171),
)


def draw_sheet(root: str | os.PathLike, out: str | os.PathLike) -> None:
    """Draw `out` (PNG) from the data set in the folder `root`.

    Args:
        root: holds train/, val/ and annotations/instances_{train,val}.json.
        out: the PNG, complete or not at all.
    """
    parts = [_half(Path(root), split, rows) for split, rows in ROWS.items()]
    with atomic_path(out) as temporary:
        _, png = cv2.imencode(".png", np.vstack(parts)[..., ::-1])
        temporary.write_bytes(png.tobytes())


def _half(root: Path, split: str, rows: int) -> np.ndarray:
    """A heading and up to `rows` rows of tiles."""
    content = json.loads((root / "annotations" / f"instances_{split}.json").read_text())
    objects = defaultdict(list)
    for annotation in content["annotations"]:
        objects[annotation["image_id"]].append(annotation)
    names = {category["id"]: category["name"] for category in content["categories"]}
    shown = content["images"][: rows * COLUMNS]
    side = TILE + GAP
    sheet = np.full(
        (HEADING + -(-len(shown) // COLUMNS) * side, COLUMNS * side + GAP, 3), PAPER, np.uint8
    )
    text = f"{split}: {len(content['images'])} images, {len(content['annotations'])} objects"
    cv2.putText(sheet, text, (GAP, HEADING - 14), FONT, 0.8, INK, 2, cv2.LINE_AA)
    for number, image in enumerate(shown):
        pixels = cv2.imread(str(root / split / image["file_name"]))[..., ::-1]
        tile = _tile(pixels, objects[image["id"]], names)
        row, column = divmod(number, COLUMNS)
        y, x = HEADING + row * side, GAP + column * side
        sheet[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    return sheet


def _tile(
    pixels: np.ndarray, annotations: list[dict[str, Any]], names: dict[int, str]
) -> np.ndarray:
    """The image enlarged, with each object's box, outline and class drawn over it."""
    scale = TILE / max(pixels.shape[:2])
    tile = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    for annotation in annotations:
        colour = COLOURS[annotation["category_id"] % len(COLOURS)]
        mask = coco_mask.decode(annotation["segmentation"])
        mask = cv2.resize(mask, tile.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        outline, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(tile, outline, -1, colour, 1, cv2.LINE_AA)
        x, y, width, height = (round(value * scale) for value in annotation["bbox"])
        cv2.rectangle(tile, (x, y), (x + width - 1, y + height - 1), colour, 2)
        _label(tile, names[annotation["category_id"]], x=x, y=y, colour=colour)
    return tile


def _label(tile: np.ndarray, name: str, *, x: int, y: int, colour: tuple[int, int, int]) -> None:
    """The class on a patch of the box's colour, above the box or, at the top border, inside it."""
    (width, height), _ = cv2.getTextSize(name, FONT, 0.5, 1)
    left = min(x, tile.shape[1] - width - 6)
    top = max(y - height - 6, 0)
    cv2.rectangle(tile, (left, top), (left + width + 5, top + height + 5), colour, -1)
    cv2.putText(tile, name, (left + 3, top + height + 2), FONT, 0.5, INK, 1, cv2.LINE_AA)
