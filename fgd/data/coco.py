"""Checks a COCO-format data set before anything is trained on it.

What mmdet does silently at training time is found here and said aloud: boxes that it drops, class
names that it does not find, categories in another order than the class names. The annotation file
is read once and no image is opened unless asked, so that COCO itself takes seconds. What was read
is kept as an `index`, from which trainings read it again.
"""

import os
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fgd.data import index
from fgd.data.annotations import read
from fgd.data.boxes import LARGER, MOST_FAULTY, box_faults, boxes_of, describe, larger_areas
from fgd.data.categories import groups
from fgd.data.files import check_ends, check_files
from fgd.data.findings import (
    WRONG_MASK,
    Refusals,
    describe_small,
    faulty_annotations,
    faulty_images,
    ignored,
    small_images,
)
from fgd.data.outlines import ELSEWHERE, check_outlines
from fgd.data.repeated import COPIES, check_repeated
from fgd.errors import FGDError
from fgd.files import sha256


class OtherClasses(FGDError):
    """An annotation file has other classes than are asked for, or in another order."""


def check(
    annotation_file: str | os.PathLike,
    image_folder: str | os.PathLike,
    *,
    classes: Sequence[str] | None = None,
    strict: bool = False,
    open_images: bool = False,
    accept: Collection[str] = (),
    number: int | None = None,
    masks: bool = False,
    training: bool = False,
    all_categories: bool = False,
) -> dict[str, Any]:
    """Check one annotation file and its images.

    Args:
        annotation_file: COCO's JSON for detection.
        image_folder: where its `file_name`s lie.
        classes: names that the categories must have, in the order of the labels; None: any.
        strict: refuse any box that lies partly outside its image or that mmdet drops. Otherwise
            they are counted, as long as they are few: COCO itself has some.
        open_images: also decode every image, and compare its size with the annotation file.
        accept: kinds of findings (`findings.KINDS`) that are counted instead of refused.
        number: how many images there have to be; None: any.
        masks: refuse annotations without a sound segmentation, which detectors of masks cannot do
            with; for boxes it is not looked at, and a wrong one is counted.
        training: the images are trained on, and mmdet leaves small ones out of that: refuse them
            as boxes that it drops.
        all_categories: where no classes are given, every category is one, also those that only
            group others (`categories.groups`).

    Returns:
        What was found, ready for JSON: counts of images, annotations, objects per class, and
        annotations that mmdet drops, by reason.

    Raises:
        FGDError: names the file, the first offending entry, the reason and how many there are.
    """
    file, folder = Path(annotation_file), Path(image_folder)
    before = index.stamp(file)
    content, images, annotations, categories = read(file, folder)
    _check_extent(file, images, annotations, number)
    if classes is not None:
        check_classes(file, categories, classes)
    check_files(file, folder, images)
    if not open_images:
        check_ends(folder, images["file_name"])

    objects = Counter(annotations["category_id"])
    grouping = groups(content["categories"], objects) if not (classes or all_categories) else []
    used = classes or [name for name in categories["name"] if name not in grouping]
    ids = dict(zip(categories["name"], categories["id"], strict=True))
    learned = {ids[name] for name in used}
    found: Counter[str] = Counter()
    if copies := check_repeated(file, content):
        found[COPIES] = copies
    refused = Refusals(file, accept, found)
    refused.of_images(faulty_images(folder, images) if open_images else ())
    refused.of_annotations(
        faulty_annotations(images, content["annotations"], learned if masks else ()), masks=masks
    )
    _check_objects(file, content["annotations"], learned)
    most = 0.0 if strict else MOST_FAULTY
    dropped, beyond = _check_boxes(file, content, images, annotations, most)
    if larger := larger_areas(boxes_of(file, annotations), annotations["area"]).sum():
        found[LARGER] = int(larger)
    if masks and WRONG_MASK not in accept and (few := check_outlines(file, content, learned)):
        found[ELSEWHERE] = few
    small = small_images(images)
    if training and len(small) > most * len(images["id"]):
        raise FGDError(f"{file}: {describe_small(images, small)}")

    digest = sha256(file)
    if index.stamp(file) == before:  # so the content is this digest's
        index.keep(content, digest)
    return {
        "annotation_file": str(file),
        "sha256": digest,
        "image_folder": str(folder),
        "images": len(images["id"]),
        "images_without_objects": len(set(images["id"]) - set(annotations["image_id"])),
        "small_images": len(small),
        "annotations": len(annotations["id"]),
        "crowds": int(np.count_nonzero(annotations["iscrowd"])),
        "without_segmentation": sum(not a.get("segmentation") for a in content["annotations"]),
        "per_class": {name: objects[ids[name]] for name in categories["name"] if name in used},
        "other_classes": sum(n for category, n in objects.items() if category not in learned),
        "no_classes": grouping,
        "dropped_by_mmdet": dropped,
        "beyond_border": beyond,
        "found": dict(sorted(found.items())),
    }


