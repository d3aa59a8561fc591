"""Annotations that pass the check: what other tools write is mended, what is unusable left out.

Every change is counted by kind. What cannot be known is never guessed: the file is refused with the
reason.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fgd.data import images as image_files
from fgd.data import mend
from fgd.data.annotations import MENDED, PLAIN, columns, entries_of, load
from fgd.data.boxes import are_corners, box_faults, is_box, sizes_of_boxes
from fgd.data.categories import groups, ordered
from fgd.data.coco import check
from fgd.data.files import none_there
from fgd.data.findings import NO_MASK, faulty_annotations, faulty_images, small_images
from fgd.data.mend import Entries, Report
from fgd.data.repeated import join_repeated
from fgd.errors import FGDError
from fgd.files import atomic_path, sha256

CUT = "box cut off at the border"
# More unusable boxes are no accident: they are in other units.
_MOST_UNUSABLE = 0.5
_KINDS = ("images", "annotations", "categories")


def clean(
    annotation_file: Path,
    image_folder: Path,
    *,
    out: Path | None,
    masks: bool = False,
    training: bool = False,
    like: Path | None = None,
    classes: Sequence[str] | None = None,
    all_categories: bool = False,
    corners: bool | None = None,
) -> Report:
    """Write a COCO-format annotation file to `out`, mended so that it passes the check.

    Args:
        out: None only reports what would be changed.
        masks: leave out objects without a segmentation, too. Otherwise a wrong one is dropped and
            its box kept.
        training: leave out images that mmdet's training would leave out.
        like: another annotation file, whose categories these shall be, in its order.
        classes: the same by name.
        all_categories: keep categories that evidently are no classes (`categories.groups`).
        corners: whether boxes are x1, y1, x2, y2; None refuses those that look like it.

    Raises:
        FGDError: the file as a whole is wrong, something in it is ambiguous or leads out of the
            image folder, nothing is left, or `out` is the file itself.
    """
    content, encoding = load(annotation_file, image_folder)
    if out is not None and out.exists() and out.samefile(annotation_file):
        raise FGDError(f"{out}: is the annotation file itself; give another path")
    names = _names(like, all_categories=all_categories) if like else classes
    report = Report()
    if encoding != PLAIN:
        report.add("encoding", f"{encoding} is UTF-8")
    parts = {kind: _entries(annotation_file, content, kind) for kind in _KINDS}
    _mend_entries(annotation_file, image_folder, parts, report)
    images = _whole(annotation_file, parts)
    _drop_images(parts, _bad_images(image_folder, images, report, training=training))
    join_repeated(annotation_file, parts, report)
    _mend_categories(
        annotation_file, parts, report, names=names, like=like, all_categories=all_categories
    )
    _mend_annotations(annotation_file, images, parts, report, masks=masks, corners=corners)
    report.images, report.annotations = len(parts["images"]), len(parts["annotations"])
    if not parts["annotations"]:
        raise FGDError(f"{annotation_file}: nothing is left; first: {_first(report)}")
    content |= parts
    info = content.get("info")
    content["info"] = (info if isinstance(info, dict) else {}) | {
        "cleaned": {
            "by": "fgd data clean",
            "from": annotation_file.name,
            "sha256": sha256(annotation_file),
            "changes": dict(report.counts),
            "left_out": report.left_out,
        }
    }
    with _written(out) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")
        _check(temporary, annotation_file, image_folder, masks=masks, training=training)
    return report


def _names(like: Path, *, all_categories: bool) -> list[str]:
    """The classes of another annotation file."""
    content, _ = load(like, like.parent)
    _, annotations, categories = columns(like, content)
    used = set(annotations["category_id"])
    left_out = () if all_categories else groups(content["categories"], used)
    return [name for name in categories["name"] if name not in left_out]


def _entries(file: Path, content: dict[str, Any], kind: str) -> Entries:
    entries = entries_of(file, content, kind)
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise FGDError(f"{file}: {kind!r}, no. {number}: is {entry!r:.80}; expected an object")
    return entries


def _mend_entries(file: Path, folder: Path, parts: dict[str, Entries], report: Report) -> None:
    """What has to be right before an entry can be looked at in itself."""
    mend.mend_numbers(parts, report)
    mend.drop_duplicates(parts, report)
    mend.mend_ids(file, parts, report)
    mend.mend_names(file, folder, parts["images"], report)
    mend.mend_sizes(folder, parts["images"], report)
    _drop_images(parts, _unknown(file, folder, parts["images"], report))
    mend.mend_flags(parts["annotations"], report)
    for annotation in parts["annotations"]:
        annotation.setdefault("area", None)
        annotation.setdefault("bbox", None)


def _whole(file: Path, parts: dict[str, Entries]) -> dict[str, list[Any]]:
    """The images by column, of a file that is whole in itself now.

    Raises:
        FGDError: it is not, and nobody can know what it should be.
    """
    try:
        return columns(file, parts)[0]
    except FGDError as error:
        reason = str(error).partition(MENDED)[0].rstrip(" :;,")
        raise FGDError(f"{reason}. What is meant cannot be known: correct it by hand") from error


def _drop_images(parts: dict[str, Entries], ids: set[int]) -> None:
    """Leave out images with their annotations."""
    parts["images"] = [i for i in parts["images"] if i["id"] not in ids]
    parts["annotations"] = [
        a
        for a in parts["annotations"]
        if type(a.get("image_id")) is not int or a["image_id"] not in ids
    ]


def _unknown(file: Path, folder: Path, images: Entries, report: Report) -> set[Any]:
    """The ids of images that are not there, or whose size nobody says.

    Raises:
        FGDError: none is there.
    """
    bad = set()
    missing = []
    for image in images:
        name = image.get("file_name")
        if not isinstance(name, str) or not name:
            continue  # `columns` refuses it
        if not (folder / name).is_file():
            report.add("missing image", name)
            missing.append(name)
            bad.add(image["id"])
        elif "width" not in image or "height" not in image:
            report.add("image unreadable", f"{name}, and its size is not stated")
            bad.add(image["id"])
    if missing and len(missing) == len(images):
        raise none_there(file, folder, missing)
    return bad


def _bad_images(
    folder: Path, images: dict[str, list[Any]], report: Report, *, training: bool
) -> set[Any]:
    """The ids of images that cannot be trained on."""
    bad = set()
    for identity, path, finding in faulty_images(folder, images):
        if finding.kind in image_files.REFUSED:
            report.add(f"image {finding.kind}", f"{path.name} {finding.reason}")
            bad.add(identity)
    for position in small_images(images) if training else ():
        if images["id"][position] not in bad:
            report.add("image too small to be trained on", images["file_name"][position])
            bad.add(images["id"][position])
    return bad


def _mend_categories(
    file: Path,
    parts: dict[str, Entries],
    report: Report,
    *,
    names: Sequence[str] | None,
    like: Path | None,
    all_categories: bool,
) -> None:
    """Leave out categories that are no classes; put the others in the order asked for."""
    categories = parts["categories"]
    objects = Counter(annotation["category_id"] for annotation in parts["annotations"])
    if names is not None:
        source = str(like) if like else "--classes"
        kept = ordered(file, categories, objects=objects, names=names, source=source)
        if [c["name"] for c in kept if c in categories] != [
            c["name"] for c in categories if c in kept
        ]:
            report.add("categories in another order", ", ".join(names))
        for category in kept:
            if category not in categories:
                report.add("category of another file", category["name"])
    else:
        left_out = () if all_categories else groups(categories, objects)
        kept = [category for category in categories if category["name"] not in left_out]
    for category in categories:
        if category not in kept:
            report.add("category that is no class", category["name"])
    parts["categories"] = kept


def _mend_annotations(
    file: Path,
    images: dict[str, list[Any]],
    parts: dict[str, Entries],
    report: Report,
    *,
    masks: bool,
    corners: bool | None,
) -> None:
    """Usable boxes, within their images; areas and segmentations that fit them."""
    sizes = {i["id"]: (i["width"], i["height"]) for i in parts["images"]}
    annotations = []
    for annotation in parts["annotations"]:
        if is_box(annotation["bbox"]):
            annotations.append(annotation)
        else:
            report.leave_out("bbox of no four numbers", annotation["id"])
    before = mend.with_areas_of_boxes(annotations)
    if annotations:
        _from_corners(file, images, annotations, report, corners=corners)
        annotations = _usable(file, images, annotations, report)
    mend.mend_segmentations(sizes, annotations, report)
    mend.mend_areas(sizes, annotations, report, before)
    if masks:
        everyone = {annotation["category_id"] for annotation in annotations}
        bad = set()
        for kind, identity, reason in faulty_annotations(images, annotations, everyone):
            if kind == NO_MASK:
                report.leave_out(kind, identity, reason)
                bad.add(identity)
        annotations = [a for a in annotations if a["id"] not in bad]
    parts["annotations"] = annotations


def _from_corners(
    file: Path,
    images: dict[str, list[Any]],
    annotations: Entries,
    report: Report,
    *,
    corners: bool | None,
) -> None:
    """Make x, y, width, height of boxes that are given as x1, y1, x2, y2."""
    boxes, columns_ = _boxes(annotations)
    if corners is None and are_corners(boxes, sizes_of_boxes(images, columns_)):
        raise FGDError(
            f"{file}: its boxes look like x1, y1, x2, y2, for example {annotations[0]['bbox']} of "
            f"annotation {annotations[0]['id']}: as that all of them lie in their images, and as "
            "x, y, width, height they do not. If they are corners give --corners, otherwise "
            "--no-corners"
        )
    for annotation in annotations if corners else ():
        x1, y1, x2, y2 = annotation["bbox"]
        report.add("box of corners", f"annotation {annotation['id']}: {annotation['bbox']}")
        annotation["bbox"] = [x1, y1, x2 - x1, y2 - y1]


def _usable(
    file: Path, images: dict[str, list[Any]], annotations: Entries, report: Report
) -> Entries:
    """The annotations whose boxes can be used, cut off at their images' borders."""
    boxes, columns_ = _boxes(annotations)
    sizes = sizes_of_boxes(images, columns_)
    faults, beyond = box_faults(images, columns_, boxes)
    bad = set()
    for reason, which in faults.items():
        for index in np.flatnonzero(which):
            report.leave_out(reason, annotations[index]["id"], f"{boxes[index].tolist()}")
            bad.add(index)
    if len(annotations) > len(bad) > _MOST_UNUSABLE * len(annotations):
        raise FGDError(
            f"{file}: {len(bad)} of {len(annotations)} boxes are no boxes in their images, for "
            f"example {annotations[min(bad)]['bbox']} of annotation {annotations[min(bad)]['id']}: "
            "that is no accident. Expected x, y, width, height in pixels"
        )
    for index in np.flatnonzero(beyond):
        if index in bad:
            continue
        report.add(CUT, f"annotation {annotations[index]['id']}: {annotations[index]['bbox']}")
        annotations[index]["bbox"] = _cut(boxes[index], *sizes[index])
        if min(annotations[index]["bbox"][2:]) < 1:  # mmdet would leave it out
            report.left_out.append(annotations[index]["id"])
            bad.add(index)
    return [annotation for index, annotation in enumerate(annotations) if index not in bad]


