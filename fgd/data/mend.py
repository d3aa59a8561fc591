"""What annotation tools write otherwise than COCO's format wants it, mended kind by kind."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from fgd.data import segmentation
from fgd.data.annotations import LARGEST_ID, LARGEST_SIDE
from fgd.data.boxes import is_box, is_number, larger_areas
from fgd.data.findings import ignored
from fgd.data.images import size_of
from fgd.errors import FGDError

Entries = list[dict[str, Any]]

_WHOLE = re.compile(r"\s*[+-]?\d{1,30}(\.0*)?\s*")
_ROUNDED = 1e-3  # by how much of an area a tool may have rounded it
_REFERENCES = {"images": "image_id", "categories": "category_id"}


@dataclass
class Report:
    """What was left out or changed.

    Attributes:
        counts: how often, by kind.
        examples: the first of each kind, in words.
        images, annotations: how many are left.
        left_out: the ids of annotations that are not, though their image is.
    """

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    images: int = 0
    annotations: int = 0
    left_out: list[Any] = field(default_factory=list)

    def add(self, kind: str, example: str) -> None:
        """Count one."""
        self.counts[kind] += 1
        self.examples.setdefault(kind, example)

    def leave_out(self, kind: str, annotation: Any, reason: str = "") -> None:
        """Count an annotation that is left out, by its id."""
        self.add(kind, f"annotation {annotation}" + (f": {reason}" if reason else ""))
        self.left_out.append(annotation)


def whole(value: Any) -> int | None:
    """The whole number that a value stands for: 64, 64.0, "64" or "64.0"; None for any other."""
    if type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value.split(".")[0])
    return None


def number(value: Any) -> float | int | None:
    """The finite number that a value stands for, perhaps as text; None for any other."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
        value = int(value) if value.is_integer() else value
    return value if is_number(value) and math.isfinite(value) else None


def mend_numbers(content: dict[str, Entries], report: Report) -> None:
    """Numbers that stand there as text or as 64.0."""
    for kind, keys in (
        ("images", ("id", "width", "height")),
        ("annotations", ("id", "image_id", "category_id", "iscrowd")),
        ("categories", ("id",)),
    ):
        for entry in content[kind]:
            for key in keys:
                value = entry.get(key)
                mended = whole(value)
                if mended is not None and type(value) is not int:
                    entry[key] = mended
                    report.add("whole number written otherwise", f"{kind}: {key} {value!r}")
    for annotation in content["annotations"]:
        box = annotation.get("bbox")
        if isinstance(box, list) and not is_box(box) and not any(type(n) is bool for n in box):
            mended_box = [number(n) for n in box]
            if is_box(mended_box):
                annotation["bbox"] = mended_box
                report.add("box of text", f"{box}")


def drop_duplicates(content: dict[str, Entries], report: Report) -> None:
    """Entries that stand twice: the same image, the same category, an object in all but its id."""
    for kind, keys in (
        ("images", ("id", "file_name")),
        ("annotations", None),
        ("categories", ("id", "name")),
    ):
        seen: set[str] = set()
        kept = []
        for entry in content[kind]:
            same = {k: v for k, v in entry.items() if (k in keys if keys else k != "id")}
            text = json.dumps(same, sort_keys=True)
            if text in seen:
                report.add(f"{kind}: the same twice", f"id {entry.get('id')!r}")
            else:
                seen.add(text)
                kept.append(entry)
        content[kind] = kept


def mend_ids(file: Path, content: dict[str, Entries], report: Report) -> None:
    """Ids that are no whole numbers, or that restart.

    Nothing refers to an annotation's id. What annotations refer to is numbered anew only if every
    reference stays as clear as it was.

    Raises:
        FGDError: an image's or a category's id is none, or stands for more than one.
    """
    seen: set[int] = set()
    wrong = []
    for annotation in content["annotations"]:
        identity = annotation.get("id")
        if type(identity) is int and 0 < identity <= LARGEST_ID and identity not in seen:
            seen.add(identity)
        else:
            wrong.append(annotation)
    for annotation, identity in zip(wrong, _free(seen), strict=False):
        words = repr(annotation["id"]) if "id" in annotation else "none"
        annotation["id"] = identity
        report.add("annotation numbered anew", f"id {words} is {identity}")
    for kind, key in _REFERENCES.items():
        _number_anew(file, content, kind, key, report)


def _number_anew(
    file: Path, content: dict[str, Entries], kind: str, key: str, report: Report
) -> None:
    ids = [entry.get("id") for entry in content[kind]]
    for identity in ids:
        if type(identity) not in (int, str, float):
            raise FGDError(
                f"{file}: {kind!r}: an id is {identity!r}; annotations name what they belong to by "
                "it, so that it cannot be guessed"
            )
    identity, times = Counter(ids).most_common(1)[0] if ids else (None, 0)
    if times > 1:
        raise FGDError(
            f"{file}: id {identity!r} stands {times} times in {kind!r}, and not for the same: "
            f"which of them annotations of {key} {identity!r} mean cannot be known. Export the "
            "data anew, or in one file each"
        )
    wrong = [each for each in ids if type(each) is not int or abs(each) > LARGEST_ID]
    new = dict(zip(wrong, _free(set(ids)), strict=False))
    for entry in content[kind]:
        if entry["id"] in new:
            report.add(f"{kind} numbered anew", f"id {entry['id']!r} is {new[entry['id']]}")
            entry["id"] = new[entry["id"]]
    for annotation in content["annotations"] if new else ():
        if isinstance(annotation.get(key), int | str | float):
            annotation[key] = new.get(annotation[key], annotation[key])


