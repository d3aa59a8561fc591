"""Annotations without what a check would refuse: the policy to drop and count."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fgd.data import images as image_files
from fgd.data.annotations import read
from fgd.data.boxes import box_faults, is_box
from fgd.data.coco import check
from fgd.data.findings import faulty_annotations, faulty_images
from fgd.errors import FGDError
from fgd.files import atomic_path

CUT = "box cut off at the border"


@dataclass
class Report:
    """What was left out or changed.

    Attributes:
        counts: how often, by kind.
        examples: the first of each kind, in words.
        images, annotations: how many are left.
    """

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    images: int = 0
    annotations: int = 0

    def add(self, kind: str, example: str) -> None:
        """Count one."""
        self.counts[kind] += 1
        self.examples.setdefault(kind, example)


def clean(annotation_file: Path, image_folder: Path, out: Path, masks: bool = False) -> Report:
    """Write the sound part of a COCO-format annotation file to `out`, which then passes the check.

    Args:
        masks: leave out annotations without a segmentation, too.

    Raises:
        FGDError: the file as a whole is wrong (no JSON, ids that stand twice, references to
            nothing), nothing is left, or `out` is the file itself.
    """
    if out.exists() and out.samefile(annotation_file):
        raise FGDError(f"{out}: is the annotation file itself; give another path")
    content, images, _, _ = read(annotation_file, image_folder)
    report = Report()
    bad_images = _bad_images(image_folder, images, report)
    content["images"] = [i for i in content["images"] if i["id"] not in bad_images]
    there = [a for a in content["annotations"] if a["image_id"] not in bad_images]
    content["annotations"] = _sound(images, there, report, masks)
    report.images, report.annotations = len(content["images"]), len(content["annotations"])
    if not content["annotations"]:
        raise FGDError(f"{annotation_file}: nothing is left; first: {_first(report)}")
    with atomic_path(out) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")
        check(temporary, image_folder, strict=True, open_images=True, masks=masks)
    return report


def _bad_images(folder: Path, images: dict[str, list[Any]], report: Report) -> set[Any]:
    """The ids of images that cannot be trained on."""
    bad = set()
    for name, identity in zip(images["file_name"], images["id"], strict=True):
        if not (folder / name).is_file():
            report.add("missing image", name)
            bad.add(identity)
    there = {
        key: [v for v, i in zip(column, images["id"], strict=True) if i not in bad]
        for key, column in images.items()
    }
    for identity, path, finding in faulty_images(folder, there):
        if finding.kind in image_files.REFUSED:
            report.add(f"image {finding.kind}", f"{path.name} {finding.reason}")
            bad.add(identity)
    return bad


def _sound(
    images: dict[str, list[Any]], annotations: list[dict[str, Any]], report: Report, masks: bool
) -> list[dict[str, Any]]:
    """The annotations that are right; their boxes within their images."""
    bad = set()
    for annotation in annotations:
        if not is_box(annotation["bbox"]):
            report.add("bbox of no four numbers", f"annotation {annotation['id']}")
            bad.add(annotation["id"])
    annotations = [a for a in annotations if a["id"] not in bad]
    with_masks = {annotation["category_id"] for annotation in annotations} if masks else ()
    for kind, identity, reason in faulty_annotations(images, annotations, with_masks):
        report.add(kind, f"annotation {identity}: {reason}")
        bad.add(identity)
    columns = {key: [a[key] for a in annotations] for key in ("id", "image_id", "area")}
    boxes = np.array([a["bbox"] for a in annotations], np.float64).reshape(-1, 4)
    faults, beyond = box_faults(images, columns, boxes)
    for reason, which in faults.items():
        for index in np.flatnonzero(which):
            identity = columns["id"][index]
            if identity not in bad:
                report.add(reason, f"annotation {identity}")
                bad.add(identity)
    sizes = dict(
        zip(images["id"], zip(images["width"], images["height"], strict=True), strict=True)
    )
    for index in np.flatnonzero(beyond):
        annotation = annotations[index]
        if annotation["id"] in bad:
            continue
        box = _cut(boxes[index], *sizes[annotation["image_id"]])
        report.add(CUT, f"annotation {annotation['id']}: {annotation['bbox']}")
        annotation["bbox"] = box
        if min(box[2:]) < 1:  # mmdet would leave it out
            bad.add(annotation["id"])
    return [a for a in annotations if a["id"] not in bad]


def _cut(box: np.ndarray, width: int, height: int) -> list[float]:
    low = np.maximum(box[:2], 0)
    high = np.minimum(box[:2] + box[2:], (width, height))
    return [*low.tolist(), *(high - low).tolist()]


def _first(report: Report) -> str:
    kind, example = next(iter(report.examples.items()), ("no annotations", "none was there"))
    return f"{kind}, {example}"