def _boxes(annotations: Entries) -> tuple[np.ndarray, dict[str, list[Any]]]:
    """The boxes as (n, 4), and what `box_faults` wants to know of their annotations."""
    boxes = np.array([a["bbox"] for a in annotations], np.float64).reshape(-1, 4)
    image_ids = [a["image_id"] for a in annotations]
    return boxes, {"image_id": image_ids, "area": [1] * len(annotations)}  # areas are mended later


def _cut(box: np.ndarray, width: int, height: int) -> list[float]:
    low = np.maximum(box[:2], 0)
    high = np.minimum(box[:2] + box[2:], (width, height))
    return [*low.tolist(), *(high - low).tolist()]


@contextmanager
def _written(out: Path | None) -> Iterator[Path]:
    """Where to write: a file that becomes `out`, or one that is thrown away."""
    if out is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / "clean.json"
    else:
        with atomic_path(out) as temporary:
            yield temporary


def _check(written: Path, file: Path, folder: Path, *, masks: bool, training: bool) -> None:
    """Whether what was written is sound; if not, the message names the file that it is of."""
    try:
        check(written, folder, strict=True, open_images=True, masks=masks, training=training)
    except FGDError as error:
        reason = str(error).replace(str(written), "it")
        raise FGDError(f"{file}: what would be left is not sound: {reason}") from error


def _first(report: Report) -> str:
    kind, example = next(iter(report.examples.items()), ("no annotations", "none was there"))
    return f"{kind}, {example}"
