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

from fgd.data.boxes import is_box
from fgd.data.mend import Entries, Report
from fgd.errors import FGDError

COPIES = "image listed twice, with the same objects"
JOINED = "image listed several times, its objects together now"
_SAME = 0.7  # overlap of two boxes of a class from which on they are likely of one object


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
    for entries, objects in _several(content):
        if _alike(objects):
            continue
        _check_apart(file, entries, objects)
        first |= {entry["id"]: entries[0]["id"] for entry in entries[1:]}
        report.add(JOINED, f"{entries[0]['file_name']}, {len(entries)} times")
    if not first:
        return
    content["images"] = [image for image in content["images"] if image["id"] not in first]
    seen, kept = set(), []
    for annotation in content["annotations"]:
        annotation["image_id"] = first.get(annotation["image_id"], annotation["image_id"])
        key = (annotation["image_id"], _object(annotation))
        if annotation["image_id"] in first.values() and key in seen:
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


def _object(annotation: dict[str, Any]) -> tuple[Any, str, bool]:
    return annotation["category_id"], str(annotation["bbox"]), bool(annotation["iscrowd"])


def _alike(objects: list[Entries]) -> bool:
    first, *others = (Counter(map(_object, each)) for each in objects)
    return all(other == first for other in others)


def _check_apart(file: Path, entries: Entries, objects: list[Entries]) -> None:
    """Refuse entries of which two have nearly the same box of a class, but not the same."""
    known = [a for each in objects for a in each if is_box(a["bbox"]) and not a["iscrowd"]]
    for position, one in enumerate(known):
        for other in known[position + 1 :]:
            if (
                one["image_id"] != other["image_id"]
                and one["category_id"] == other["category_id"]
                and one["bbox"] != other["bbox"]
                and _overlap(one["bbox"], other["bbox"]) >= _SAME
            ):
                raise FGDError(
                    f"{file}: image {entries[0]['file_name']} is listed {len(entries)} times, and "
                    f"the annotations {one['id']} and {other['id']} of two of its entries may be "
                    "of one object, labelled twice: which of them counts cannot be known. Leave "
                    "one entry, or one of such objects"
                )


def _overlap(one: list[float], other: list[float]) -> float:
    """Intersection over union of two boxes x, y, width, height."""
    a, b = np.array(one, float), np.array(other, float)
    inside = np.minimum(a[:2] + a[2:], b[:2] + b[2:]) - np.maximum(a[:2], b[:2])
    both = float(inside.clip(min=0).prod())
    return both / max(float(a[2:].prod() + b[2:].prod()) - both, 1e-9)
