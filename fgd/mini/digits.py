"""Writes the mini set: handwritten digits on photographs, in COCO's format.

    <out>/train/000001.jpg ...          <out>/annotations/instances_train.json
    <out>/val/000001.jpg ...            <out>/annotations/instances_val.json
    <out>/contact_sheet.png             <out>/mini.json (the settings it was written with)

The same settings give the same bytes. Beside COCO's own keys each image says which part of which
photograph it shows ("photograph", "crop") and each annotation which digit of scikit-learn's it is
("digit"), so that the separation of the two halves can be checked in the files.
"""

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from fgd.errors import FGDError
from fgd.folders import atomic_folder
from fgd.mini.scene import CLASSES, Object, Scene, draw_scene, load_source
from fgd.mini.sheet import draw_sheet

SETTINGS = "mini.json"
SPLITS = ("train", "val")
JPEG_QUALITY = 95
LEAST_SIZE = 64  # pixels: below, the smallest digits would be blots


def write(
    out: str | os.PathLike, *, train: int = 1200, val: int = 300, size: int = 128, seed: int = 0
) -> dict[str, dict[str, int]]:
    """Write the mini set as the folder `out`, complete or not at all.

    Args:
        out: the folder. It may exist if it is empty or an earlier mini set, which is replaced.
        train, val: number of images of each half.
        size: side of the square images in pixels.
        seed: image i of a half is a function of (seed, half, i, size) alone.

    Returns:
        {"train": {"images": .., "annotations": ..}, "val": ...}

    Raises:
        FGDError: a number is out of range, or `out` holds files of somebody else.
    """
    _check_numbers(train, val, size, seed)
    others = ("contact_sheet.png", "annotations/*.json", *(f"{split}/*.jpg" for split in SPLITS))
    with atomic_folder(out, marker=SETTINGS, says="fgd mini", others=others) as folder:
        written = {
            "train": _write_split(folder, "train", count=train, size=size, seed=seed),
            "val": _write_split(folder, "val", count=val, size=size, seed=seed),
        }
        draw_sheet(folder, folder / "contact_sheet.png")
        settings = {"set": "fgd mini", "train": train, "val": val, "size": size, "seed": seed}
        (folder / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n")
    return written


def _check_numbers(train: int, val: int, size: int, seed: int) -> None:
    for name, value, least in [
        ("train", train, 1),
        ("val", val, 1),
        ("size", size, LEAST_SIZE),
        ("seed", seed, 0),
    ]:
        if value < least:
            raise FGDError(f"mini set: {name} is {value}, expected at least {least}")


def _write_split(folder: Path, split: str, *, count: int, size: int, seed: int) -> dict[str, int]:
    """Write one half's images and its annotation file."""
    source = load_source(split)
    (folder / split).mkdir()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id in range(1, count + 1):
        rng = np.random.default_rng([seed, SPLITS.index(split), image_id])
        scene = draw_scene(source, rng, size)
        images.append(_image(scene, image_id))
        for item in scene.objects:
            annotations.append(_annotation(item, image_id, annotation_id=len(annotations) + 1))
        _write_jpeg(folder / split / images[-1]["file_name"], scene.image)
    content = {
        "info": {"description": f"fgd mini set, {split}: handwritten digits on photographs"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(CLASSES, start=1)],
    }
    path = folder / "annotations" / f"instances_{split}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    return {"images": len(images), "annotations": len(annotations)}


def _image(scene: Scene, image_id: int) -> dict[str, Any]:
    height, width = scene.image.shape[:2]
    return {
        "id": image_id,
        "file_name": f"{image_id:06d}.jpg",
        "height": height,
        "width": width,
        "photograph": scene.photograph,
        "crop": list(scene.crop),
    }


def _annotation(item: Object, image_id: int, annotation_id: int) -> dict[str, Any]:
    # Run-length code and not polygons: it is exact, and a polygon cannot say that a 0 has a hole.
    code = coco_mask.encode(np.asfortranarray(item.mask, dtype=np.uint8))
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": item.label + 1,
        "bbox": list(item.box),
        "area": item.area,
        "segmentation": {"size": code["size"], "counts": code["counts"].decode("ascii")},
        "iscrowd": 0,
        "digit": item.digit,
    }


def _write_jpeg(path: Path, image: np.ndarray) -> None:
    cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