def _free(taken: set[Any]) -> Iterator[int]:
    """Numbers from 1 that are not taken."""
    return (number for number in count(1) if number not in taken)


def mend_names(file: Path, folder: Path, images: Entries, report: Report) -> None:
    """File names with backslashes, or with the path of the image folder before them.

    Raises:
        FGDError: one leads out of the image folder.
    """
    for image in images:
        name = image.get("file_name")
        if not isinstance(name, str) or not name or "\0" in name:
            continue  # the check says so
        mended = name
        if "\\" in name and not (folder / name).is_file():
            mended = name.replace("\\", "/")
        inside = _inside(folder, mended)
        if inside is None:
            raise FGDError(
                f"{file}: image {image.get('id')!r}: file_name {name!r} leads out of the image "
                f"folder {folder}. Give the folder that holds all images, or names relative to it"
            )
        if inside != name:
            image["file_name"] = inside
            report.add("file name relative to the image folder", f"{name} is {inside}")


def _inside(folder: Path, name: str) -> str | None:
    """A name relative to the folder; None for one that leads out."""
    path = Path(name)
    if path.is_absolute():
        for root in (folder.absolute(), folder.resolve()):
            if path.is_relative_to(root):
                path = path.relative_to(root)
                break
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:[/\\]", name):
        return None
    return name if not Path(name).is_absolute() else path.as_posix()


def mend_sizes(folder: Path, images: Entries, report: Report) -> None:
    """Widths and heights that are missing, or no numbers of pixels: read from the images."""
    for image in images:
        size = [image.get("width"), image.get("height")]
        if all(type(n) is int and 0 < n <= LARGEST_SIDE for n in size):
            continue
        name = image.get("file_name")
        if isinstance(name, str) and (read := size_of(folder / name)):
            image["width"], image["height"] = read
            report.add("size read from the image", f"{name} is {read[0]} x {read[1]}")


def mend_flags(annotations: Entries, report: Report) -> None:
    """`iscrowd` that is missing or no flag, and `ignore`, which the evaluation does not know.

    mmdet takes an ignored object for background, and COCO's evaluation wants it found; a crowd is
    what both leave alone.
    """
    for annotation in annotations:
        words = f"annotation {annotation['id']}"
        crowd = annotation.get("iscrowd")
        if type(crowd) is not int or crowd not in (0, 1):
            value = crowd if type(crowd) in (int, float, bool) else 0
            annotation["iscrowd"] = int(bool(value))
            kind = "without iscrowd" if crowd is None else "iscrowd that is no flag"
            report.add(kind, f"{words}: {annotation['iscrowd']}")
        if ignored(annotation):
            annotation["iscrowd"] = 1
            del annotation["ignore"]
            report.add("marked ignore, now a crowd", words)


def mend_segmentations(
    sizes: dict[Any, tuple[int, int]], annotations: Entries, report: Report
) -> None:
    """Polygons that are none, and lists of numbers that should be in a list; boxes stay.

    Args:
        sizes: width and height by the id of an image.
    """
    for annotation in annotations:
        outline = annotation.get("segmentation")
        width, height = sizes[annotation["image_id"]]
        fault = segmentation.fault(outline, height, width)
        if fault is None:
            continue
        annotation["segmentation"] = mended = segmentation.usable(outline, height, width)
        kind = "segmentation mended" if mended else "segmentation dropped, its box kept"
        report.add(kind, f"annotation {annotation['id']}: {fault}")


def with_areas_of_boxes(annotations: Entries) -> dict[int, list[float]]:
    """The boxes, by the annotation's id, whose last two numbers' product is the area."""
    found = {}
    for annotation in annotations:
        area, box = number(annotation.get("area")), annotation["bbox"]
        if area is not None and math.isclose(area, box[2] * box[3], rel_tol=_ROUNDED):
            found[annotation["id"]] = box
    return found


def mend_areas(
    sizes: dict[Any, tuple[int, int]],
    annotations: Entries,
    report: Report,
    boxes: dict[int, list[float]],
) -> None:
    """Areas that are missing or cannot be: of the segmentation, or of the box where there is none.

    Args:
        sizes: width and height by the id of an image.
        boxes: as `with_areas_of_boxes` found them; where a box is another now, so is its area.
    """
    areas = [number(annotation.get("area")) for annotation in annotations]
    sides = np.array([annotation["bbox"] for annotation in annotations], float).reshape(-1, 4)
    larger = larger_areas(sides, areas)
    for annotation, area, too_large in zip(annotations, areas, larger, strict=True):
        old = annotation.get("area")
        stale = too_large or boxes.get(annotation["id"], annotation["bbox"]) != annotation["bbox"]
        if area is not None and area > 0 and not stale:
            if type(old) is str:
                annotation["area"] = area
                report.add("area of text", f"annotation {annotation['id']}: {old!r}")
            continue
        width, height = sizes[annotation["image_id"]]
        outline = annotation.get("segmentation")
        computed = segmentation.area(outline, height, width) if outline else 0.0
        computed = computed or max(0.0, annotation["bbox"][2] * annotation["bbox"][3])
        # Where a box is of what is seen of an object, its outline may well be larger.
        if type(old) is not str and area and math.isclose(area, computed, rel_tol=_ROUNDED):
            continue
        annotation["area"] = computed
        report.add("area computed", f"annotation {annotation['id']}: {old!r:.40}")
