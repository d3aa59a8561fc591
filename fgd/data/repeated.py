"""Images that an annotation file lists several times, as tables with a line an object become.

With some of its objects in each entry an image contradicts itself: what is an object in one is
background in the other, in training, and a false detection in figures. A perfect detector has no
AP of 1 then. Entries with the same objects are copies, by which some show an image more often.
"""

import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask

from fgd.data.boxes import is_box
from fgd.data.mend import Entries, Report
from fgd.errors import FGDError

COPIES = "image listed twice, with the same objects"
JOINED = "image listed several times, its objects together now"
_SAME = 0.7  # overlap of two boxes of a class from which on they are likely of one object
_FEW = 0.05  # pairs of such for each object; crowds of people have fewer


def check_repeated(file: Path, content: dict[str, Any]) -> int:
    """How many entries are copies of another.

    Args:
        content: of an annotation file that is whole in itself.

    Raises:
        FGDError: an image is listed several times, with other objects each time.
    """
    several = list(_several(content))
    different = [entries for entries, objects in several if not _alike(objects)]
    if different:
        one, other, *_ = different[0]
        raise FGDError(
            f"{file}: images {one['id']} and {other['id']} are one file, {one['file_name']}, with "
            f"other objects each ({len(different)} such files): what is an object in one "
            "entry is none in the other, for training and for figures. Give each image one entry "
            "with all of its objects; `fgd data clean` joins them"
        )
    return sum(len(entries) - 1 for entries, _ in several)


def join_repeated(file: Path, content: dict[str, Entries], report: Report) -> None:
    """Make one entry of those of an image that have other objects each; copies stay.

    Args:
        content: of an annotation file that is whole in itself.

    Raises:
        FGDError: two entries may have the same object, in two people's boxes.
    """
    first: dict[int, int] = {}
    different = [(e, objects) for e, objects in _several(content) if not _alike(objects)]
    _check_apart(file, different)
    for entries, _ in different:
        first |= {entry["id"]: entries[0]["id"] for entry in entries}
        report.add(JOINED, f"{entries[0]['file_name']}, {len(entries)} times")
    content["images"] = [i for i in content["images"] if first.get(i["id"], i["id"]) == i["id"]]
    seen, kept = set(), []
    for annotation in content["annotations"]:
        if annotation["image_id"] in first:
            annotation["image_id"] = first[annotation["image_id"]]
            key = (annotation["image_id"], _object(annotation))
            if key in seen:
                report.leave_out("annotation that stands in two entries", annotation["id"])
                continue
            seen.add(key)
        kept.append(annotation)
    content["annotations"] = kept


def _several(content: dict[str, Any]) -> Iterator[tuple[Entries, list[Entries]]]:
    """The entries of each image that has several, and the annotations of each of them."""
    files = defaultdict(list)
    for image in content["images"]:
        files[posixpath.normpath(image["file_name"])].append(image)
    several = [entries for entries in files.values() if len(entries) > 1]
    objects: dict[int, Entries] = {entry["id"]: [] for entries in several for entry in entries}
    for annotation in content["annotations"] if several else ():
        if annotation["image_id"] in objects:
            objects[annotation["image_id"]].append(annotation)
    for entries in several:
        yield entries, [objects[entry["id"]] for entry in entries]


def _object(annotation: dict[str, Any]) -> tuple[Any, Any, bool]:
    box = annotation["bbox"]
    # By value: of one box tools write 10 and 10.0.
    where = tuple(box) if is_box(box) else str(box)
    return annotation["category_id"], where, bool(annotation["iscrowd"])


def _alike(objects: list[Entries]) -> bool:
    first, *others = (Counter(map(_object, each)) for each in objects)
    return all(other == first for other in others)


def _check_apart(file: Path, images: list[tuple[Entries, list[Entries]]]) -> None:
    """Refuse entries of which two have nearly the same box of a class, but not the same.

    Where each entry has one object, nobody else need have labelled the next: of a crowd some boxes
    do nearly coincide, but few.
    """
    pairs = [(entries, *pair) for entries, objects in images for pair in _close(objects)]
    sizes = [len(each) for _, objects in images for each in objects]
    if not pairs or (max(sizes) == 1 and len(pairs) <= _FEW * sum(sizes)):
        return
    entries, one, other = pairs[0]
    raise FGDError(
        f"{file}: image {entries[0]['file_name']} is listed {len(entries)} times, and the "
        f"annotations {one['id']} and {other['id']} of two of its entries may be of one object, "
        f"labelled twice ({len(pairs)} such pairs): which of them counts cannot be known. Leave "
        "one entry, or one of such objects"
    )


def _close(objects: list[Entries]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Annotations of a class, in two entries, whose boxes are nearly the same."""
    known = [a for each in objects for a in each if is_box(a["bbox"]) and not a["iscrowd"]]
    boxes = np.array([a["bbox"] for a in known], float).reshape(-1, 4)
    overlaps = mask.iou(boxes, boxes, [0] * len(known)) if known else np.empty((0, 0))
    for position, later in np.argwhere(np.triu(overlaps >= _SAME, 1)):
        one, other = known[position], known[later]
        if (
            one["image_id"] != other["image_id"]
            and one["category_id"] == other["category_id"]
            and one["bbox"] != other["bbox"]
        ):
            yield one, other
