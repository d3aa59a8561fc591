"""Small data sets in COCO's format, and detections of them, for tests without a detector."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.datasets import build_dataset
from PIL import Image

SIZE = (64, 48)  # width and height of every image


def world(
    boxes: Sequence[tuple[int, int, list[float]]] = (
        (0, 0, [8, 10, 20, 15]),
        (0, 1, [36, 30, 20, 12]),
        (1, 1, [4, 4, 40, 40]),
    ),
    images: int = 2,
    classes: Sequence[str] = ("cat", "dog"),
) -> dict[str, list[dict[str, Any]]]:
    """A data set of boxes: number of the image, number of the class, x, y, width, height."""
    return {
        "images": [
            {"id": n, "file_name": f"{n}.png", "width": SIZE[0], "height": SIZE[1]}
            for n in range(1, images + 1)
        ],
        "annotations": [
            {
                "id": n,
                "image_id": image + 1,
                "category_id": label + 1,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
                "segmentation": [],
            }
            for n, (image, label, box) in enumerate(boxes, start=1)
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(classes, start=1)],
    }


def write(folder: Path, content: dict[str, Any], name: str = "data.json") -> tuple[Path, Path]:
    """Write a world and its pictures; its annotation file and its image folder."""
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    for image in content["images"]:
        if not (pictures / image["file_name"]).exists():
            Image.new("RGB", SIZE, (90, 120, 150)).save(pictures / image["file_name"])
    file = folder / name
    file.write_text(json.dumps(content))
    return file, pictures


def data_set(file: Path, classes: Sequence[str]) -> Any:
    """mmdet's data set of an annotation file."""
    settings = dict(type="CocoDataset", ann_file=str(file), classes=tuple(classes))
    return build_dataset(dict(settings, img_prefix="", pipeline=[]), dict(test_mode=True))


def perfect(data: Any) -> list[list[np.ndarray]]:
    """Detections that are the objects of a data set, surer from one to the next."""
    results, score = [], 0.5
    for image in data.img_ids:
        found: list[list[list[float]]] = [[] for _ in data.CLASSES]
        for annotation in data.coco.imgToAnns[image]:
            if annotation["category_id"] in data.cat2label and not annotation["iscrowd"]:
                x, y, width, height = annotation["bbox"]
                score += 1e-3
                label = data.cat2label[annotation["category_id"]]
                found[label].append([x, y, x + width, y + height, score])
        results.append([np.array(each, np.float32).reshape(-1, 5) for each in found])
    return results
