"""Checks a COCO-format data set before anything is trained on it.

What mmdet does silently at training time is found here and said aloud: boxes that it drops, class
names that it does not find, categories in another order than the class names. The annotation file
is read once and no image is opened unless asked, so that COCO itself takes seconds.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from fgd.errors import FGDError

# pycocotools and mmdet read all of these.
IMAGE_KEYS = ("id", "file_name", "width", "height")
ANNOTATION_KEYS = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")
CATEGORY_KEYS = ("id", "name")

BORDER_TOLERANCE = 0.01  # pixels: COCO's boxes are rounded to hundredths
# COCO holds a few hundred boxes of 860,000 that mmdet drops. Where many are wrong it is no
# accident: the boxes are in other units, or x1, y1, x2, y2.
MOST_FAULTY = 0.05

_COCO_LAYOUT = (
    "COCO 2017 is expected as its archives unpack: data/coco/train2017/*.jpg, "
    "data/coco/val2017/*.jpg and data/coco/annotations/instances_{train,val}2017.json. Get "
    "train2017.zip, val2017.zip and annotations_trainval2017.zip from https://cocodataset.org "
    "and unpack them in data/coco, or make data/coco a link to where they are"
)


def check(
    annotation_file: str | os.PathLike,
    image_folder: str | os.PathLike,
    classes: Sequence[str] | None = None,
    strict: bool = False,
    open_images: bool = False,
) -> dict[str, Any]:
    """Check one annotation file and its images.

    Args:
        annotation_file: COCO's JSON for detection.
        image_folder: where its `file_name`s lie.
        classes: names that the categories must have, in the order of the labels; None: any.
        strict: refuse any box that lies partly outside its image or that mmdet drops. Otherwise
            they are counted, as long as they are few: COCO itself has some.
        open_images: also compare every image's size with the annotation file.

    Returns:
        What was found, ready for JSON: counts of images, annotations, objects per class, and
        annotations that mmdet drops, by reason.

    Raises:
        FGDError: names the file, the first offending entry, the reason and how many there are.
    """
    file, folder = Path(annotation_file), Path(image_folder)
    _check_layout(file, folder)
    content = _load(file)
    images = _table(file, content, "images", IMAGE_KEYS)
    annotations = _table(file, content, "annotations", ANNOTATION_KEYS)
    categories = _table(file, content, "categories", CATEGORY_KEYS)
    _check_references(file, images, annotations, categories)
    _check_classes(file, categories, classes)
    _check_files(file, folder, images)
    if open_images:
        _check_sizes(file, folder, images)

    boxes = _boxes(file, annotations)
    sizes = _sizes(images, annotations)
    areas = np.array(annotations["area"], dtype=np.float64)
    faults = _faults(boxes, sizes, areas)
    beyond = _beyond_border(boxes, sizes)
    most = 0 if strict else MOST_FAULTY * len(boxes)
    for reason, which in [*faults.items(), ("partly beyond the image's border", beyond)]:
        if which.sum() > most:
            raise FGDError(f"{file}: {_describe(images, annotations, which, reason)}")

    names = dict(zip(categories["id"], categories["name"], strict=True))
    used = set(classes or categories["name"])
    objects = Counter(names[category] for category in annotations["category_id"])
    return {
        "annotation_file": str(file),
        "image_folder": str(folder),
        "images": len(images["id"]),
        "images_without_objects": len(set(images["id"]) - set(annotations["image_id"])),
        "annotations": len(annotations["id"]),
        "crowds": int(np.count_nonzero(annotations["iscrowd"])),
        "without_segmentation": sum(not a.get("segmentation") for a in content["annotations"]),
        "per_class": {name: objects[name] for name in categories["name"] if name in used},
        "other_classes": sum(n for name, n in objects.items() if name not in used),
        "dropped_by_mmdet": {reason: int(which.sum()) for reason, which in faults.items()},
        "beyond_border": int(beyond.sum()),
    }


def _check_layout(file: Path, folder: Path) -> None:
    for path, kind, found in [
        (file, "annotation file", file.is_file()),
        (folder, "image folder", folder.is_dir()),
    ]:
        if not found:
            advice = "the data set's config names it: correct the path there, or put the data here"
            raise FGDError(
                f"{kind} {path} is missing; {_COCO_LAYOUT if '2017' in path.name else advice}"
            )


def _load(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FGDError(
            f"{file} is no complete JSON file ({error}); fetch or write it again"
        ) from error
    if not isinstance(content, dict):
        raise FGDError(f"{file}: expected an object with images, annotations and categories")
    return content


def _table(
    file: Path, content: dict[str, Any], kind: str, keys: Iterable[str]
) -> dict[str, list[Any]]:
    """The entries of `kind` by column, each key present in each entry and each id only once."""
    entries = content.get(kind)
    if not isinstance(entries, list):
        raise FGDError(f"{file}: there is no list {kind!r}, so it is not COCO's detection format")
    table = {key: _column(file, kind, entries, key) for key in keys}
    identity, count = Counter(table["id"]).most_common(1)[0] if entries else (None, 0)
    if count > 1:
        raise FGDError(f"{file}: id {identity} stands {count} times in {kind!r}; ids are unique")
    return table


def _column(file: Path, kind: str, entries: list[Any], key: str) -> list[Any]:
    try:
        return [entry[key] for entry in entries]
    except (KeyError, TypeError) as error:
        number, entry = next(
            (n, e) for n, e in enumerate(entries) if not isinstance(e, dict) or key not in e
        )
        name = f"id {entry['id']}" if isinstance(entry, dict) and "id" in entry else f"no. {number}"
        raise FGDError(f"{file}: {kind!r}, {name}: {key!r} is missing") from error


def _check_references(
    file: Path,
    images: dict[str, list[Any]],
    annotations: dict[str, list[Any]],
    categories: dict[str, list[Any]],
) -> None:
    for key, known in [("image_id", set(images["id"])), ("category_id", set(categories["id"]))]:
        for annotation_id, value in zip(annotations["id"], annotations[key], strict=True):
            if value not in known:
                raise FGDError(
                    f"{file}: annotation {annotation_id} has {key} {value}, which the file does "
                    "not define"
                )


def _check_classes(
    file: Path, categories: dict[str, list[Any]], classes: Sequence[str] | None
) -> None:
    if classes is None:
        return
    missing = [name for name in classes if name not in categories["name"]]
    if missing:
        raise FGDError(
            f"{file}: no category is named {missing[0]!r} ({len(missing)} of {len(classes)} class "
            f"names are missing); its categories are {', '.join(map(str, categories['name']))}"
        )
    # mmdet numbers the labels in the file's order and names them in the order of the classes.
    order = [name for name in categories["name"] if name in classes]
    if order != list(classes):
        raise FGDError(
            f"{file}: its categories stand in the order {', '.join(order)}, the class names in "
            f"the order {', '.join(classes)}; mmdet would mix them up: give them in the file's "
            "order"
        )


def _check_files(file: Path, folder: Path, images: dict[str, list[Any]]) -> None:
    there = set(os.listdir(folder))  # one call and not 118,000
    missing = [
        name
        for name in images["file_name"]
        if name not in there and not ("/" in name and (folder / name).is_file())
    ]
    if missing:
        raise FGDError(
            f"image {folder / missing[0]} is missing, which {file} lists ({len(missing)} of "
            f"{len(images['file_name'])} images are missing); unpack the images again"
        )


def _check_sizes(file: Path, folder: Path, images: dict[str, list[Any]]) -> None:
    for name, *stated in zip(*(images[k] for k in ("file_name", "width", "height")), strict=True):
        try:
            with Image.open(folder / name) as image:
                size = list(image.size)
        except (UnidentifiedImageError, OSError) as error:
            raise FGDError(f"image {folder / name} cannot be read ({error})") from error
        if size != stated:
            raise FGDError(
                f"image {folder / name} is {size[0]} x {size[1]} pixels, {file} says "
                f"{stated[0]} x {stated[1]}"
            )


def _boxes(file: Path, annotations: dict[str, list[Any]]) -> np.ndarray:
    """All boxes as (n, 4) float64: x, y, width, height in pixels."""
    try:
        boxes = np.array(annotations["bbox"], dtype=np.float64).reshape(-1, 4)
        if len(boxes) == len(annotations["bbox"]) and np.isfinite(boxes).all():
            return boxes
    except (TypeError, ValueError):
        pass
    annotation_id, box = next(
        (i, box)
        for i, box in zip(annotations["id"], annotations["bbox"], strict=True)
        if not _is_box(box)
    )
    raise FGDError(
        f"{file}: annotation {annotation_id}: bbox is {box}, expected four finite numbers: x, y, "
        "width, height in pixels"
    )


def _is_box(box: Any) -> bool:
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(isinstance(v, int | float) and np.isfinite(v) for v in box)
    )


def _sizes(images: dict[str, list[Any]], annotations: dict[str, list[Any]]) -> np.ndarray:
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
        "less than a pixel wide or high": thin,
        "outside the image": outside,
        "of zero area": ~thin & ~outside & (areas <= 0),
    }


def _beyond_border(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    low = boxes[:, :2] < -BORDER_TOLERANCE
    high = boxes[:, :2] + boxes[:, 2:] > sizes + BORDER_TOLERANCE
    return (low | high).any(1)


def _describe(
    images: dict[str, list[Any]], annotations: dict[str, list[Any]], which: np.ndarray, reason: str
) -> str:
    """What is wrong with the first box of `which`, and with how many it is."""
    first = int(np.flatnonzero(which)[0])
    image = images["id"].index(annotations["image_id"][first])
    return (
        f"annotation {annotations['id'][first]} in image {images['file_name'][image]} "
        f"({images['width'][image]} x {images['height'][image]} pixels) has the box "
        f"{annotations['bbox'][first]}, which is {reason} ({int(which.sum())} of {len(which)} "
        "annotations are); expected x, y, width, height in pixels: correct or remove them"
    )
