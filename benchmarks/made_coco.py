"""A made annotation file of any size: polygons, run lengths, crowds, images without objects.

Its defaults give COCO's train2017: as many images and objects, and about as many bytes.
"""

import json
from pathlib import Path

import numpy as np

IMAGES, OBJECTS, CLASSES = 118_287, 860_001, 80
WIDTH, HEIGHT = 640, 480
_OUTLINES = 2000  # different ones; objects share them


def write(path: Path, images: int = IMAGES, objects: int = OBJECTS, seed: int = 0) -> None:
    """Write such a file: the same for the same numbers."""
    rng = np.random.default_rng(seed)
    names = class_names()
    outlines = [json.dumps(_outline(rng)) for _ in range(_OUTLINES)]
    codes = {shape: json.dumps(_code(rng, shape)) for shape in ((HEIGHT, WIDTH), (WIDTH, HEIGHT))}
    owners = np.sort(rng.integers(int(images * 0.99), size=objects))  # the last have no objects
    corners = rng.uniform(0, HEIGHT - 110, (objects, 2)).round(2)
    sides = np.exp(rng.uniform(-1, 4.6, (objects, 2))).round(2)  # a few are too small for mmdet
    labels = rng.integers(1, len(names) + 1, objects)
    which = rng.integers(_OUTLINES, size=objects)
    crowds = rng.random(objects) < 0.012
    coded = crowds | (rng.random(objects) < 0.005)  # run lengths in place of outlines
    order = rng.permutation(objects)
    with path.open("w", encoding="utf-8") as file:
        file.write('{"info": {"description": "made"}, "images": [')
        file.write(",\n".join(json.dumps(_image(number)) for number in range(images)))
        file.write('],\n"annotations": [')
        for index, k in enumerate(order):
            (x, y), (w, h) = corners[k].tolist(), sides[k].tolist()
            outline = codes[shape_of(owners[k])] if coded[k] else outlines[which[k]]
            file.write(
                f'{"," if index else ""}\n{{"segmentation": {outline}, "area": {w * h:.4f}, '
                f'"iscrowd": {int(crowds[k])}, "image_id": {owners[k] + 1}, '
                f'"bbox": [{x}, {y}, {w}, {h}], "category_id": {labels[k]}, "id": {k + 1}}}'
            )
        categories = [
            {"supercategory": "thing", "id": number, "name": name}
            for number, name in enumerate(names, 1)
        ]
        file.write(f'],\n"categories": {json.dumps(categories)}}}')


def class_names() -> tuple[str, ...]:
    """The names of its classes."""
    return tuple(f"class {number}" for number in range(CLASSES))


def _image(number: int) -> dict:
    height, width = shape_of(number)
    name = file_name(number)
    return {
        "license": 3,
        "file_name": name,
        "coco_url": f"http://images.cocodataset.org/train2017/{name}",
        "height": height,
        "width": width,
        "date_captured": "2013-11-14 11:18:45",
        "flickr_url": f"http://farm9.staticflickr.com/8186/{8119368305 + number}_4e622c8349_z.jpg",
        "id": number + 1,
    }


def file_name(number: int) -> str:
    """The name of an image's file."""
    return f"{number + 1:012d}.jpg"


def shape_of(number: int) -> tuple[int, int]:
    """An image's height and width."""
    return (HEIGHT, WIDTH) if number % 4 else (WIDTH, HEIGHT)


def _outline(rng: np.random.Generator) -> list[list[float]]:
    parts = 1 + int(rng.random() < 0.17)
    corners = rng.integers(4, 31, parts)
    return [rng.uniform(0, 400, 2 * n).round(2).tolist() for n in corners]


def _code(rng: np.random.Generator, shape: tuple[int, int]) -> dict:
    counts = rng.integers(1, 2000, 200).tolist()
    return {"counts": [*counts, shape[0] * shape[1] - sum(counts)], "size": list(shape)}