def remarks(report: dict[str, Any]) -> list[str]:
    """What a person should know of a data set that `check` found sound."""
    lines = []
    if report["no_classes"]:
        names = ", ".join(report["no_classes"])
        lines.append(
            f"no class for {names}: without objects, and above other categories or background "
            "(--all-categories keeps it)"
        )
    if empty := [name for name, count in report["per_class"].items() if not count]:
        lines.append(f"no object of {', '.join(empty)}: nothing to learn or to measure")
    if larger := report["found"].get(LARGER):
        lines.append(
            f"{larger} of {report['annotations']} areas are larger than their boxes, and AP by "
            "size goes by them: `fgd data clean` computes those anew that are not their outlines'"
        )
    if report["small_images"]:
        lines.append(f"{report['small_images']} images are too small for mmdet's training")
    return lines


def _check_extent(
    file: Path, images: dict[str, list[Any]], annotations: dict[str, list[Any]], number: int | None
) -> None:
    if number not in (None, len(images["id"])):
        raise FGDError(
            f"{file}: lists {len(images['id'])} images, expected {number}; it is another data set "
            "or another version of it"
        )
    if not annotations["id"]:
        raise FGDError(f"{file}: has no annotations; there is nothing to learn or to measure")


def _check_boxes(
    file: Path,
    content: dict[str, Any],
    images: dict[str, list[Any]],
    annotations: dict[str, list[Any]],
    most: float,
) -> tuple[dict[str, int], int]:
    """How many boxes mmdet drops, by reason, and how many lie partly outside their image.

    Args:
        most: of all boxes, how large a part may be of one kind.
    """
    boxes = boxes_of(file, annotations)
    faults, beyond = box_faults(images, annotations, boxes)
    faults["marked ignore"] = np.array([ignored(a) for a in content["annotations"]], bool)
    for reason, which in [*faults.items(), ("partly beyond the image's border", beyond)]:
        if which.sum() > most * len(boxes):
            raise FGDError(f"{file}: {describe(images, annotations, which, reason)}")
    return {reason: int(which.sum()) for reason, which in faults.items()}, int(beyond.sum())


def _check_objects(file: Path, annotations: list[dict[str, Any]], learned: set[Any]) -> None:
    """Whether there is an object to learn or to find."""
    objects = [a for a in annotations if a["category_id"] in learned]
    if not any(not a["iscrowd"] and not ignored(a) for a in objects):
        crowds = sum(bool(a["iscrowd"]) for a in objects)
        raise FGDError(
            f"{file}: has no object of its classes that is learned or measured: of "
            f"{len(annotations)} annotations {len(objects)} are of them, {crowds} with iscrowd 1 "
            f"and {len(objects) - crowds} marked ignore. Correct these keys"
        )


def check_classes(file: Path, categories: dict[str, list[Any]], classes: Sequence[str]) -> None:
    """Whether an annotation file has these classes, in the order of the labels.

    Raises:
        FGDError: one is missing, or they stand in another order.
    """
    missing = [name for name in classes if name not in categories["name"]]
    if missing:
        raise OtherClasses(
            f"{file}: no category is named {missing[0]!r} ({len(missing)} of {len(classes)} class "
            f"names are missing); its categories are {', '.join(categories['name'])}"
        )
    # mmdet numbers the labels in the file's order and names them in the order of the classes.
    order = [name for name in categories["name"] if name in classes]
    if order != list(classes):
        raise OtherClasses(
            f"{file}: its categories stand in the order {', '.join(order)}, the class names in "
            f"the order {', '.join(classes)}; mmdet would mix them up: give them in the file's "
            "order, or reorder the file's: `fgd data clean --like`, or `--classes`"
        )
