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
from fgd.data.boxes import box_faults, boxes_of, describe
from fgd.data.files import check_ends, check_files
from fgd.data.findings import Refusals, faulty_annotations, faulty_images
from fgd.errors import FGDError
from fgd.files import sha256

# COCO holds a few hundred boxes of 860,000 that mmdet drops. Where many are wrong it is no
# accident: the boxes are in other units, or x1, y1, x2, y2.
MOST_FAULTY = 0.05


def check(
    annotation_file: str | os.PathLike,
    image_folder: str | os.PathLike,
    classes: Sequence[str] | None = None,
    strict: bool = False,
    open_images: bool = False,
    accept: Collection[str] = (),
    number: int | None = None,
    masks: bool = False,
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
        masks: refuse annotations without a segmentation, which detectors of masks cannot do with.

    Returns:
        What was found, ready for JSON: counts of images, annotations, objects per class, and
        annotations that mmdet drops, by reason.

    Raises:
        FGDError: names the file, the first offending entry, the reason and how many there are.
    """
    file, folder = Path(annotation_file), Path(image_folder)
    before = index.stamp(file)
    content, images, annotations, categories = read(file, folder)
    if number not in (None, len(images["id"])):
        raise FGDError(
            f"{file}: lists {len(images['id'])} images, expected {number}; it is another data set "
            "or another version of it"
        )
    if not annotations["id"]:
        raise FGDError(f"{file}: has no annotations; there is nothing to train on")
    _check_classes(file, categories, classes)
    check_files(file, folder, images)
    if not open_images:
        check_ends(folder, images["file_name"])
    found: Counter[str] = Counter()
    refused = Refusals(file, accept, found)
    refused.of_images(faulty_images(folder, images) if open_images else ())
    names = dict(zip(categories["id"], categories["name"], strict=True))
    used = set(classes or categories["name"])
    learned = {number for number, name in names.items() if name in used} if masks else ()
    refused.of_annotations(faulty_annotations(images, content["annotations"], learned))

    boxes = boxes_of(file, annotations)
    faults, beyond = box_faults(images, annotations, boxes)
    most = 0 if strict else MOST_FAULTY * len(boxes)
    for reason, which in [*faults.items(), ("partly beyond the image's border", beyond)]:
        if which.sum() > most:
            raise FGDError(f"{file}: {describe(images, annotations, which, reason)}")

    digest = sha256(file)
    if index.stamp(file) == before:  # so the content is this digest's
        index.keep(content, digest)
    objects = Counter(names[category] for category in annotations["category_id"])
    return {
        "annotation_file": str(file),
        "sha256": digest,
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


def _check_classes(
    file: Path, categories: dict[str, list[Any]], classes: Sequence[str] | None
) -> None:
    if classes is None:
        return
    missing = [name for name in classes if name not in categories["name"]]
    if missing:
        raise FGDError(
            f"{file}: no category is named {missing[0]!r} ({len(missing)} of {len(classes)} class "
            f"names are missing); its categories are {', '.join(categories['name'])}"
        )
    # mmdet numbers the labels in the file's order and names them in the order of the classes.
    order = [name for name in categories["name"] if name in classes]
    if order != list(classes):
        raise FGDError(
            f"{file}: its categories stand in the order {', '.join(order)}, the class names in "
            f"the order {', '.join(classes)}; mmdet would mix them up: give them in the file's "
            "order"
        )
