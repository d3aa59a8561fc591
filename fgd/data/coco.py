"""Checks a COCO-format data set before anything is trained on it.

What mmdet does silently at training time is found here and said aloud: boxes that it drops, class
names that it does not find, categories in another order than the class names. The annotation file
is read once and no image is opened unless asked, so that COCO itself takes seconds.
"""

import json
import math
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fgd.data import images as image_files
from fgd.data import segmentation
from fgd.errors import FGDError
from fgd.files import sha256

# pycocotools and mmdet read all of these.
IMAGE_KEYS = ("id", "file_name", "width", "height")
ANNOTATION_KEYS = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")
CATEGORY_KEYS = ("id", "name")

BORDER_TOLERANCE = 0.01  # pixels: COCO's boxes are rounded to hundredths
# COCO holds a few hundred boxes of 860,000 that mmdet drops. Where many are wrong it is no
# accident: the boxes are in other units, or x1, y1, x2, y2.
MOST_FAULTY = 0.05

# Kinds of findings in single annotations; COCO has a few that stand twice.
WRONG_AREA = "wrong area"
WRONG_CROWD = "wrong iscrowd"
WRONG_MASK = "wrong segmentation"
TWICE = "annotated twice"
_COUNTED = (TWICE,)
# What `accept` takes: the kinds that are refused unless it says otherwise. What cannot be read
# cannot be trained on.
KINDS = (image_files.OTHER_SIZE, image_files.TURNED, WRONG_AREA, WRONG_CROWD, WRONG_MASK)

_COCO_LAYOUT = (
    "COCO 2017 is expected as its archives unpack: data/coco/train2017/*.jpg, "
    "data/coco/val2017/*.jpg and data/coco/annotations/instances_{train,val}2017.json. Get "
    "train2017.zip, val2017.zip and annotations_trainval2017.zip from https://cocodataset.org "
    "and unpack them in data/coco, or make data/coco a link to where they are; "
    "`fgd data coco --out data/coco` downloads and unpacks them"
)


def check(
    annotation_file: str | os.PathLike,
    image_folder: str | os.PathLike,
    classes: Sequence[str] | None = None,
    strict: bool = False,
    open_images: bool = False,
    accept: Collection[str] = (),
    number: int | None = None,
) -> dict[str, Any]:
    """Check one annotation file and its images.

    Args:
        annotation_file: COCO's JSON for detection.
        image_folder: where its `file_name`s lie.
        classes: names that the categories must have, in the order of the labels; None: any.
        strict: refuse any box that lies partly outside its image or that mmdet drops. Otherwise
            they are counted, as long as they are few: COCO itself has some.
        open_images: also decode every image, and compare its size with the annotation file.
        accept: kinds of findings (`KINDS`) that are counted instead of refused.
        number: how many images there have to be; None: any.

    Returns:
        What was found, ready for JSON: counts of images, annotations, objects per class, and
        annotations that mmdet drops, by reason.

    Raises:
        FGDError: names the file, the first offending entry, the reason and how many there are.
    """
    file, folder = Path(annotation_file), Path(image_folder)
    content, images, annotations, categories = read(file, folder)
    if number not in (None, len(images["id"])):
        raise FGDError(
            f"{file}: lists {len(images['id'])} images, expected {number}; it is another data set "
            "or another version of it"
        )
    if not annotations["id"]:
        raise FGDError(f"{file}: has no annotations; there is nothing to train on")
    _check_classes(file, categories, classes)
    _check_files(file, folder, images)
    if not open_images:
        _check_ends(folder, images["file_name"])
    found: Counter[str] = Counter()
    refused = _Refusals(file, accept, found)
    refused.of_images(faulty_images(folder, images) if open_images else ())
    refused.of_annotations(faulty_annotations(images, content["annotations"]))

    boxes = _boxes(file, annotations)
    faults, beyond = box_faults(images, annotations, boxes)
    most = 0 if strict else MOST_FAULTY * len(boxes)
    for reason, which in [*faults.items(), ("partly beyond the image's border", beyond)]:
        if which.sum() > most:
            raise FGDError(f"{file}: {_describe(images, annotations, which, reason)}")

    names = dict(zip(categories["id"], categories["name"], strict=True))
    used = set(classes or categories["name"])
    objects = Counter(names[category] for category in annotations["category_id"])
    return {
        "annotation_file": str(file),
        "sha256": sha256(file),
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
        "found": dict(sorted(found.items())),
    }


def read(
    file: Path, folder: Path
) -> tuple[dict[str, Any], dict[str, list], dict[str, list], dict[str, list]]:
    """The content of an annotation file, and its images, annotations and categories by column.

    Raises:
        FGDError: it is no such file, an id stands twice, or an entry is not what it has to be.
    """
    _check_layout(file, folder)
    content = _load(file)
    images = _table(file, content, "images", IMAGE_KEYS)
    annotations = _table(file, content, "annotations", ANNOTATION_KEYS)
    categories = _table(file, content, "categories", CATEGORY_KEYS)
    _check_images(file, images)
    _check_references(file, images, annotations, categories)
    return content, images, annotations, categories


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
    for key in (key for key in keys if key == "id" or key.endswith("_id")):
        for identity in table[key]:
            if not isinstance(identity, int | str) or isinstance(identity, bool):
                raise FGDError(f"{file}: {kind!r}: {key} is {identity!r}; expected a whole number")
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
    twice = [name for name, n in Counter(map(str, categories["name"])).items() if n > 1]
    if twice:
        raise FGDError(f"{file}: two categories are named {twice[0]!r}; names are unique")
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


def _check_ends(folder: Path, names: list[str]) -> None:
    """Name an image that was cut short: what most often goes wrong when files are copied.

    Two reads a file: COCO's 123,287 images need not be decoded.
    """
    with ThreadPoolExecutor(16) as pool:  # a shared disk answers many at once
        ends = pool.map(lambda name: _ends(folder / name), names, chunksize=256)
        cut = [name for name, whole in zip(names, ends, strict=True) if not whole]
    if cut:
        raise FGDError(
            f"image {folder / cut[0]} is cut short ({len(cut)} of {len(names)} images are); "
            "unpack or copy the images again"
        )


def _ends(path: Path) -> bool:
    """Whether an image file has its end; formats other than JPEG and PNG always do."""
    with path.open("rb") as file:
        begin = file.read(2)
        file.seek(-min(12, path.stat().st_size), os.SEEK_END)
        end = file.read()
    if begin == b"\xff\xd8" and not end.rstrip(b"\0").endswith(b"\xff\xd9"):
        # Bytes behind the end are allowed: only decoding tells.
        try:
            with Image.open(path) as image:
                image.load()
        except OSError:
            return False
    elif begin == b"\x89P":
        return end[4:8] == b"IEND"
    return bool(begin)


class _Refusals:
    """Counts what is found, and refuses the first of a kind that is not accepted."""

    def __init__(self, file: Path, accept: Collection[str], found: Counter[str]) -> None:
        self._file = file
        self._accept = accept
        self._found = found

    def of_images(self, findings: Iterable[tuple[Path, image_files.Finding]]) -> None:
        first: dict[str, str] = {}
        for path, finding in findings:
            self._found[finding.kind] += 1
            first.setdefault(finding.kind, f"image {path} {finding.reason}")
        for kind in image_files.REFUSED:
            if kind in first and kind not in self._accept:
                raise FGDError(
                    f"{self._file}: {first[kind]} ({self._found[kind]} images are {kind}). "
                    f"Replace them, or write annotations without them: `fgd data clean`"
                    + (f"; or accept them: --accept {kind!r}" if kind in KINDS else "")
                )

    def of_annotations(self, findings: Iterable[tuple[str, Any, str]]) -> None:
        first: dict[str, str] = {}
        for kind, annotation_id, reason in findings:
            self._found[kind] += 1
            first.setdefault(kind, f"annotation {annotation_id}: {reason}")
        for kind, words in first.items():
            if kind not in self._accept and kind not in _COUNTED:
                raise FGDError(
                    f"{self._file}: {words} ({self._found[kind]} of the kind {kind!r}). Correct "
                    "them, write annotations without them (`fgd data clean`), or accept them: "
                    f"--accept {kind!r}"
                )


def faulty_images(
    folder: Path, images: dict[str, list[Any]]
) -> Iterator[tuple[Path, image_files.Finding]]:
    """What is found in the image files; each is decoded."""
    stated = zip(images["file_name"], images["width"], images["height"], strict=True)
    for name, findings in image_files.look_at_all(folder, stated):
        for finding in findings:
            yield folder / name, finding


def faulty_annotations(
    images: dict[str, list[Any]], annotations: list[dict[str, Any]]
) -> Iterator[tuple[str, Any, str]]:
    """Kind, id and reason of what is wrong with single annotations beside their boxes."""
    stated = zip(images["height"], images["width"], strict=True)
    sizes = dict(zip(images["id"], stated, strict=True))
    seen = set()
    for annotation in annotations:
        identity, area = annotation["id"], annotation["area"]
        if not isinstance(area, int | float) or not math.isfinite(area) or area < 0:
            yield WRONG_AREA, identity, f"area is {area!r}; expected square pixels"
        if annotation["iscrowd"] not in (0, 1):
            yield WRONG_CROWD, identity, f"iscrowd is {annotation['iscrowd']!r}; expected 0 or 1"
        fault = segmentation.fault(annotation.get("segmentation"), *sizes[annotation["image_id"]])
        if fault:
            yield WRONG_MASK, identity, fault
        key = (annotation["image_id"], annotation["category_id"], str(annotation["bbox"]))
        if key in seen:
            yield TWICE, identity, "another annotation has its image, category and box"
        seen.add(key)


def _check_images(file: Path, images: dict[str, list[Any]]) -> None:
    if not images["id"]:
        raise FGDError(f"{file}: lists no images")
    for identity, name, *size in zip(*(images[key] for key in IMAGE_KEYS), strict=True):
        where = f"{file}: image {identity}"
        if not isinstance(name, str) or not name:
            raise FGDError(f"{where}: file_name is {name!r}; expected a path in the image folder")
        if "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise FGDError(f"{where}: file_name {name!r} leads out of the image folder")
        if not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in size):
            raise FGDError(f"{where}: width and height are {size}; expected whole pixels")


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
        if not is_box(box)
    )
    raise FGDError(
        f"{file}: annotation {annotation_id}: bbox is {box}, expected four finite numbers: x, y, "
        "width, height in pixels"
    )


def is_box(box: Any) -> bool:
    """Whether it is four finite numbers."""
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


def box_faults(
    images: dict[str, list[Any]], annotations: dict[str, list[Any]], boxes: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Which annotations mmdet leaves out, by reason, and which boxes lie partly beyond the border.

    Args:
        boxes: of the annotations, (n, 4): x, y, width, height in pixels.
    """
    sizes = _sizes(images, annotations)
    areas = np.array([a if isinstance(a, int | float) else 0 for a in annotations["area"]], float)
    return _faults(boxes, sizes, areas), _beyond_border(boxes, sizes)


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
